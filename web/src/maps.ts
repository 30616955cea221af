/** The mathematics of the maps: from the logits of the attention to heatmap and boxes, as the engine computes them. */

/** Row-major data and its shape. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Attention of the audio and image queries, on the image [slots, h, w] and on the audio [slots, t]. */
export interface Attention {
  readonly audioOnImage: Tensor;
  readonly imageOnImage: Tensor;
  readonly audioOnAudio: Tensor;
  readonly imageOnAudio: Tensor;
}

/** A connected region of the mask in pixels, with the mean of the map inside it. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly score: number;
}

export type Refinement = "none" | "iqr";

export interface MapSettings {
  /** σ, a factor on the logits. */
  readonly sharpening: number;
  /** The mask is 1 where the map reaches it; in [0, 1]. */
  readonly threshold: number;
  /** α, the audio map's share of the refinement, in [0, 1]. */
  readonly alpha: number;
  readonly refine: Refinement;
}

/** A map of [height, width] in [0, 1], row-major. */
export interface HeatMap {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/**
 * Attention [slots, …] from logits of that shape: a softmax over slots of σ times the logits, then over the sum over
 * tokens.
 */
export function attentionOf(logits: Tensor, sharpening: number): { shape: number[]; data: Float32Array } {
  const { shape, data } = logits;
  const slots = shape[0] ?? 0;
  const tokens = slots > 0 ? data.length / slots : 0;
  const attention = new Float32Array(data.length);
  for (let token = 0; token < tokens; token++) {
    let highest = Number.NEGATIVE_INFINITY;
    for (let slot = 0; slot < slots; slot++) {
      highest = Math.max(highest, sharpening * (data[slot * tokens + token] as number));
    }
    let sum = 0;
    for (let slot = 0; slot < slots; slot++) {
      const value = Math.exp(sharpening * (data[slot * tokens + token] as number) - highest);
      attention[slot * tokens + token] = value;
      sum += value;
    }
    for (let slot = 0; slot < slots; slot++)
      attention[slot * tokens + token] = (attention[slot * tokens + token] as number) / sum;
  }
  for (let slot = 0; slot < slots; slot++) {
    const row = attention.subarray(slot * tokens, (slot + 1) * tokens);
    const sum = row.reduce((total, value) => total + value, 0);
    for (let token = 0; token < tokens; token++) row[token] = (row[token] as number) / (sum || 1);
  }
  return { shape: [...shape], data: attention };
}

/** {@link attentionOf} for all four. */
export function allAttention(logits: Attention, sharpening: number): Attention {
  return {
    audioOnImage: attentionOf(logits.audioOnImage, sharpening),
    imageOnImage: attentionOf(logits.imageOnImage, sharpening),
    audioOnAudio: attentionOf(logits.audioOnAudio, sharpening),
    imageOnAudio: attentionOf(logits.imageOnAudio, sharpening),
  };
}

/** Four source points and weights of each output point: Keys' bicubic, a = −0.75, half-pixel centres, edges repeated. */
function taps(from: number, to: number): { places: Int32Array; weights: Float64Array } {
  const a = -0.75;
  const near = (t: number) => ((a + 2) * t - (a + 3)) * t * t + 1; // |t| ≤ 1
  const far = (t: number) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a; // 1 < |t| < 2
  const places = new Int32Array(to * 4);
  const weights = new Float64Array(to * 4);
  for (let i = 0; i < to; i++) {
    const at = ((i + 0.5) * from) / to - 0.5;
    const below = Math.floor(at);
    const t = at - below;
    weights.set([far(t + 1), near(t), near(1 - t), far(2 - t)], i * 4);
    for (let k = 0; k < 4; k++) places[i * 4 + k] = Math.min(Math.max(below + k - 1, 0), from - 1);
  }
  return { places, weights };
}

/** A grid [h, w] enlarged to [height, width]. */
export function enlarge(
  grid: ArrayLike<number>,
  h: number,
  w: number,
  height: number,
  width: number,
): Float32Array {
  const rows = taps(h, height);
  const columns = taps(w, width);
  const large = new Float32Array(height * width);
  const line = new Float64Array(w);
  for (let y = 0; y < height; y++) {
    line.fill(0);
    for (let k = 0; k < 4; k++) {
      const weight = rows.weights[y * 4 + k] as number;
      const start = (rows.places[y * 4 + k] as number) * w;
      for (let x = 0; x < w; x++) line[x] = (line[x] as number) + weight * (grid[start + x] as number);
    }
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = x * 4; k < x * 4 + 4; k++) {
        sum += (columns.weights[k] as number) * (line[columns.places[k] as number] as number);
      }
      large[y * width + x] = sum;
    }
  }
  return large;
}

