/** Summaries over all samples under a protocol. */

import type { MapName } from "../config/methods.js";
import { type ExtendedScore, localizationAccuracy } from "../metrics/extended.js";
import { iiou, worstByImage } from "../metrics/interactive.js";
import { auc, successCurve } from "../metrics/localization.js";
import { precisionOfAll, sparseAveragePrecision, sparseBestF1 } from "../metrics/sparse-extended.js";
import type { CutScore, Protocol, ProtocolSampleScore } from "./protocols.js";
import { mean, type SampleScore } from "./scorer.js";
import { type ConfidenceInterval, groupOf, type Intervals, wholeImages } from "./summaries.js";

/** One map over all sounding samples at one threshold; shares and means in [0, 1]. */
export interface CutScores {
  /** Share of samples that are a success: cIoU ≥ 0.5, or > 0.5. */
  readonly ciou: number;
  readonly auc: number;
  /** Share with cIoU ≥ 0, 0.05, …, 1. */
  readonly curve: readonly number[];
  readonly meanIou: number;
  /** Share of images whose every source is a success; present where samples are sources of images. */
  readonly iiou?: number;
  /** Its area over the thresholds 0, 0.05, …, 1. */
  readonly iauc?: number;
  /** Images left out because one of their sources was not scored. */
  readonly incomplete?: number;
  readonly intervals?: {
    readonly ciou: ConfidenceInterval;
    readonly auc: ConfidenceInterval;
    readonly meanIou: ConfidenceInterval;
    readonly iiou?: ConfidenceInterval;
    readonly iauc?: ConfidenceInterval;
  };
}

/** One map under a protocol. */
export interface ProtocolScores extends CutScores {
  /** By the adaptive threshold, where the protocol has it too. */
  readonly adaptive?: CutScores;
  /** Of protocols with confidences: average precision on some 200 thresholds, with silent pairs. */
  readonly ap?: number;
  /** The highest F1 on some 10 thresholds. */
  readonly maxF1?: number;
  /** Share of sounding samples with cIoU > 0.5. */
  readonly precision?: number;
  /** The same by size of the object, at cIoU ≥ 0.5 and ≥ 0.75. */
  readonly sizes?: readonly SizeScores[];
  readonly detectionIntervals?: {
    readonly ap: ConfidenceInterval;
    readonly maxF1: ConfidenceInterval;
    readonly precision: ConfidenceInterval;
  };
}

/** Pairs of one size, by the pixels of the object on a 224 × 224 grid. */
export interface SizeScores {
  /** "all" with silent pairs, "visible" without; below 32², 96², 144², and from there on. */
  readonly size: SizeName;
  /** A pair is right from this cIoU on. */
  readonly success: number;
  readonly samples: number;
  /** Share of the pairs that sound and are right. */
  readonly precision: number;
  readonly ap: number;
  readonly maxF1: number;
  /** Of the sounding ones, at all thresholds. */
  readonly auc: number;
}

/** A group of pairs by the size of their object. */
export type SizeName = "all" | "visible" | "small" | "medium" | "large" | "huge";

const GRID_PIXELS = 224 ** 2;
const SIZES: readonly (readonly [SizeName, from: number, until: number])[] = [
  ["small", 0, 32 ** 2],
  ["medium", 32 ** 2, 96 ** 2],
  ["large", 96 ** 2, 144 ** 2],
  ["huge", 144 ** 2, Number.POSITIVE_INFINITY],
];

/** A map of the samples under a protocol. */
export async function protocolScores(
  protocol: Protocol,
  name: MapName,
  samples: readonly SampleScore[],
  intervals: Intervals,
): Promise<ProtocolScores> {
  const of = (sample: SampleScore) => sample.protocols?.[protocol.name]?.[name];
  const at = (cut: (score: ProtocolSampleScore) => Partial<CutScore> | undefined) =>
    cutScores(
      protocol,
      samples,
      (sample) => {
        const own = of(sample);
        const found = own && cut(own);
        return found?.ciou === undefined ? undefined : (found as CutScore);
      },
      intervals,
    );
  return {
    ...(await at((score) => score)),
    ...(protocol.adaptive ? { adaptive: await at(({ adaptive }) => adaptive) } : {}),
    ...(protocol.confidence === undefined ? {} : await detectionScores(samples, of, intervals)),
  };
}

