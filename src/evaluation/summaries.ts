/** Summaries over all samples: headline figures with intervals, groups of samples, special benchmarks. */
import { type BootstrapOptions, bootstrapInterval, bootstrapStatistic } from "../metrics/bootstrap.js";
import { averagePrecision, bestF1, type ExtendedScore, localizationAccuracy } from "../metrics/extended.js";
import { byArea, byLabel } from "../metrics/grouping.js";
import { type InteractiveScores, iiou, type SourceScore, worstByImage } from "../metrics/interactive.js";
import { auc, successCurve, successRate } from "../metrics/localization.js";
import { FCurve } from "../metrics/segmentation.js";
import { type MapName, type MapScore, mean, type SampleScore, type Scorer } from "./scorer.js";

/** The two ends. */
export type ConfidenceInterval = readonly [low: number, high: number];

/** Scores of one map over all sounding samples; shares and means in [0, 1]. */
export interface MapScores {
  /** Share of samples with cIoU ≥ 0.5. */
  readonly ciou: number;
  readonly auc: number;
  /** Success rate at thresholds 0, 0.05, …, 1. */
  readonly curve: readonly number[];
  readonly meanIou: number;
  /**
   * The same by AVSBench's own rule for frames with an empty mask, the share of pixels that are not predicted. Present
   * where a ground truth is empty.
   */
  readonly backgroundIou?: number;
  /** Mean F at the threshold, β² = 0.3, over samples whose ground truth is not empty. */
  readonly f: number;
  /** F as AVSBench defines it: the maximum over 255 thresholds of the mean over samples. */
  readonly maxF: number;
  /**
   * Mean over clips of the maximum over 255 thresholds of the mean over a clip's frames: AVSBench's script in batches of
   * one clip. Clips with empty masks alone are left out. Present where samples are frames of clips.
   */
  readonly clipF?: number;
  readonly intervals?: {
    readonly ciou: ConfidenceInterval;
    readonly auc: ConfidenceInterval;
    readonly meanIou: ConfidenceInterval;
    readonly f: ConfidenceInterval;
    readonly backgroundIou?: ConfidenceInterval;
    /** Where samples are frames of clips, as AVSBench's are. */
    readonly maxF?: ConfidenceInterval;
    readonly clipF?: ConfidenceInterval;
  };
}

/** How well one map detects samples whose audio has no source in the image. */
export interface ExtendedScores {
  readonly averagePrecision: number;
  readonly bestF1: number;
  /** The confidence threshold that gives it. */
  readonly threshold: number;
  readonly localizationAccuracy: number;
  readonly intervals?: {
    readonly averagePrecision: ConfidenceInterval;
    readonly bestF1: ConfidenceInterval;
    readonly localizationAccuracy: ConfidenceInterval;
  };
}

/** Images whose every source has to be found, by one map. */
export interface SourcesScores extends InteractiveScores {
  /** Images left out because one of their sources was not scored. */
  readonly incomplete: number;
  readonly intervals?: { readonly iiou: ConfidenceInterval; readonly auc: ConfidenceInterval };
}

/** One map on some of the samples, each in [0, 1]. */
export interface GroupScores {
  /** Share of samples with cIoU ≥ 0.5. */
  readonly ciou: number;
  readonly auc: number;
  readonly meanIou: number;
  /** NaN where every ground truth is empty. */
  readonly f: number;
}

/** Scores of the samples of one class. */
export interface ClassScores {
  readonly label: string;
  /** Sounding samples of the class. */
  readonly samples: number;
  readonly maps: Readonly<Partial<Record<MapName, GroupScores>>>;
  /** R@1 from its audio to images, and from its images to audio. */
  readonly audioToImage?: number;
  readonly imageToAudio?: number;
  /** The other class that its audio finds first most often, and the share of samples that do; absent when none. */
  readonly confusedWith?: { readonly label: string; readonly share: number };
}

/** A quarter of all samples, by the share of the image that the sounding object covers. */
export interface AreaScores {
  /** The smallest and the greatest share of the image. */
  readonly from: number;
  readonly to: number;
  readonly samples: number;
  readonly maps: Readonly<Partial<Record<MapName, GroupScores>>>;
}

export const found = (ciou: number): number => (ciou >= 0.5 ? 1 : 0);
/** Dependent samples are drawn together: the frames of a clip, the sources of an image. */
export const groupOf = ({ clip, imageId, id }: SampleScore) => clip ?? imageId ?? id;

/** Intervals under one set of options, or none. */
export class Intervals {
  readonly #options: BootstrapOptions | undefined;

