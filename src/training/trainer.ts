/** One step of training at a time. */

import { resolve } from "node:path";
import { methodNamed } from "../config/methods.js";
import { learningRateAt, lossWeightAt } from "../config/schedule.js";
import { parseTrainConfig, type TrainConfig, type TrainOptions } from "../config/train.js";
import { aList, anObject, aPath, type Check, check, checkFields } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { aGroup } from "../distributed/process-group.js";
import { computedPrecision } from "../model/compute.js";
import { type LocalizeInput, prepareInput, releaseSamples } from "../model/inputs.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import {
  native,
  type SampleHandle,
  type StagedHandle,
  type StepResult,
  type TrainerHandle,
} from "../native.js";

/**
 * The configuration with "auto" replaced by what it means on the model's device. Others stay, also where float32 is
 * computed instead: the run can go on elsewhere in the precision that was asked for.
 */
function withPrecision(config: TrainConfig, device: string): TrainConfig {
  const precision = computedPrecision(config.precision, device);
  return config.precision === "auto" ? { ...config, precision } : config;
}

const aPlace: Check = [
  (value) =>
    anObject[0](value) &&
    ["step", "total", "epoch"].every((name) => Number.isFinite((value as Record<string, unknown>)[name])),
  "{ step, total, epoch }",
];

/** @throws {SoundspotError} ERR_INPUT when a view is missing or has another number of samples. */
function checkView(view: unknown, name: string, length: number): void {
  if (Array.isArray(view) && view.length === length) return;
  throw new SoundspotError(
    "ERR_INPUT",
    `This method trains with a further view of each pair: give views.${name}, a list of ${length} pairs.`,
  );
}

/** Options of a single step. */
export interface TrainerStepOptions {
  /** Return the gradients, before clipping. Default false. */
  readonly gradients?: boolean;
  /** Take the optimizer step. Default true. */
  readonly update?: boolean;
  /**
   * Further views of the same pairs in the same order, for methods that train with them: "neighbour" and "augmented" of
   * Alignment.
   */
  readonly views?: Readonly<Record<string, readonly LocalizeInput[]>>;
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
 * model and configuration: they start equal and take equal steps. Free it with `dispose()`, or by `using`; the model
 * stays.
 */
export class Trainer implements Disposable {
  readonly model: Model;
  readonly config: TrainConfig;
  /** Undefined once disposed. */
  #handle: TrainerHandle | undefined;
  readonly #group: ProcessGroup | undefined;

  /** @throws {SoundspotError} ERR_CONFIG with the path of the field, ERR_DISPOSED. */
  constructor(model: Model, options: TrainOptions = {}, group?: ProcessGroup) {
    check(model, aModel, "model");
    if (group !== undefined) check(group, aGroup, "group");
    this.model = model;
    this.config = withPrecision(parseTrainConfig(options, model.config.method.name), model.compute.device);
    this.#group = group;
    this.#handle = native().createTrainer(model.handle, this.config.seed, group?.handle);
  }

  get #live(): TrainerHandle {
    if (this.#handle) return this.#handle;
    throw new SoundspotError("ERR_DISPOSED", "The trainer was disposed. Make another one.");
  }

  /**
   * One step of AdamW on a batch. In a process group each process gives an equal part of the batch; the losses, which
   * compare all samples of it, and the gradients are those of the whole.
   * @returns each loss unweighted and `total`; with `gradients` those of every parameter, by name
   * @throws {SoundspotError} ERR_INTERNAL when loss, gradient or running statistics are not finite, ERR_OUT_OF_MEMORY:
   * model and random state are then unchanged; ERR_DISTRIBUTED when another process is lost; ERR_DISPOSED
   */
  async step(batch: readonly LocalizeInput[], options: TrainerStepOptions = {}): Promise<StepResult> {
    void this.#live; // a disposed trainer is rejected before anything is decoded
    check(batch, aList, "The batch");
    checkFields(options, { at: aPlace });
    if (batch.length === 0)
      throw new SoundspotError("ERR_INPUT", "The batch is empty. Give at least one pair.");
    const names = Object.keys(methodNamed(this.model.config.method.name).views ?? {});
    for (const name of names) checkView(options.views?.[name], name, batch.length);
    const prepared = async (inputs: readonly LocalizeInput[]) => {
      const samples = await Promise.all(
        Array.from(inputs, (input) => prepareInput(input, this.model.config)),
      );
      return samples.map(({ handle }) => handle);
    };
    const samples = await prepared(batch);
    const views: Record<string, readonly SampleHandle[]> = {};
    for (const name of names) views[name] = await prepared(options.views?.[name] ?? []);
    try {
      return await this.stepPrepared(samples, options, views);
    } finally {
      releaseSamples([samples, ...Object.values(views)].flat());
    }
  }

