/** `soundspot compare`: trains the methods on one dataset with one budget and several seeds, and scores each. */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { scoreDisc } from "../../comparison/centred-disc.js";
import {
  type Budget,
  budgets,
  type ComparedEncoders,
  type ComparedMethod,
  comparedMethod,
  comparedMethods,
  recipeOf,
  WARM_UP,
} from "../../comparison/recipes.js";
import {
  type Comparison,
  comparisonFiles,
  comparisonReport,
  comparisonTables,
} from "../../comparison/report.js";
import {
  type ComparedData,
  type ComparedRun,
  type ComparedSettings,
  conditionsOf,
  finishedRun,
  firstOf,
  isComparedFile,
  trainAndScore,
} from "../../comparison/run.js";
import { methodNamed } from "../../config/methods.js";
import { parseModelConfig } from "../../config/model.js";
import { SoundspotError } from "../../core/errors.js";
import type { Dataset } from "../../datasets/dataset.js";
import { openDataset } from "../../datasets/registry.js";
import { type ProtocolName, protocolNames } from "../../evaluation/evaluate.js";
import { writeFiles } from "../../files/atomic-writes.js";
import { checkOutputs, oneOfNames } from "../../files/outputs.js";
import type { Device } from "../../model/compute.js";
import { leftOut } from "../../report/left-out.js";
import { benchmarkOf, publishedChoices } from "../../report/published.js";
import { findNeighbours, type Neighbours, readNeighbours } from "../../training/neighbours.js";
import { isRunFile } from "../../training/run-folder.js";
import { train } from "../../training/train.js";
import { yieldCores } from "../cores.js";
import { heldOut } from "../held-out.js";
import { deviceOption, protocolsFrom, seedList, wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { filesOf } from "../scoring.js";
import { textTable } from "../table.js";

interface Flags {
  data: string;
  evaluation?: string;
  twoSources?: string;
  methods: ComparedMethod[];
  seeds: number[];
  budget: keyof typeof budgets;
  pairs?: number;
  epochs?: number;
  batchSize?: number;
  encoders: ComparedEncoders;
  protocol: ProtocolName[];
  neighbours?: string;
  imageWeights?: string;
  published?: string;
  images: number;
  device: Device;
  output: string;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("compare")
    .description("train the methods on one dataset with one budget, score each, and write one report")
    .requiredOption("--data <dataset>", "to train on: name:field=value,… or a manifest")
    .option("--evaluation <dataset>", "to score on, with annotations; of scenes and stamps their test split")
    .option("--two-sources <dataset>", "images with several sources and a mask of each; of scenes by default")
    .addOption(
      new Option("--methods <list>", `of ${comparedMethods.join(", ")}`)
        .argParser((text: string) => text.split(",").map((name) => comparedMethod(name.trim())))
        .default([...comparedMethods], "all"),
    )
    .addOption(new Option("--seeds <list>", "0,1,2, or 3 for the same").argParser(seedList).default([0], "0"))
    .addOption(
      new Option("--budget <name>", "what each is trained on").choices(Object.keys(budgets)).default("small"),
    )
    .option("--pairs <n>", "of the data, the first ones; over the budget's", wholeFrom(2))
    .option("--epochs <n>", "over the budget's", wholeFrom(1))
    .option("--batch-size <n>", "pairs of a step, over the recipe's", wholeFrom(2))
    .addOption(
      new Option("--encoders <kind>", "one recipe on the same encoders, or each as published")
        .choices(["shared", "published"])
        .default("shared"),
    )
    .addOption(
      new Option("--protocol <list>", `of ${protocolNames.join(", ")}`)
        .argParser((text: string) => protocolsFrom(text))
        .default(["jsa", "area", "adaptive"], "jsa,area,adaptive"),
    )
    .option("--neighbours <file>", "of soundspot neighbours, for Alignment; default: found by a warm-up")
    .option("--image-weights <file>", "torchvision's ResNet-18 .pth for the image encoders")
    .addOption(
      new Option("--published <name>", "published figures beside; default those of the benchmark").choices(
        publishedChoices,
      ),
    )
    .option("--images <n>", "samples whose maps the report shows", wholeFrom(0), 6)
    .addOption(deviceOption())
    .option("--output <folder>", "a folder a method and seed, the report and its figures", "runs/comparison")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nAn interrupted comparison resumes: finished trainings are kept, and a stopped one goes on.",
    )
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  yieldCores();
  checkNeighbours(flags);
  const budget: Budget = {
    ...budgets[flags.budget],
    ...(flags.pairs === undefined ? {} : { pairs: flags.pairs }),
    ...(flags.epochs === undefined ? {} : { epochs: flags.epochs }),
    ...(flags.batchSize === undefined ? {} : { batchSize: flags.batchSize }),
  };
  const opened = await openData(flags, budget);
  const progress = new Progress({ enabled: !flags.json });
  try {
    await compare(flags, budget, opened, progress);
  } finally {
    progress.end();
    for (const data of [opened.data, opened.evaluation, opened.twoSources]) await data?.close?.();
  }
}

