/** Bicubic enlargement in float64 as torch defines it (a = −0.75, half-pixel centres, clamped edges), for tests. */

const A = -0.75;

function weights(t: number): [number, number, number, number] {
  const near = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1;
  const far = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
  return [far(t + 1), near(t), near(1 - t), far(2 - t)];
}

/** A square map of `from` × `from` to `to` × `to`, then scaled to [0, 1]. */
export function enlarge(map: ArrayLike<number>, from: number, to: number): Float64Array {
  const taps = Array.from({ length: to }, (_, i) => {
    const at = (i + 0.5) * (from / to) - 0.5;
    const first = Math.floor(at);
    const places = [-1, 0, 1, 2].map((step) => Math.min(Math.max(first + step, 0), from - 1));
    return { places, weights: weights(at - first) };
  });
  const large = new Float64Array(to * to);
  for (const [y, row] of taps.entries()) {
    for (const [x, column] of taps.entries()) {
      let sum = 0;
      for (let i = 0; i < 4; i++) {
        let line = 0;
        for (let j = 0; j < 4; j++) {
          const place = (row.places[i] as number) * from + (column.places[j] as number);
          line += (column.weights[j] as number) * (map[place] as number);
        }
        sum += (row.weights[i] as number) * line;
      }
      large[y * to + x] = sum;
    }
  }
  const low = large.reduce((a, b) => Math.min(a, b));
  const high = large.reduce((a, b) => Math.max(a, b));
  return large.map((value) => (value - low) / (high - low));
}
