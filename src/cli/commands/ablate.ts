/** `soundspot ablate`: trains every variant of an ablation alike, scores each, and prints one table. */

import { join } from "node:path";
import { type Command, Option } from "commander";
import {
  type Ablation,
  ablations,
  keptLosses,
  recipeOf,
  type Variant,
  variantsOf,
} from "../../ablation/ablations.js";
import {
  type Conditions,
  conditionsOf,
  inOrder,
  keptRows,
  keyOf,
  RECORD,
  type Row,
  type Rows,
  type RunRecord,
  recordOf,
  type Source,
  Stopwatch,
  tableFile,
  weightsOf,
} from "../../ablation/files.js";
import { TargetScorer } from "../../ablation/targets.js";
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../../config/defaults.js";
import { methodNamed } from "../../config/methods.js";
import { type ModelOptions, mergeModel, parseModelConfig } from "../../config/model.js";
import { mergeTrain, type PresetName, presets } from "../../config/presets.js";
import { parseTrainConfig, type TrainConfig, type TrainOptions } from "../../config/train.js";
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import type { Dataset } from "../../datasets/dataset.js";
import { openDataset } from "../../datasets/registry.js";
import { evaluate, type MapName, mapNames } from "../../evaluation/evaluate.js";
import { writeFiles } from "../../files/atomic-writes.js";
import { checkOutputs, oneOfNames } from "../../files/outputs.js";
import type { Device } from "../../model/compute.js";
import { type ReportTable, renderHtmlReport } from "../../report/html.js";
import { leftOut } from "../../report/left-out.js";
import { publishedAblations } from "../../report/published-ablations.js";
import { isRunFile } from "../../training/run-folder.js";
import type { TrainRun } from "../../training/run-options.js";
import { train } from "../../training/train.js";
import {
  briefTable,
  columnsOf,
  line,
  meansOf,
  meansTable,
  publishedTable,
  runName,
  runsTable,
  SEEDS_NOTE,
  targetsTable,
} from "../ablation-tables.js";
import { yieldCores } from "../cores.js";
import { deviceOption, seedList, wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { filesOf } from "../scoring.js";
import { readSettings } from "../settings.js";
import { textTable } from "../table.js";

interface Flags {
  data: string;
  evaluation: string;
  preset?: PresetName;
  config?: string;
  epochs?: number;
  seed?: number;
  seeds?: number[];
  only?: string[];
  map?: MapName;
  device: Device;
  output?: string;
  imageWeights?: string;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("ablate")
    .description("train and score every variant of an ablation")
    .argument("<ablation>", `one of ${Object.keys(ablations).join(", ")}`)
    .requiredOption("--data <dataset>", "to train on: name:field=value,… or a manifest")
    .requiredOption("--evaluation <dataset>", "to score on, with annotations")
    .addOption(new Option("--preset <name>", "recipe").choices(Object.keys(presets)))
    .option("--config <file>", "YAML with preset, model and train")
    .option("--epochs <n>", "epochs of every variant", wholeFrom(1))
    .option("--seed <n>", "seed", wholeFrom(0))
    .addOption(
      new Option("--seeds <list>", "train each variant with each seed: 0,1,2, or 3 for the same")
        .argParser(seedList)
        .conflicts("seed"),
    )
    .option("--only <variants...>", "only these variants, by name; the table keeps the rows of others")
    .addOption(
      new Option(
        "--map <name>",
        "map of AUC and mean IoU; default the method's; cIoU is always of the audio map and IQR",
      ).choices(mapNames.slice(0, 3)),
    )
    .addOption(deviceOption())
    .option("--output <folder>", "a folder per variant, the table and the report; default runs/ablation/NAME")
    .option("--image-weights <file>", "torchvision's ResNet-18 .pth for the image encoder")
    .option("--json", "print the rows as JSON")
    .addHelpText(
      "after",
      "\nAn interrupted ablation resumes: finished variants and seeds are only scored again.",
    )
    .action(run);
}

/** Training plan of a variant. */
interface Plan {
  readonly variant: string;
  /** With several seeds. */
  readonly seed?: number | undefined;
  readonly folder: string;
  readonly model: ModelOptions;
  readonly train: TrainOptions;
}

async function run(name: string, flags: Flags, command: Command): Promise<void> {
  yieldCores();
  const ablation: Ablation | undefined = ablations[name];
  if (!ablation) command.error(`error: unknown ablation "${name}"; use ${Object.keys(ablations).join(", ")}`);
  const settings = await readSettings(flags.config);
  const preset = flags.preset ?? settings.preset ?? "paper";
  const given: TrainOptions = {
    ...settings.train,
    ...(flags.epochs === undefined ? {} : { epochs: flags.epochs }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
  };
  const model = mergeModel(presets[preset].model, settings.model);
  const method = parseModelConfig(model).method.name;
  const recipe = parseTrainConfig(mergeTrain(presets[preset].train, given, method), method);
  const variants = variantsOf(ablation, recipe);
  const unknown = flags.only?.filter((wanted) => !variants.some((variant) => variant.name === wanted));
  if (unknown?.length) {
    command.error(
      `error: ${name} has no variant "${unknown[0]}" with this recipe; it has ${variants.map((variant) => variant.name).join("; ")}`,
    );
  }
  const map = flags.map ?? methodNamed(method).defaultMap;
  const output = flags.output ?? join("runs", "ablation", name);
  const plans = variants
    .filter((variant) => flags.only?.includes(variant.name) ?? true)
    .flatMap((variant) => {
      const seeds = flags.seeds ?? [undefined];
      return seeds.map((seed) => planOf(variant, recipe, model, { output, seed }));
    });
  const source: Source = { data: flags.data, ...(await weightsOf(flags.imageWeights)) };
  const conditions = conditionsOf(
    { ...source, evaluation: flags.evaluation, preset, model },
    recipe,
    flags.seeds !== undefined,
  );
  const rows: Rows = await keptRows(join(output, TABLE), name, conditions, flags.only !== undefined);
  const records = new Map<Plan, RunRecord | undefined>();
  for (const plan of plans) records.set(plan, await recordOf(plan.folder, source));

  const notes = keptNotes(ablation, recipe);
  const data = await openDataset(flags.data);
  const evaluation = await openDataset(flags.evaluation);
  for (const [kind, { missing = [] }] of [["training", data] as const, ["evaluation", evaluation] as const]) {
    notes.push(...leftOut(missing, []).map((text) => `${kind} data: ${text}`));
  }
  try {
    await checkFiles(flags, { data, evaluation, output, plans });
  } catch (error) {
    await data.close?.();
    await evaluation.close?.();
    throw error;
  }
  for (const note of notes) process.stderr.write(`${note}\n`);

  const progress = new Progress({ enabled: !flags.json });
  try {
    for (const plan of plans) {
      const { variant, seed } = plan;
      const label = runName(plan);
      const { result, minutes } = await trained(plan, records.get(plan), { preset, data, flags, progress });
      if (result.stoppedBy) {
        progress.clear();
        process.stderr.write(`stopped by ${result.stoppedBy}; run the same command again to resume\n`);
        process.exitCode = 1;
        return;
      }
      progress.start(`${label}: scoring`);
      const targets = ablation.byTarget ? new TargetScorer(MASK_THRESHOLD, AUDIO_WEIGHT) : undefined;
      const { perSample, ...scores } = await evaluate({
        model: result.model,
        data: evaluation,
        onProgress: (done, total) => progress.update(done, total),
        ...(targets ? { onSample: (sample, spot) => targets.add(sample, spot) } : {}),
      });
      result.model.dispose();
      const row: Row = {
        variant,
        ...(seed === undefined ? {} : { seed }),
        minutes,
        scores,
        ...(targets ? { targets: targets.scores() } : {}),
      };
      rows.set(keyOf(row), row);
      await writeFiles(output, { [TABLE]: table(name, conditions, inOrder(ablation, rows), map) });
      progress.clear();
      if (!flags.json) process.stdout.write(`${label}: ${line(row, map)}\n`);
    }
  } finally {
    progress.end();
    await data.close?.();
    await evaluation.close?.();
  }
  await report(name, inOrder(ablation, rows), { flags, map, output, notes, conditions });
}

const TABLE = "ablation.json";

/** ablation.json: all rows and, of several seeds, the means of the report's columns. */
function table(name: string, conditions: Conditions, rows: readonly Row[], map: MapName): string {
  return tableFile(name, conditions, rows, meansFields(rows, map));
}

/** `means` by variant, where rows have seeds. */
function meansFields(rows: readonly Row[], map: MapName): object {
  if (!rows.some(({ seed }) => seed !== undefined)) return {};
  const columns = columnsOf(rows, map);
  const means = meansOf(rows, columns).map(({ figures, ...rest }) => ({
    ...rest,
    figures: Object.fromEntries(columns.map(({ title }, i) => [title, figures[i]])),
  }));
  return { means };
}

/** @throws {SoundspotError} ERR_OUTPUT_IS_INPUT */
function checkFiles(
  { imageWeights, config }: Flags,
  {
    data,
    evaluation,
    output,
    plans,
  }: {
    readonly data: Dataset;
    readonly evaluation: Dataset;
    readonly output: string;
    readonly plans: readonly Plan[];
  },
): Promise<void> {
  const name = "--output";
  return checkOutputs({
    inputs: [
      { name: "--image-weights", path: imageWeights },
      { name: "--config", path: config },
      ...filesOf(data),
      ...filesOf(evaluation, "--evaluation"),
    ],
    folders: [
      { name, path: output, writes: oneOfNames([TABLE, "report.html"]) },
      ...plans.map(({ folder }) => ({
        name,
        path: folder,
        writes: (file: string) => isRunFile(file) || file === RECORD,
      })),
    ],
  });
}

/** A variant's configuration, checked before any variant is trained. */
function planOf(
  variant: Variant,
  recipe: TrainConfig,
  base: ModelOptions,
  { output, seed }: { readonly output: string; readonly seed: number | undefined },
): Plan {
  const model = mergeModel(base, variant.model);
  const options = { ...recipeOf(variant, recipe), ...(seed === undefined ? {} : { seed }) };
  try {
    parseTrainConfig(options, parseModelConfig(model).method.name);
  } catch (error) {
    if (!isSoundspotError(error)) throw error;
    throw new SoundspotError(error.code, `${variant.name}: ${error.message}`, { cause: error });
  }
  const folder = join(output, variant.name.replace(/[^\w]+/g, "-"));
  const ofSeed = seed === undefined ? folder : join(folder, `seed-${seed}`);
  return { variant: variant.name, seed, folder: ofSeed, model, train: options };
}

/** Trains a variant, or resumes it, and counts the minutes. */
async function trained(
  plan: Plan,
  record: RunRecord | undefined,
  {
    preset,
    data,
    flags,
    progress,
  }: {
    readonly preset: PresetName;
    readonly data: Dataset;
    readonly flags: Flags;
    readonly progress: Progress;
  },
): Promise<{ readonly result: TrainRun; readonly minutes: number | null }> {
  const { folder, model, train: options } = plan;
  const stopwatch = new Stopwatch(folder, record);
  await stopwatch.note();
  progress.start(`${runName(plan)}: training`);
  const result = await train({
    ...options,
    preset,
    model,
    device: flags.device,
    data,
    output: folder,
    resume: true,
    handleSignals: true,
    ...(flags.imageWeights === undefined ? {} : { imageWeights: flags.imageWeights }),
    onStep: ({ step, totalSteps, result: { losses } }) => {
      progress.update(step, totalSteps, `loss ${(losses.total ?? Number.NaN).toFixed(3)}`);
      stopwatch.tick();
    },
  });
  await stopwatch.note();
  return { result, minutes: stopwatch.minutes };
}

/** A note about the losses that an ablation of losses does not vary. */
function keptNotes(ablation: Ablation, recipe: TrainConfig): string[] {
  const kept = keptLosses(ablation, recipe);
  if (kept.length === 0) return [];
  const list = new Intl.ListFormat("en-GB", { type: "conjunction" }).format(kept);
  return [`every variant keeps the recipe's ${list}`];
}

async function report(
  name: string,
  rows: readonly Row[],
  {
    flags,
    map,
    output,
    notes,
    conditions,
  }: {
    readonly flags: Flags;
    readonly map: MapName;
    readonly output: string;
    readonly notes: readonly string[];
    readonly conditions: Conditions;
  },
): Promise<void> {
  const { title } = ablations[name] as Ablation;
  const columns = columnsOf(rows, map);
  const published = publishedAblations[name] && publishedTable(publishedAblations[name]);
  const skipped = leftOut([], rows[0]?.scores.skipped ?? []);
  const means = flags.seeds && meansOf(rows, columns);
  const targets = targetsTable(title, rows);
  const tables: ReportTable[] = [
    ...(means ? [meansTable(title, means, columns)] : []),
    runsTable(title, rows, columns),
    ...(targets ? [targets] : []),
    ...(published ? [published] : []),
  ];
  await writeFiles(output, {
    "report.html": await renderHtmlReport({
      title,
      summary: [
        `Trained on ${flags.data}, scored on ${flags.evaluation}.`,
        "In percent, with 95 % bootstrap intervals; the last checkpoint of every run.",
        ...(means ? [SEEDS_NOTE] : []),
        ...[...notes, ...skipped].map((note) => `${note[0]?.toUpperCase()}${note.slice(1)}.`),
      ].join(" "),
      figures: [],
      tables,
      config: conditions,
    }),
  });
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(means ? { rows, ...meansFields(rows, map) } : rows)}\n`);
    return;
  }
  const brief = means ? meansTable(title, means, columns, true) : briefTable(title, rows, columns);
  process.stdout.write(
    `\npercent, ${means ? "means over seeds with 95 % t intervals" : "cIoU@0.5 with 95 % intervals"}; AUC and mean IoU of map ${map}; all figures in the report\n\n${textTable(brief.columns, brief.rows)}`,
  );
  for (const each of [targets, published]) {
    if (!each) continue;
    const heading = each === published ? publishedAblations[name]?.title : each.title;
    process.stdout.write(`\n${heading}\n${textTable(each.columns, each.rows)}${each.note ?? ""}\n`);
  }
  process.stdout.write(`\nreport: ${join(output, "report.html")}\n`);
  for (const text of skipped) process.stderr.write(`${text}\n`);
}
