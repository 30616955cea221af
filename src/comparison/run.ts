/** One training of a comparison: trained or taken up, scored, and written as `scores.json` into its folder. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { mergeModel } from "../config/model.js";
import { isObject } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { Dataset } from "../datasets/dataset.js";
import { type Evaluation, evaluate, type ProtocolName } from "../evaluation/evaluate.js";
import { writeFiles } from "../files/atomic-writes.js";
import type { Device } from "../model/compute.js";
import { prepareSample } from "../model/inputs.js";
import { localizePrepared } from "../model/localize.js";
import type { Model } from "../model/model.js";
import { native } from "../native.js";
import { renderScored } from "../report/gallery.js";
import type { Neighbours } from "../training/neighbours.js";
import { train } from "../training/train.js";
import { type Budget, type ComparedEncoders, type ComparedMethod, recipeOf } from "./recipes.js";

/** Data of a comparison. */
export interface ComparedData {
  readonly data: Dataset;
  readonly evaluation: Dataset;
  /** Images with several sources and masks of each; scored where they are given. */
  readonly twoSources?: Dataset | undefined;
}

/** What every training of a comparison has in common. */
export interface ComparedSettings {
  readonly encoders: ComparedEncoders;
  readonly budget: Budget;
  readonly protocols: readonly ProtocolName[];
  readonly device: Device;
  readonly imageWeights?: string | undefined;
  /** Samples of the evaluation data whose maps the report shows. */
  readonly shown: number;
}

/** One method with one seed. */
export interface ComparedRun {
  readonly method: ComparedMethod;
  readonly seed: number;
  /** Of training, in minutes, all parts of a resumed run together. */
  readonly minutes: number;
  /** Median milliseconds a pair of localization in batches of 16, prepared. */
  readonly milliseconds: number;
  /** Most memory that tensors of 256 KiB and more held in training, in MiB. */
  readonly memory: number;
  /** Parameters: trained, stored, and those that inference reads. */
  readonly parameters: { readonly trained: number; readonly stored: number };
  readonly pairs: number;
  readonly epochs: number;
  readonly scores: Omit<Evaluation, "perSample">;
  /** Share of images with several sources whose map is higher on the sounding than on the silent source. */
  readonly twoSources?: number;
  /** cIoU of the audio map of each sample that the report shows, by its index in the evaluation data; in [0, 1]. */
  readonly shownCious?: Readonly<Record<number, number>>;
}

const FILE = "scores.json";
const SPENT = "spent.json";
/** Files of a run's folder beside those of training. */
export const isComparedFile = (name: string): boolean =>
  name === FILE || name === SPENT || /^map-\d+\.png$/.test(name);

const fileSchema = z.looseObject({
  conditions: z.unknown(),
  run: z.looseObject({
    method: z.string(),
    seed: z.number(),
    minutes: z.number(),
    scores: z.looseObject({}),
  }),
});

/** The settings that a run's scores depend on, as JSON gives them back. */
export function conditionsOf(
  { data, evaluation, twoSources }: ComparedData,
  { encoders, budget, protocols, imageWeights, shown }: ComparedSettings,
): unknown {
  const named = (dataset: Dataset | undefined) => dataset && { name: dataset.name, samples: dataset.length };
  const all = {
    ...{ data: named(data), evaluation: named(evaluation), twoSources: named(twoSources) },
    ...{ encoders, budget, protocols, imageWeights, shown },
  };
  return JSON.parse(JSON.stringify(all));
}

/**
 * The scores that an earlier comparison left in a folder; undefined without any.
 * @throws {SoundspotError} ERR_CONFIG when they were made under other conditions, or the file is damaged.
 */
export async function finishedRun(folder: string, conditions: unknown): Promise<ComparedRun | undefined> {
  const path = join(folder, FILE);
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw new SoundspotError("ERR_FILE_NOT_FOUND", `${path} cannot be read: ${cause.message}.`, { cause });
  });
  if (text === undefined) return undefined;
  let stored: z.output<typeof fileSchema>;
  try {
    stored = fileSchema.parse(JSON.parse(text, (_, value) => (value === null ? Number.NaN : value)));
  } catch (cause) {
    throw new SoundspotError("ERR_CONFIG", `${path} is damaged. Remove its folder to train again.`, {
      cause,
    });
  }
  if (JSON.stringify(stored.conditions) !== JSON.stringify(conditions)) {
    const differing = difference(stored.conditions, conditions);
    throw new SoundspotError(
      "ERR_CONFIG",
      `${folder} was made under other conditions${differing}. Give the same options, or another --output.`,
    );
  }
  return stored.run as unknown as ComparedRun;
}

function difference(before: unknown, now: unknown): string {
  if (!isObject(before) || !isObject(now)) return "";
  const [was, is] = [before, now] as Record<string, unknown>[] as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  const name = [...new Set([...Object.keys(is), ...Object.keys(was)])].find(
    (each) => JSON.stringify(was[each]) !== JSON.stringify(is[each]),
  );
  if (name === undefined) return "";
  const shown = (value: unknown) => JSON.stringify(value) ?? "not given";
  return `: ${name} was ${shown(was[name])}, now ${shown(is[name])}`;
}

