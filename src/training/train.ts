/** Whole runs: `train()`. */
import { join, resolve } from "node:path";
import { mergeModel, parseModelConfig } from "../config/model.js";
import { mergeTrain, type Preset, presetNamed } from "../config/presets.js";
import { parseTrainConfig, type TrainConfig, type TrainOptions } from "../config/train.js";
import { aFlag, aFunction, aPath, aShare, aSignal, check, checkFields } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { aDataset } from "../datasets/dataset.js";
import { aGroup } from "../distributed/process-group.js";
import { aDevice } from "../model/compute.js";
import { isModel } from "../model/model.js";
import { DecodedStore } from "./decoded-store.js";
import { neighboursOf } from "./neighbours.js";
import { Run } from "./run.js";
import { exists, openRunFolder } from "./run-folder.js";
import type { TrainRun, TrainRunOptions } from "./run-options.js";
import { type Start, startFresh, startFrom, startTogether } from "./start.js";

/**
 * Trains a model on a dataset. Whatever ends the run, what was trained is saved to `output` first.
 * @example
 * const run = await train({ preset: "scratch", data: datasets.scenes(), output: "runs/a" });
 * @throws {SoundspotError} ERR_CONFIG; ERR_OUTPUT_IS_INPUT when `output` would replace the weights or a list of the
 * data; ERR_BUSY when another run is at work in `output`, ERR_FILE_WRITE when it cannot be written;
 * ERR_CHECKPOINT_MISMATCH, ERR_CHECKPOINT_CORRUPT when it cannot be resumed; ERR_DATASET when more samples are damaged
 * than `maxDamaged` allows; those of `store`, see there; ERR_ABORTED; and those of the dataset.
 */
export async function train(options: TrainRunOptions): Promise<TrainRun> {
  checkOptions(options);
  throwIfAborted(options.signal);
  const recipe = presetNamed(options.preset ?? "paper");
  const { method } = isModel(options.model)
    ? options.model.config
    : parseModelConfig(mergeModel(recipe.model, options.model));
  const config = parseTrainConfig(trainOptionsOf(options, recipe, method.name), method.name);
  checkBatchSize(options, config);
  const neighbours = await neighboursOf({ method }, options.data, options.neighbours);

  const { output, resume = false, group } = options;
  const fresh = () => startFresh(options, recipe, config);
  let store: DecodedStore | undefined;
  const begin = async (startMain: () => Promise<Start>): Promise<Start> => {
    const start = await (group ? startTogether(group, options, recipe, config, startMain) : startMain());
    const { store: path } = options;
    if (path !== undefined) {
      const open = async () => {
        store = await DecodedStore.open(path, options, start);
      };
      try {
        // Where one process fails, no other waits for it.
        await (group ? group.gatherFrom(open) : open());
      } catch (error) {
        if (!isModel(options.model)) start.model.dispose();
        throw error;
      }
    }
    return { ...start, neighbours, store };
  };
  const folder = output === undefined || group?.main === false ? undefined : resolve(output);
  let unlock: (() => Promise<void>) | undefined;
  const startMain = async () => {
    if (folder === undefined) return fresh();
    unlock = await openRunFolder(folder, options);
    const last = join(folder, "last.safetensors");
    return resume && (await exists(last)) ? startFrom(last, options, recipe, config) : fresh();
  };
  try {
    return await Run.toTheEnd(await begin(startMain), options, folder);
  } finally {
    await store?.close();
    await unlock?.();
  }
}

function checkOptions(options: TrainRunOptions): void {
  checkFields(options, {
    signal: aSignal,
    output: aPath,
    store: aPath,
    weights: aPath,
    imageWeights: aPath,
    device: aDevice,
    group: aGroup,
    onResume: aFunction,
    onStep: aFunction,
    onEpoch: aFunction,
    onSkip: aFunction,
    onStore: aFunction,
    onEvaluationProgress: aFunction,
    evaluation: aDataset,
    strict: aFlag,
    maxDamaged: aShare,
    allowChangedData: aFlag,
  });
  check(options.data, aDataset, "data");
}

/** @throws {SoundspotError} ERR_CONFIG when the data gives no batch, or processes cannot share one. */
function checkBatchSize({ data, group }: TrainRunOptions, config: TrainConfig): void {
  if (data.length < config.batchSize) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `train.batchSize is ${config.batchSize}, but ${data.name} has only ${data.length} samples. Use a smaller batch.`,
    );
  }
  if (group && config.batchSize % group.size !== 0) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `train.batchSize is ${config.batchSize}, which ${group.size} processes cannot share equally. Use a multiple of ${group.size}.`,
    );
  }
}

/** The options of the recipe alone, over the preset's. */
function trainOptionsOf(options: TrainRunOptions, recipe: Preset, method: string): TrainOptions {
  const {
    data,
    evaluation,
    preset,
    model,
    device,
    weights,
    imageWeights,
    neighbours,
    output,
    store,
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
    onStore,
    onEvaluationProgress,
    ...own
  } = options;
  return mergeTrain(recipe.train, own, method);
}
