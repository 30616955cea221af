/** Training: one step at a time with `Trainer`, whole runs with `train()`. */

import { setMaxListeners } from "node:events";
import { access, mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type ModelConfig, type ModelOptions, mergeModel, parseModelConfig } from "../config/model.js";
import { type Preset, type PresetName, presetNamed } from "../config/presets.js";
import { learningRateAt, lossWeightAt } from "../config/schedule.js";
import { type LossSchedule, parseTrainConfig, type TrainConfig, type TrainOptions } from "../config/train.js";
import {
  aFlag,
  aFunction,
  aList,
  anObject,
  aPath,
  aShare,
  aSignal,
  type Check,
  check,
  checkFields,
} from "../core/arguments.js";
import { isError, isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import type { Dataset } from "../datasets/dataset.js";
import { aDataset } from "../datasets/dataset.js";
import { type SkippedInRun, SkippedList } from "../datasets/skipped-list.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { aGroup } from "../distributed/process-group.js";
import { type Evaluation, evaluate } from "../evaluation/evaluate.js";
import { removeTemporary, writing } from "../files/atomic-writes.js";
import { lockFolder } from "../files/folder-lock.js";
import { checkOutputs } from "../files/outputs.js";
import { RunLog } from "../files/run-log.js";
import { computedPrecision } from "../model/compute.js";
import { type LocalizeInput, prepareInput } from "../model/inputs.js";
import { aModel } from "../model/loaded.js";
import { isModel, Model, type WeightsReport } from "../model/model.js";
import { native, type SampleHandle, type StepResult, type TrainerHandle } from "../native.js";
import { trainingBatches } from "./batches.js";
import { CollapseMonitor, type CollapseWarning } from "./monitor.js";

/**
 * The configuration with "auto" replaced by what it means on this processor. "bfloat16" stays, also where float32 is
 * computed instead, so that the run goes on in it elsewhere.
 */
function withPrecision(config: TrainConfig): TrainConfig {
  const precision = computedPrecision(config.precision);
  return config.precision === "auto" ? { ...config, precision } : config;
}

const aPlace: Check = [
  (value) =>
    anObject[0](value) &&
    ["step", "total", "epoch"].every((name) => Number.isFinite((value as Record<string, unknown>)[name])),
  "{ step, total, epoch }",
];

/** What a single step may be told. */
export interface TrainerStepOptions {
  /** Return the gradients, before clipping. Default false. */
  readonly gradients?: boolean;
  /** Take the optimizer step. Default true. */
  readonly update?: boolean;
  /** Replace tokens by mask tokens. Default true. */
  readonly masking?: boolean;
  /** @internal Without the fused kernels, to compare with. */
  readonly plain?: boolean;
  /** Position in the run, for schedules. Default 0 of 1 step, epoch 0. */
  readonly at?: { readonly step: number; readonly total: number; readonly epoch: number };
  /** @internal Ask all processes to end the run after this step. */
  readonly stop?: boolean;
}

/**
 * One model, its optimizer and its random numbers. In a process group each process has a trainer of its own, of the same
 * model and configuration: they start equal and take equal steps.
 */
export class Trainer {
  readonly model: Model;
  readonly config: TrainConfig;
  readonly #handle: TrainerHandle;
  readonly #group: ProcessGroup | undefined;

  /** @throws {SoundspotError} ERR_CONFIG with the path of the field, ERR_DISPOSED. */
  constructor(model: Model, options: TrainOptions = {}, group?: ProcessGroup) {
    check(model, aModel, "model");
    if (group !== undefined) check(group, aGroup, "group");
    this.model = model;
    this.config = withPrecision(parseTrainConfig(options, model.config.method.name));
    this.#group = group;
    this.#handle = native().createTrainer(model.handle, this.config.seed, group?.handle);
  }

  /**
   * One step of AdamW on a batch (section 1.8). In a process group each process gives an equal part of the batch; the
   * losses, which compare all samples of it, and the gradients are those of the whole.
   * @returns each loss unweighted and `total`; with `gradients` those of every parameter, by name
   * @throws {SoundspotError} ERR_INTERNAL when loss, gradient or running statistics are not finite, ERR_OUT_OF_MEMORY:
   * model and random state are then unchanged; ERR_DISTRIBUTED when another process is lost
   */
  async step(batch: readonly LocalizeInput[], options: TrainerStepOptions = {}): Promise<StepResult> {
    check(batch, aList, "The batch");
    checkFields(options, { at: aPlace });
    if (batch.length === 0)
      throw new SoundspotError("ERR_INPUT", "The batch is empty. Give at least one pair.");
    const samples = await Promise.all(Array.from(batch, (input) => prepareInput(input, this.model.config)));
    return this.stepPrepared(
      samples.map(({ handle }) => handle),
      options,
    );
  }

  /** @internal The same on prepared samples. */
  async stepPrepared(
    samples: readonly SampleHandle[],
    options: TrainerStepOptions = {},
  ): Promise<StepResult> {
    void this.model.handle;
    const { config } = this;
    const { step, total, epoch } = options.at ?? { step: 0, total: 1, epoch: 0 };
    const losses = Object.entries(config.losses)
      .map(([name, loss]) => ({ name, weight: lossWeightAt(loss, epoch), temperature: loss.temperature }))
      .filter(({ weight }) => weight > 0);
    return native().step(this.#handle, samples, {
      learningRate: learningRateAt(config, step, total),
      beta1: config.beta1,
      beta2: config.beta2,
      epsilon: config.epsilon,
      weightDecay: config.weightDecay,
      falseNegativeK: epoch >= config.falseNegatives.from ? config.falseNegatives.k : 0,
      clip: config.clip,
      bfloat16: config.precision === "bfloat16",
      masking: options.masking ?? true,
      microBatchSize: config.microBatchSize,
      frozenStatistics: config.batchNorm === "frozen",
      sharedStatistics: config.batchNorm === "synchronised" && this.#group !== undefined,
      plain: options.plain ?? false,
      gradients: options.gradients ?? false,
      update: options.update ?? true,
      stop: options.stop ?? false,
      losses,
    });
  }

  /**
   * Writes parameters, optimizer and random state to one file; atomic.
   * @throws {SoundspotError} ERR_FILE_WRITE; ERR_INTERNAL when some are not finite, and the file is as it was.
   */
  save(path: string, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.model.saveWith(this.#handle, path, metadata);
  }

  /**
   * Puts back the optimizer and the random state of a file that `save` wrote; the model loads its own part.
   * @throws {SoundspotError} ERR_CHECKPOINT_MISMATCH when it is not of a run of this model, ERR_CHECKPOINT_CORRUPT also
   *   when no optimizer can have come to its state, and those of `Model.load`; nothing is changed then.
   */
  async restore(path: string): Promise<void> {
    check(path, aPath, "The checkpoint");
    const file = resolve(path);
    const { handle } = await native().readCheckpoint(file);
    await native().restoreTrainer(this.#handle, handle, file);
  }

  /** @internal Rank 0's statistics of batch norm, or its whole state with the model's, to every process. */
  async broadcast(what: "statistics" | "everything"): Promise<void> {
    if (this.#group) await native().broadcastTrainer(this.#handle, what === "statistics");
  }
}

/** A step that has been taken. */
export interface StepEvent {
  readonly epoch: number;
  /** Steps since the start of the run, this one counted. */
  readonly step: number;
  readonly totalSteps: number;
  readonly learningRate: number;
  readonly result: StepResult;
  readonly samplesPerSecond: number;
  /** Of this step, its wait for data counted. */
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

/** What is trained on, what comes of it and who is told; the fields of TrainOptions beside these. */
export interface TrainRunOptions extends TrainOptions {
  readonly data: Dataset;
  /** Evaluated every `evaluateEvery` epochs, by default each, and after the last. */
  readonly evaluation?: Dataset;
  /** "paper" is the published recipe, "scratch" one that learns from random weights. Default "paper". */
  readonly preset?: PresetName;
  /** Configuration of a new model, over the preset's, or a model to go on with. */
  readonly model?: ModelOptions | Model;
  /** A checkpoint of another model: what fits by name and shape is where this one starts, see `Model.loadWeights`. */
  readonly weights?: string;
  /** torchvision's ResNet-18 file for the image encoder. */
  readonly imageWeights?: string;
  /**
   * Folder for last.safetensors, best.safetensors, metrics.jsonl and skipped.jsonl, of one run at a time. Without it nothing is
   * written. The best has the highest cIoU@0.5 after IQR. Without evaluation it has the lowest mean loss of the
   * epochs after the last change of the losses' weights; where there is no such epoch it is the last.
   */
  readonly output?: string;
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
  /** Called for every damaged sample that is met for the first time. */
  readonly onSkip?: (sample: SkippedInRun) => void;
  /** Called for the samples of an evaluation within the run. */
  readonly onEvaluationProgress?: (done: number, total: number) => void;
}

/** What a run has come to: its model, its scores, its files. */
export interface TrainRun {
  readonly model: Model;
  /** Steps taken in all, earlier parts of a resumed run counted. */
  readonly steps: number;
  readonly evaluation?: Evaluation;
  /** Set when a signal of the system ended the run early; last.safetensors holds it. */
  readonly stoppedBy?: NodeJS.Signals;
  readonly warnings: readonly CollapseWarning[];
  /** Damaged samples in the order in which they were met, those of earlier parts of a resumed run counted. */
  readonly skipped: readonly SkippedInRun[];
  /** Absent when the run ended before there was anything to save. */
  readonly last?: string;
  readonly best?: string;
  readonly weights?: WeightsReport;
  readonly imageWeights?: WeightsReport;
}

/** Where a run stands, in a checkpoint's metadata. */
interface Progress {
  readonly epoch: number;
  /** Batches of that epoch already taken; all of them until the epoch is evaluated. */
  readonly batch: number;
  readonly step: number;
  readonly bestScore: number | null;
  readonly lossSum: number;
  /** Samples of the dataset. */
  readonly samples: number;
  /** Name of the dataset's own order, if it has one. */
  readonly order?: string;
  readonly config: TrainConfig;
  /** Absent in files from before there were several. */
  readonly processes?: number;
}

const PROGRESS_KEY = "soundspot.training";

/**
 * @internal The training state in a checkpoint's metadata, as it stands there; undefined without one.
 * @throws {SoundspotError} ERR_CHECKPOINT_CORRUPT
 */
export function storedTraining(metadata: Readonly<Record<string, string>>, file: string): unknown {
  const text = metadata[PROGRESS_KEY];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadableState(file, cause);
  }
}

function unreadableState(file: string, cause?: unknown): SoundspotError {
  const why = isError(cause) ? ` (${cause.message})` : "";
  return new SoundspotError(
    "ERR_CHECKPOINT_CORRUPT",
    `${file} carries a training state that cannot be read. Take another copy of it, or train without resume.${why}`,
    { cause },
  );
}

function readProgress(metadata: Readonly<Record<string, string>>, file: string): Progress {
  const stored = storedTraining(metadata, file);
  if (stored === undefined) {
    throw new SoundspotError(
      "ERR_CHECKPOINT_MISMATCH",
      `${file} holds no training state. Train without resume.`,
    );
  }
  const state = Object(stored) as Progress;
  const { epoch, batch, step, samples, lossSum, bestScore, config, processes = 1 } = state;
  const counts = [epoch, batch, step, samples, processes].every(
    (count) => Number.isInteger(count) && count >= 0,
  );
  if (!counts || ![lossSum, bestScore ?? 0].every(Number.isFinite) || !config) throw unreadableState(file);
  try {
    // Fields that a later version added have the defaults that the run had without knowing them.
    return { ...state, config: parseTrainConfig(config) };
  } catch (cause) {
    throw unreadableState(file, cause);
  }
}

interface RunIdentity {
  readonly model: ModelConfig;
  readonly train: TrainConfig;
  readonly samples: number;
  readonly order: string | undefined;
}

/** A resumed run must be the same run: everything that shapes its steps is compared. */
function checkSameRun(before: RunIdentity, now: RunIdentity, file: string, allowChangedData: boolean): void {
  const refuse = (
    what: string,
    was: unknown,
    is: unknown,
    how = "Resume with the same configuration",
  ): never => {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${what} differs from the run in ${file}: it was ${JSON.stringify(was)}, now ${JSON.stringify(is)}. ${how}, or start in another folder.`,
    );
  };
  const free = new Set<string>(["queue", "evaluateEvery", "keepEvery", "checkpointEvery", "checkpointSteps"]);
  for (const part of ["train", "model"] as const) {
    const [was, is] = [before[part], now[part]] as [Record<string, unknown>, Record<string, unknown>];
    for (const key of Object.keys(is)) {
      if (free.has(key) || JSON.stringify(was[key]) === JSON.stringify(is[key])) continue;
      refuse(`${part}.${key}`, was[key], is[key]);
    }
  }
  if (allowChangedData) return;
  const how = "Resume with the same data, or with allowChangedData (--allow-changed-data)";
  if (before.samples !== now.samples) refuse("The number of samples", before.samples, now.samples, how);
  if (before.order !== now.order)
    refuse("The order of samples", before.order ?? null, now.order ?? null, how);
}

/** The same share of the epoch, and of its loss, in data of another length. */
function onData(progress: Progress, samples: number, { batchSize }: TrainConfig): Progress {
  const [before, now] = [progress.samples, samples].map((each) => Math.floor(each / batchSize)) as [
    number,
    number,
  ];
  if (before === now || progress.batch === 0) return progress;
  const batch = Math.round((progress.batch / before) * now);
  return { ...progress, batch, lossSum: (progress.lossSum / progress.batch) * batch };
}

/** Whether an entry of metrics.jsonl is from before the place that a resumed run goes on from. */
function isBefore({ step, epoch }: Progress): (entry: MetricsEntry) => boolean {
  // The last epoch's evaluation is made again if the state is from before it.
  return (entry) => entry.step <= step && (entry.evaluation === undefined || entry.epoch <= epoch);
}

interface MetricsEntry {
  readonly step: number;
  readonly epoch: number;
  readonly evaluation?: unknown;
}

const ALONE = { rank: 0, size: 1 };

/** Share of damaged samples that ends a run when it is passed. */
const MAX_DAMAGED = 0.01;

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** @internal Whether a run writes or removes a file of this name in its output. */
export function isRunFile(name: string): boolean {
  return /^((last|best|epoch-\d+)\.safetensors(\.\d+\.tmp)?|(metrics|skipped)\.jsonl|train\.lock.*|\.soundspot-.*)$/.test(
    name,
  );
}

/** Removes the half-written files that a killed run left in the folder. */
async function removeTorn(folder: string): Promise<void> {
  await writing(folder, async () => {
    await removeTemporary(folder);
    for (const name of await readdir(folder)) {
      if (/^(last|best|epoch-\d+)\.safetensors\.\d+\.tmp$/.test(name))
        await rm(join(folder, name), { force: true });
    }
  });
}

/** @internal Options over a recipe's. Losses that are named go over the recipe's by name; the others stay. */
export function mergeTrain(preset: TrainOptions, options: TrainOptions): TrainOptions {
  const recipe = preset.losses ?? parseTrainConfig().losses;
  const losses = options.losses ? { losses: { ...recipe, ...options.losses } } : {};
  const defined = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...preset, ...defined, ...losses };
}

/** The options of the recipe alone, over the preset's. */
function trainOptionsOf(options: TrainRunOptions, recipe: Preset): TrainOptions {
  const {
    data,
    evaluation,
    preset,
    model,
    weights,
    imageWeights,
    output,
    resume,
    allowChangedData,
    strict,
    maxDamaged,
    handleSignals,
    signal,
    group,
    onResume,
    onStep,
    onEpoch,
    onSkip,
    onEvaluationProgress,
    ...own
  } = options;
  return mergeTrain(recipe.train, own);
}

/** What a run starts from: fresh weights, or its checkpoint. */
interface Start {
  readonly model: Model;
  readonly trainer: Trainer;
  readonly progress: Progress;
  readonly resumed: boolean;
  readonly weights?: WeightsReport;
  readonly imageWeights?: WeightsReport;
}

async function startFresh(options: TrainRunOptions, recipe: Preset, config: TrainConfig): Promise<Start> {
  const { data, model: wanted, signal } = options;
  const model = isModel(wanted)
    ? wanted
    : await Model.create(mergeModel(recipe.model, wanted), { seed: config.seed });
  const weights =
    options.weights === undefined ? undefined : await model.loadWeights(options.weights, { signal });
  const imageWeights =
    options.imageWeights === undefined ? undefined : await model.loadImageWeights(options.imageWeights);
  const trainer = new Trainer(model, config, options.group);
  return {
    model,
    trainer,
    progress: {
      epoch: 0,
      batch: 0,
      step: 0,
      bestScore: null,
      lossSum: 0,
      samples: data.length,
      config: trainer.config,
    },
    resumed: false,
    ...(weights ? { weights } : {}),
    ...(imageWeights ? { imageWeights } : {}),
  };
}

async function startFrom(
  last: string,
  options: TrainRunOptions,
  recipe: Preset,
  config: TrainConfig,
): Promise<Start> {
  const { data, model: wanted, signal } = options;
  const model = await Model.load(last, { signal });
  const progress = readProgress(model.metadata, last);
  // A run goes on in the precision that it began in, whatever this processor would choose.
  const same = config.precision === "auto" ? { ...config, precision: progress.config.precision } : config;
  checkSameRun(
    { model: model.config, train: progress.config, samples: progress.samples, order: progress.order },
    {
      model: isModel(wanted) ? wanted.config : parseModelConfig(mergeModel(recipe.model, wanted)),
      train: same,
      samples: data.length,
      order: data.sequence?.order,
    },
    last,
    options.allowChangedData ?? false,
  );
  const trainer = new Trainer(model, same, options.group);
  await trainer.restore(last);
  return { model, trainer, progress: onData(progress, data.length, same), resumed: true };
}

/** What all processes of a group must agree on, with the paths that a message names. */
function agreement(options: TrainRunOptions, recipe: Preset, config: TrainConfig): Record<string, string> {
  const { model, data } = options;
  const { precision, queue, ...train } = config;
  const own = isModel(model) ? model.config : parseModelConfig(mergeModel(recipe.model, model));
  const fields: Record<string, unknown> = {
    ...Object.fromEntries(Object.entries(own).map(([name, value]) => [`model.${name}`, value])),
    ...Object.fromEntries(Object.entries(train).map(([name, value]) => [`train.${name}`, value])),
    strict: options.strict ?? false,
    maxDamaged: options.maxDamaged ?? MAX_DAMAGED,
    "the number of samples": data.length,
    "the dataset": data.name,
    "the order of samples": data.sequence?.order,
    "the evaluation dataset": options.evaluation?.name,
    "the number of evaluation samples": options.evaluation?.length,
  };
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, JSON.stringify(value ?? null)]),
  );
}

/** Rank 0's start, given to every process of the group: what it has read or made, the others receive. */
async function startTogether(
  group: ProcessGroup,
  options: TrainRunOptions,
  recipe: Preset,
  config: TrainConfig,
  startMain: () => Promise<Start>,
): Promise<Start> {
  const all = await group.gatherFrom(() => agreement(options, recipe, config));
  const [first] = all as [Record<string, string>];
  for (const [rank, fields] of all.entries()) {
    const name = Object.keys(first).find((each) => fields[each] !== first[each]);
    if (name === undefined) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `The processes of a run need the same configuration and data, but ${name} is ${first[name]} in process 0 and ${fields[name]} in process ${rank}.`,
    );
  }
  let start: Start | undefined;
  const [told] = await group.gatherFrom(async () => {
    if (!group.main) return undefined;
    start = await startMain();
    const progress = { ...start.progress, config: start.trainer.config };
    return { progress, model: start.model.config, resumed: start.resumed };
  });
  if (!start) {
    const { progress, model: modelConfig, resumed } = told as NonNullable<typeof told>;
    const wanted = options.model;
    const model = isModel(wanted) && !resumed ? wanted : await Model.create(modelConfig);
    start = { model, trainer: new Trainer(model, progress.config, group), progress, resumed };
  }
  await start.trainer.broadcast("everything");
  return start;
}

/**
 * The epoch from which the total is a sum of the same losses to the end, so that means can be compared; the last
 * where the schedule goes on changing.
 */
function settledEpoch({ epochs, losses, falseNegatives }: TrainConfig): number {
  const settles = ({ weight, from, ramp, until = Number.POSITIVE_INFINITY }: LossSchedule) => {
    const never = weight === 0 || from >= epochs || until <= from;
    if (never) return 0;
    return until < epochs ? until : from + ramp;
  };
  const excludes = falseNegatives.k > 0 && falseNegatives.from < epochs;
  const last = Math.max(excludes ? falseNegatives.from : 0, ...Object.values(losses).map(settles));
  return Math.min(Math.ceil(last), epochs - 1);
}

/** The error that ended a run, with word of the save that failed after it. */
function withFailedSave(error: unknown, failure: Error): unknown {
  if (isSoundspotError(error)) {
    if (error.message === failure.message) return error;
    return new SoundspotError(
      error.code,
      `${error.message} What was trained since the last checkpoint could not be saved either: ${failure.message}`,
      { cause: error.cause ?? failure },
    );
  }
  if (isError(error)) error.cause ??= failure;
  return error;
}

/**
 * Trains a model on a dataset. Whatever ends the run, what was trained is saved to `output` first.
 * @example
 * const run = await train({ preset: "scratch", data: datasets.scenes(), output: "runs/a" });
 * @throws {SoundspotError} ERR_CONFIG; ERR_OUTPUT_IS_INPUT when `output` would replace the weights or a list of the
 * data; ERR_BUSY when another run is at work in `output`, ERR_FILE_WRITE when it cannot be written;
 * ERR_CHECKPOINT_MISMATCH, ERR_CHECKPOINT_CORRUPT when it cannot be resumed; ERR_DATASET when more samples are damaged
 * than `maxDamaged` allows; ERR_ABORTED; and those of the dataset.
 */
export async function train(options: TrainRunOptions): Promise<TrainRun> {
  checkFields(options, {
    signal: aSignal,
    output: aPath,
    weights: aPath,
    imageWeights: aPath,
    group: aGroup,
    onResume: aFunction,
    onStep: aFunction,
    onEpoch: aFunction,
    onSkip: aFunction,
    onEvaluationProgress: aFunction,
    evaluation: aDataset,
    strict: aFlag,
    maxDamaged: aShare,
    allowChangedData: aFlag,
  });
  check(options.data, aDataset, "data");
  const { data, output, resume = false, signal } = options;
  throwIfAborted(signal);
  const recipe = presetNamed(options.preset ?? "paper");
  const { method } = isModel(options.model)
    ? options.model.config
    : parseModelConfig(mergeModel(recipe.model, options.model));
  const config = parseTrainConfig(trainOptionsOf(options, recipe), method.name);
  if (data.length < config.batchSize) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `train.batchSize is ${config.batchSize}, but ${data.name} has only ${data.length} samples. Use a smaller batch.`,
    );
  }
  const { group } = options;
  if (group && config.batchSize % group.size !== 0) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `train.batchSize is ${config.batchSize}, which ${group.size} processes cannot share equally. Use a multiple of ${group.size}.`,
    );
  }
  const begin = (startMain: () => Promise<Start>) =>
    group ? startTogether(group, options, recipe, config, startMain) : startMain();
  const fresh = () => startFresh(options, recipe, config);
  if (output === undefined || group?.main === false) return runEpochs(await begin(fresh), options);
  const folder = resolve(output);
  let unlock: (() => Promise<void>) | undefined;
  const startIn = async () => {
    await checkOutputs({
      inputs: [
        { name: "weights", path: options.weights },
        { name: "imageWeights", path: options.imageWeights },
        ...(data.files ?? []).map((path) => ({ name: "data", path })),
        ...(options.evaluation?.files ?? []).map((path) => ({ name: "evaluation", path })),
      ],
      folders: [{ name: "output", path: folder, writes: isRunFile }],
    });
    await writing(folder, () => mkdir(folder, { recursive: true }));
    unlock = await lockFolder(folder, "train.lock");
    await removeTorn(folder);
    const last = join(folder, "last.safetensors");
    return resume && (await exists(last)) ? startFrom(last, options, recipe, config) : fresh();
  };
  try {
    return await runEpochs(await begin(startIn), options, folder);
  } finally {
    await unlock?.();
  }
}

async function runEpochs(start: Start, options: TrainRunOptions, folder?: string): Promise<TrainRun> {
  const { model, trainer, progress } = start;
  const { config } = trainer;
  const {
    data,
    evaluation,
    group,
    handleSignals = false,
    signal,
    onStep,
    onEpoch,
    onEvaluationProgress,
  } = options;
  const batchCount = Math.floor(data.length / config.batchSize);
  const totalSteps = config.epochs * batchCount;
  const last = folder ? join(folder, "last.safetensors") : undefined;
  const best = folder ? join(folder, "best.safetensors") : undefined;
  const log = folder ? new RunLog(join(folder, "metrics.jsonl")) : undefined;
  const { strict = false, maxDamaged = MAX_DAMAGED } = options;
  const damage = new SkippedList({
    data,
    evaluation,
    maxDamaged,
    ...(folder ? { path: join(folder, "skipped.jsonl") } : {}),
  });
  await log?.cutTo(isBefore(progress));
  await damage.cutTo(progress);
  if (group && start.resumed) damage.takeUp((await group.gather(damage.entries))[0] ?? []);
  if (start.resumed) {
    options.onResume?.({
      file: last ?? "",
      step: progress.step,
      epoch: progress.epoch,
      processes: group?.size ?? 1,
      processesBefore: progress.processes ?? 1,
      samples: data.length,
      samplesBefore: progress.samples,
    });
  }
  const monitor = new CollapseMonitor(config.batchSize);
  const warnings: CollapseWarning[] = [];
  const settled = settledEpoch(config);
  let lastEvaluation: Evaluation | undefined;
  let { epoch, batch, step, bestScore, lossSum } = progress;
  // Other than 0 after a resume on changed data: schedules follow the place in the epochs, not the steps that were taken.
  const moved = step - epoch * batchCount - batch;
  let saved = start.resumed;
  let unsaved = false; // steps, or an epoch's end

  const save = async () => {
    try {
      await log?.flush();
      await damage.flush();
    } finally {
      if (last) {
        const processes = group?.size ?? 1;
        const state: Progress = {
          epoch,
          batch,
          step,
          bestScore,
          lossSum,
          samples: data.length,
          ...(data.sequence ? { order: data.sequence.order } : {}),
          config,
          processes,
        };
        await trainer.save(last, { [PROGRESS_KEY]: JSON.stringify(state) });
        saved = true;
      }
    }
    unsaved = false;
  };

  // A signal of the system and one of the caller end the run alike: what runs is cut short, then saved.
  const stopping = new AbortController();
  let stoppedBy: NodeJS.Signals | undefined;
  const stop = (name: NodeJS.Signals) => {
    stoppedBy = name;
    stopping.abort(name);
  };
  const halt = signal ? AbortSignal.any([signal, stopping.signal]) : stopping.signal;
  setMaxListeners(0, halt); // every sample that is decoded listens
  // Processes of a group end together: each tells the others with its next step, and nothing is cut short before.
  const interrupt = group ? undefined : halt;
  if (handleSignals) for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, stop);

  const skip = async (
    skipped: readonly SkippedSample[],
    at: { readonly epoch: number; readonly step: number; readonly evaluation?: true },
  ) => {
    if (skipped.length === 0) return;
    // Every process of a group is given the same samples here, and all end together.
    const add = () => damage.add(skipped, at);
    const added = group ? ((await group.gatherFrom(add))[group.rank] ?? []) : await add();
    for (const sample of added) options.onSkip?.(sample);
  };

  try {
    while (epoch < config.epochs) {
      if (batch === 0) lossSum = 0;
      let ended = performance.now();
      const spent = { seconds: 0, waited: 0 };
      const place = { data, epoch, fromBatch: batch, strict, ...(group ?? ALONE), signal: interrupt };
      for await (const { samples, skipped } of trainingBatches(trainer, place)) {
        throwIfAborted(interrupt);
        if (!group) await skip(skipped, { epoch, step: step + 1 });
        const started = performance.now();
        const at = { step: step - moved, total: totalSteps, epoch: epoch + batch / batchCount };
        // In a group the step also carries word of damage: without any there is no further exchange.
        const result = await trainer.stepPrepared(samples(), {
          at,
          stop: halt.aborted || skipped.length > 0,
        });
        step++;
        batch++;
        lossSum += result.losses.total ?? 0;
        unsaved = true;
        const [waited, taken] = [started - ended, performance.now() - ended];
        spent.seconds += taken / 1000;
        spent.waited += waited / 1000;
        const found = monitor.observe(result);
        warnings.push(...found);
        const event: StepEvent = {
          epoch,
          step,
          totalSteps: totalSteps + moved,
          learningRate: learningRateAt(config, at.step, totalSteps),
          result,
          samplesPerSecond: config.batchSize / (taken / 1000),
          milliseconds: taken,
          waited,
          warnings: found,
        };
        log?.add({
          step,
          epoch: at.epoch,
          learningRate: event.learningRate,
          losses: result.losses,
          gradientNorm: result.gradientNorm,
          diagnostics: result.diagnostics,
          warnings: found.length ? found.map(({ kind }) => kind) : undefined,
        });
        if (step % 20 === 0) {
          await log?.flush();
          await damage.flush();
        }
        onStep?.(event);
        if (config.checkpointSteps > 0 && batch % config.checkpointSteps === 0 && batch < batchCount) {
          await save();
        }
        if (group && result.stop) {
          const told = await group.gather({ stop: halt.aborted, stoppedBy, skipped });
          await skip(
            told.flatMap((each) => each.skipped),
            { epoch, step },
          );
          if (told.some((each) => each.stop)) {
            stoppedBy = told.find((each) => each.stoppedBy !== undefined)?.stoppedBy;
            stopping.abort(stoppedBy);
            throwIfAborted(halt);
          }
        }
        ended = performance.now();
      }
      const meanLoss = lossSum / batchCount;
      const done = epoch + 1;
      const checkpoint = done % config.checkpointEvery === 0 || done === config.epochs;
      let evaluated: Evaluation | undefined;
      if (
        evaluation &&
        config.evaluateEvery > 0 &&
        (done % config.evaluateEvery === 0 || done === config.epochs)
      ) {
        // Evaluation takes long: a run that is killed in it goes on from here.
        if ((checkpoint || group) && unsaved) await save();
        if (config.batchNorm === "batch") await trainer.broadcast("statistics");
        evaluated = await evaluate({
          model,
          data: evaluation,
          unreadable: strict ? "throw" : "skip",
          ...(group ? { group } : {}),
          signal: interrupt,
          ...(onEvaluationProgress ? { onProgress: onEvaluationProgress } : {}),
        });
        await skip(evaluated.skipped, { epoch, step, evaluation: true });
      }
      const scored = evaluation !== undefined && config.evaluateEvery > 0;
      const score = scored ? evaluated?.iqr.ciou : epoch < settled ? undefined : -meanLoss;
      if (score !== undefined && Number.isFinite(score) && (bestScore === null || score > bestScore)) {
        if (best) await model.save(best, { metadata: { "soundspot.epoch": String(done) } });
        bestScore = score;
      }
      if (folder && config.keepEvery > 0 && done % config.keepEvery === 0) {
        const name = `epoch-${String(done).padStart(4, "0")}.safetensors`;
        await model.save(join(folder, name), { metadata: { "soundspot.epoch": String(done) } });
      }
      if (evaluated) {
        lastEvaluation = evaluated;
        const { audio, image, iqr, retrieval } = evaluated;
        log?.add({ step, epoch: done, evaluation: { audio, image, iqr, retrieval } });
      }
      epoch = done;
      batch = 0;
      unsaved = true;
      if (checkpoint) await save();
      onEpoch?.({ epoch: done - 1, meanLoss, ...spent, ...(evaluated ? { evaluation: evaluated } : {}) });
    }
    return finish();
  } catch (error) {
    const stopped = halt.aborted && isSoundspotError(error) && error.code === "ERR_ABORTED";
    if (unsaved) {
      await save().catch((failure: Error) => {
        throw stopped ? failure : withFailedSave(error, failure);
      });
    }
    if (!stopped || signal?.aborted || stoppedBy === undefined) throw error;
    return finish(stoppedBy);
  } finally {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, stop);
  }

  function finish(stopped?: NodeJS.Signals): TrainRun {
    return {
      model,
      steps: step,
      warnings,
      skipped: damage.entries,
      ...(lastEvaluation ? { evaluation: lastEvaluation } : {}),
      ...(stopped ? { stoppedBy: stopped } : {}),
      ...(last && saved ? { last } : {}),
      ...(best && bestScore !== null ? { best } : {}),
      ...(start.weights ? { weights: start.weights } : {}),
      ...(start.imageWeights ? { imageWeights: start.imageWeights } : {}),
    };
  }
}
