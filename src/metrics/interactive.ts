/**
 * Interactive localization (IS3: Senocak et al., Aligning Sight and Sound): one image has several sources, and the
 * audio of each has to be localized at its own source.
 */
import { auc, successCurve, successRate } from "./localization.js";

/** One source of an image, localized by its own audio. */
export interface SourceScore {
  /** Shared by the sources of one image. */
  readonly imageId: string;
  readonly ciou: number;
}

/** How many images have all of their sources found. */
export interface InteractiveScores {
  /** Number of images. */
  readonly images: number;
  /** Share of images whose every source has cIoU ≥ 0.5. */
  readonly iiou: number;
  /** Area under `curve` by the trapezoid rule. */
  readonly auc: number;
  /** The share at thresholds 0.05·i, i = 0 … 20. */
  readonly curve: readonly number[];
}

/** The lowest cIoU among the sources of each image, by image, in the order of their first source. */
export function worstByImage(scores: readonly SourceScore[]): Map<string, number> {
  const worst = new Map<string, number>();
  for (const { imageId, ciou } of scores) {
    worst.set(imageId, Math.min(ciou, worst.get(imageId) ?? Number.POSITIVE_INFINITY));
  }
  return worst;
}

/**
 * Interactive IoU and its AUC. Every source of an image reaches a threshold exactly when its worst one does. These are
 * therefore the success rate, curve and area of the images' lowest cIoU.
 * @returns shares in [0, 1]; NaN without images
 */
export function iiou(scores: readonly SourceScore[]): InteractiveScores {
  const worst = [...worstByImage(scores).values()];
  return { images: worst.length, iiou: successRate(worst), auc: auc(worst), curve: successCurve(worst) };
}
