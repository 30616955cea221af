/**
 * Metrics for lists in which some audio has no source in the image, as on extended VGG-SS and extended
 * Flickr-SoundNet (SLAVC: Mo and Morgado, NeurIPS 2022). A model has to find the source and to detect when none exists.
 *
 * A pair is *confident* at a threshold when its confidence reaches it (≥), and *right* when its cIoU reaches 0.5.
 *
 * |                  | confident, right | confident, not right | not confident      |
 * | ---------------- | ---------------- | -------------------- | ------------------ |
 * | it sounds        | true positive    | false positive       | false negative     |
 * | nothing sounds   | false positive   | false positive       | (true negative)    |
 *
 * A sounding pair that is localized in the wrong place is thus a false positive and *not* a false negative: it lowers
 * precision and leaves recall's denominator. Recall never falls as the threshold does, and ends at 1.
 */
import { successRate } from "./localization.js";

/** A pair of an extended list; some pairs have no sounding source. */
export interface ExtendedScore {
  /** Confidence that something in the image sounds; a finite number on any scale, only its order counts. */
  readonly confidence: number;
  /** Not read when nothing sounds. */
  readonly ciou: number;
  /** Something in the image makes the sound. */
  readonly sounding: boolean;
}

/** Precision and recall at a threshold on the confidence. */
export interface OperatingPoint {
  /** A pair counts as confident from this value on. */
  readonly threshold: number;
  /** TP / (TP + FP), in [0, 1]. */
  readonly precision: number;
  /** TP / (TP + FN), in [0, 1]; 1 when both are 0, every sounding pair being confident and wrong. */
  readonly recall: number;
  /** 2·TP / (2·TP + FP + FN), in [0, 1]. */
  readonly f1: number;
}

/**
 * Precision and recall at every confidence that occurs, the highest first. Pairs of the same confidence pass the
 * threshold together: their order does not matter. Empty when no pair is sounding, because recall is undefined then.
 */
export function operatingPoints(scores: readonly ExtendedScore[], success = 0.5): OperatingPoint[] {
  let missed = 0; // sounding pairs below the threshold
  for (const { sounding } of scores) if (sounding) missed++;
  if (missed === 0) return [];
  const descending = [...scores].sort((a, b) => b.confidence - a.confidence);
  const points: OperatingPoint[] = [];
  let right = 0;
  for (let i = 0; i < descending.length; i++) {
    const { confidence, ciou, sounding } = descending[i] as ExtendedScore;
    if (sounding) {
      missed--;
      if (ciou >= success) right++;
    }
    if (descending[i + 1]?.confidence === confidence) continue;
    const confident = i + 1;
    points.push({
      threshold: confidence,
      precision: right / confident,
      recall: right + missed > 0 ? right / (right + missed) : 1,
      f1: right > 0 ? (2 * right) / (right + confident + missed) : 0,
    });
  }
  return points;
}

/**
 * Average precision: the area under the interpolated precision–recall curve,
 *
 *     AP = Σₖ (Rₖ − Rₖ₋₁) · max over j ≥ k of Pⱼ,   R₀ = 0,
 *
 * over the points k of {@link operatingPoints}, from the highest threshold to the lowest. SLAVC's own script
 * interpolates alike, but on about 200 of the thresholds, without the highest one and the recall that it reaches, and
 * with each step of recall at the precision before it. On a few thousand pairs this changes AP by fractions of a point.
 * @returns in [0, 1]; 0 when no sounding pair is right. NaN without sounding pairs.
 */
export function averagePrecision(scores: readonly ExtendedScore[], success = 0.5): number {
  const points = operatingPoints(scores, success);
  if (points.length === 0) return Number.NaN;
  let area = 0;
  let best = 0;
  for (let k = points.length - 1; k >= 0; k--) {
    const { precision, recall } = points[k] as OperatingPoint;
    best = Math.max(best, precision);
    area += (recall - (points[k - 1]?.recall ?? 0)) * best;
  }
  return area;
}

/**
 * The highest F1 = 2PR / (P + R) over all thresholds, and the confidence threshold that gives it, the highest one of
 * several. SLAVC's own script tries about ten thresholds only: its figure is never above this one.
 * @returns F1 in [0, 1]. Both NaN without sounding pairs.
 */
export function bestF1(scores: readonly ExtendedScore[], success = 0.5): { f1: number; threshold: number } {
  let best = { f1: Number.NaN, threshold: Number.NaN };
  for (const { f1, threshold } of operatingPoints(scores, success)) {
    if (!(f1 <= best.f1)) best = { f1, threshold };
  }
  return best;
}

/**
 * Share of the sounding pairs whose cIoU reaches 0.5, whatever their confidence (SLAVC's own script takes > 0.5).
 * @returns in [0, 1]; NaN without sounding pairs
 */
export function localizationAccuracy(scores: readonly ExtendedScore[], success = 0.5): number {
  const sounding = scores.filter((score) => score.sounding);
  return successRate(
    sounding.map((score) => score.ciou),
    success,
  );
}