async function openData(flags: Flags, budget: Budget): Promise<ComparedData> {
  const kind = /^(\w+)(:|$)/.exec(flags.data)?.[1] ?? "";
  const standard = heldOut[kind];
  const evaluation = flags.evaluation ?? standard?.evaluation;
  if (evaluation === undefined) {
    throw new SoundspotError("ERR_CONFIG", `${flags.data} has no test split of its own. Give --evaluation.`);
  }
  const size = sceneOf(flags);
  const spec = (text: string) => (/^scenes(:|$)/.test(text) ? sized(text, size) : text);
  const two = flags.twoSources ?? standard?.twoSources;
  return {
    data: firstOf(await openDataset(spec(flags.data)), budget.pairs),
    evaluation: await openDataset(spec(evaluation)),
    twoSources: two === undefined ? undefined : await openDataset(spec(two)),
  };
}

/** Size and seconds that scenes are drawn at where the data does not say: those that the models take. */
function sceneOf({ encoders }: Flags): string {
  const { imageSize, audio } = parseModelConfig(recipeOf("ez-vsl", encoders).model);
  return `size=${imageSize},seconds=${audio.seconds}`;
}

function sized(spec: string, size: string): string {
  const [name, fields = ""] = spec.split(/:(.*)/s) as [string, string?];
  const own = fields.split(",").filter(Boolean);
  const known = new Set(own.map((field) => field.split("=")[0]));
  const more = size.split(",").filter((field) => !known.has(field.split("=")[0]));
  return `${name}:${[...own, ...more].join(",")}`;
}

async function compare(flags: Flags, budget: Budget, data: ComparedData, progress: Progress): Promise<void> {
  const { output } = flags;
  const settings: ComparedSettings = {
    ...{ encoders: flags.encoders, budget, protocols: flags.protocol, device: flags.device },
    ...{ imageWeights: flags.imageWeights, shown: flags.images },
  };
  const plans = flags.seeds.flatMap((seed) =>
    flags.methods.map((method) => ({ method, seed, folder: join(output, method, `seed-${seed}`) })),
  );
  const name = "--output";
  await checkOutputs({
    inputs: [
      { name: "--image-weights", path: flags.imageWeights },
      { name: "--neighbours", path: flags.neighbours },
      ...filesOf(data.data),
      ...filesOf(data.evaluation, "--evaluation"),
    ],
    folders: [
      { name, path: output, writes: oneOfNames(Object.values(comparisonFiles)) },
      ...plans.map(({ folder }) => ({
        ...{ name, path: folder },
        writes: (file: string) => isRunFile(file) || isComparedFile(file),
      })),
    ],
  });
  const conditions = conditionsOf(data, settings);
  const finished = new Map<string, ComparedRun>();
  for (const { folder } of plans) {
    const own = await finishedRun(folder, conditions);
    if (own) finished.set(folder, own);
  }
  const say = (text: string) => {
    progress.clear();
    if (!flags.json) process.stdout.write(`${text}\n`);
  };
  say(heading(flags, budget, data));
  for (const text of leftOut(data.data.missing ?? [], [])) say(`training data: ${text}`);
  const neighbours = new Map<number, Neighbours>();
  const runs: ComparedRun[] = [];
  for (const [number, plan] of plans.entries()) {
    const label = `${number + 1} of ${plans.length}: ${methodNamed(plan.method).title}, seed ${plan.seed}`;
    const known = finished.get(plan.folder);
    const own =
      known ??
      (await trainAndScore(
        plan,
        data,
        settings,
        conditions,
        await neighboursFor(plan, flags, budget, data.data, neighbours, progress),
        {
          onStage: (stage) => progress.start(`${label}: ${stage}`),
          onProgress: (done, total, text) => progress.update(done, total, text),
        },
      ));
    if (!own) {
      say("stopped; run the same command again to resume");
      process.exitCode = 1;
      return;
    }
    runs.push(own);
    say(`${label}: ${brief(own, flags.protocol[0])}${known ? ", from before" : ""}`);
  }
  progress.start("centred disc");
  const { perSample, ...disc } = await scoreDisc(data.evaluation, {
    protocol: flags.protocol,
    onProgress: (done, total) => progress.update(done, total),
  });
  progress.clear();
  const benchmark = benchmarkOf(data.evaluation.name, flags.published);
  await report(flags, budget, data, {
    ...{ runs, disc, conditions, plans, benchmark },
    protocols: flags.protocol,
  });
}

