/** A figure of the attention on an image: one panel per slot over it. */
import { SoundspotError } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import { checkRawImage } from "../core/raw-image.js";
import type { RawImage, TensorData } from "../core/types.js";
import { blankCanvas, drawPanel, fitImage, MARGIN, TITLE_HEIGHT } from "./canvas.js";
import { type Color, renderOverlay } from "./overlay.js";

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
