/** `soundspot ablate`: trains every variant of an ablation alike, scores each, and prints one table. */

import { join } from "node:path";
import { type Command, Option } from "commander";
import { type Ablation, ablations, keptLosses, recipeOf, type Variant } from "../../ablation/ablations.js";
import {
  type Conditions,
  conditionsOf,
  inOrder,
  keptRows,
  RECORD,
  type Row,
  type RunRecord,
  recordOf,
  type Source,
  Stopwatch,
  tableFile,
  weightsOf,
} from "../../ablation/files.js";

import { methodNamed } from "../../config/methods.js";
import { type ModelOptions, mergeModel, parseModelConfig } from "../../config/model.js";
import { mergeTrain, type PresetName, presets } from "../../config/presets.js";

import { parseTrainConfig, type TrainConfig, type TrainOptions } from "../../config/train.js";
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import type { Dataset } from "../../datasets/dataset.js";
import { openDataset } from "../../datasets/registry.js";
import { evaluate, type MapName, mapNames } from "../../evaluation/evaluate.js";
import { recallRanks } from "../../evaluation/retrieve.js";
import { writeFiles } from "../../files/atomic-writes.js";
import { checkOutputs, oneOfNames } from "../../files/outputs.js";
import type { Device } from "../../model/compute.js";
import { type Figure, figuresOf, percentText } from "../../report/figures.js";
import { type ReportTable, renderHtmlReport } from "../../report/html.js";
import { leftOut } from "../../report/left-out.js";
import { publishedAblations } from "../../report/published-ablations.js";
import type { FigureName, PublishedTable } from "../../report/published-rows.js";
import { isRunFile } from "../../training/run-folder.js";
import type { TrainRun } from "../../training/run-options.js";
import { train } from "../../training/train.js";
import { deviceOption, wholeFrom } from "../options.js";
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
    .addHelpText("after", "\nAn interrupted ablation resumes: finished variants are only scored again.")
    .action(run);
}

/** Training plan of a variant. */
interface Plan {
  readonly variant: string;
  readonly folder: string;
  readonly model: ModelOptions;
  readonly train: TrainOptions;
}

async function run(name: string, flags: Flags, command: Command): Promise<void> {
  const ablation: Ablation | undefined = ablations[name];
  if (!ablation) command.error(`error: unknown ablation "${name}"; use ${Object.keys(ablations).join(", ")}`);
  const unknown = flags.only?.filter(
    (wanted) => !ablation.variants.some((variant) => variant.name === wanted),
  );
  if (unknown?.length) {
    command.error(
      `error: ${name} has no variant "${unknown[0]}"; it has ${ablation.variants.map((variant) => variant.name).join("; ")}`,
    );
  }
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
  const map = flags.map ?? methodNamed(method).defaultMap;
  const output = flags.output ?? join("runs", "ablation", name);
  const plans = ablation.variants
    .filter((variant) => flags.only?.includes(variant.name) ?? true)
    .map((variant) => planOf(variant, recipe, model, output));
  const source: Source = { data: flags.data, ...(await weightsOf(flags.imageWeights)) };
  const conditions = conditionsOf({ ...source, evaluation: flags.evaluation, preset, model }, recipe);
  const rows = await keptRows(join(output, "ablation.json"), name, conditions, flags.only !== undefined);
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
      const { variant } = plan;
      const { result, minutes } = await trained(plan, records.get(plan), { preset, data, flags, progress });
      if (result.stoppedBy) {
        progress.clear();
        process.stderr.write(`stopped by ${result.stoppedBy}; run the same command again to resume\n`);
        process.exitCode = 1;
        return;
      }
      progress.start(`${variant}: scoring`);
      const { perSample, ...scores } = await evaluate({
        model: result.model,
        data: evaluation,
        onProgress: (done, total) => progress.update(done, total),
      });
      result.model.dispose();
      rows.set(variant, { variant, minutes, scores });
      await writeFiles(output, { "ablation.json": tableFile(name, conditions, inOrder(ablation, rows)) });
      progress.clear();
      if (!flags.json) process.stdout.write(`${variant}: ${line(rows.get(variant) as Row, map)}\n`);
    }
  } finally {
    progress.end();
    await data.close?.();
    await evaluation.close?.();
  }
  await report(name, inOrder(ablation, rows), { flags, map, output, notes, conditions });
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
      { name, path: output, writes: oneOfNames(["ablation.json", "report.html"]) },
      ...plans.map(({ folder }) => ({
        name,
        path: folder,
        writes: (file: string) => isRunFile(file) || file === RECORD,
      })),
    ],
  });
}

/** A variant's configuration, checked before any variant is trained. */
function planOf(variant: Variant, recipe: TrainConfig, base: ModelOptions, output: string): Plan {
  const model = mergeModel(base, variant.model);
  const options = recipeOf(variant, recipe);
  try {
    parseTrainConfig(options, parseModelConfig(model).method.name);
  } catch (error) {
    if (!isSoundspotError(error)) throw error;
    throw new SoundspotError(error.code, `${variant.name}: ${error.message}`, { cause: error });
  }
  const folder = join(output, variant.name.replace(/[^\w]+/g, "-"));
  return { variant: variant.name, folder, model, train: options };
}

