/** An evaluation as a flat list of figures in percent: for tables and thresholds. */
import type { ConfidenceInterval, Evaluation, MapName } from "../evaluation/evaluate.js";
import { recallRanks } from "../evaluation/retrieve.js";

export interface Figure {
  /** Short name, such as `ciou` or `a2i-r1`. */
  readonly name: string;
  /** Name in a table. */
  readonly title: string;
  /** In percent; NaN where it cannot be computed. */
  readonly value: number;
  /** 95 % interval in percent. */
  readonly interval?: ConfidenceInterval;
}

/** Figures of one map, and those independent of a map. */
export function figuresOf(scores: Evaluation, map: MapName): Figure[] {
  const figures: Figure[] = [];
  const add = (name: string, title: string, share: number | undefined, ends?: ConfidenceInterval) => {
    if (share === undefined) return;
    const interval = ends && !ends.some(Number.isNaN) ? ([100 * ends[0], 100 * ends[1]] as const) : undefined;
    figures.push({ name, title, value: 100 * share, ...(interval ? { interval } : {}) });
  };
  const own = scores[map];
  add("ciou", "cIoU@0.5", own?.ciou, own?.intervals?.ciou);
  add("auc", "AUC", own?.auc, own?.intervals?.auc);
  add("miou", "mean IoU", own?.meanIou, own?.intervals?.meanIou);
  add("f", "F at the threshold", own?.f, own?.intervals?.f);
  add("maxf", "max F", own?.maxF, own?.intervals?.maxF);
  const { retrieval, extended, interactive } = scores;
  for (const [i, k] of recallRanks.entries()) {
    add(
      `a2i-r${k}`,
      `R@${k} audio → image`,
      retrieval?.audioToImage[i],
      retrieval?.intervals?.audioToImage[i],
    );
    add(
      `i2a-r${k}`,
      `R@${k} image → audio`,
      retrieval?.imageToAudio[i],
      retrieval?.intervals?.imageToAudio[i],
    );
  }
  add("sounding", "sounding over silent", scores.soundingOverSilent, scores.soundingOverSilentInterval);
  const detection = extended?.[map];
  add("ap", "average precision", detection?.averagePrecision, detection?.intervals?.averagePrecision);
  add("bestf1", "best F1", detection?.bestF1, detection?.intervals?.bestF1);
  add(
    "locacc",
    "localization accuracy",
    detection?.localizationAccuracy,
    detection?.intervals?.localizationAccuracy,
  );
  const every = interactive?.[map];
  add("iiou", "IIoU", every?.iiou, every?.intervals?.iiou);
  add("iiou-auc", "IIoU AUC", every?.auc, every?.intervals?.auc);
  return figures;
}

/** Names of all possible figures. */
export const figureNames: readonly string[] = [
  "ciou",
  "auc",
  "miou",
  "f",
  "maxf",
  ...recallRanks.flatMap((k) => [`a2i-r${k}`, `i2a-r${k}`]),
  "sounding",
  "ap",
  "bestf1",
  "locacc",
  "iiou",
  "iiou-auc",
];

/** One decimal, as the field writes percentages; a dash for a missing value. */
export function percentText(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(1);
}
