/** Scores a model on a dataset: localization, segmentation, retrieval, and knowing when nothing sounds (section 1.10). */

import { sharpeningOf } from "../config/methods.js";
import {
  aCount,
  aFunction,
  anInteger,
  anObject,
  aSignal,
  check,
  checkFields,
  oneOf,
} from "../core/arguments.js";
import { throwIfAborted } from "../core/errors.js";
import type { Mask, TruthMap } from "../core/types.js";
import type { SkippedSample } from "../datasets/damage.js";
import type { Dataset, MissingSample, Sample } from "../datasets/dataset.js";
import { aDataset } from "../datasets/dataset.js";
import { aGroup, checkSameWork, type ProcessGroup, shareOf } from "../distributed/process-group.js";
import type { BootstrapOptions } from "../metrics/bootstrap.js";
import { computedPrecision, type Precision } from "../model/compute.js";
import { aModel } from "../model/loaded.js";
import { localizePrepared } from "../model/localize.js";
import type { Model } from "../model/model.js";
import type { Objectness } from "../model/objectness.js";
import { anObjectness } from "../model/objectness.js";
import type { Spot } from "../model/spot.js";
import { type LoadedSample, loadBatches } from "./batches.js";
import { Embeddings } from "./embeddings.js";
import { type ExclusionOptions, type Exclusions, exclusionsAmong } from "./false-negatives.js";
import { type Retrieval, retrievalOf } from "./retrieve.js";
import { type MapName, mapNames, nextTurn, type SampleScore, Scorer, truthOf } from "./scorer.js";
import {
  type AreaScores,
  areaScores,
  byMap,
  type ClassScores,
  classScores,
  type Ends,
  type ExtendedScores,
  extendedScores,
  heardOverSilent,
  Intervals,
  type MapScores,
  mapScores,
  type SourcesScores,
  sourcesScores,
} from "./summaries.js";

export {
  type MapName,
  type MapScore,
  mapNames,
  mapsOf,
  type SampleScore,
  truthOf,
} from "./scorer.js";
export type {
  AreaScores,
  ClassScores,
  Ends,
  ExtendedScores,
  GroupScores,
  MapScores,
  SourcesScores,
} from "./summaries.js";

/** What is scored, on what, and how. */
export interface EvaluateOptions {
  readonly model: Model;
  readonly data: Dataset;
  /** Samples from the start of the dataset; default all. */
  readonly limit?: number;
  /** Default 16. */
  readonly batchSize?: number;
  /** Default the checkpoint's. */
  readonly sharpening?: number;
  /** Default 0.6. */
  readonly threshold?: number;
  /** α, the audio map's share of the refinements. Default 0.4. */
  readonly alpha?: number;
  /** Of the encoders. Default "float32", so that scores do not depend on the processor. */
  readonly precision?: Precision;
  /** An ImageNet ResNet-18; with it the maps "ogl" and "combined" are scored too. */
  readonly objectness?: Objectness;
  /** Sample i hears the sound of sample i + shift: a control in which sound and picture do not belong together. */
  readonly soundShift?: number;
  /** "skip" goes on without samples that cannot be read and lists them in `skipped`. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  /** Confidence intervals; false makes none. Default 1000 resamples, 95 %, seed 0. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false;
  /** How false negatives are predicted among labelled samples, for `exclusions`; false does not. */
  readonly falseNegatives?: ExclusionOptions | false;
  /** Processes that share the work: all call `evaluate` with the same options, and all are given the whole result. */
  readonly group?: ProcessGroup;
  readonly signal?: AbortSignal | undefined;
  /** In a group, of this process's share. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called for every sample that this process scores, in order; the score has no `retrieval` yet, which takes all samples. */
  readonly onSample?: (sample: Sample, spot: Spot, score: SampleScore) => void | Promise<void>;
}

/** Scores of a model on a dataset, in all and sample by sample. */
export interface Evaluation {
  readonly dataset: string;
  /** Samples scored, those without a source in the picture included. */
  readonly samples: number;
  readonly audio: MapScores;
  readonly image: MapScores;
  readonly iqr: MapScores;
  readonly ogl?: MapScores;
  readonly combined?: MapScores;
  /** Absent without labels. */
  readonly retrieval?: Retrieval;
  /** What the contrastive loss would have left out among these samples; absent without labels, or with few samples. */
  readonly exclusions?: Exclusions;
  /** Share of samples where the audio map is hotter inside what is heard than inside the first silent object. */
  readonly heardOverSilent?: number;
  readonly heardOverSilentInterval?: Ends;
  /** Present when the sound of some samples is of nothing in the picture. */
  readonly extended?: Readonly<Partial<Record<MapName, ExtendedScores>>>;
  /** Present when pictures have several sources. */
  readonly interactive?: Readonly<Partial<Record<MapName, SourcesScores>>>;
  /** Absent without labels. */
  readonly perClass?: readonly ClassScores[];
  /** Quarters of the samples by the area of what sounds, the smallest first. */
  readonly perArea: readonly AreaScores[];
  readonly perSample: readonly SampleScore[];
  /** Samples that the dataset lists and the disk does not hold. */
  readonly missing: readonly MissingSample[];
  /** Samples that could not be read. */
  readonly skipped: readonly SkippedSample[];
  readonly settings: {
    readonly sharpening: number;
    readonly threshold: number;
    readonly alpha: number;
    readonly precision: "float32" | "bfloat16";
  };
}

