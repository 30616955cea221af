/** Scores a model on a dataset: localization, segmentation, retrieval, and detection of silent images. */

import { aCount, aFunction, anInteger, check, checkFields, oneOf } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import { aDataset, type Dataset, type Sample } from "../datasets/dataset.js";
import { checkSameWork, type ProcessGroup, shareOf } from "../distributed/process-group.js";
import type { BootstrapOptions } from "../metrics/bootstrap.js";
import type { Precision } from "../model/compute.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import type { Objectness } from "../model/objectness.js";
import type { Spot } from "../model/spot.js";
import { loadBatches } from "./batches.js";
import { type Evaluation, Evaluator } from "./evaluator.js";
import type { FalseNegativeOptions } from "./false-negatives.js";
import type { Protocol, ProtocolChoice } from "./protocols.js";
import type { SampleScore } from "./scorer.js";

export type { Evaluation } from "./evaluator.js";
export type { CutScores, ProtocolScores, SizeName, SizeScores } from "./protocol-summaries.js";
export {
  type CutScore,
  type Protocol,
  type ProtocolChoice,
  type ProtocolName,
  type ProtocolSampleScore,
  type ProtocolSampleScores,
  protocolNames,
  protocols,
} from "./protocols.js";
export {
  groundTruthOf,
  type MapName,
  type MapScore,
  mapNames,
  mapsOf,
  type SampleScore,
} from "./scorer.js";
export type {
  AreaScores,
  ClassScores,
  ConfidenceInterval,
  ExtendedScores,
  GroupScores,
  MapScores,
  SourcesScores,
} from "./summaries.js";

/** Model, data and settings of an evaluation. */
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
  /**
   * Protocols that maps are scored by beside the scores at the top, in the same pass of the model: names, such as "area",
   * or descriptions. Their scores are in `protocols`.
   */
  readonly protocol?: ProtocolChoice;
  /**
   * Precision of the encoders. Default "float32": scores are then independent of the processor. Of a quantized model
   * that was not loaded for another precision "int8".
   */
  readonly precision?: Precision;
  /** An ImageNet ResNet-18; with it the maps "ogl" and "combined" are scored too. */
  readonly objectness?: Objectness;
  /** Sample i takes the audio of sample i + shift: a control in which audio and image do not belong together. */
  readonly audioShift?: number;
  /** "skip" leaves out samples that cannot be read and lists them in `skipped`. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  /** Confidence intervals; false makes none. Default 1000 resamples, 95 %, seed 0. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false;
  /** How false negatives are predicted among labelled samples, for `exclusions`; false does not. */
  readonly falseNegatives?: FalseNegativeOptions | false;
  /** Processes that share the work: all call `evaluate` with the same options, and each gets the whole result. */
  readonly group?: ProcessGroup;
  readonly signal?: AbortSignal | undefined;
  /** Samples done and their total; in a group, those of this process. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called for every sample that this process scores, in order; its score has no `retrieval` yet. */
  readonly onSample?: (sample: Sample, spot: Spot, score: SampleScore) => void | Promise<void>;
}

/**
 * Scores a model. Maps are compared on the benchmark's grid, or else at the size of each sample's image. Memory holds
 * three batches, the scores of every sample and, while all samples have labels, their embeddings.
 * @example
 * const scores = await evaluate({ model, data: await datasets.vggss({ root, annotations }) });
 * scores.iqr?.ciou; // share of samples with cIoU ≥ 0.5; scores.iqr?.intervals?.ciou its 95 % interval
 * @throws {SoundspotError} ERR_DATASET when a sample has no annotation or cannot be read, ERR_INPUT, ERR_ABORTED;
 * ERR_DISTRIBUTED when another process of the group is lost.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  checkFields(options, {
    limit: aCount,
    audioShift: anInteger,
    unreadable: oneOf("throw", "skip"),
    onProgress: aFunction,
  });
  check(options.model, aModel, "model");
  check(options.data, aDataset, "data");
  const { model, data, group, signal, onSample, onProgress } = options;
  const total = Math.min(options.limit ?? data.length, data.length);
  const batchSize = options.batchSize ?? 16;
  const range = shareOf(total, batchSize, group);
  const share = range[1] - range[0];
  const skipped: SkippedSample[] = [];
  await using evaluator = new Evaluator({
    ...options,
    name: data.name,
    onSample: async (sample, spot, score) => {
      await onSample?.(sample, spot, score);
      onProgress?.(evaluator.scored + skipped.length, share);
    },
  });
  const batches = loadBatches(
    {
      data,
      config: model.config,
      total,
      range,
      batchSize,
      audioShift: options.audioShift ?? 0,
      unreadable: options.unreadable ?? "throw",
      signal,
    },
    skipped,
  );
  const scoreShare = async () => {
    for await (const batch of batches) for (const loaded of batch) await evaluator.addLoaded(loaded);
  };
  if (group) {
    const works = await group.gatherFrom(async () => {
      if (share > 0) await scoreShare();
      return { total, batchSize, protocols: evaluator.settings.protocols };
    });
    checkSameWork(works);
    checkSameProtocols(works.map(({ protocols }) => protocols));
  } else {
    await scoreShare();
  }
  return await evaluator.resultWith({ missing: data.missing ?? [], skipped });
}

/** @throws {SoundspotError} ERR_CONFIG when the processes of a group score by different protocols. */
function checkSameProtocols(all: readonly (readonly Protocol[] | undefined)[]): void {
  const texts = all.map((each) => JSON.stringify(each ?? []));
  const other = texts.findIndex((text) => text !== texts[0]);
  if (other < 0) return;
  throw new SoundspotError(
    "ERR_CONFIG",
    `The processes of a group need the same protocols, but process ${other} has others than process 0.`,
  );
}