function heading(flags: Flags, { epochs }: Budget, { data, evaluation }: ComparedData): string {
  const encoders = flags.encoders === "shared" ? "the same encoders" : "each method as published";
  const { imageSize } = parseModelConfig(recipeOf("ez-vsl", flags.encoders).model);
  return `${flags.methods.length} methods, ${flags.seeds.length} seeds, ${encoders}: ${data.length} pairs of ${data.name} at ${imageSize} px, ${epochs === undefined ? "the epochs of each recipe" : `${epochs} epochs`}; scored on ${evaluation.length}`;
}

function brief({ scores, minutes }: ComparedRun, protocol: ProtocolName | undefined): string {
  const success = protocol === undefined ? undefined : scores.protocols?.[protocol]?.audio?.ciou;
  return `audio map cIoU@0.5 ${((success ?? Number.NaN) * 100).toFixed(1)} %, ${minutes.toFixed(1)} minutes`;
}

function needsNeighbours(method: ComparedMethod): boolean {
  return Object.values(methodNamed(method).views ?? {}).some((view) => view.of === "neighbour");
}

/** @throws {SoundspotError} ERR_CONFIG before anything is trained, when neighbours are missing. */
function checkNeighbours({ methods, encoders, neighbours }: Flags): void {
  const method = methods.find(needsNeighbours);
  if (method === undefined || encoders === "shared" || neighbours !== undefined) return;
  throw new SoundspotError(
    "ERR_CONFIG",
    `${methodNamed(method).title} as published needs the neighbours of a pre-trained encoder. Give --neighbours, the file of soundspot neighbours, or leave ${method} out of --methods.`,
  );
}

/**
 * Neighbours for methods that train with them: of the file that was given, or found by a model of the same seed after
 * the warm-up of the shared recipe.
 */
async function neighboursFor(
  { method, seed }: { readonly method: ComparedMethod; readonly seed: number },
  flags: Flags,
  budget: Budget,
  data: Dataset,
  known: Map<number, Neighbours>,
  progress: Progress,
): Promise<Neighbours | undefined> {
  if (!needsNeighbours(method)) return undefined;
  if (flags.neighbours !== undefined) return readNeighbours(flags.neighbours, data);
  const before = known.get(seed);
  if (before) return before;
  progress.start("warm-up of the encoders for neighbours");
  const { preset, model, train: recipe } = recipeOf("ez-vsl", "shared");
  const { pooled } = recipe.losses ?? {};
  const { model: encoder } = await train({
    ...recipe,
    ...{ preset, model, seed, data, device: flags.device },
    epochs: Math.min(WARM_UP, budget.epochs ?? WARM_UP),
    ...(budget.batchSize === undefined ? {} : { batchSize: budget.batchSize }),
    losses: { ...(pooled ? { pooled } : {}), maxSimilarity: { weight: 0 } },
    onStep: ({ step, totalSteps }) => progress.update(step, totalSteps),
  });
  try {
    progress.start("neighbours");
    const found = await findNeighbours({
      model: encoder,
      data,
      onProgress: (done, total) => progress.update(done, total),
    });
    known.set(seed, found);
    return found;
  } finally {
    encoder.dispose();
  }
}

async function report(
  flags: Flags,
  budget: Budget,
  data: ComparedData,
  comparison: Comparison,
): Promise<void> {
  const { output } = flags;
  const notes = notesOf(flags);
  const tables = comparisonTables(comparison, data);
  const summary = [`${heading(flags, budget, data)}.`, ...notes].join(" ");
  await writeFiles(
    output,
    await comparisonReport(comparison, data, { tables, summary, shown: flags.images }),
  );
  if (flags.json) {
    const { runs, disc } = comparison;
    process.stdout.write(`${JSON.stringify({ runs, disc })}\n`);
    return;
  }
  for (const { title, columns, rows, note } of tables) {
    const table = textTable(
      [...columns],
      rows.map((row) => [...row]),
    );
    process.stdout.write(`\n${title}\n${table}${note}\n`);
  }
  for (const note of notes) process.stdout.write(`${note}\n`);
  process.stdout.write(`\nreport: ${join(output, comparisonFiles.report)}\n`);
}

function notesOf({ methods, encoders, neighbours }: Flags): string[] {
  if (!methods.includes("alignment")) return [];
  return [
    encoders === "shared" && neighbours === undefined
      ? "Alignment's neighbours are those of the encoders of the same seed after the warm-up."
      : "Alignment's neighbours are those of the file that was given.",
  ];
}
