/** `soundspot evaluate`: scores one checkpoint or several side by side; exit codes are for CI. */

import { basename, relative } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../../config/defaults.js";
import { SoundspotError } from "../../core/errors.js";
import type { DamagedFile, Dataset } from "../../datasets/dataset.js";
import { openDataset } from "../../datasets/registry.js";
import type { ProcessGroup } from "../../distributed/process-group.js";
import {
  type Evaluation,
  evaluate,
  type MapName,
  mapNames,
  type ProtocolName,
  protocolNames,
} from "../../evaluation/evaluate.js";
import { writeFiles } from "../../files/atomic-writes.js";
import { checkOutputs, oneOfNames } from "../../files/outputs.js";
import { Objectness } from "../../model/objectness.js";
import { classesCsv, protocolsCsv, samplesCsv } from "../../report/csv.js";
import {
  type ChosenGroup,
  chooseSamples,
  drawSamples,
  type ReportParts,
  reportParts,
  type ScoredCheckpoint,
} from "../../report/evaluation-report.js";
import {
  type Figure,
  figureNames,
  figuresOf,
  percentText,
  protocolFigureNames,
  protocolFiguresOf,
} from "../../report/figures.js";
import { renderHtmlReport } from "../../report/html.js";
import { leftOut, skippedText } from "../../report/left-out.js";
import { protocolTables, withInterval } from "../../report/protocol-tables.js";
import { benchmarkOf, benchmarks, publishedChoices } from "../../report/published.js";
import { type PublishedTable, publishedName } from "../../report/published-rows.js";
import { checkpointInputs, loadCheckpoint } from "../checkpoints.js";
import { numberFrom, protocolsFrom, wholeFrom } from "../options.js";
import { inProcesses } from "../processes.js";
import { Progress } from "../progress.js";
import { damagedFiles, filesOf, type ScoringFlags, scoringOptions, withScoringOptions } from "../scoring.js";
import { textTable } from "../table.js";

/** A floor under a figure, in percent. */
interface Floor {
  /** Of the scores at the top without one. */
  readonly protocol: ProtocolName | undefined;
  readonly map: MapName | undefined;
  readonly figure: string;
  readonly least: number;
}

interface Flags extends ScoringFlags {
  compare?: string[];
  map?: MapName;
  threshold?: number;
  sharpening?: number;
  alpha?: number;
  objectness?: string;
  published?: string;
  select: "last" | "best-on-test";
  gallery: number;
  neighbours?: number;
  failUnder?: Floor[];
  protocol?: ProtocolName[];
}

function floor(text: string, before: Floor[] = []): Floor[] {
  const [, place = "", figure = "", least] = /^((?:[\w-]+\.){0,2})([\w-]+)=([\d.]+)$/.exec(text) ?? [];
  const names = place.split(".").slice(0, -1);
  const [first, last] = [names[0], names.at(-1)];
  const protocol = protocolNames.find((name) => name === first);
  const map = mapNames.find((name) => name === last);
  const understood = (protocol ? 1 : 0) + (map ? 1 : 0) === names.length;
  const known = (protocol ? protocolFigureNames : figureNames).includes(figure);
  if (!understood || !known || !Number.isFinite(Number(least))) {
    throw new InvalidArgumentError(
      `figure=percent is expected, such as ciou=38, audio.ciou=30 or area.audio.ciou=30; figures: ${figureNames.join(", ")}; maps: ${mapNames.join(", ")}; figures of protocols: ${protocolFigureNames.join(", ")}; protocols: ${protocolNames.join(", ")}`,
    );
  }
  return [...before, { protocol, map, figure, least: Number(least) }];
}

