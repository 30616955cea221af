/** Figures about attention: one panel per slot over the image, and the spectrogram of the audio window. */
import sharp from "sharp";
import { SoundspotError } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import { checkRawImage } from "../core/raw-image.js";
import type { RawImage, TensorData } from "../core/types.js";
import { colorIndex, inferno, infernoColor } from "./colormap.js";
import { type Color, fillRect, renderOverlay } from "./overlay.js";
import { drawGlyphs } from "./text.js";

/** Attention over the tokens of an image, `[slots, h, w]`, slot 0 the target, and what to call it. */
export interface AttentionMap extends TensorData {
  readonly title: string;
}

export interface PanelsOptions {
  /** Longer side of a panel in pixels, 32 … 2048. Default 280. */
  readonly panelSize?: number | undefined;
  /** Slots from the front that are targets. Default 1. */
  readonly targets?: number | undefined;
  /** A last panel with the contour of every slot where its attention is halfway from least to most. Default false. */
  readonly contours?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
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

const MARGIN = 12;
const TITLE_HEIGHT = 28;
/** One level of grey for all channels, so that a canvas is filled by one call. */
const BACKGROUND = 24;
const INK = [235, 235, 235] as const;
const FAINT = [150, 150, 155] as const;
const CURVE_COLOR = [252, 165, 60] as const;
/** Slots by turns; the first, a target, in the green of the boxes. */
const SLOT_COLORS: readonly Color[] = [
  [64, 255, 140],
  [255, 120, 60],
  [90, 170, 255],
  [255, 90, 200],
  [255, 225, 80],
];

/**
 * One row per map: the image, then one panel per slot, its attention upsampled smoothly over the image.
 * All slots of a map share one colour scale, from its smallest to its greatest value, so they compare.
 * With `contours` a last panel has the slots' contours: green the first, then orange, blue, pink, yellow.
 *
 * @throws {SoundspotError} ERR_SHAPE when a map is not `[slots, h, w]`; ERR_INPUT; ERR_ABORTED.
 * @example
 * await renderPanels(image, [{ title: "audio on image", ...spot.attention.audioOnImage }]);
 */
export async function renderPanels(
  image: RawImage,
  maps: readonly AttentionMap[],
  options: PanelsOptions = {},
): Promise<RawImage> {
  const { panelSize = 280, targets = 1, contours = false, signal } = options;
  checkRawImage(image);
  if (maps.length === 0)
    throw new SoundspotError("ERR_INPUT", "renderPanels needs at least one attention map.");
  if (!(Number.isInteger(panelSize) && panelSize >= 32 && panelSize <= 2048)) {
    throw new SoundspotError("ERR_INPUT", `panelSize must be an integer in 32 … 2048, got ${panelSize}.`);
  }
  const slotCounts = maps.map((map) => checkMap(map)[0]);
  const panel = await fitImage(image, panelSize);
  const columns = 1 + Math.max(...slotCounts) + (contours ? 1 : 0);
  const canvas = blankCanvas(
    MARGIN + columns * (panel.width + MARGIN),
    maps.length * (TITLE_HEIGHT + panel.height + MARGIN) + MARGIN,
  );
  for (const [row, map] of maps.entries()) {
    const top = MARGIN + row * (TITLE_HEIGHT + panel.height + MARGIN);
    await drawPanel(canvas, panel, MARGIN, top, map.title, signal);
    const heats = await slotHeats(map, panel, signal);
    for (const [slot, heat] of heats.entries()) {
      const left = MARGIN + (slot + 1) * (panel.width + MARGIN);
      const overlay = await renderOverlay(panel, { ...panel, data: heat }, { opacity: 0.75, signal });
      const role = slot < targets ? "target" : "off-target";
      await drawPanel(canvas, overlay, left, top, `slot ${slot} (${role})`, signal);
    }
    if (!contours) continue;
    const outlined = heats.map((heat, slot) => ({
      mask: { ...panel, data: aboveHalf(heat) },
      color: SLOT_COLORS[slot % SLOT_COLORS.length] as Color,
    }));
    const nothing = { ...panel, data: new Float32Array(panel.width * panel.height) };
    const overlay = await renderOverlay(panel, nothing, { contours: outlined, signal });
    const left = MARGIN + (heats.length + 1) * (panel.width + MARGIN);
    await drawPanel(canvas, overlay, left, top, "contours", signal);
  }
  return canvas;
}

/**
 * The log spectrogram, low frequencies at the bottom, and under it the attention of the audio's
 * target slot along the same time axis, as a band and as a curve.
 *
 * @param spectrogram `[1, F, T]`, row 0 the lowest frequency, any scale: colours span its values.
 * @param attention Over the audio tokens, `[t]`; scaled to its own maximum.
 * @throws {SoundspotError} ERR_SHAPE when the spectrogram is not `[1, F, T]` or the attention is
 * empty; ERR_ABORTED.
 */
export async function renderSpectrogram(
  spectrogram: TensorData,
  attention: Float32Array,
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
  if (attention.length === 0) throw new SoundspotError("ERR_SHAPE", "The attention over time is empty.");
  const width = Math.max(480, Math.min(1200, frames));
  const height = Math.max(160, Math.min(514, bins));
  const bandHeight = 18;
  const curveHeight = 64;
  const left = MARGIN;
  const top = MARGIN + TITLE_HEIGHT;
  const bandTop = top + height + TITLE_HEIGHT + 4;
  const curveTop = bandTop + bandHeight + 6;
  const canvas = blankCanvas(
    width + 2 * MARGIN,
    curveTop + curveHeight + MARGIN + (seconds === undefined ? 0 : 18),
  );

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

  drawText(canvas, left, top + height + 8, "attention of the target slot", width);
  const smooth = smoothAttention(attention, width);
  let last = -1;
  for (const [x, value] of smooth.entries()) {
    fillRect(canvas, left + x, bandTop, 1, bandHeight, infernoColor(value));
    const y = curveTop + Math.round((1 - value) * (curveHeight - 2));
    const from = last < 0 ? y : Math.min(last, y);
    fillRect(canvas, left + x, from, 1, Math.abs(last < 0 ? 0 : y - last) + 2, CURVE_COLOR);
    last = y;
  }
  fillRect(canvas, left, curveTop + curveHeight, width, 1, FAINT);
  if (seconds !== undefined) drawTimes(canvas, left, curveTop + curveHeight + 4, width, seconds);
  return canvas;
}

function checkMap(map: AttentionMap): readonly [number, number, number] {
  const [slots = 0, h = 0, w = 0] = map.shape;
  if (map.shape.length !== 3 || slots * h * w === 0 || map.data.length !== slots * h * w) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `The map "${map.title}" must be [slots, h, w], got [${map.shape.join(", ")}] with ${map.data.length} values.`,
    );
  }
  return [slots, h, w];
}

