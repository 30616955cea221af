/** What a run starts from: fresh weights, its checkpoint, or the state of rank 0 of its group. */

import { mergeModel, parseModelConfig } from "../config/model.js";
import { fieldsByPath } from "../config/parse.js";
import type { Preset } from "../config/presets.js";
import type { TrainConfig } from "../config/train.js";
import { SoundspotError } from "../core/errors.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { isModel, Model, type WeightsReport } from "../model/model.js";
import type { DecodedStore } from "./decoded-store.js";
import type { Neighbours } from "./neighbours.js";
import { checkSameRun, onData, type Progress, readProgress } from "./progress.js";
import { MAX_DAMAGED, type TrainRunOptions } from "./run-options.js";
import { Trainer } from "./trainer.js";

/** What a run starts from: fresh weights, or its checkpoint. */
export interface Start {
  readonly model: Model;
  readonly trainer: Trainer;
  readonly progress: Progress;
  readonly resumed: boolean;
  /** Of the samples, for methods that train with them. */
  readonly neighbours?: Neighbours | undefined;
  readonly store?: DecodedStore | undefined;
  readonly weights?: WeightsReport;
  readonly imageWeights?: WeightsReport;
}

const placeOf = ({ device }: TrainRunOptions) => (device === undefined ? {} : { device });

export async function startFresh(
  options: TrainRunOptions,
  recipe: Preset,
  config: TrainConfig,
): Promise<Start> {
  const { data, model: wanted, signal } = options;
  const model = isModel(wanted)
    ? wanted
    : await Model.create(mergeModel(recipe.model, wanted), { seed: config.seed, ...placeOf(options) });
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

export async function startFrom(
  last: string,
  options: TrainRunOptions,
  recipe: Preset,
  config: TrainConfig,
): Promise<Start> {
  const { data, model: wanted, signal } = options;
  const model = await Model.load(last, { signal, ...placeOf(options) });
  const progress = readProgress(model.metadata, last, model.config.method.name);
  // A run goes on in the precision that it began in, regardless of this processor's default.
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
    ...fieldsByPath(own, "model"),
    ...fieldsByPath(train, "train"),
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

/** Rank 0's start, given to every process of the group: the others receive what it has read or created. */
export async function startTogether(
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
  const [received] = await group.gatherFrom(async () => {
    if (!group.main) return undefined;
    start = await startMain();
    const progress = { ...start.progress, config: start.trainer.config };
    return { progress, model: start.model.config, resumed: start.resumed };
  });
  if (!start) {
    const { progress, model: modelConfig, resumed } = received as NonNullable<typeof received>;
    const wanted = options.model;
    const model = isModel(wanted) && !resumed ? wanted : await Model.create(modelConfig, placeOf(options));
    start = { model, trainer: new Trainer(model, progress.config, group), progress, resumed };
  }
  await start.trainer.broadcast("everything");
  return start;
}
