/** A figure of the attention over time: the spectrogram of the audio window, and the slots below it. */
import { isFloats } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import type { RawImage, TensorData } from "../core/types.js";
import { blankCanvas, drawText, FAINT, MARGIN, TITLE_HEIGHT } from "./canvas.js";
import { colorIndex, inferno, infernoColor } from "./colormap.js";
import { fillRect } from "./overlay.js";
import { drawGlyphs } from "./text.js";

/** Attention of a slot over the audio tokens, [t], and what to call it. */
export interface AudioAttention {
  readonly title: string;
  readonly data: Float32Array;
}

export interface SpectrogramOptions {
  /** Length of the audio, for the time axis. Without it there are no times. */
  readonly seconds?: number | undefined;
  /** Frequency of the top row, for the axis. Without it there are none. */
  readonly maxHertz?: number | undefined;
  /** Whether rows are even on the mel scale, not in hertz. Default false. */
  readonly mel?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const CURVE_COLOR = [252, 165, 60] as const;
const BAND_HEIGHT = 18;
const CURVE_HEIGHT = 64;
/** Of one slot: a title, a band and a curve. */
const SLOT_HEIGHT = TITLE_HEIGHT + 4 + BAND_HEIGHT + 6 + CURVE_HEIGHT;

/**
 * The log spectrogram, low frequencies at the bottom, and under it the attention of the audio's target slot, or of
 * several slots one below the other, along the same time axis: each as a band and as a curve.
 *
 * @param spectrogram `[1, F, T]`, row 0 the lowest frequency, any scale: colours span its values.
 * @param attention Over the audio tokens, `[t]`; of several slots each with its title. All share one scale, from 0 to
 * their maximum.
 * @throws {SoundspotError} ERR_SHAPE when the spectrogram is not `[1, F, T]` or the attention is
 * empty; ERR_ABORTED.
 */
export async function renderSpectrogram(
  spectrogram: TensorData,
  attention: Float32Array | readonly AudioAttention[],
  options: SpectrogramOptions = {},
): Promise<RawImage> {
  const { seconds, maxHertz, mel = false, signal } = options;
  const [one, bins = 0, frames = 0] = spectrogram.shape;
  if (
    spectrogram.shape.length !== 3 ||
    one !== 1 ||
    bins * frames === 0 ||
    spectrogram.data.length !== bins * frames
  ) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `The spectrogram must be [1, F, T], got [${spectrogram.shape.join(", ")}].`,
    );
  }
  const slots: readonly AudioAttention[] = isFloats(attention)
    ? [{ title: "attention of the target slot", data: attention }]
    : attention;
  if (slots.length === 0 || slots.some(({ data }) => data.length === 0))
    throw new SoundspotError("ERR_SHAPE", "The attention over time is empty.");
  const width = Math.max(480, Math.min(1200, frames));
  const height = Math.max(160, Math.min(514, bins));
  const left = MARGIN;
  const top = MARGIN + TITLE_HEIGHT;
  const end = top + height + slots.length * SLOT_HEIGHT;
  const canvas = blankCanvas(width + 2 * MARGIN, end + MARGIN + (seconds === undefined ? 0 : 18));

  const title = mel ? "mel spectrogram" : "log spectrogram";
  drawText(canvas, left, MARGIN, maxHertz === undefined ? title : `${title}, 0 - ${maxHertz} Hz`, width);
  const { low, high } = displayRange(spectrogram.data);
  const columns = Array.from({ length: width }, (_, x) =>
    Math.min(frames - 1, Math.floor(((x + 0.5) * frames) / width)),
  );
  await inSlices(height, 8, signal, (from, to) => {
    for (let y = from; y < to; y++) {
      const bin = Math.min(bins - 1, Math.floor(((height - 1 - y + 0.5) * bins) / height));
      for (let x = 0; x < width; x++) {
        const value = spectrogram.data[bin * frames + (columns[x] ?? 0)] as number;
        const color = colorIndex((value - low) / (high - low)) * 3;
        const at = ((top + y) * canvas.width + left + x) * 3;
        canvas.data[at] = inferno[color] as number;
        canvas.data[at + 1] = inferno[color + 1] as number;
        canvas.data[at + 2] = inferno[color + 2] as number;
      }
    }
  });

  const peak = Math.max(0, ...slots.map(({ data }) => data.reduce((a, b) => Math.max(a, b), 0))) || 1;
  for (const [row, slot] of slots.entries()) {
    drawSlot(canvas, left, top + height + row * SLOT_HEIGHT, width, slot, peak);
  }
  if (seconds !== undefined) drawTimes(canvas, left, end + 4, width, seconds);
  return canvas;
}

/** Title, band and curve of one slot, SLOT_HEIGHT below one another. */
function drawSlot(
  canvas: RawImage,
  left: number,
  top: number,
  width: number,
  { title, data }: AudioAttention,
  peak: number,
): void {
  const bandTop = top + TITLE_HEIGHT + 4;
  const curveTop = bandTop + BAND_HEIGHT + 6;
  drawText(canvas, left, top + 8, title, width);
  let last = -1;
  for (const [x, value] of smoothAttention(data, width, peak).entries()) {
    fillRect(canvas, left + x, bandTop, 1, BAND_HEIGHT, infernoColor(value));
    const y = curveTop + Math.round((1 - value) * (CURVE_HEIGHT - 2));
    const from = last < 0 ? y : Math.min(last, y);
    fillRect(canvas, left + x, from, 1, Math.abs(last < 0 ? 0 : y - last) + 2, CURVE_COLOR);
    last = y;
  }
  fillRect(canvas, left, curveTop + CURVE_HEIGHT, width, 1, FAINT);
}

/** From the 2nd percentile up, of a sample of the values: digital silence would darken all else. */
function displayRange(data: Float32Array): { low: number; high: number } {
  const step = Math.max(1, Math.floor(data.length / 4096));
  const sample = Float32Array.from(
    { length: Math.ceil(data.length / step) },
    (_, i) => data[i * step] ?? 0,
  ).sort();
  const low = sample[Math.floor(sample.length * 0.02)] ?? 0;
  const high = sample[sample.length - 1] ?? 0;
  return high > low ? { low, high } : { low, high: low + 1 };
}

/** Linear between token centres, divided by `peak`. */
function smoothAttention(attention: Float32Array, width: number, peak: number): Float32Array {
  return Float32Array.from({ length: width }, (_, x) => {
    const center = Math.max(0, Math.min(attention.length - 1, ((x + 0.5) * attention.length) / width - 0.5));
    const index = Math.floor(center);
    const here = attention[index] ?? 0;
    const next = attention[index + 1] ?? here;
    return Math.max(0, (here + (next - here) * (center - index)) / peak);
  });
}

function drawTimes(canvas: RawImage, left: number, top: number, width: number, seconds: number): void {
  const ticks = 5;
  for (let i = 0; i <= ticks; i++) {
    const label = `${Number(((seconds * i) / ticks).toFixed(2))} s`;
    const x = left + Math.round((width * i) / ticks);
    const shift = i === 0 ? 0 : i === ticks ? label.length * 6 : label.length * 3;
    drawGlyphs(canvas, x - shift, top, label, 1, FAINT);
  }
}
