/** The epochs of a run: steps, evaluations and checkpoints, from where it starts to its end. */
import { join } from "node:path";
import { learningRateAt, settledEpoch } from "../config/schedule.js";
import { isError, isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import { SkippedList } from "../datasets/skipped-list.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { type Evaluation, evaluate } from "../evaluation/evaluate.js";
import type { StepResult } from "../native.js";
import { type TrainingBatch, trainingBatches } from "./batches.js";
import { CollapseMonitor, type CollapseWarning } from "./collapse-monitor.js";
import { MetricsLog } from "./metrics-log.js";
import { PROGRESS_KEY, type Progress } from "./progress.js";
import { MAX_DAMAGED, type StepEvent, type TrainRun, type TrainRunOptions } from "./run-options.js";
import { type StagedTrainingBatch, stagedAhead } from "./staging.js";
import type { Start } from "./start.js";
import { Stopping } from "./stopping.js";

/** Steps after which lists and metrics are written, at the latest. */
const FLUSH_EVERY = 20;

/** Where the run stands; the names are those of {@link Progress}. */
type Place = { -readonly [Key in "epoch" | "batch" | "step" | "bestScore" | "lossSum"]: Progress[Key] };

/** Position of a step in the schedules. */
type Position = { readonly step: number; readonly total: number; readonly epoch: number };

/** When a damaged sample was found. */
type Met = { readonly epoch: number; readonly step: number; readonly evaluation?: true };

/** Seconds of an epoch's steps, and those of them in which a step waited for its data. */
interface Spent {
  seconds: number;
  waited: number;
}

export class Run {
  readonly #start: Start;
  readonly #options: TrainRunOptions;
  readonly #folder: string | undefined;
  readonly #batchCount: number;
  readonly #metrics: MetricsLog | undefined;
  readonly #damage: SkippedList;
  readonly #monitor: CollapseMonitor;
  readonly #warnings: CollapseWarning[] = [];
  readonly #stopping: Stopping;
  readonly #place: Place;
  /** Other than 0 after a resume on changed data: schedules follow the place in the epochs, not the steps that were taken. */
  readonly #moved: number;
  #lastEvaluation: Evaluation | undefined;
  /** Whether last.safetensors is this run's. */
  #saved: boolean;
  /** Whether there are steps, or an epoch's end, that last.safetensors does not have. */
  #unsaved = false;

  private constructor(start: Start, options: TrainRunOptions, folder: string | undefined) {
    const { data, evaluation, maxDamaged = MAX_DAMAGED } = options;
    const { epoch, batch, step, bestScore, lossSum } = start.progress;
    const { batchSize } = start.trainer.config;
    this.#start = start;
    this.#options = options;
    this.#folder = folder;
    this.#batchCount = Math.floor(data.length / batchSize);
    this.#metrics = folder === undefined ? undefined : new MetricsLog(folder);
    const path = folder === undefined ? undefined : join(folder, "skipped.jsonl");
    this.#damage = new SkippedList({ data, evaluation, maxDamaged, path });
    this.#monitor = new CollapseMonitor(batchSize);
    this.#place = { epoch, batch, step, bestScore, lossSum };
    this.#moved = step - epoch * this.#batchCount - batch;
    this.#saved = start.resumed;
    this.#stopping = new Stopping(options);
  }

  /**
   * Trains from the start to the last epoch, and saves to `folder` what was trained, whatever ends it.
   * @throws {SoundspotError} as `train`
   */
  static async toTheEnd(start: Start, options: TrainRunOptions, folder?: string): Promise<TrainRun> {
    const run = new Run(start, options, folder);
    try {
      await run.#takeUp();
      return await run.#trainEpochs();
    } finally {
      run.#stopping[Symbol.dispose]();
    }
  }

  /** Cuts metrics and list of damage back to where the run goes on. */
  async #takeUp(): Promise<void> {
    const { progress, resumed } = this.#start;
    const { group, data, onResume } = this.#options;
    await this.#metrics?.cutTo(progress);
    await this.#damage.cutTo(progress);
    if (!resumed) return;
    if (group) this.#damage.takeUp((await group.gather(this.#damage.entries))[0] ?? []);
    onResume?.({
      file: this.#file("last") ?? "",
      step: progress.step,
      epoch: progress.epoch,
      processes: group?.size ?? 1,
      processesBefore: progress.processes ?? 1,
      samples: data.length,
      samplesBefore: progress.samples,
    });
  }

  async #trainEpochs(): Promise<TrainRun> {
    try {
      while (this.#place.epoch < this.#config.epochs) await this.#trainEpoch();
      return this.#result();
    } catch (error) {
      const stopping = this.#stopping;
      if (this.#unsaved) {
        await this.#save().catch((failure: Error) => {
          throw stopping.causes(error) ? failure : withFailedSave(error, failure);
        });
      }
      if (!stopping.givesResult(error)) throw error;
      return this.#result(stopping.by);
    }
  }

  /** The steps of an epoch that are left, its evaluation, and its checkpoints. */
  async #trainEpoch(): Promise<void> {
    const place = this.#place;
    if (place.batch === 0) place.lossSum = 0;
    const spent = await this.#takeSteps();
    const meanLoss = place.lossSum / this.#batchCount;
    const done = place.epoch + 1;
    const evaluation = this.#evaluationIsDue(done) ? await this.#evaluate(done) : undefined;
    await this.#keepIfBest(done, evaluation, meanLoss);
    await this.#keepEpoch(done);
    if (evaluation) {
      this.#lastEvaluation = evaluation;
      this.#metrics?.addEvaluation(evaluation, place.step, done);
    }
    place.epoch = done;
    place.batch = 0;
    this.#unsaved = true;
    if (this.#checkpointIsDue(done)) await this.#save();
    this.#options.onEpoch?.({
      epoch: done - 1,
      meanLoss,
      ...spent,
      ...(evaluation ? { evaluation } : {}),
    });
  }

  /** One step for each batch that is left of the epoch. */
  async #takeSteps(): Promise<Spent> {
    const { data, group, strict = false } = this.#options;
    const place = this.#place;
    const { interrupt } = this.#stopping;
    const spent: Spent = { seconds: 0, waited: 0 };
    let ended = performance.now();
    const batches = trainingBatches(this.#start.trainer, {
      data,
      epoch: place.epoch,
      fromBatch: place.batch,
      strict,
      neighbours: this.#start.neighbours,
      store: this.#start.store,
      rank: group?.rank ?? 0,
      size: group?.size ?? 1,
      signal: interrupt,
    });
    for await (const batch of this.#staged(batches)) {
      throwIfAborted(interrupt);
      if (!group) await this.#skip(batch.skipped, { epoch: place.epoch, step: place.step + 1 });
      const started = performance.now();
      const at = this.#position();
      const result = await this.#takeStep(batch, at);
      const [waited, milliseconds] = [started - ended, performance.now() - ended];
      spent.seconds += milliseconds / 1000;
      spent.waited += waited / 1000;
      await this.#report(result, at, { waited, milliseconds });
      if (this.#stepCheckpointIsDue()) await this.#save();
      if (group && result.stop) await this.#agree(group, batch.skipped);
      ended = performance.now();
    }
    return spent;
  }

  #position(): Position {
    const { epoch, batch, step } = this.#place;
    return {
      step: step - this.#moved,
      total: this.#config.epochs * this.#batchCount,
      epoch: epoch + batch / this.#batchCount,
    };
  }

  /** On another device than the CPU, whose memory the samples are in already, one batch is on its way beside the step. */
  #staged(batches: AsyncIterable<TrainingBatch>): AsyncIterable<TrainingBatch | StagedTrainingBatch> {
    const { trainer, model } = this.#start;
    return model.compute.device === "cpu" ? batches : stagedAhead(batches, trainer);
  }

  async #takeStep(batch: TrainingBatch | StagedTrainingBatch, at: Position): Promise<StepResult> {
    // In a group the step also carries reports of damage: without any there is no further exchange.
    const stop = this.#stopping.halt.aborted || batch.skipped.length > 0;
    const { trainer } = this.#start;
    const result =
      "staged" in batch
        ? await trainer.stepPrepared(await batch.staged, { at, stop })
        : await trainer.stepPrepared(batch.samples(), { at, stop }, batch.views());
    batch.release();
    this.#place.step++;
    this.#place.batch++;
    this.#place.lossSum += result.losses.total ?? 0;
    this.#unsaved = true;
    return result;
  }

  /** Watches for collapse, logs the step and calls `onStep`. */
  async #report(
    result: StepResult,
    at: Position,
    time: Pick<StepEvent, "milliseconds" | "waited">,
  ): Promise<void> {
    const { epoch, step } = this.#place;
    const warnings = this.#monitor.observe(result);
    this.#warnings.push(...warnings);
    const event: StepEvent = {
      epoch,
      step,
      totalSteps: at.total + this.#moved,
      learningRate: learningRateAt(this.#config, at.step, at.total),
      result,
      samplesPerSecond: this.#config.batchSize / (time.milliseconds / 1000),
      milliseconds: time.milliseconds,
      waited: time.waited,
      warnings,
    };
    this.#metrics?.addStep(event, at.epoch);
    if (step % FLUSH_EVERY === 0) await this.#flush();
    this.#options.onStep?.(event);
  }

  /** Reports to all processes what this one has found: damaged samples, or that it is to stop. */
  async #agree(group: ProcessGroup, skipped: readonly SkippedSample[]): Promise<void> {
    const { epoch, step } = this.#place;
    const { halt, by } = this.#stopping;
    const gathered = await group.gather({ stop: halt.aborted, stoppedBy: by, skipped });
    await this.#skip(
      gathered.flatMap((each) => each.skipped),
      { epoch, step },
    );
    if (!gathered.some((each) => each.stop)) return;
    this.#stopping.stop(gathered.find((each) => each.stoppedBy !== undefined)?.stoppedBy);
    throwIfAborted(halt);
  }

  /** @throws {SoundspotError} ERR_DATASET when there are more damaged samples than `maxDamaged` allows. */
  async #skip(skipped: readonly SkippedSample[], at: Met): Promise<void> {
    if (skipped.length === 0) return;
    const { group, onSkip } = this.#options;
    // Every process of a group is given the same samples here, and all end together.
    const add = () => this.#damage.add(skipped, at);
    const added = group ? ((await group.gatherFrom(add))[group.rank] ?? []) : await add();
    for (const sample of added) onSkip?.(sample);
  }

  #evaluationIsDue(done: number): boolean {
    const { evaluateEvery, epochs } = this.#config;
    return this.#isEvaluated && (done % evaluateEvery === 0 || done === epochs);
  }

  async #evaluate(done: number): Promise<Evaluation> {
    const { evaluation: data, group, strict = false, onEvaluationProgress } = this.#options;
    const { model, trainer } = this.#start;
    const { epoch, step } = this.#place;
    // Evaluation takes long: a run that is killed in it goes on from here.
    if ((this.#checkpointIsDue(done) || group) && this.#unsaved) await this.#save();
    if (this.#config.batchNorm === "batch") await trainer.broadcast("statistics");
    const evaluated = await evaluate({
      model,
      data: data as NonNullable<typeof data>,
      unreadable: strict ? "throw" : "skip",
      ...(group ? { group } : {}),
      signal: this.#stopping.interrupt,
      ...(onEvaluationProgress ? { onProgress: onEvaluationProgress } : {}),
    });
    await this.#skip(evaluated.skipped, { epoch, step, evaluation: true });
    return evaluated;
  }

  /** Writes best.safetensors where the epoch is better than all before it. */
  async #keepIfBest(done: number, evaluation: Evaluation | undefined, meanLoss: number): Promise<void> {
    const { bestScore } = this.#place;
    const settled = done > settledEpoch(this.#config);
    const score = this.#isEvaluated
      ? evaluation?.[evaluation.defaultMap]?.ciou
      : settled
        ? -meanLoss
        : undefined;
    if (score === undefined || !Number.isFinite(score) || (bestScore !== null && score <= bestScore)) return;
    await this.#saveModel("best", done);
    this.#place.bestScore = score;
  }

  async #keepEpoch(done: number): Promise<void> {
    const { keepEvery } = this.#config;
    if (keepEvery > 0 && done % keepEvery === 0) {
      await this.#saveModel(`epoch-${String(done).padStart(4, "0")}`, done);
    }
  }

  async #saveModel(name: string, done: number): Promise<void> {
    const file = this.#file(name);
    if (file) await this.#start.model.save(file, { metadata: { "soundspot.epoch": String(done) } });
  }

  #checkpointIsDue(done: number): boolean {
    const { checkpointEvery, epochs } = this.#config;
    return done % checkpointEvery === 0 || done === epochs;
  }

  #stepCheckpointIsDue(): boolean {
    const { checkpointSteps } = this.#config;
    const { batch } = this.#place;
    return checkpointSteps > 0 && batch % checkpointSteps === 0 && batch < this.#batchCount;
  }

  /** Writes last.safetensors, and lists and metrics before it; it is written also where these cannot be. */
  async #save(): Promise<void> {
    try {
      await this.#flush();
    } finally {
      await this.#saveLast();
    }
    this.#unsaved = false;
  }

  async #saveLast(): Promise<void> {
    const file = this.#file("last");
    if (!file) return;
    const { data, group } = this.#options;
    const { epoch, batch, step, bestScore, lossSum } = this.#place;
    const state: Progress = {
      epoch,
      batch,
      step,
      bestScore,
      lossSum,
      samples: data.length,
      ...(data.sequence ? { order: data.sequence.order } : {}),
      config: this.#config,
      processes: group?.size ?? 1,
    };
    await this.#start.trainer.save(file, { [PROGRESS_KEY]: JSON.stringify(state) });
    this.#saved = true;
  }

  async #flush(): Promise<void> {
    await this.#metrics?.flush();
    await this.#damage.flush();
  }

  #result(stoppedBy?: NodeJS.Signals): TrainRun {
    const { model, weights, imageWeights } = this.#start;
    const [last, best] = [this.#file("last"), this.#file("best")];
    return {
      model,
      steps: this.#place.step,
      warnings: this.#warnings,
      skipped: this.#damage.entries,
      ...(this.#lastEvaluation ? { evaluation: this.#lastEvaluation } : {}),
      ...(stoppedBy ? { stoppedBy } : {}),
      ...(last && this.#saved ? { last } : {}),
      ...(best && this.#place.bestScore !== null ? { best } : {}),
      ...(weights ? { weights } : {}),
      ...(imageWeights ? { imageWeights } : {}),
    };
  }

  get #config() {
    return this.#start.trainer.config;
  }

  /** Whether epochs are compared by their evaluation. */
  get #isEvaluated(): boolean {
    return this.#options.evaluation !== undefined && this.#config.evaluateEvery > 0;
  }

  /** Undefined where nothing is written. */
  #file(name: string): string | undefined {
    return this.#folder === undefined ? undefined : join(this.#folder, `${name}.safetensors`);
  }
}
/** The error that ended a run, with the failure of the save after it. */
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