/** Trains a variant, or resumes it, and counts the minutes. */
async function trained(
  { variant, folder, model, train: options }: Plan,
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
  const stopwatch = new Stopwatch(folder, record);
  await stopwatch.note();
  progress.start(`${variant}: training`);
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

interface Column {
  readonly name: FigureName;
  readonly title: string;
  /** Title on a terminal; columns without one are not shown there. */
  readonly brief?: string | undefined;
  readonly of: (row: Row) => Figure | undefined;
}

const mapTitles: Readonly<Record<MapName, string>> = {
  audio: "audio map",
  image: "image map",
  iqr: "IQR",
  ogl: "OGL",
  combined: "combined",
};

function column(name: FigureName, map: MapName, title: string, brief?: string): Column {
  const of = ({ scores }: Row) =>
    figuresOf({ ...scores, perSample: [] }, map).find((figure) => figure.name === name);
  return { name, title, brief, of };
}

/** cIoU of the audio map and of IQR, the other metrics of one map, and retrieval where the rows have it. */
function columnsOf(rows: readonly Row[], map: MapName): Column[] {
  const recalls = (["a2i", "i2a"] as const).flatMap((way) =>
    recallRanks.map((k) => {
      const [long, short] = way === "a2i" ? ["audio → image", "a→i"] : ["image → audio", "i→a"];
      return column(
        `${way}-r${k}` as FigureName,
        map,
        `R@${k} ${long}`,
        k === recallRanks[0] ? `R@${k} ${short}` : undefined,
      );
    }),
  );
  return [
    ...[...new Set<MapName>(["audio", "iqr", map])].map((each) =>
      column("ciou", each, `cIoU@0.5 ${mapTitles[each]}`, `cIoU ${mapTitles[each]}`),
    ),
    column("auc", map, `AUC ${mapTitles[map]}`, "AUC"),
    column("miou", map, `mean IoU ${mapTitles[map]}`, "mean IoU"),
    column("maxf", map, `max F ${mapTitles[map]}`),
    ...recalls,
  ].filter(({ of }) => rows.some(of));
}

function withInterval(figure: Figure | undefined): string {
  const ends = figure?.interval ? ` [${figure.interval.map(percentText).join(", ")}]` : "";
  return percentText(figure?.value) + ends;
}

const minutesText = ({ minutes }: Row) => (minutes === null ? "–" : minutes.toFixed(1));

/** The terminal's figures in one line. */
function line(row: Row, map: MapName): string {
  return columnsOf([row], map)
    .filter(({ brief }) => brief !== undefined)
    .map(({ brief, of }) => `${brief} ${percentText(of(row)?.value)}`)
    .join(", ");
}

/** Published figures, in a separate table: most ablations use other data. */
function publishedTable({ title, rows, note }: PublishedTable): ReportTable {
  const titles = new Map<FigureName, string>([
    ["ciou", "cIoU@0.5 IQR"],
    ["auc", "AUC IQR"],
    ...recallRanks.map((k) => [`a2i-r${k}`, `R@${k} audio → image`] as [FigureName, string]),
    ...recallRanks.map((k) => [`i2a-r${k}`, `R@${k} image → audio`] as [FigureName, string]),
  ]);
  const shown = [...titles].filter(([name]) => rows.some(({ figures }) => figures[name] !== undefined));
  const several = new Set(rows.map(({ training }) => training)).size > 1;
  return {
    title: `Published: ${title}`,
    columns: ["", ...shown.map(([, text]) => text)],
    rows: rows.map(({ method, training, figures }) => [
      several ? `${method}, after ${training}` : method,
      ...shown.map(([name]) => percentText(figures[name])),
    ]),
    note: [
      "VGG-SS after VGG-Sound 144k unless the row says otherwise, each figure the best over epochs on the test set.",
      ...(note === undefined ? [] : [note]),
    ].join(" "),
  };
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
  const full: ReportTable = {
    title: "Variants",
    columns: [title, ...columns.map((each) => each.title), "minutes of training"],
    rows: rows.map((row) => [
      row.variant,
      ...columns.map(({ of }) => withInterval(of(row))),
      minutesText(row),
    ]),
  };
  await writeFiles(output, {
    "report.html": await renderHtmlReport({
      title,
      summary: [
        `Trained on ${flags.data}, scored on ${flags.evaluation}.`,
        "In percent, with 95 % bootstrap intervals; the last checkpoint of every run.",
        ...[...notes, ...skipped].map((note) => `${note[0]?.toUpperCase()}${note.slice(1)}.`),
      ].join(" "),
      figures: [],
      tables: published ? [full, published] : [full],
      config: conditions,
    }),
  });
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(rows)}\n`);
    return;
  }
  const shown = columns.filter(({ brief }) => brief !== undefined);
  const brief = textTable(
    [title, ...shown.map((each) => each.brief as string), "minutes"],
    rows.map((row) => [
      row.variant,
      ...shown.map((each) =>
        each.name === "ciou" ? withInterval(each.of(row)) : percentText(each.of(row)?.value),
      ),
      minutesText(row),
    ]),
  );
  process.stdout.write(
    `\npercent, cIoU@0.5 with 95 % intervals; AUC and mean IoU of map ${map}; all figures in the report\n\n${brief}`,
  );
  if (published) {
    process.stdout.write(
      `\n${published.title}\n${textTable(published.columns, published.rows)}${published.note}\n`,
    );
  }
  process.stdout.write(`\nreport: ${join(output, "report.html")}\n`);
  for (const text of skipped) process.stderr.write(`${text}\n`);
}
