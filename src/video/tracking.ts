/** Attention over the frames of a video: known at some, smoothed over time, interpolated between. */
import type { TensorData } from "../core/types.js";

/** The result of localization in one frame: of the target slots, on the image's grid. */
export interface Tracked {
  /** Audio queries [T, h, w]. */
  readonly audio: TensorData;
  /** Image queries [T, h, w], of methods whose image has a map of its own. */
  readonly image?: TensorData;
  /** Cosine of the target slots. */
  readonly confidence: number;
}

const blendData = (maps: readonly TensorData[], weights: readonly number[]): TensorData => {
  const [first] = maps as [TensorData];
  const data = new Float32Array(first.data.length);
  for (const [i, map] of maps.entries()) {
    const weight = weights[i] as number;
    for (let at = 0; at < data.length; at++)
      data[at] = (data[at] as number) + weight * (map.data[at] as number);
  }
  return { data, shape: first.shape };
};

/** The sum of localizations by weights. */
export function weighted(all: readonly Tracked[], weights: readonly number[]): Tracked {
  const images = all.flatMap(({ image }) => image ?? []);
  return {
    audio: blendData(
      all.map(({ audio }) => audio),
      weights,
    ),
    ...(images.length === all.length ? { image: blendData(images, weights) } : {}),
    confidence: all.reduce((sum, { confidence }, i) => sum + (weights[i] as number) * confidence, 0),
  };
}

/** Localized frames that smoothing over `deviation` seconds looks at on each side, `step` seconds apart: two deviations. */
export function reachOf(deviation: number, step: number): number {
  return deviation > 0 ? Math.ceil((2 * deviation) / step) : 0;
}

/** The mean around `at` by a Gaussian over time; where there is nothing, at the ends, the rest counts for more. */
export function smoothed(all: readonly Tracked[], at: number, deviation: number, step: number): Tracked {
  const reach = reachOf(deviation, step);
  if (reach === 0) return all[at] as Tracked;
  const from = Math.max(0, at - reach);
  const near = all.slice(from, at + reach + 1);
  const raw = near.map((_, i) => Math.exp(-0.5 * (((from + i - at) * step) / deviation) ** 2));
  const sum = raw.reduce((a, b) => a + b);
  return weighted(
    near,
    raw.map((weight) => weight / sum),
  );
}