  /**
   * @internal Brings prepared samples to the model's device while it computes others, for one `stepPrepared`. On the CPU
   * there is nothing to bring.
   */
  async stage(
    samples: readonly SampleHandle[],
    views: Readonly<Record<string, readonly SampleHandle[]>> = {},
  ): Promise<StagedHandle> {
    return native().stage(this.#live, samples, views);
  }

  /** @internal The same as `step`, on prepared samples or a staged batch, which brings its views. */
  async stepPrepared(
    samples: readonly SampleHandle[] | StagedHandle,
    options: TrainerStepOptions = {},
    views: Readonly<Record<string, readonly SampleHandle[]>> = {},
  ): Promise<StepResult> {
    void this.model.handle;
    const { config } = this;
    const { step, total, epoch } = options.at ?? { step: 0, total: 1, epoch: 0 };
    const losses = Object.entries(config.losses)
      .map(([name, loss]) => ({ name, weight: lossWeightAt(loss, epoch), temperature: loss.temperature }))
      .filter(({ weight }) => weight > 0);
    return native().step(
      this.#live,
      samples,
      {
        learningRate: learningRateAt(config, step, total),
        beta1: config.beta1,
        beta2: config.beta2,
        epsilon: config.epsilon,
        weightDecay: config.weightDecay,
        coupledDecay: config.optimizer === "adam",
        falseNegativeK: epoch >= config.falseNegatives.from ? config.falseNegatives.k : 0,
        clip: config.clip,
        precision: config.precision === "auto" ? "float32" : config.precision,
        masking: options.masking ?? true,
        microBatchSize: config.microBatchSize,
        frozenStatistics: config.batchNorm === "frozen",
        sharedStatistics: config.batchNorm === "synchronised" && this.#group !== undefined,
        plain: options.plain ?? false,
        gradients: options.gradients ?? false,
        update: options.update ?? true,
        stop: options.stop ?? false,
        localContrast: config.contrast === "local",
        losses,
      },
      views,
    );
  }

  /**
   * Writes parameters, optimizer and random state to one file; atomic.
   * @throws {SoundspotError} ERR_FILE_WRITE; ERR_INTERNAL when some are not finite, and the file is as it was.
   */
  async save(path: string, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.model.saveWith(this.#live, path, metadata);
  }

  /**
   * Puts back the optimizer and the random state of a file that `save` wrote; the model loads its own part.
   * @throws {SoundspotError} ERR_CHECKPOINT_MISMATCH when it is not of a run of this model, ERR_CHECKPOINT_CORRUPT also
   *   when no optimizer can have come to its state, and those of `Model.load`; nothing is changed then.
   */
  async restore(path: string): Promise<void> {
    void this.#live;
    check(path, aPath, "The checkpoint");
    const file = resolve(path);
    const { handle } = await native().readCheckpoint(file);
    await native().restoreTrainer(this.#live, handle, file);
  }

  /** @internal Rank 0's statistics of batch norm, or its whole state with the model's, to every process. */
  async broadcast(what: "statistics" | "everything"): Promise<void> {
    if (this.#group) await native().broadcastTrainer(this.#live, what === "statistics");
  }

  /** Frees the optimizer's state; further use throws ERR_DISPOSED. A step that is being taken ends first. */
  dispose(): void {
    if (this.#handle) native().releaseTrainer(this.#handle);
    this.#handle = undefined;
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
