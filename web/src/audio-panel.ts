/** The audio window: its spectrogram, the attention over time under it, and a ruler in seconds. */
import { colorIndex, inferno } from "../../src/drawing/colormap.js";
import { type AudioWindow, lengthOf } from "./audio.js";
import { blank, contextOf } from "./dom.js";
import { spectrogramOf } from "./fourier.js";
import type { Attention, Tensor } from "./maps.js";

const LEFT = 44;
const RIGHT = 12;
const TOP = 8;
const BAND = 14;
const CURVE = 56;
const RULER = 24;
const GAP = 6;
/** Decibels below the loudest that are shown. */
const RANGE = 70;

export class AudioPanel {
  readonly #canvas: HTMLCanvasElement;
  #part: AudioWindow | undefined;
  #image: HTMLCanvasElement | undefined;
  #attention: { readonly audio: Float32Array; readonly image: Float32Array } | undefined;

  constructor(target: HTMLCanvasElement) {
    this.#canvas = target;
  }

  /** Another window, or the same with other attention. */
  show(part: AudioWindow, attention: Attention, targets: number): void {
    if (part !== this.#part) {
      this.#part = part;
      this.#image = imageOf(part);
    }
    this.#attention = {
      audio: highest(attention.audioOnAudio, targets),
      image: highest(attention.imageOnAudio, targets),
    };
    this.#canvas.setAttribute("aria-label", describe(part, this.#attention.audio));
  }

  /** @param playhead in seconds, on the audio's clock */
  draw(playhead: number | undefined): void {
    const part = this.#part;
    const attention = this.#attention;
    if (!part || !this.#image || !attention) return;
    const { width, height } = fitToScreen(this.#canvas);
    const context = contextOf(this.#canvas);
    const style = getComputedStyle(this.#canvas);
    const color = (name: string) => style.getPropertyValue(name).trim();
    // Its own background: on paper, and while the scheme changes, its text stays readable.
    context.fillStyle = color("--card");
    context.fillRect(0, 0, width, height);
    const plot = width - LEFT - RIGHT;
    const curveTop = height - RULER - CURVE;
    const bandTop = curveTop - GAP - BAND;
    const tall = bandTop - GAP - TOP;

    context.imageSmoothingEnabled = true;
    context.drawImage(this.#image, LEFT, TOP, plot, tall);
    context.fillStyle = color("--faint");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    const top = part.sampleRate / 2000;
    for (const share of [0, 0.5, 1]) {
      const y = TOP + tall * (1 - share) + (share === 1 ? 6 : share === 0 ? -6 : 0);
      context.fillText(`${trim(top * share)}${share === 1 ? " kHz" : ""}`, LEFT - 6, y);
    }

    const peak = Math.max(...attention.audio, ...attention.image, 1e-12);
    for (let x = 0; x < plot; x++) {
      const heat = colorIndex(valueAt(attention.audio, x, plot) / peak) * 3;
      context.fillStyle = `rgb(${inferno[heat]} ${inferno[heat + 1]} ${inferno[heat + 2]})`;
      context.fillRect(LEFT + x, bandTop, 1, BAND);
    }
    const curve = (values: Float32Array, stroke: string, dash: number[]) => {
      context.beginPath();
      for (let x = 0; x <= plot; x += 2) {
        const y = curveTop + CURVE - 2 - (CURVE - 6) * (valueAt(values, x, plot) / peak);
        if (x === 0) context.moveTo(LEFT, y);
        else context.lineTo(LEFT + x, y);
      }
      context.setLineDash(dash);
      context.lineWidth = 2;
      context.strokeStyle = stroke;
      context.stroke();
      context.setLineDash([]);
    };
    curve(attention.image, color("--second"), [5, 4]);
    curve(attention.audio, color("--accent"), []);

    const seconds = lengthOf(part);
    context.fillStyle = color("--line");
    context.fillRect(LEFT, curveTop + CURVE, plot, 1);
    context.textBaseline = "top";
    const ticks = plot > 420 ? 6 : 3;
    for (let i = 0; i <= ticks; i++) {
      const x = LEFT + (plot * i) / ticks;
      context.fillStyle = color("--faint");
      context.fillRect(Math.round(x), curveTop + CURVE, 1, 5);
      context.textAlign = i === 0 ? "left" : i === ticks ? "right" : "center";
      context.fillText(`${trim(part.from + (seconds * i) / ticks)} s`, x, curveTop + CURVE + 8);
    }
    if (playhead !== undefined && playhead >= part.from && playhead <= part.from + seconds) {
      const x = LEFT + (plot * (playhead - part.from)) / seconds;
      context.fillStyle = "rgb(0 0 0 / 0.6)";
      context.fillRect(x - 2, TOP, 4, tall + GAP + BAND);
      context.fillStyle = "rgb(255 255 255)";
      context.fillRect(x - 1, TOP, 2, tall + GAP + BAND);
      context.fillStyle = color("--ink");
      context.fillRect(x - 1, curveTop, 2, CURVE);
    }
  }
}

const trim = (value: number): string => String(Number(value.toFixed(2)));

/** Sizes the canvas to its width on the screen, in device pixels: text then keeps its size. */
function fitToScreen(target: HTMLCanvasElement): { width: number; height: number } {
  const density = window.devicePixelRatio || 1;
  const width = Math.max(240, Math.round(target.clientWidth));
  const height = 260;
  const [wide, tall] = [Math.round(width * density), Math.round(height * density)];
  if (target.width !== wide || target.height !== tall) {
    target.width = wide;
    target.height = tall;
  }
  contextOf(target).setTransform(density, 0, 0, density, 0, 0);
  return { width, height };
}

function imageOf({ samples }: AudioWindow): HTMLCanvasElement {
  const { columns, bins, data } = spectrogramOf(samples, 320);
  const image = blank(columns, bins);
  const pixels = new ImageData(columns, bins);
  const loudest = data.reduce((most, value) => Math.max(most, value), -100);
  for (let bin = 0; bin < bins; bin++) {
    for (let column = 0; column < columns; column++) {
      const value = (data[bin * columns + column] as number) - loudest;
      const color = colorIndex(1 + value / RANGE) * 3;
      const at = ((bins - 1 - bin) * columns + column) * 4;
      pixels.data.set([...inferno.subarray(color, color + 3), 255], at);
    }
  }
  contextOf(image).putImageData(pixels, 0, 0);
  return image;
}

/** [slots, tokens] → [tokens]: of each token the highest of the first `targets`. */
function highest({ shape, data }: Tensor, targets: number): Float32Array {
  const [slots = 0, tokens = 0] = shape;
  return Float32Array.from({ length: tokens }, (_, token) => {
    let most = 0;
    for (let slot = 0; slot < Math.min(targets, slots); slot++) {
      most = Math.max(most, data[slot * tokens + token] as number);
    }
    return most;
  });
}

/** Linear between the centres of tokens. */
function valueAt(values: Float32Array, x: number, width: number): number {
  const at = Math.max(0, Math.min(values.length - 1, ((x + 0.5) * values.length) / width - 0.5));
  const index = Math.floor(at);
  const here = values[index] ?? 0;
  return here + ((values[index + 1] ?? here) - here) * (at - index);
}

function describe(part: AudioWindow, attention: Float32Array): string {
  const seconds = lengthOf(part);
  const peak = attention.indexOf(attention.reduce((a, b) => Math.max(a, b), 0));
  const at = part.from + (seconds * (peak + 0.5)) / attention.length;
  return (
    `Spectrogram from ${trim(part.from)} to ${trim(part.from + seconds)} seconds; ` +
    `the attention over time is highest at ${trim(at)} seconds.`
  );
}