  constructor(
    bootstrap: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#options = bootstrap === false ? undefined : { ...bootstrap, signal };
  }

  get wanted(): boolean {
    return this.#options !== undefined;
  }

  async ofMean(values: readonly number[], groups: readonly string[]): Promise<ConfidenceInterval> {
    const { low, high } = await bootstrapInterval(values, { ...this.#options, groups });
    return [low, high];
  }

  async of(
    count: number,
    statistic: (indices: Uint32Array) => number,
    groups?: readonly string[],
  ): Promise<ConfidenceInterval> {
    const { low, high } = await bootstrapStatistic(count, statistic, {
      ...this.#options,
      ...(groups ? { groups } : {}),
    });
    return [low, high];
  }
}

/** Headline figures of one map. */
export async function mapScores(name: MapName, scorer: Scorer, intervals: Intervals): Promise<MapScores> {
  const scored = scorer.samples.filter((sample) => sample[name] !== undefined);
  const scores = scored.map((sample) => sample[name] as MapScore);
  const cious = scores.map(({ ciou }) => ciou);
  const ious = scores.map(({ iou }) => iou);
  const counted = scored.filter((_, i) => !Number.isNaN(scores[i]?.f));
  const fs = counted.map((sample) => (sample[name] as MapScore).f);
  const backgroundIous = scores.some(({ backgroundIou }) => backgroundIou !== undefined)
    ? scores.map(({ iou, backgroundIou }) => backgroundIou ?? iou)
    : undefined;
  const clips = scorer.clipCurves(name);
  const clipFs = clips.map((clip) => clip.max()).filter((f) => !Number.isNaN(f));
  const figures = {
    ciou: successRate(cious),
    auc: auc(cious),
    curve: successCurve(cious),
    meanIou: mean(ious),
    ...(backgroundIous ? { backgroundIou: mean(backgroundIous) } : {}),
    f: mean(fs),
    maxF: scorer.maxF(name),
    ...(clips.length > 0 ? { clipF: mean(clipFs) } : {}),
  };
  if (!intervals.wanted) return figures;
  const groups = scored.map(groupOf);
  const maxF = await maxFInterval(clips, intervals);
  return {
    ...figures,
    intervals: {
      ciou: await intervals.ofMean(cious.map(found), groups),
      auc: await intervals.ofMean(
        cious.map((value) => auc([value])),
        groups,
      ),
      meanIou: await intervals.ofMean(ious, groups),
      ...(backgroundIous ? { backgroundIou: await intervals.ofMean(backgroundIous, groups) } : {}),
      f: await intervals.ofMean(fs, counted.map(groupOf)),
      ...(maxF ? { maxF } : {}),
      ...(clips.length > 0
        ? {
            clipF: await intervals.ofMean(
              clipFs,
              clipFs.map((_, i) => String(i)),
            ),
          }
        : {}),
    },
  };
}

/** Interval of the maximum over thresholds, whole clips drawn; undefined without clips. */
async function maxFInterval(
  clips: readonly FCurve[],
  intervals: Intervals,
): Promise<ConfidenceInterval | undefined> {
  if (clips.length === 0) return undefined;
  return intervals.of(clips.length, (indices) => {
    const drawn = new FCurve();
    for (const i of indices) drawn.addAll(clips[i] as FCurve);
    return drawn.max();
  });
}

/** Metric of each map. */
export async function byMap<T>(
  names: readonly MapName[],
  metric: (name: MapName) => Promise<T>,
): Promise<Partial<Record<MapName, T>>> {
  const result: Partial<Record<MapName, T>> = {};
  for (const name of names) result[name] = await metric(name);
  return result;
}

export async function extendedScores(
  samples: readonly SampleScore[],
  name: MapName,
  intervals: Intervals,
): Promise<ExtendedScores> {
  const descending = samples.toSorted((a, b) => b.confidence - a.confidence);
  const scores = descending.map(
    ({ confidence, sounding, [name]: score }): ExtendedScore => ({
      confidence,
      sounding,
      ciou: score?.ciou ?? 0,
    }),
  );
  const { f1, threshold } = bestF1(scores);
  const groups = descending.map(groupOf);
  const ends = (metric: (scores: readonly ExtendedScore[]) => number) =>
    intervals.of(
      scores.length,
      (indices) => metric(Array.from(indices, (i) => scores[i] as ExtendedScore)),
      groups,
    );
  return {
    averagePrecision: averagePrecision(scores),
    bestF1: f1,
    threshold,
    localizationAccuracy: localizationAccuracy(scores),
    ...(intervals.wanted
      ? {
          intervals: {
            averagePrecision: await ends(averagePrecision),
            bestF1: await ends((some) => bestF1(some).f1),
            localizationAccuracy: await ends(localizationAccuracy),
          },
        }
      : {}),
  };
}

/**
 * Sources of the images that were scored whole. Images with a source missing cannot show whether every source is found:
 * they are counted as incomplete.
 */
export function wholeImages(
  samples: readonly SampleScore[],
  ciouOf: (sample: SampleScore) => number | undefined,
): { readonly whole: readonly SourceScore[]; readonly incomplete: number } {
  const sources = samples.flatMap((sample) => {
    const { imageId, sources: all } = sample;
    const ciou = ciouOf(sample);
    return imageId === undefined || ciou === undefined ? [] : [{ imageId, all, ciou }];
  });
  const scored = new Map<string, number>();
  for (const { imageId } of sources) scored.set(imageId, (scored.get(imageId) ?? 0) + 1);
  const whole = sources.filter(({ imageId, all }) => all === undefined || scored.get(imageId) === all);
  return { whole, incomplete: scored.size - new Set(whole.map(({ imageId }) => imageId)).size };
}

export async function sourcesScores(
  samples: readonly SampleScore[],
  name: MapName,
  intervals: Intervals,
): Promise<SourcesScores> {
  const { whole, incomplete } = wholeImages(samples, ({ [name]: score }) => score?.ciou);
  const worst = worstByImage(whole);
  const lowest = [...worst.values()];
  const images = [...worst.keys()];
  return {
    ...iiou(whole),
    incomplete,
    ...(intervals.wanted
      ? {
          intervals: {
            iiou: await intervals.ofMean(lowest.map(found), images),
            auc: await intervals.ofMean(
              lowest.map((value) => auc([value])),
              images,
            ),
          },
        }
      : {}),
  };
}

/** Share of samples where the audio map is hotter inside the sounding object; empty where no silent object is known. */
export async function soundingOverSilent(samples: readonly SampleScore[], intervals: Intervals) {
  const both = samples.filter(
    ({ insideSounding, insideSilent }) => insideSounding !== undefined && insideSilent !== undefined,
  );
  if (both.length === 0) return {};
  const hotter = both.map(({ insideSounding = 0, insideSilent = 0 }) =>
    insideSounding > insideSilent ? 1 : 0,
  );
  return {
    soundingOverSilent: mean(hotter),
    ...(intervals.wanted
      ? { soundingOverSilentInterval: await intervals.ofMean(hotter, both.map(groupOf)) }
      : {}),
  };
}

function groupScores(samples: readonly SampleScore[], names: readonly MapName[]): ClassScores["maps"] {
  const result: Partial<Record<MapName, GroupScores>> = {};
  for (const name of names) {
    const scores = samples.flatMap(({ [name]: score }) => score ?? []);
    const cious = scores.map(({ ciou }) => ciou);
    result[name] = {
      ciou: successRate(cious),
      auc: auc(cious),
      meanIou: mean(scores.map(({ iou }) => iou)),
      f: mean(scores.map(({ f }) => f).filter((f) => !Number.isNaN(f))),
    };
  }
  return result;
}

/** The classes of the sounding samples, each by itself. */
export function classScores(samples: readonly SampleScore[], names: readonly MapName[]): ClassScores[] {
  const labels = new Map(samples.map(({ id, label }) => [id, label]));
  const sounding = samples.filter((sample) => sample.sounding);
  return byLabel(sounding).map(({ label, samples: members }) => {
    const found = members.flatMap(({ retrieval }) => retrieval ?? []);
    const first = (rank: "imageRank" | "audioRank") =>
      mean(found.map(({ [rank]: own }) => (own === 1 ? 1 : 0)));
    const wrong = found
      .map(({ images: [nearest = ""] }) => labels.get(nearest))
      .filter((other) => other !== undefined && other !== label) as string[];
    const [most] = byLabel(wrong.map((other) => ({ label: other }))).sort(
      (a, b) => b.samples.length - a.samples.length,
    );
    return {
      label,
      samples: members.length,
      maps: groupScores(members, names),
      ...(found.length > 0 ? { audioToImage: first("imageRank"), imageToAudio: first("audioRank") } : {}),
      ...(most ? { confusedWith: { label: most.label, share: most.samples.length / members.length } } : {}),
    };
  });
}

/** Quarters of the samples by the area of the sounding object. */
export function areaScores(samples: readonly SampleScore[], names: readonly MapName[]): AreaScores[] {
  return byArea(samples.filter((sample) => sample.sounding)).map(({ from, to, samples: members }) => ({
    from,
    to,
    samples: members.length,
    maps: groupScores(members, names),
  }));
}
