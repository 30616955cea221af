/**
 * Interactive localization (IS3: Senocak et al., Aligning Sight and Sound): one picture, several sources, and each
 * sound has to be found at its own source.
 */
import { auc, successCurve, successRate } from "./localization.js";

/** One source of a picture, localized by its own sound. */
export interface SourceScore {
  /** Shared by the sources of one picture. */
  readonly picture: string;
  readonly ciou: number;
}

/** How many pictures have all of their sources found. */
export interface InteractiveScores {
  /** How many pictures there are. */
  readonly pictures: number;
  /** Share of pictures whose every source has cIoU ≥ 0.5. */
  readonly iiou: number;
  /** Area under `curve` by the trapezoid rule. */
  readonly auc: number;
  /** The share at thresholds 0.05·i, i = 0 … 20. */
  readonly curve: readonly number[];
}

/** The lowest cIoU among the sources of each picture, by picture, in the order of their first source. */
export function worstByPicture(scores: readonly SourceScore[]): Map<string, number> {
  const worst = new Map<string, number>();
  for (const { picture, ciou } of scores) {
    worst.set(picture, Math.min(ciou, worst.get(picture) ?? Number.POSITIVE_INFINITY));
  }
  return worst;
}

/**
 * Interactive IoU and its AUC. Every source of a picture reaches a threshold exactly when its worst one does, so these
 * are the success rate, curve and area of the pictures' lowest cIoU.
 * @returns shares in [0, 1]; NaN without pictures
 */
export function iiou(scores: readonly SourceScore[]): InteractiveScores {
  const worst = [...worstByPicture(scores).values()];
  return { pictures: worst.length, iiou: successRate(worst), auc: auc(worst), curve: successCurve(worst) };
}