async function fitImage(image: RawImage, size: number): Promise<RawImage> {
  const scale = size / Math.max(image.width, image.height);
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  const data = await sharp(image.data, {
    raw: { width: image.width, height: image.height, channels: 3 },
    limitInputPixels: false,
  })
    .resize(width, height, { fit: "fill" })
    .raw()
    .toBuffer();
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), width, height };
}

/** Of a map's whole range; a slot that varies less is flat, and has no contour worth a line. */
const FLAT = 0.02;

/** 1 where the heat is above the middle between its least and its most; nowhere when it is flat. */
function aboveHalf(heat: Float32Array): Uint8Array {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of heat) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const level = high - low < FLAT ? Number.POSITIVE_INFINITY : (low + high) / 2;
  return Uint8Array.from(heat, (value) => (value > level ? 1 : 0));
}

/** Every slot's attention at the panel's size, `[height, width]`, in [0, 1] of the map's range. */
async function slotHeats(map: AttentionMap, panel: RawImage, signal?: AbortSignal): Promise<Float32Array[]> {
  const [slots, h, w] = checkMap(map);
  const low = map.data.reduce((a, b) => Math.min(a, b));
  const high = map.data.reduce((a, b) => Math.max(a, b));
  const scaled = map.data.map((value) => (high > low ? (value - low) / (high - low) : 0));
  const heats: Float32Array[] = [];
  for (let slot = 0; slot < slots; slot++) {
    const tokens = scaled.subarray(slot * h * w, (slot + 1) * h * w);
    heats.push(await upsample(tokens, h, w, panel.height, panel.width, signal));
  }
  return heats;
}

/** Bicubic, from `[h, w]` to `[height, width]`; the border is repeated. */
async function upsample(
  data: Float32Array,
  h: number,
  w: number,
  height: number,
  width: number,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const out = new Float32Array(height * width);
  const rows = cubicTaps(h, height);
  const columns = cubicTaps(w, width);
  const line = new Float32Array(w);
  await inSlices(height, 16, signal, (from, to) => {
    for (let y = from; y < to; y++) {
      for (let x = 0; x < w; x++) {
        let sum = 0;
        for (const { index, weight } of rows[y] ?? []) sum += weight * (data[index * w + x] as number);
        line[x] = sum;
      }
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (const { index, weight } of columns[x] ?? []) sum += weight * (line[index] as number);
        out[y * width + x] = sum;
      }
    }
  });
  return out;
}

interface Tap {
  readonly index: number;
  readonly weight: number;
}

/** The four source points and weights of each output point; a = −0.5, half-pixel centres. */
function cubicTaps(from: number, to: number): Tap[][] {
  const kernel = (t: number) => {
    const d = Math.abs(t);
    if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
    return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
  };
  return Array.from({ length: to }, (_, i) => {
    const center = ((i + 0.5) * from) / to - 0.5;
    const base = Math.floor(center);
    return [-1, 0, 1, 2].map((offset) => ({
      index: Math.max(0, Math.min(from - 1, base + offset)),
      weight: kernel(center - base - offset),
    }));
  });
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

/** Linear between token centres, divided by the greatest value. */
function smoothAttention(attention: Float32Array, width: number): Float32Array {
  const peak = attention.reduce((a, b) => Math.max(a, b), 0) || 1;
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

async function drawPanel(
  canvas: RawImage,
  image: RawImage,
  left: number,
  top: number,
  title: string,
  signal?: AbortSignal,
): Promise<void> {
  drawText(canvas, left, top, title, image.width);
  await inSlices(image.height, 64, signal, (from, to) => {
    for (let y = from; y < to; y++) {
      const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
      canvas.data.set(row, ((top + TITLE_HEIGHT + y) * canvas.width + left) * 3);
    }
  });
}

function blankCanvas(width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  data.fill(BACKGROUND);
  return { data, width, height };
}

/** Writes a line at twice the font's size, or at its own when that is too wide; what is left over is cut off. */
function drawText(canvas: RawImage, x: number, y: number, text: string, width: number): void {
  const scale = text.length * 12 <= width ? 2 : 1;
  drawGlyphs(
    canvas,
    x,
    y + (scale === 2 ? 2 : 8),
    text.slice(0, Math.floor(width / (6 * scale))),
    scale,
    INK,
  );
}
