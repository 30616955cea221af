/** A figure of the raw attention map: its grid of tokens beside the map that it is enlarged to. */
import { SoundspotError } from "../core/errors.js";
import { checkRawImage } from "../core/raw-image.js";
import type { RawImage, TensorData } from "../core/types.js";
import { blankCanvas, drawPanel, fitImage, MARGIN, TITLE_HEIGHT } from "./canvas.js";
import { infernoColor } from "./colormap.js";
import { fillRect, renderOverlay } from "./overlay.js";

/** One model's map of the image. */
export interface GridRow {
  /** What it is called, such as the name of its checkpoint. */
  readonly title: string;
  /** The raw map, `[h, w]`, on any scale. */
  readonly tokens: TensorData;
  /** The map that it is enlarged to, `[height, width]` of the image in [0, 1], row-major. */
  readonly map: Float32Array;
}

export interface GridsOptions {
  /** Longer side of a panel in pixels, 32 … 2048. Default 280. */
  readonly panelSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One row per model: the image, the raw map as a grid of cells, and the enlarged map over the image. The colours of a
 * grid span its own values, as the enlarged map does.
 *
 * @throws {SoundspotError} ERR_SHAPE when a raw map is not `[h, w]`, or a map not of the image's size; ERR_INPUT without
 *   a row or for a wrong panel size; ERR_ABORTED.
 * @example
 * const tokens = { data: attention, shape: [7, 7] };
 * await renderGrids(image, [{ title: "with matching", tokens, map: spot.audioMap }]);
 */
export async function renderGrids(
  image: RawImage,
  rows: readonly GridRow[],
  options: GridsOptions = {},
): Promise<RawImage> {
  const { panelSize = 280, signal } = options;
  checkRawImage(image);
  if (rows.length === 0) throw new SoundspotError("ERR_INPUT", "renderGrids needs at least one row.");
  if (!(Number.isInteger(panelSize) && panelSize >= 32 && panelSize <= 2048)) {
    throw new SoundspotError("ERR_INPUT", `panelSize must be an integer in 32 … 2048, got ${panelSize}.`);
  }
  for (const row of rows) checkRow(row, image);
  const panel = await fitImage(image, panelSize);
  const step = { x: panel.width + MARGIN, y: TITLE_HEIGHT + panel.height + MARGIN };
  const canvas = blankCanvas(MARGIN + 3 * step.x, MARGIN + rows.length * step.y);
  for (const [i, { title, tokens, map }] of rows.entries()) {
    const top = MARGIN + i * step.y;
    const [h, w] = tokens.shape as [number, number];
    const heat = { ...panel, data: sampled(map, image, panel) };
    const overlay = await renderOverlay(panel, heat, { opacity: 0.75, signal });
    const panels = [
      [title, panel],
      [`raw, ${w} x ${h}`, gridOf(tokens, panel)],
      [`enlarged, ${image.width} x ${image.height}`, overlay],
    ] as const;
    for (const [column, [text, each]] of panels.entries()) {
      await drawPanel(canvas, each, MARGIN + column * step.x, top, text, signal);
    }
  }
  return canvas;
}

function checkRow({ title, tokens, map }: GridRow, { width, height }: RawImage): void {
  const [h = 0, w = 0] = tokens.shape;
  if (tokens.shape.length !== 2 || h * w === 0 || tokens.data.length !== h * w) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `The raw map "${title}" must be [h, w], got [${tokens.shape.join(", ")}] with ${tokens.data.length} values.`,
    );
  }
  if (map.length !== width * height) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `The map "${title}" must have the image's ${width} × ${height} values, got ${map.length}.`,
    );
  }
}

/** A cell of one colour per token, from its least to its greatest value; one that is constant is cold. */
function gridOf({ data, shape }: TensorData, { width, height }: RawImage): RawImage {
  const [h, w] = shape as [number, number];
  const low = data.reduce((a, b) => Math.min(a, b));
  const high = data.reduce((a, b) => Math.max(a, b));
  const grid = { data: new Uint8Array(width * height * 3), width, height };
  const edge = (index: number, count: number, size: number) => Math.round((index * size) / count);
  for (let row = 0; row < h; row++) {
    for (let column = 0; column < w; column++) {
      const value = data[row * w + column] as number;
      const color = infernoColor(high > low ? (value - low) / (high - low) : 0);
      const [x, y] = [edge(column, w, width), edge(row, h, height)];
      fillRect(grid, x, y, edge(column + 1, w, width) - x, edge(row + 1, h, height) - y, color);
    }
  }
  return grid;
}

/** The map at the middle of each of the panel's pixels. */
function sampled(map: Float32Array, image: RawImage, panel: RawImage): Float32Array {
  const result = new Float32Array(panel.width * panel.height);
  const place = (index: number, from: number, to: number) =>
    Math.min(from - 1, Math.floor(((index + 0.5) * from) / to));
  for (let y = 0; y < panel.height; y++) {
    const row = place(y, image.height, panel.height) * image.width;
    for (let x = 0; x < panel.width; x++) {
      result[y * panel.width + x] = map[row + place(x, image.width, panel.width)] as number;
    }
  }
  return result;
}
