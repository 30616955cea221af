/** Where in the image an object goes: turned, scaled, without hiding another. */

import { between, type Random } from "../drawing.js";
import type { Look, Painter } from "./shapes.js";

/** An object with its place in the image. Positions and lengths in pixels. */
export interface Placed {
  readonly paint: Painter;
  readonly look: Look;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Pixels to the object's own plane: u = a·dx + b·dy, v = c·dx + d·dy from the origin. */
  readonly toPlane: readonly [a: number, b: number, c: number, d: number];
  /** The object's origin. */
  readonly originX: number;
  readonly originY: number;
}

/**
 * Puts an object of `area`, a fraction of the image, at a uniformly random position where it lies
 * fully in the frame and its box touches no other; where it finds no place it shrinks, though
 * not below `minimumArea`. Returns undefined when no place was found.
 */
export function place(
  painter: Painter,
  look: Look,
  area: number,
  minimumArea: number,
  size: number,
  others: readonly Placed[],
  random: Random,
): Placed | undefined {
  const angle = between(random, -0.22, 0.22);
  const mirror = random() < 0.5 ? -1 : 1;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const stretch = Math.sqrt(look.aspect);
  const toPlane = (dx: number, dy: number): [number, number] => [
    mirror * stretch * (cos * dx + sin * dy),
    (-sin * dx + cos * dy) / stretch,
  ];

  // Area and extent at scale 1, on a grid.
  const grid = 48;
  const reach = 1.3;
  const colour = new Float32Array(3);
  let inside = 0;
  let [left, right, top, bottom] = [reach, -reach, reach, -reach];
  for (let i = 0; i < grid; i++) {
    const dy = (((i + 0.5) / grid) * 2 - 1) * reach;
    for (let j = 0; j < grid; j++) {
      const dx = (((j + 0.5) / grid) * 2 - 1) * reach;
      const [u, v] = toPlane(dx, dy);
      if (!painter(u, v, look, colour)) continue;
      inside++;
      left = Math.min(left, dx);
      right = Math.max(right, dx);
      top = Math.min(top, dy);
      bottom = Math.max(bottom, dy);
    }
  }
  const margin = reach / grid;
  left -= margin;
  right += margin;
  top -= margin;
  bottom += margin;
  const unitArea = inside * (2 * margin) ** 2;

  let fraction = area;
  for (let attempt = 0; attempt < 200; attempt++) {
    const scale = Math.sqrt((fraction * size * size) / unitArea);
    const width = (right - left) * scale;
    const height = (bottom - top) * scale;
    const x = between(random, 0.5, size - 0.5 - width);
    const y = between(random, 0.5, size - 0.5 - height);
    const fits = width <= size - 1 && height <= size - 1;
    const free = others.every(
      (o) => x + width + 1 < o.x || o.x + o.width + 1 < x || y + height + 1 < o.y || o.y + o.height + 1 < y,
    );
    if (fits && free) {
      const [a, c] = toPlane(1 / scale, 0);
      const [b, d] = toPlane(0, 1 / scale);
      const origin = { originX: x - left * scale, originY: y - top * scale };
      return { paint: painter, look, x, y, width, height, toPlane: [a, b, c, d], ...origin };
    }
    if (attempt % 10 === 9) fraction = Math.max(minimumArea, fraction * 0.85);
  }
  return undefined;
}