export function register(program: Command): void {
  const command = program
    .command("evaluate")
    .description("score checkpoints on an annotated dataset")
    .argument("[checkpoints...]", "one checkpoint, or several to compare");
  withScoringOptions(command)
    .option("--compare <checkpoints...>", "more checkpoints, side by side")
    .addOption(
      new Option("--map <name>", "map of the table; default that of the method, such as iqr").choices(
        mapNames,
      ),
    )
    .option("--threshold <x>", `of the prediction, 0 to 1; default ${MASK_THRESHOLD}`, numberFrom(0, 1))
    .option(
      "--sharpening <x>",
      "factor on the attention logits; default the checkpoint's",
      numberFrom(1e-6, 1e6),
    )
    .option(
      "--alpha <x>",
      `the audio map's weight in a refinement; default ${AUDIO_WEIGHT}`,
      numberFrom(0, 1),
    )
    .option(
      "--protocol <names>",
      `protocols to score by as well, with commas between them; repeatable: ${protocolNames.join(", ")}`,
      protocolsFrom,
    )
    .option("--objectness <file>", "ImageNet ResNet-18 (.pth): scores the maps ogl and combined too")
    .addOption(
      new Option(
        "--published <name>",
        "published figures for comparison; default those of the benchmark",
      ).choices(publishedChoices),
    )
    .addOption(
      new Option(
        "--select <how>",
        "best-on-test adds each figure's best over the checkpoints, as papers report it",
      )
        .choices(["last", "best-on-test"])
        .default("last"),
    )
    .option("--gallery <n>", "samples with overlays in the report: best, median and worst", wholeFrom(0), 12)
    .option("--neighbours <k>", "of the false negatives that the report predicts; default 20", wholeFrom(1))
    .option(
      "--fail-under <figure=percent>",
      "exit 1 when the figure is lower, such as ciou=38 or area.audio.ciou=30; repeatable",
      floor,
    )
    .action((paths: string[], flags: Flags) =>
      inProcesses(flags.processes, (group) => run(paths, flags, group)),
    );
}

/** Checkpoints by their shortest distinct names. */
function namesOf(paths: readonly string[]): string[] {
  const short = paths.map((path) => basename(path));
  const names =
    new Set(short).size === short.length ? short : paths.map((path) => relative(".", path) || path);
  if (new Set(names).size < names.length) {
    throw new SoundspotError("ERR_CONFIG", "A checkpoint is given twice. Give each once.");
  }
  return names;
}