/** Scales to [0, 1] in place; a map that is constant up to rounding is left as it is. */
export function scaleToUnit(map: Float32Array): Float32Array {
  let least = Number.POSITIVE_INFINITY;
  let greatest = Number.NEGATIVE_INFINITY;
  for (const value of map) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  const range = greatest - least;
  if (!(range > 1e-6 * Math.max(Math.abs(greatest), Math.abs(least)))) return map;
  for (let i = 0; i < map.length; i++) map[i] = ((map[i] as number) - least) / range;
  return map;
}

/** The map of the first `targets` slots of attention [slots, h, w]: each scaled to [0, 1], of several the maximum. */
export function targetMap(attention: Tensor, targets: number, height: number, width: number): Float32Array {
  const [slots = 0, h = 0, w = 0] = attention.shape;
  const grids = Float32Array.from(attention.data);
  let map: Float32Array = new Float32Array(height * width);
  for (let slot = 0; slot < Math.min(targets, slots); slot++) {
    const grid = grids.subarray(slot * h * w, (slot + 1) * h * w);
    const one = scaleToUnit(enlarge(grid, h, w, height, width));
    if (slot === 0) map = one;
    else for (let i = 0; i < map.length; i++) map[i] = Math.max(map[i] as number, one[i] as number);
  }
  return map;
}

/** The heatmap of logits at an image's size: the audio map, or for "iqr" its blend with the image map. */
export function heatMap(
  logits: Attention,
  targets: number,
  { sharpening, alpha, refine }: MapSettings,
  height: number,
  width: number,
): HeatMap {
  const mapOf = (of: Tensor) => targetMap(attentionOf(of, sharpening), targets, height, width);
  const data = mapOf(logits.audioOnImage);
  if (refine === "iqr") {
    const image = mapOf(logits.imageOnImage);
    for (let i = 0; i < data.length; i++) {
      data[i] = alpha * (data[i] as number) + (1 - alpha) * (image[i] as number);
    }
    scaleToUnit(data);
  }
  return { width, height, data };
}

/** The 8-connected regions where a map reaches the threshold, largest first. */
export function boxesOf({ width, height, data }: HeatMap, threshold: number): Box[] {
  const open = Uint8Array.from(data, (value) => (value >= threshold ? 1 : 0));
  const found: { readonly area: number; readonly box: Box }[] = [];
  const stack: number[] = [];
  for (let start = 0; start < open.length; start++) {
    if (open[start] === 0) continue;
    let [left, right, top, bottom, area, sum] = [width, 0, height, 0, 0, 0];
    open[start] = 0;
    stack.push(start);
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const y = Math.floor(at / width);
      const x = at - y * width;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
      area++;
      sum += data[at] as number;
      for (let nextY = Math.max(y - 1, 0); nextY <= Math.min(y + 1, height - 1); nextY++) {
        for (let nextX = Math.max(x - 1, 0); nextX <= Math.min(x + 1, width - 1); nextX++) {
          const next = nextY * width + nextX;
          if (open[next] === 0) continue;
          open[next] = 0;
          stack.push(next);
        }
      }
    }
    const box = { x: left, y: top, width: right - left + 1, height: bottom - top + 1, score: sum / area };
    found.push({ area, box });
  }
  return found.sort((a, b) => b.area - a.area).map(({ box }) => box);
}

/** Logits between two moments: `share` 0 gives `a`, 1 gives `b`. */
export function between(a: Tensor, b: Tensor, share: number): Tensor {
  const data = new Float32Array(a.data.length);
  for (let i = 0; i < data.length; i++) {
    const value = a.data[i] as number;
    data[i] = value + share * ((b.data[i] as number) - value);
  }
  return { shape: a.shape, data };
}
