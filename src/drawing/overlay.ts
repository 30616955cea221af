/** Draws a heatmap, boxes and a mask's contour over an image. */
import { shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import { checkRawImage } from "../core/raw-image.js";
import type { Box, Mask, RawImage } from "../core/types.js";
import { native } from "../native.js";
import { inferno } from "./colormap.js";

/** Heat a pixel, row-major, in [0, 1]. */
export interface Heatmap {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

export interface OverlayOptions {
  /** Opacity where the heat is 1, in [0, 1]; it falls with the heat. Default 0.55. */
  readonly opacity?: number | undefined;
  /** Of the heat, in place of the colour map. */
  readonly color?: Color | undefined;
  /** Drawn as green frames, in pixels of the image. */
  readonly boxes?: readonly Box[] | undefined;
  /** Its contour is drawn in white; of the image's size. */
  readonly mask?: Mask | undefined;
  /** Contours of more masks of that size, each in its colour, open where they reach the edge of the image. */
  readonly contours?: readonly { readonly mask: Mask; readonly color: Color }[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Memory of the image's length that is drawn to, in place of new memory. */
  readonly into?: Uint8Array | undefined;
}

/** Red, green, blue, 0 … 255. */
export type Color = readonly [number, number, number];
const BOX_COLOR: Color = [64, 255, 140];
const CONTOUR_COLOR: Color = [255, 255, 255];
const EDGE_COLOR: Color = [0, 0, 0];
/** Pixels between two looks at the clock: under a millisecond of work. */
const SLICE_PIXELS = 32768;

/**
 * Lays a heatmap over an image; where it is cold the image shows through. The image given is
 * not changed. The event loop stays free.
 *
 * @param heatmap `[height, width]` of the image, in [0, 1]; values outside are clamped.
 * @throws {SoundspotError} ERR_SHAPE when the heatmap or the mask is not of the image's size;
 * ERR_INPUT when the opacity is not in [0, 1]; ERR_ABORTED.
 */
export async function renderOverlay(
  image: RawImage,
  heatmap: Heatmap,
  options: OverlayOptions = {},
): Promise<RawImage> {
  const { opacity = 0.55, color, boxes = [], mask, contours = [], signal, into } = options;
  checkRawImage(image);
  checkSize("The heatmap", heatmap, image);
  const outlined: Outline[] = [
    ...(mask ? [{ mask, color: CONTOUR_COLOR, closed: true }] : []),
    ...contours.map((each) => ({ ...each, closed: false })),
  ];
  for (const each of outlined) checkSize("The mask", each.mask, image);
  if (!(typeof opacity === "number" && opacity >= 0 && opacity <= 1)) {
    throw new SoundspotError("ERR_INPUT", `opacity must be in [0, 1], got ${shown(opacity)}.`);
  }
  const { width, height } = image;
  throwIfAborted(signal);
  const { keep, add } = blendTables(opacity, color);
  const data = into ?? new Uint8Array(image.data.length);
  await native().blendHeat(image.data, heatmap.data, keep, add, data);
  const canvas = { data, width, height };
  const line = Math.max(1, Math.round(Math.min(width, height) / 160));
  const rows = Math.max(1, Math.floor(SLICE_PIXELS / 4 / width));
  for (const each of outlined) {
    await inSlices(height, rows, signal, (from, to) => drawContour(canvas, each, line, from, to));
  }
  await inSlices(boxes.length, 1, signal, (from, to) => {
    for (const box of boxes.slice(from, to)) drawBox(canvas, box, line);
  });
  return canvas;
}

interface BlendTables {
  /** What stays of the image at each of 256 heats, in 1/256. */
  readonly keep: Uint16Array;
  /** Colour times opacity at each heat, in 1/256, `[256, 3]`. */
  readonly add: Uint16Array;
}

function blendTables(opacity: number, color: Color | undefined): BlendTables {
  const keep = new Uint16Array(256);
  const add = new Uint16Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    // Smoothstep: cold regions stay a clean photograph, hot ones a plateau of full opacity.
    const heat = Math.min(1, i / 255 / 0.8);
    const alpha = Math.round(opacity * heat * heat * (3 - 2 * heat) * 256);
    keep[i] = 256 - alpha;
    for (let channel = 0; channel < 3; channel++) {
      add[i * 3 + channel] = alpha * (color?.[channel] ?? inferno[i * 3 + channel] ?? 0) + 128;
    }
  }
  return { keep, add };
}

interface Outline {
  readonly mask: Mask;
  readonly color: Color;
  /** Whether a mask that reaches the image's edge is closed along it. */
  readonly closed: boolean;
}

/** Mask pixels with something outside the mask `line` pixels away, above, below or beside. */
function drawContour(canvas: RawImage, outline: Outline, line: number, from: number, to: number): void {
  const { mask, color, closed } = outline;
  const { data, width, height } = mask;
  for (let y = from; y < to; y++) {
    const [above, below] = [y >= line, y < height - line];
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      if (data[at] === 0) continue;
      const edge =
        (x >= line ? data[at - line] === 0 : closed) ||
        (x < width - line ? data[at + line] === 0 : closed) ||
        (above ? data[at - line * width] === 0 : closed) ||
        (below ? data[at + line * width] === 0 : closed);
      if (edge) fillRect(canvas, x, y, 1, 1, color);
    }
  }
}

function drawBox(canvas: RawImage, box: Box, line: number): void {
  const x = Math.round(box.x);
  const y = Math.round(box.y);
  const right = Math.round(box.x + box.width);
  const bottom = Math.round(box.y + box.height);
  // A dark rim keeps the frame visible on a bright image.
  drawFrame(canvas, x - 1, y - 1, right + 1, bottom + 1, line + 2, EDGE_COLOR);
  drawFrame(canvas, x, y, right, bottom, line, BOX_COLOR);
}

function drawFrame(
  canvas: RawImage,
  left: number,
  top: number,
  right: number,
  bottom: number,
  line: number,
  color: Color,
): void {
  fillRect(canvas, left, top, right - left, line, color);
  fillRect(canvas, left, bottom - line, right - left, line, color);
  fillRect(canvas, left, top, line, bottom - top, color);
  fillRect(canvas, right - line, top, line, bottom - top, color);
}

/** Fills the part of a rectangle that lies on the canvas. */
export function fillRect(
  canvas: RawImage,
  x: number,
  y: number,
  width: number,
  height: number,
  color: Color,
): void {
  const { data } = canvas;
  const [red, green, blue] = color;
  const right = Math.min(canvas.width, x + width);
  const bottom = Math.min(canvas.height, y + height);
  for (let row = Math.max(0, y); row < bottom; row++) {
    for (let column = Math.max(0, x); column < right; column++) {
      // Three stores are far quicker than set() with an array.
      const at = (row * canvas.width + column) * 3;
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
    }
  }
}

function checkSize(name: string, map: Heatmap | Mask, image: RawImage): void {
  const { data, width, height } = map;
  if (width !== image.width || height !== image.height || data.length !== width * height) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${name} is ${width} × ${height} with ${data.length} values; the image is ${image.width} × ${image.height}. ` +
        "Both must be of one size.",
    );
  }
}
