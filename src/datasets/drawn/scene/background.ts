/** The room behind the objects: wall, floor, clutter. */
import { between, type Random } from "../drawing.js";
import { hsv, stripe } from "./shapes.js";

/** Wall and floor with their own texture, and clutter: patches, bars and discs in any colour. */
export function paintBackground(canvas: Float32Array, size: number, random: Random): void {
  const surface = () => ({
    colour: hsv(random(), between(random, 0.05, 0.6), between(random, 0.35, 0.9)),
    period: between(random, 0.05, 0.25) * size,
    angle: random() * Math.PI,
    contrast: random() < 0.6 ? between(random, 0.05, 0.25) : 0,
  });
  const wall = surface();
  const floor = surface();
  const horizon = between(random, 0.45, 0.85) * size;
  const tilt = between(random, -0.12, 0.12);
  const light = between(random, -0.35, 0.35);
  const noise = createNoise(size, random);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const { colour, period, angle, contrast } = y > horizon + tilt * (x - size / 2) ? floor : wall;
      const wave = Math.abs((((x * Math.cos(angle) + y * Math.sin(angle)) / period + 100) % 1) * 2 - 1);
      const shade =
        1 +
        light * (x / size - 0.5) -
        0.2 * (y / size - 0.5) +
        noise(x, y) +
        contrast * (wave > 0.5 ? 0.5 : -0.5);
      const at = (y * size + x) * 3;
      canvas[at] = colour[0] * shade;
      canvas[at + 1] = colour[1] * shade;
      canvas[at + 2] = colour[2] * shade;
    }
  }
  const pieces = 8 + Math.floor(random() * 9);
  for (let i = 0; i < pieces; i++) paintClutter(canvas, size, random);
}

/** One translucent, textured piece of clutter: a disc, ring, bar, triangle or patch. */
function paintClutter(canvas: Float32Array, size: number, random: Random): void {
  const shape = Math.floor(random() * 5);
  const colour = hsv(random(), between(random, 0.1, 0.9), between(random, 0.2, 0.95));
  const opacity = between(random, 0.35, 0.95);
  const rx = between(random, 0.03, 0.16) * size * (shape === 2 ? 1.8 : 1);
  const ry = shape === 2 ? rx * between(random, 0.06, 0.2) : rx * between(random, 0.6, 1.6);
  const centreX = random() * size;
  const centreY = random() * size;
  const angle = random() * Math.PI;
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const period = random() < 0.5 ? between(random, 1, 4) : 0;
  const reach = Math.hypot(rx, ry);
  const bottom = Math.min(size, Math.ceil(centreY + reach));
  const right = Math.min(size, Math.ceil(centreX + reach));
  for (let y = Math.max(0, Math.floor(centreY - reach)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(centreX - reach)); x < right; x++) {
      const dx = x + 0.5 - centreX;
      const dy = y + 0.5 - centreY;
      const u = (cos * dx + sin * dy) / rx;
      const v = (cos * dy - sin * dx) / ry;
      // Distance to the edge in pixels, positive inside, for a soft edge.
      const radius = Math.hypot(u, v);
      const round = (1 - radius) * Math.min(rx, ry);
      const square = Math.min((1 - Math.abs(u)) * rx, (1 - Math.abs(v)) * ry);
      const edge =
        shape === 0
          ? round
          : shape === 1
            ? Math.min(round, (radius - 0.6) * Math.min(rx, ry))
            : shape === 3
              ? Math.min((1 - v) * ry, ((1 + v) / 2 - Math.abs(u)) * rx)
              : square;
      const cover = Math.max(0, Math.min(1, edge + 0.5)) * opacity;
      if (cover === 0) continue;
      const shade = (period > 0 && stripe(u * period) ? 0.7 : 1) * (1 - 0.15 * v);
      const at = (y * size + x) * 3;
      canvas[at] = (canvas[at] as number) * (1 - cover) + colour[0] * shade * cover;
      canvas[at + 1] = (canvas[at + 1] as number) * (1 - cover) + colour[1] * shade * cover;
      canvas[at + 2] = (canvas[at + 2] as number) * (1 - cover) + colour[2] * shade * cover;
    }
  }
}

/** Smooth noise of two octaves, about ±0.2, interpolated between random values on a lattice. */
function createNoise(size: number, random: Random): (x: number, y: number) => number {
  const octaves = [
    { cells: 6, gain: 0.2 },
    { cells: 22, gain: 0.12 },
  ].map(({ cells, gain }) => {
    const lattice = Float32Array.from({ length: (cells + 1) ** 2 }, () => gain * (2 * random() - 1));
    return { cells, lattice };
  });
  return (x, y) => {
    let sum = 0;
    for (const { cells, lattice } of octaves) {
      const u = (x / size) * cells;
      const v = (y / size) * cells;
      const i = Math.floor(u);
      const j = Math.floor(v);
      const s = u - i;
      const t = v - j;
      const at = j * (cells + 1) + i;
      const above = (lattice[at] as number) * (1 - s) + (lattice[at + 1] as number) * s;
      const below = (lattice[at + cells + 1] as number) * (1 - s) + (lattice[at + cells + 2] as number) * s;
      sum += above * (1 - t) + below * t;
    }
    return sum;
  };
}