async function cutScores(
  { success }: Protocol,
  samples: readonly SampleScore[],
  of: (sample: SampleScore) => CutScore | undefined,
  intervals: Intervals,
): Promise<CutScores> {
  const found = (ciou: number) => ((success === ">" ? ciou > 0.5 : ciou >= 0.5) ? 1 : 0);
  const area = (ciou: number) => auc([ciou]);
  const scored = samples.filter((sample) => of(sample) !== undefined);
  const scores = scored.map((sample) => of(sample) as CutScore);
  const cious = scores.map(({ ciou }) => ciou);
  const ious = scores.map(({ iou }) => iou);
  const interactive = samples.some(({ imageId }) => imageId !== undefined);
  const { whole, incomplete } = wholeImages(samples, (sample) => of(sample)?.ciou);
  const worst = worstByImage(whole);
  const lowest = [...worst.values()];
  const figures = {
    ciou: mean(cious.map(found)),
    auc: auc(cious),
    curve: successCurve(cious),
    meanIou: mean(ious),
    ...(interactive ? { iiou: mean(lowest.map(found)), iauc: iiou(whole).auc, incomplete } : {}),
  };
  if (!intervals.wanted) return figures;
  const groups = scored.map(groupOf);
  const images = [...worst.keys()];
  return {
    ...figures,
    intervals: {
      ciou: await intervals.ofMean(cious.map(found), groups),
      auc: await intervals.ofMean(cious.map(area), groups),
      meanIou: await intervals.ofMean(ious, groups),
      ...(interactive
        ? {
            iiou: await intervals.ofMean(lowest.map(found), images),
            iauc: await intervals.ofMean(lowest.map(area), images),
          }
        : {}),
    },
  };
}

interface Pair extends ExtendedScore {
  readonly group: string;
  /** Of the object on a 224 × 224 grid. */
  readonly pixels: number;
}

async function detectionScores(
  samples: readonly SampleScore[],
  of: (sample: SampleScore) => ProtocolSampleScore | undefined,
  intervals: Intervals,
): Promise<Pick<ProtocolScores, "ap" | "maxF1" | "precision" | "sizes" | "detectionIntervals">> {
  const pairs = samples
    .flatMap((sample): Pair[] => {
      const { confidence, ciou = 0 } = of(sample) ?? {};
      if (confidence === undefined) return [];
      const { sounding, area = 0 } = sample;
      // An annotation has whole and half pixels: rounding takes the error of the share away.
      const pixels = Math.round(2 * area * GRID_PIXELS) / 2;
      return [{ confidence, ciou, sounding, group: groupOf(sample), pixels }];
    })
    .sort((a, b) => b.confidence - a.confidence);
  const groups = pairs.map(({ group }) => group);
  const ends = (metric: (some: readonly ExtendedScore[]) => number) =>
    intervals.of(
      pairs.length,
      (indices) => metric(Array.from(indices, (i) => pairs[i] as ExtendedScore)),
      groups,
    );
  // The next number after 0.5: cIoU > 0.5.
  const strictly = (some: readonly ExtendedScore[]) => localizationAccuracy(some, 0.5 + 2 ** -53);
  return {
    ap: sparseAveragePrecision(pairs),
    maxF1: sparseBestF1(pairs),
    precision: strictly(pairs),
    sizes: [0.5, 0.75].flatMap((success) => sizeScores(pairs, success)),
    ...(intervals.wanted
      ? {
          detectionIntervals: {
            ap: await ends(sparseAveragePrecision),
            maxF1: await ends(sparseBestF1),
            precision: await ends(strictly),
          },
        }
      : {}),
  };
}

function sizeScores(pairs: readonly Pair[], success: number): SizeScores[] {
  const visible = pairs.filter(({ sounding }) => sounding);
  const groups: readonly (readonly [SizeName, readonly Pair[]])[] = [
    ["all", pairs],
    ["visible", visible],
    ...SIZES.map(
      ([size, from, until]) =>
        [size, visible.filter(({ pixels }) => pixels >= from && pixels < until)] as const,
    ),
  ];
  return groups.map(([size, members]) => ({
    size,
    success,
    samples: members.length,
    precision: precisionOfAll(members, success),
    ap: sparseAveragePrecision(members, success),
    maxF1: sparseBestF1(members, success),
    auc: auc(members.filter(({ sounding }) => sounding).map(({ ciou }) => ciou)),
  }));
}