async function run(paths: readonly string[], flags: Flags, group: ProcessGroup | undefined): Promise<void> {
  const checkpoints = [...paths, ...(flags.compare ?? [])];
  if (checkpoints.length === 0) throw new SoundspotError("ERR_CONFIG", "Give at least one checkpoint.");
  const names = namesOf(checkpoints);
  if ((flags.map === "ogl" || flags.map === "combined") && flags.objectness === undefined) {
    throw new SoundspotError("ERR_CONFIG", `--map ${flags.map} needs --objectness resnet18.pth.`);
  }
  for (const { protocol } of flags.failUnder ?? []) {
    if (protocol === undefined || flags.protocol?.includes(protocol)) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `--fail-under has a figure of the protocol ${protocol}: add --protocol ${protocol}.`,
    );
  }
  // Only one of several processes prints, draws and writes.
  const main = group?.main ?? true;
  const progress = new Progress({ enabled: main && !flags.json });
  const data = await openDataset(flags.data);
  const results: ScoredCheckpoint[] = [];
  const pictured = main && flags.output !== undefined;
  let damaged: readonly DamagedFile[] = [];
  let groups: ChosenGroup[] = [];
  let report: ReportParts = {};
  try {
    const written = checkpoints.flatMap((_, i) => Object.values(fileNames(names, i)));
    await checkOutputs({
      inputs: [
        ...checkpoints.flatMap((path) => checkpointInputs("a checkpoint", path, flags.config)),
        { name: "--objectness", path: flags.objectness },
        ...filesOf(data),
      ],
      folders: [{ name: "--output", path: flags.output, writes: oneOfNames([...written, REPORT]) }],
    });
    using objectness = flags.objectness === undefined ? undefined : await Objectness.load(flags.objectness);
    for (const [i, checkpoint] of checkpoints.entries()) {
      const name = names[i] as string;
      progress.clear();
      using model = await loadCheckpoint(checkpoint, {
        config: flags.config,
        device: flags.device,
        silent: !main,
      });
      progress.start(name);
      const scores = await evaluate({
        model,
        data,
        ...scoringOptions(flags),
        ...(group ? { group } : {}),
        ...(objectness ? { objectness } : {}),
        ...(flags.threshold === undefined ? {} : { threshold: flags.threshold }),
        ...(flags.sharpening === undefined ? {} : { sharpening: flags.sharpening }),
        ...(flags.alpha === undefined ? {} : { alpha: flags.alpha }),
        ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
        onProgress: (done, total) => progress.update(done, total),
        ...(flags.neighbours === undefined ? {} : { falseNegatives: { k: flags.neighbours } }),
      });
      damaged = await damagedFiles(data, group);
      if (!main) continue;
      if (i === 0 && pictured) groups = chooseSamples(scores, mapOf(flags, scores), flags.gallery);
      progress.start(`${name}: drawing samples`);
      const images = await drawSamples(model, data, groups, {
        map: mapOf(flags, scores),
        scores,
        objectness,
        note: names.length > 1 ? name : undefined,
      });
      results.push({ name, checkpoint, scores, images });
    }
    if (pictured)
      report = await reportParts(
        results,
        groups,
        data,
        mapOf(flags, (results[0] as ScoredCheckpoint).scores),
      );
  } finally {
    progress.end();
    await data.close?.();
  }
  if (!main) return;
  const published = publishedFor(flags, data);
  const table = comparison(results, flags, published);
  if (flags.output !== undefined)
    await writeFiles(flags.output, await files(results, report, flags, table, published));
  if (flags.json) {
    process.stdout.write(
      `${JSON.stringify(results.map(({ name, scores }) => ({ checkpoint: name, ...withoutSamples(scores) })))}\n`,
    );
  } else {
    const { scores } = results[0] as ScoredCheckpoint;
    process.stdout.write(
      `${data.name}: ${scores.samples} samples${skippedText(scores.skipped)}, map ${mapOf(flags, scores)}, threshold ${scores.settings.threshold}, percent with 95 % intervals\n\n`,
    );
    process.stdout.write(textTable(table.columns, table.rows));
    if (published)
      process.stdout.write(
        `\n${published.title}: published figures, those of joint slot attention best on test\n`,
      );
    for (const { title, columns, rows } of protocolTables(results, [mapOf(flags, scores)])) {
      process.stdout.write(`\n${title}\n${turned(columns, rows)}`);
    }
    for (const text of leftOut(scores.missing, scores.skipped, damaged)) process.stderr.write(`${text}\n`);
    if (flags.output !== undefined) process.stdout.write(`\nreport: ${flags.output}/report.html\n`);
  }
  checkFloors(results, flags);
}

/** The requested map, or the method's default. */
const mapOf = ({ map }: Flags, { defaultMap }: Evaluation): MapName => map ?? defaultMap;

/** A table by columns, as text: a terminal has more lines than columns. */
function turned(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  if (columns[0] !== "map") return textTable(columns, rows);
  const [, ...titles] = columns;
  return textTable(
    ["", ...rows.map(([name = ""]) => name)],
    titles.map((title, i) => [title, ...rows.map((row) => row[i + 1] ?? "")]),
  );
}

const withoutSamples = ({ perSample, ...rest }: Evaluation) => rest;

/** The requested published table, or that of the benchmark by the dataset's name when all of it is scored. */
function publishedFor({ published, limit }: Flags, data: Dataset): PublishedTable | undefined {
  const name = benchmarkOf(limit === undefined ? data.name : "", published);
  return name === undefined ? undefined : benchmarks[name];
}

/** One column per checkpoint, one row per figure; then published methods, and each figure's best where requested. */
function comparison(
  results: readonly ScoredCheckpoint[],
  flags: Flags,
  published: PublishedTable | undefined,
) {
  const figures = results.map(({ scores }) => figuresOf(scores, mapOf(flags, scores)));
  const shown = (figures[0] ?? []).map(({ name, title }) => ({ name, title }));
  const best = flags.select === "best-on-test";
  const columns = [
    "",
    ...results.map(({ name }) => name),
    ...(best ? ["best on test"] : []),
    ...(published?.rows.map(publishedName) ?? []),
  ];
  const rows = shown.map(({ name, title }, at) => {
    const own = figures.map((list) => list[at] as Figure);
    const highest = Math.max(...own.map(({ value }) => value).filter((value) => !Number.isNaN(value)));
    return [
      title,
      ...own.map(withInterval),
      ...(best ? [percentText(Number.isFinite(highest) ? highest : Number.NaN)] : []),
      ...(published?.rows.map((row) => percentText(row.figures[name as keyof typeof row.figures])) ?? []),
    ];
  });
  if (!published) return { columns, rows };
  // Many methods: rows are easier to read than columns.
  const transposed = columns.slice(1).map((name, i) => [name, ...rows.map((row) => row[i + 1] ?? "")]);
  return { columns: ["", ...shown.map(({ title }) => title)], rows: transposed };
}

