/** The public types of a run: its options, its events, its result. */

import type { ModelOptions } from "../config/model.js";
import type { PresetName } from "../config/presets.js";
import type { TrainOptions } from "../config/train.js";
import type { Dataset } from "../datasets/dataset.js";
import type { SkippedInRun } from "../datasets/skipped-list.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import type { Device } from "../model/compute.js";
import type { Model, WeightsReport } from "../model/model.js";
import type { StepResult } from "../native.js";
import type { CollapseWarning } from "./collapse-monitor.js";
import type { Neighbours } from "./neighbours.js";

/** A step that has been taken. */
export interface StepEvent {
  readonly epoch: number;
  /** Steps since the start of the run, this one counted. */
  readonly step: number;
  readonly totalSteps: number;
  readonly learningRate: number;
  readonly result: StepResult;
  readonly samplesPerSecond: number;
  /** Duration of this step, including its wait for data. */
  readonly milliseconds: number;
  /** Milliseconds of it in which the step waited for its data. */
  readonly waited: number;
  readonly warnings: readonly CollapseWarning[];
}

/** An epoch that has ended, with its evaluation where one was due. */
export interface EpochEvent {
  readonly epoch: number;
  readonly meanLoss: number;
  /** Seconds of its steps that this process took. */
  readonly seconds: number;
  /** Seconds of them in which a step waited for its data. */
  readonly waited: number;
  readonly evaluation?: Evaluation;
}

/** Where a resumed run goes on. */
export interface ResumeEvent {
  readonly file: string;
  /** Steps taken before. */
  readonly step: number;
  readonly epoch: number;
  /** Processes that it runs on now, and did before. */
  readonly processes: number;
  readonly processesBefore: number;
  /** Samples of the data now, and before. */
  readonly samples: number;
  readonly samplesBefore: number;
}

/** What a store of decoded samples has, before the first step. */
export interface StoreEvent {
  readonly folder: string;
  /** Samples that it has, of `total`. */
  readonly samples: number;
  readonly total: number;
  /** Bytes with all samples; estimated from those that it has, or from the first that can be read. */
  readonly bytes: number;
}

/** Data, outputs and callbacks of a run, beside the fields of TrainOptions. */
export interface TrainRunOptions extends TrainOptions {
  readonly data: Dataset;
  /** Evaluated every `evaluateEvery` epochs, by default each, and after the last. */
  readonly evaluation?: Dataset;
  /** "paper" is the published recipe, "scratch" one that learns from random weights. Default "paper". */
  readonly preset?: PresetName;
  /** Configuration of a new model, over the preset's, or a model to go on with. */
  readonly model?: ModelOptions | Model;
  /** Where a model that this run makes or resumes is and computes. A `Model` stays where it is. Default "auto". */
  readonly device?: Device;
  /** A checkpoint of another model: what fits by name and shape is where this one starts, see `Model.loadWeights`. */
  readonly weights?: string;
  /**
   * Nearest neighbours of each sample of `data`, for methods that train with them: a list that `findNeighbours` gave, or
   * the path of a file that `soundspot neighbours` wrote.
   */
  readonly neighbours?: Neighbours | string;
  /** torchvision's ResNet-18 file for the image encoder. */
  readonly imageWeights?: string;
  /**
   * Folder for last.safetensors, best.safetensors, metrics.jsonl and skipped.jsonl, of one run at a time. Without it nothing is
   * written. The best has the highest cIoU@0.5 after IQR. Without evaluation it has the lowest mean loss of the
   * epochs after the last change of the losses' weights; where there is no such epoch it is the last.
   */
  readonly output?: string;
  /**
   * Folder for decoded samples: each is decoded once, by the epoch that first needs it, and later epochs and runs read it
   * from there, the same bit for bit. It is of one dataset and one preprocessing: others throw ERR_CONFIG. So do a dataset
   * that does not know its ids or has an order of its own, such as scenes and shards, and `augment.audioRange`.
   * ERR_FILE_WRITE when the disk has no space for all samples. Several processes and runs may share it. Delete it when
   * media files have changed.
   */
  readonly store?: string;
  /** Go on from `output`'s last.safetensors if it is there. Default false. */
  readonly resume?: boolean;
  /**
   * Go on although the number of samples or their order is another than before. The run goes on at the same share of the
   * epoch, whose order is then that of the new list: in this epoch some samples come twice, and others not. Default
   * false.
   */
  readonly allowChangedData?: boolean;
  /**
   * A sample that is damaged or missing ends the run. Default false: another sample, drawn from seed, epoch and index
   * alone, takes its place, it is listed in `output`'s skipped.jsonl, and evaluations go on without it.
   */
  readonly strict?: boolean;
  /** Greatest share of damaged samples, 0 … 1, of `data` and of `evaluation` each. Default 0.01. */
  readonly maxDamaged?: number;
  /** On SIGINT and SIGTERM save and end the run. Default false; the command line sets it. */
  readonly handleSignals?: boolean;
  readonly signal?: AbortSignal;
  /**
   * This process's membership in a group that trains together. All its processes call `train` with the same options;
   * `batchSize` is that of all of them, `microBatchSize` of each. Rank 0 alone reads and writes `output`, `weights` and
   * `imageWeights`.
   */
  readonly group?: ProcessGroup;
  /** Called once before the first step of a run that goes on. */
  readonly onResume?: (event: ResumeEvent) => void;
  /** Called after every step. */
  readonly onStep?: (event: StepEvent) => void;
  /** Called after every epoch, once it is evaluated where that is due. */
  readonly onEpoch?: (event: EpochEvent) => void;
  /** Called for every damaged sample that is found for the first time. */
  readonly onSkip?: (sample: SkippedInRun) => void;
  /** Called once where there is a `store`, before the first step. */
  readonly onStore?: (event: StoreEvent) => void;
  /** Called for the samples of an evaluation within the run. */
  readonly onEvaluationProgress?: (done: number, total: number) => void;
}

/** The result of a run: its model, its scores, its files. */
export interface TrainRun {
  readonly model: Model;
  /** Steps taken in all, earlier parts of a resumed run counted. */
  readonly steps: number;
  readonly evaluation?: Evaluation;
  /** Set when a signal of the system ended the run early; last.safetensors holds it. */
  readonly stoppedBy?: NodeJS.Signals;
  readonly warnings: readonly CollapseWarning[];
  /** Damaged samples in the order in which they were found, those of earlier parts of a resumed run counted. */
  readonly skipped: readonly SkippedInRun[];
  /** Absent when the run ended before there was anything to save. */
  readonly last?: string;
  readonly best?: string;
  readonly weights?: WeightsReport;
  readonly imageWeights?: WeightsReport;
}

/** Share of damaged samples that ends a run when it is passed, by default. */
export const MAX_DAMAGED = 0.01;
