/** Localization metrics: cIoU of one prediction; success rate and AUC over a set. */

/**
 * cIoU = ΣPG / (ΣG + ΣP·[G = 0]).
 * @param prediction binary, row-major
 * @param groundTruth in [0, 1], same length; consensus maps have values in between
 * @returns in [0, 1]; 0 when both are empty
 */
export function ciou(prediction: ArrayLike<number>, groundTruth: ArrayLike<number>): number {
  let shared = 0;
  let object = 0;
  let outside = 0;
  for (let i = 0; i < groundTruth.length; i++) {
    const g = groundTruth[i] as number;
    const p = prediction[i] as number;
    shared += p * g;
    object += g;
    if (g === 0) outside += p;
  }
  const union = object + outside;
  return union > 0 ? shared / union : 0;
}

/** Share of samples whose cIoU reaches the threshold. NaN without samples. */
export function successRate(scores: readonly number[], threshold = 0.5): number {
  return scores.filter((score) => score >= threshold).length / scores.length;
}

/** Thresholds of the success curve: 0.05·i, i = 0 … 20. */
export const successThresholds: readonly number[] = Array.from({ length: 21 }, (_, i) => 0.05 * i);

/** Success rate at every threshold. */
export function successCurve(scores: readonly number[]): number[] {
  return successThresholds.map((threshold) => successRate(scores, threshold));
}

/** Area under the success curve by the trapezoid rule, in [0, 1]. */
export function auc(scores: readonly number[]): number {
  const curve = successCurve(scores);
  let area = 0;
  for (let i = 1; i < curve.length; i++)
    area += (0.05 * ((curve[i - 1] as number) + (curve[i] as number))) / 2;
  return area;
}

/** Mean of a map inside a mask. NaN when the mask is empty. */
export function meanInside(map: ArrayLike<number>, mask: ArrayLike<number>): number {
  let sum = 0;
  let area = 0;
  for (let i = 0; i < mask.length; i++) {
    if ((mask[i] as number) > 0) {
      sum += map[i] as number;
      area++;
    }
  }
  return sum / area;
}