/**
 * Scores a model. Maps are compared on the benchmark's grid, or else at the size of each sample's picture. Memory
 * holds three batches, of each sample its scores, and while all samples have labels their target slots.
 * @example
 * const scores = await evaluate({ model, data: await datasets.vggss({ root, annotations }) });
 * scores.iqr.ciou; // share of samples with cIoU ≥ 0.5; scores.iqr.intervals?.ciou its 95 % interval
 * @throws {SoundspotError} ERR_DATASET when a sample has no truth or cannot be read, ERR_INPUT, ERR_ABORTED;
 * ERR_DISTRIBUTED when another process of the group is lost.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  checkFields(options, {
    limit: aCount,
    batchSize: aCount,
    soundShift: anInteger,
    unreadable: oneOf("throw", "skip"),
    group: aGroup,
    objectness: anObjectness,
    onSample: aFunction,
    onProgress: aFunction,
    signal: aSignal,
  });
  check(options.model, aModel, "model");
  check(options.data, aDataset, "data");
  for (const name of ["bootstrap", "falseNegatives"] as const) {
    if (options[name] !== false && options[name] !== undefined) check(options[name], anObject, name);
  }
  const { model, data, signal } = options;
  const total = Math.min(options.limit ?? data.length, data.length);
  const settings = {
    sharpening: options.sharpening ?? sharpeningOf(model.config),
    threshold: options.threshold ?? 0.6,
    alpha: options.alpha ?? 0.4,
    precision: computedPrecision(options.precision ?? "float32"),
  } as const;
  let scorer = new Scorer(settings.threshold);
  let embeddings = new Embeddings();
  let skipped: SkippedSample[] = [];
  const { group } = options;
  const batchSize = options.batchSize ?? 16;
  const range = shareOf(total, batchSize, group);
  const share = range[1] - range[0];
  const batches = loadBatches(
    {
      data,
      config: model.config,
      total,
      range,
      batchSize,
      soundShift: options.soundShift ?? 0,
      unreadable: options.unreadable ?? "throw",
      signal,
    },
    skipped,
  );
  const score = async (batch: LoadedSample[], spots: Spot[], truths: (TruthMap | Mask | undefined)[]) => {
    for (const [i, spot] of spots.entries()) {
      const { index, sample } = batch[i] as LoadedSample;
      const own = await scorer.add(index, sample, truths[i], spot);
      if (own.sounding) embeddings.add(sample, spot.embedding);
      await options.onSample?.(sample, spot, own);
      await nextTurn();
    }
    throwIfAborted(signal);
    options.onProgress?.(scorer.samples.length + skipped.length, share);
  };
  const scoreShare = async () => {
    // Scoring takes one core: it goes on beside the next batch's forward pass.
    let scoring: Promise<void> = Promise.resolve();
    try {
      for await (const batch of batches) {
        const truths = batch.map(({ sample }) => (sample.sounding === false ? undefined : truthOf(sample)));
        const spots = await localizePrepared(
          model,
          batch.map(({ prepared }) => prepared),
          {
            ...settings,
            ...(options.objectness ? { objectness: options.objectness } : {}),
            allMaps: true,
            sizes: batch.map(({ sample }, i) => {
              const { height, width } = truths[i] ?? sample.image;
              return [height, width] as const;
            }),
          },
        );
        await scoring;
        scoring = score(batch, spots, truths);
        scoring.catch(() => undefined); // reported where it is waited for
      }
    } catch (error) {
      await scoring.catch(() => undefined);
      throw error;
    }
    await scoring;
  };
  if (group) {
    const parts = await group.gatherFrom(async () => {
      if (share > 0) await scoreShare();
      return { total, batchSize, scores: scorer.state(), rows: embeddings.all, skipped };
    });
    checkSameWork(parts);
    scorer = new Scorer(settings.threshold);
    embeddings = new Embeddings();
    skipped = parts.flatMap((part) => part.skipped);
    for (const { scores, rows } of parts) {
      scorer.addState(scores);
      embeddings.addRows(rows);
    }
  } else {
    await scoreShare();
  }

  const { bootstrap } = options;
  const intervals = new Intervals(bootstrap, signal);
  const { rows } = embeddings;
  const retrieved = rows && (await retrievalOf(rows, bootstrap, signal));
  const exclusions =
    rows && options.falseNegatives !== false
      ? await exclusionsAmong(rows, options.falseNegatives ?? {}, signal)
      : undefined;
  const samples = scorer.samples.map((sample): SampleScore => {
    const own = retrieved?.found.get(sample.id);
    return own ? { ...sample, retrieval: own } : sample;
  });
  const names = mapNames.filter((name) => samples.some((sample) => sample[name] !== undefined));
  const maps = await byMap(mapNames.slice(0, options.objectness ? 5 : 3), (name) =>
    mapScores(name, scorer, intervals),
  );
  const labelled = samples.some(({ label }) => label !== undefined);
  return {
    dataset: data.name,
    samples: samples.length,
    ...(maps as Record<"audio" | "image" | "iqr", MapScores>),
    ...(retrieved ? { retrieval: retrieved.retrieval } : {}),
    ...(exclusions ? { exclusions } : {}),
    ...(await heardOverSilent(samples, intervals)),
    ...(samples.some(({ sounding }) => !sounding)
      ? { extended: await byMap(names, (name) => extendedScores(samples, name, intervals)) }
      : {}),
    ...(samples.some(({ picture }) => picture !== undefined)
      ? { interactive: await byMap(names, (name) => sourcesScores(samples, name, intervals)) }
      : {}),
    ...(labelled ? { perClass: classScores(samples, names) } : {}),
    perArea: areaScores(samples, names),
    perSample: samples,
    missing: data.missing ?? [],
    skipped,
    settings,
  };
}
