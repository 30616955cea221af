/**
 * Evaluation under a protocol in float64, written from the definitions: enlargement, sorting, cuts and scores. It shares
 * nothing with src/ but the types.
 */
import type { Protocol } from "../../src/index.js";

export type Grid = readonly (readonly number[])[];

/** Keys' kernel, a = −0.75, or the triangle. */
function kernel(cubic: boolean, distance: number): number {
  const x = Math.abs(distance);
  if (!cubic) return Math.max(0, 1 - x);
  if (x <= 1) return 1.25 * x ** 3 - 2.25 * x ** 2 + 1;
  if (x < 2) return -0.75 * (x ** 3 - 5 * x ** 2 + 8 * x - 4);
  return 0;
}

/** One line of samples at `to` places: a sum over all samples, of which those beyond an edge repeat it. */
function line(samples: readonly number[], to: number, resize: Protocol["resize"]): number[] {
  const from = samples.length;
  const cubic = resize.startsWith("bicubic");
  return Array.from({ length: to }, (_, i) => {
    const corners = to > 1 ? (i / (to - 1)) * (from - 1) : 0;
    const place = resize.endsWith("corners") ? corners : ((i + 0.5) / to) * from - 0.5;
    let sum = 0;
    for (let k = Math.floor(place) - 3; k <= Math.floor(place) + 4; k++) {
      const sample = samples[Math.min(from - 1, Math.max(0, k))] as number;
      sum += kernel(cubic, place - k) * sample;
    }
    return sum;
  });
}

const transposed = (grid: Grid): Grid => (grid[0] ?? []).map((_, x) => grid.map((row) => row[x] as number));

export function resized(grid: Grid, height: number, width: number, resize: Protocol["resize"]): Grid {
  const wide = grid.map((row) => line(row, width, resize));
  return transposed(transposed(wide).map((column) => line(column, height, resize)));
}

/** To the ends of a range, or the map's own. */
export function scaled(map: readonly number[], range?: readonly [number, number]): number[] {
  const [low, high] = range ?? [map.reduce((a, b) => Math.min(a, b)), map.reduce((a, b) => Math.max(a, b))];
  return high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high))
    ? map.map((value) => (value - low) / (high - low))
    : [...map];
}

export interface PlainRaw {
  /** Each target's. */
  readonly audio: readonly Grid[];
  readonly image?: readonly Grid[];
  readonly objectness?: Grid;
  readonly range?: readonly [number, number];
}

/** All maps of a sample under a protocol. */
export function plainMaps(
  raw: PlainRaw,
  { resize, objectnessResize, ranges, alpha }: Protocol,
  height: number,
  width: number,
): Record<string, number[]> {
  const fixed = ranges !== "minmax";
  const of = (targets: readonly Grid[], how: Protocol["resize"], range?: readonly [number, number]) => {
    const maps = targets.map((grid) => scaled(resized(grid, height, width, how).flat(), range));
    return (maps[0] as number[]).map((_, i) => Math.max(...maps.map((map) => map[i] as number)));
  };
  const blend = (a: number[], b: number[]) => {
    const sum = a.map((value, i) => alpha * value + (1 - alpha) * (b[i] as number));
    return fixed ? sum : scaled(sum);
  };
  const audio = of(raw.audio, resize, fixed ? raw.range : undefined);
  const image = raw.image && of(raw.image, resize);
  const objects =
    raw.objectness && of([raw.objectness], objectnessResize, fixed ? ranges.objectness : undefined);
  return {
    audio,
    ...(image ? { image, iqr: blend(audio, image) } : {}),
    ...(objects ? { ogl: blend(audio, objects) } : {}),
    ...(image && objects
      ? {
          combined: blend(
            audio,
            image.map((value, i) => (value + (objects[i] as number)) / 2),
          ),
        }
      : {}),
  };
}

export interface PlainSample {
  readonly ciou: number;
  readonly iou: number;
  readonly confidence: number;
}

/** A map against its ground truth. */
export function plainScore(
  map: ArrayLike<number>,
  groundTruth: readonly number[],
  protocol: Protocol,
  adaptive = false,
): PlainSample {
  const sorted = Array.from(map).sort((a, b) => a - b);
  const n = sorted.length;
  const object = groundTruth.filter((value) => value !== 0).length;
  const { threshold } = protocol;
  const predicted = Array.from(map, (value) => {
    if (adaptive || threshold.by === "adaptive") {
      return value > (sorted[n - (object === 0 ? Math.floor(n / 2) : object)] as number);
    }
    if (threshold.by === "value") return value >= threshold.at;
    const cut = sorted[Math.min(n - 1, Math.floor(n * (1 - threshold.share)))] as number;
    return threshold.comparison === ">" ? value > cut : value >= cut;
  });
  let [shared, outside, sum, both, either, none] = [0, 0, 0, 0, 0, 0];
  for (const [i, p] of predicted.entries()) {
    const g = groundTruth[i] as number;
    sum += g;
    if (p) shared += g;
    if (p && g === 0) outside++;
    if (p && g > 0) both++;
    if (p || g > 0) either++;
    else none++;
  }
  const plain = either === 0 ? 1 : both / either;
  const highest = sorted.slice(-Math.ceil((protocol.confidence ?? 1) * n));
  return {
    ciou: sum + outside === 0 ? 0 : shared / (sum + outside),
    iou: object === 0 && protocol.silentFrame === "background" ? none / n : plain,
    confidence: highest.reduce((a, b) => a + b, 0) / highest.length,
  };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** Success, AUC and mean IoU of samples, and of images by their worst source. */
export function plainSummary(
  samples: readonly { readonly ciou: number; readonly iou: number; readonly imageId?: string }[],
  { success }: Protocol,
) {
  const right = (ciou: number) => (success === ">" ? ciou > 0.5 : ciou >= 0.5);
  const area = (cious: readonly number[]) => {
    const shares = Array.from({ length: 21 }, (_, i) => mean(cious.map((ciou) => Number(ciou >= 0.05 * i))));
    return mean(shares.slice(1).map((share, i) => (share + (shares[i] as number)) / 2));
  };
  const cious = samples.map(({ ciou }) => ciou);
  const named = [...new Set(samples.flatMap(({ imageId }) => imageId ?? []))];
  const all = named.map((name) => samples.filter(({ imageId }) => imageId === name));
  return {
    ciou: mean(cious.map((ciou) => Number(right(ciou)))),
    auc: area(cious),
    meanIou: mean(samples.map(({ iou }) => iou)),
    iiou: mean(all.map((sources) => Number(sources.every(({ ciou }) => right(ciou))))),
    iauc: area(all.map((sources) => Math.min(...sources.map(({ ciou }) => ciou)))),
  };
}