const REPORT = "report.html";

/** The files of a checkpoint, prefixed with its name when several are scored. */
function fileNames(checkpoints: readonly string[], at: number) {
  const prefix = checkpoints.length > 1 ? `${(checkpoints[at] as string).replace(/[^\w.-]+/g, "_")}.` : "";
  return {
    scores: `${prefix}scores.json`,
    samples: `${prefix}samples.csv`,
    classes: `${prefix}classes.csv`,
    protocols: `${prefix}protocols.csv`,
  };
}

async function files(
  results: readonly ScoredCheckpoint[],
  report: ReportParts,
  flags: Flags,
  table: { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] },
  published: PublishedTable | undefined,
): Promise<Record<string, string>> {
  const first = results[0] as ScoredCheckpoint;
  const several = results.length > 1;
  const written: Record<string, string> = {};
  const names = results.map(({ name }) => name);
  for (const [i, { scores }] of results.entries()) {
    const file = fileNames(names, i);
    written[file.scores] = `${JSON.stringify(scores, null, 2)}\n`;
    written[file.samples] = samplesCsv(scores);
    if (scores.perClass) written[file.classes] = classesCsv(scores);
    if (scores.protocols) written[file.protocols] = protocolsCsv(scores);
  }
  written[REPORT] = await renderHtmlReport({
    title: several
      ? `${results.length} checkpoints on ${first.scores.dataset}`
      : `${first.name} on ${first.scores.dataset}`,
    summary: [
      `${first.scores.samples} samples${skippedText(first.scores.skipped)}, map ${mapOf(flags, first.scores)}, threshold ${first.scores.settings.threshold}, sharpening ${first.scores.settings.sharpening}. In percent, with 95 % bootstrap intervals.`,
      ...(flags.select === "best-on-test"
        ? ["The column “best on test” takes each figure's best checkpoint on this same test set."]
        : several && !published
          ? ["Each column is one checkpoint, as given."]
          : []),
      ...leftOut(first.scores.missing, first.scores.skipped),
    ].join(" "),
    figures: several
      ? []
      : figuresOf(first.scores, mapOf(flags, first.scores)).map(({ title, value, interval }) => ({
          name: title,
          value,
          interval,
          decimals: 1,
        })),
    tables: [
      ...(several || published
        ? [
            {
              title: published ? `Compared with ${published.title}` : "Comparison",
              ...table,
              note: published ? "Published figures are the best over epochs on the test set." : undefined,
            },
          ]
        : []),
      ...protocolTables(results),
    ],
    ...report,
    config: first.scores.settings,
  });
  return written;
}

/** Sets exit code 1 when a checkpoint is below a floor. */
function checkFloors(results: readonly ScoredCheckpoint[], flags: Flags): void {
  for (const { protocol, map: wanted, figure, least } of flags.failUnder ?? []) {
    for (const { name, scores } of results) {
      const map = wanted ?? mapOf(flags, scores);
      const figures =
        protocol === undefined ? figuresOf(scores, map) : protocolFiguresOf(scores, protocol, map);
      const found = figures.find((each) => each.name === figure);
      if (found && found.value >= least) continue;
      const state = found ? `is ${percentText(found.value)} %` : "is not available on this dataset";
      const place = `map ${map}${protocol === undefined ? "" : ` under ${protocol}`}`;
      process.stderr.write(`${name}: ${figure} of ${place} ${state}; at least ${least} % is required\n`);
      process.exitCode = 1;
    }
  }
}
