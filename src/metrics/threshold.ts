/** Where a map is cut into prediction and rest: at a value, so that a share of the pixels is predicted, or as many as the object has. */

/** How the prediction is cut out of a map. */
export type Threshold =
  /** Pixels of at least this value. */
  | { readonly by: "value"; readonly at: number }
  /**
   * About this share of the pixels. The cut is element ⌊n·(1 − share)⌋ of the n values in ascending order, the last one
   * at most; pixels above it are predicted, or pixels of at least its value.
   */
  | { readonly by: "area"; readonly share: number; readonly comparison: Comparison }
  /**
   * About as many pixels as the ground truth has, K; half of all where it is empty. The cut is element n − K, and pixels
   * above it are predicted.
   */
  | { readonly by: "adaptive" };

/** How a value compares with a cut. */
export type Comparison = ">" | "≥";

/** A pixel is predicted when it compares with this value. */
export interface Cut {
  readonly at: number;
  readonly comparison: Comparison;
}

const HALF_BITS = 65_536;

/**
 * Element `rank` of the values in ascending order, from 0; nothing is sorted.
 * @param values numbers, none of them NaN
 * @param rank from 0 to values.length − 1
 */
export function nthSmallest(values: Float32Array, rank: number): number {
  return finished(selecting(values, rank, values.length));
}

/** @internal `nthSmallest` in steps of `pixels`, for a caller that yields between them. */
export function* selecting(values: Float32Array, rank: number, pixels: number): Generator<void, number> {
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  // Unsigned numbers in the order of the floats: the sign bit turns around, and negative ones all bits.
  const ordered = new Uint32Array(values.length);
  const high = new Uint32Array(HALF_BITS);
  for (let from = 0; from < values.length; from += pixels) {
    const to = Math.min(values.length, from + pixels);
    for (let i = from; i < to; i++) {
      float[0] = values[i] as number;
      const own = bits[0] as number;
      const key = own >>> 31 ? ~own >>> 0 : (own | 0x80000000) >>> 0;
      ordered[i] = key;
      high[key >>> 16] = (high[key >>> 16] as number) + 1;
    }
    yield;
  }
  let before = 0;
  let top = 0;
  while (before + (high[top] as number) <= rank) before += high[top++] as number;
  const low = new Uint32Array(HALF_BITS);
  for (let from = 0; from < values.length; from += pixels) {
    const to = Math.min(values.length, from + pixels);
    for (let i = from; i < to; i++) {
      const key = ordered[i] as number;
      if (key >>> 16 === top) low[key & 0xffff] = (low[key & 0xffff] as number) + 1;
    }
    yield;
  }
  let bottom = 0;
  while (before + (low[bottom] as number) <= rank) before += low[bottom++] as number;
  const key = ((top << 16) | bottom) >>> 0;
  bits[0] = key >>> 31 ? (key & 0x7fffffff) >>> 0 : ~key >>> 0;
  return float[0] as number;
}

/** Runs a generator to its end. */
function finished<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/**
 * Where a threshold cuts a map.
 * @param map not empty
 * @param groundTruth of the same length; only "adaptive" looks at it
 */
export function cutOf(map: Float32Array, groundTruth: ArrayLike<number>, threshold: Threshold): Cut {
  return finished(cutting(map, groundTruth, threshold, map.length));
}

/** @internal `cutOf` in steps of `pixels`. */
export function* cutting(
  map: Float32Array,
  groundTruth: ArrayLike<number>,
  threshold: Threshold,
  pixels: number,
): Generator<void, Cut> {
  if (threshold.by === "value") return { at: threshold.at, comparison: "≥" };
  const rank =
    threshold.by === "area"
      ? Math.trunc(map.length * (1 - threshold.share))
      : map.length - (countOf(groundTruth) || Math.trunc(map.length / 2));
  const at = yield* selecting(map, Math.max(0, Math.min(map.length - 1, rank)), pixels);
  return { at, comparison: threshold.by === "area" ? threshold.comparison : ">" };
}

function countOf(groundTruth: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < groundTruth.length; i++) if (groundTruth[i] !== 0) count++;
  return count;
}

/** The smallest float32 above a finite one: float32 values reach it exactly when they are greater. */
export function nextFloat32(value: number): number {
  const float = Float32Array.of(value);
  const bits = new Int32Array(float.buffer);
  if (float[0] === 0) return 2 ** -149;
  bits[0] = (bits[0] as number) + ((float[0] as number) > 0 ? 1 : -1);
  return float[0] as number;
}

/** The prediction of a cut as the least value that belongs to it, of a float32 map. */
export function leastOf({ at, comparison }: Cut): number {
  return comparison === "≥" ? at : nextFloat32(at);
}

/**
 * Mean of the highest values of a map, ⌈share·n⌉ of its n.
 * @param map not empty
 * @param share in (0, 1]
 */
export function meanOfHighest(map: Float32Array, share: number): number {
  return finished(meaningHighest(map, share, map.length));
}

/** @internal `meanOfHighest` in steps of `pixels`. */
export function* meaningHighest(map: Float32Array, share: number, pixels: number): Generator<void, number> {
  const count = Math.min(map.length, Math.max(1, Math.ceil(share * map.length)));
  const least = yield* selecting(map, map.length - count, pixels);
  let above = 0;
  let sum = 0;
  for (let from = 0; from < map.length; from += pixels) {
    const to = Math.min(map.length, from + pixels);
    for (let i = from; i < to; i++) {
      if ((map[i] as number) <= least) continue;
      above++;
      sum += map[i] as number;
    }
    yield;
  }
  return (sum + (count - above) * least) / count;
}