/** Callbacks of a run. */
export interface ComparedProgress {
  readonly onStage: (stage: string) => void;
  readonly onProgress: (done: number, total: number, text?: string) => void;
}

/** The first samples of a dataset, in its own order; the dataset itself where it has no more. */
export function firstOf(data: Dataset, count: number | undefined): Dataset {
  if (count === undefined || data.length <= count) return data;
  const { name, classes, files } = data;
  return {
    name,
    length: count,
    load: (index, options) => data.load(index, options),
    ...(data.idOf ? { idOf: (index: number) => data.idOf?.(index) } : {}),
    ...(classes ? { classes } : {}),
    ...(files ? { files } : {}),
  };
}

/**
 * Trains a method with a seed, or goes on where an earlier call was ended, and scores it.
 * @returns undefined when a signal ended the training
 */
export async function trainAndScore(
  {
    method,
    seed,
    folder,
  }: { readonly method: ComparedMethod; readonly seed: number; readonly folder: string },
  data: ComparedData,
  settings: ComparedSettings,
  conditions: unknown,
  neighbours: Neighbours | undefined,
  { onStage, onProgress }: ComparedProgress,
): Promise<ComparedRun | undefined> {
  const { encoders, budget, device, imageWeights } = settings;
  const recipe = recipeOf(method, encoders);
  onStage("training");
  const before = await spentBefore(folder);
  native().tensorMemory(true);
  const started = performance.now();
  const result = await train({
    ...recipe.train,
    ...(budget.epochs === undefined ? {} : { epochs: budget.epochs }),
    ...(budget.batchSize === undefined ? {} : { batchSize: budget.batchSize }),
    preset: recipe.preset,
    model: mergeModel(recipe.model),
    seed,
    device,
    data: data.data,
    output: folder,
    resume: true,
    handleSignals: true,
    ...(neighbours ? { neighbours } : {}),
    ...(imageWeights === undefined ? {} : { imageWeights }),
    onStep: ({ step, totalSteps, result: { losses } }) => {
      onProgress(step, totalSteps, `loss ${(losses.total ?? Number.NaN).toFixed(3)}`);
    },
  });
  const memory = Math.max(before.memory, native().tensorMemory(false));
  const minutes = before.minutes + (performance.now() - started) / 60_000;
  await writeFiles(folder, { [SPENT]: `${JSON.stringify({ minutes, memory })}\n` });
  const { model, stoppedBy } = result;
  try {
    if (stoppedBy) return undefined;
    const images: Record<string, Buffer> = {};
    onStage("scoring");
    const { perSample, ...scores } = await evaluate({
      model,
      data: data.evaluation,
      protocol: settings.protocols,
      onProgress,
      onSample: async (sample, spot, { index }) => {
        if (index < settings.shown) images[`map-${index}.png`] = await renderScored(sample, spot.audioMap);
      },
    });
    onStage("images with several sources");
    const two =
      data.twoSources && (await evaluate({ model, data: data.twoSources, bootstrap: false, onProgress }));
    const parameters = await parametersOf(model);
    const run: ComparedRun = {
      ...{ method, seed, minutes, memory: memory / 2 ** 20, parameters, scores },
      milliseconds: await timed(model, data.evaluation),
      pairs: data.data.length,
      epochs: budget.epochs ?? (recipe.train.epochs as number),
      ...(two?.soundingOverSilent === undefined ? {} : { twoSources: two.soundingOverSilent }),
      shownCious: Object.fromEntries(
        perSample.flatMap(({ index, audio }) =>
          index < settings.shown && audio ? [[index, audio.ciou] as const] : [],
        ),
      ),
    };
    await writeFiles(folder, { ...images, [FILE]: `${JSON.stringify({ conditions, run }, null, 2)}\n` });
    return run;
  } finally {
    model.dispose();
  }
}

/** Minutes and bytes of the parts of a training that came before. */
async function spentBefore(folder: string): Promise<{ readonly minutes: number; readonly memory: number }> {
  const text = await readFile(join(folder, SPENT), "utf8").catch(() => "{}");
  try {
    const { minutes = 0, memory = 0 } = JSON.parse(text) as { minutes?: number; memory?: number };
    return { minutes: Number(minutes), memory: Number(memory) };
  } catch {
    return { minutes: 0, memory: 0 };
  }
}

async function parametersOf(model: Model): Promise<ComparedRun["parameters"]> {
  let [trained, stored] = [0, 0];
  for (const { name, trainable, data } of await model.parameters()) {
    if (/running_mean|running_var|num_batches_tracked/.test(name)) continue;
    stored += data.length;
    if (trainable) trained += data.length;
  }
  return { trained, stored };
}

/** Median milliseconds a pair over batches of 16 prepared pairs, after one that is not counted. */
async function timed(model: Model, data: Dataset): Promise<number> {
  const count = Math.min(16, data.length);
  const prepared = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const sample = await data.load(index);
      return { handle: await prepareSample(sample, model.config), image: sample.image };
    }),
  );
  const sizes = prepared.map(({ image }) => [image.height, image.width] as const);
  const times: number[] = [];
  for (let round = 0; round < 8; round++) {
    const from = performance.now();
    await localizePrepared(model, prepared, { sizes });
    times.push((performance.now() - from) / count);
  }
  return times.slice(1).sort((a, b) => a - b)[3] as number;
}
