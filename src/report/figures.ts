/** An evaluation as a flat list of figures in percent: for tables and thresholds. */
import type { ConfidenceInterval, CutScores, Evaluation, MapName } from "../evaluation/evaluate.js";
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

/** What figures are made of: none of them reads single samples. */
type Summary = Omit<Evaluation, "perSample">;

/** A list of figures, and a function that adds one to it unless it is undefined. */
function listed() {
  const figures: Figure[] = [];
  const add = (name: string, title: string, share: number | undefined, ends?: ConfidenceInterval) => {
    if (share === undefined) return;
    const interval = ends && !ends.some(Number.isNaN) ? ([100 * ends[0], 100 * ends[1]] as const) : undefined;
    figures.push({ name, title, value: 100 * share, ...(interval ? { interval } : {}) });
  };
  return { figures, add };
}

/** Figures of one map, and those independent of a map. */
export function figuresOf(scores: Summary, map: MapName): Figure[] {
  const { figures, add } = listed();
  const own = scores[map];
  add("ciou", "cIoU@0.5", own?.ciou, own?.intervals?.ciou);
  add("auc", "AUC", own?.auc, own?.intervals?.auc);
  add("miou", "mean IoU", own?.meanIou, own?.intervals?.meanIou);
  add("miou-bg", "mean IoU, AVSBench's silent frames", own?.backgroundIou, own?.intervals?.backgroundIou);
  add("f", "F at the threshold", own?.f, own?.intervals?.f);
  add("maxf", "max F", own?.maxF, own?.intervals?.maxF);
  add("clipf", "max F, mean over clips", own?.clipF, own?.intervals?.clipF);
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
  "miou-bg",
  "f",
  "maxf",
  "clipf",
  ...recallRanks.flatMap((k) => [`a2i-r${k}`, `i2a-r${k}`]),
  "sounding",
  "ap",
  "bestf1",
  "locacc",
  "iiou",
  "iiou-auc",
];

/** Figures of one map under a protocol; empty where it was not chosen, or does not score the map. */
export function protocolFiguresOf(scores: Summary, protocol: string, map: MapName): Figure[] {
  const { figures, add } = listed();
  const own = scores.protocols?.[protocol]?.[map];
  const addCut = (cut: CutScores | undefined, suffix: string, note: string) => {
    const ends = cut?.intervals;
    add(`ciou${suffix}`, `cIoU@0.5${note}`, cut?.ciou, ends?.ciou);
    add(`auc${suffix}`, `AUC${note}`, cut?.auc, ends?.auc);
    add(`miou${suffix}`, `mean IoU${note}`, cut?.meanIou, ends?.meanIou);
    add(`iiou${suffix}`, `IIoU${note}`, cut?.iiou, ends?.iiou);
    add(`iiou-auc${suffix}`, `IIoU AUC${note}`, cut?.iauc, ends?.iauc);
  };
  addCut(own, "", "");
  addCut(own?.adaptive, "-adap", ", adaptive");
  const ends = own?.detectionIntervals;
  add("ap", "average precision", own?.ap, ends?.ap);
  add("maxf1", "max F1", own?.maxF1, ends?.maxF1);
  add("precision", "precision at cIoU > 0.5", own?.precision, ends?.precision);
  return figures;
}

const CUT_FIGURES = ["ciou", "auc", "miou", "iiou", "iiou-auc"];

/** Names of all possible figures under a protocol. */
export const protocolFigureNames: readonly string[] = [
  ...CUT_FIGURES,
  ...CUT_FIGURES.map((name) => `${name}-adap`),
  "ap",
  "maxf1",
  "precision",
];

/** One decimal, as the field writes percentages; a dash for a missing value. */
export function percentText(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(1);
}
