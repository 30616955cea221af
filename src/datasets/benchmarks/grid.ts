/** Ground truth on the grid that the benchmarks score on, from boxes and from masks. */
import type { GroundTruthMap, RawImage } from "../../core/types.js";

/** Side of the grid: VGG-SS, Flickr-SoundNet, AVSBench and IS3 are all scored at 224 × 224. */
export const GRID = 224;

export type Corners = readonly [left: number, top: number, right: number, bottom: number];

export function mapCorners(box: Corners, change: (value: number) => number): Corners {
  const [left, top, right, bottom] = box;
  return [change(left), change(top), change(right), change(bottom)];
}

/**
 * Adds up boxes in whole cells, right and bottom outside: a cell gets `share` for every box over it,
 * at most 1. A share of 1 gives the union, 1/2 the consensus of annotators. What lies outside the grid
 * is cut off.
 */
export function groundTruthFromBoxes(boxes: readonly Corners[], share: number): GroundTruthMap {
  const data = new Float32Array(GRID * GRID);
  for (const box of boxes) {
    const [left, top, right, bottom] = mapCorners(box, (value) => Math.min(GRID, Math.max(0, value)));
    for (let y = top; y < bottom; y++) {
      for (let i = y * GRID + left; i < y * GRID + right; i++) data[i] = Math.min(1, (data[i] ?? 0) + share);
    }
  }
  return { data, width: GRID, height: GRID };
}

/**
 * A mask on the grid: 1 where its nearest pixel has a channel above `level` (0 … 255), else 0. Nearest
 * as Pillow takes it, with which the published code resizes: the centre of each cell is found by adding
 * up steps. Cells whose centre falls between two pixels therefore go the same way as there.
 */
export function groundTruthFromMask(mask: RawImage, level: number): GroundTruthMap {
  const data = new Float32Array(GRID * GRID);
  const columns = nearest(mask.width);
  nearest(mask.height).forEach((row, y) => {
    columns.forEach((column, x) => {
      const at = (row * mask.width + column) * 3;
      const brightest = Math.max(mask.data[at] ?? 0, mask.data[at + 1] ?? 0, mask.data[at + 2] ?? 0);
      if (brightest > level) data[y * GRID + x] = 1;
    });
  });
  return { data, width: GRID, height: GRID };
}

/** For every cell along one side, the pixel its centre falls on. */
function nearest(size: number): Uint32Array {
  const pixels = new Uint32Array(GRID);
  const step = size / GRID;
  let centre = step / 2;
  for (let i = 0; i < GRID; i++) {
    pixels[i] = Math.min(size - 1, Math.trunc(centre));
    centre += step;
  }
  return pixels;
}
