/** Published figures of a benchmark beside those of a comparison on it. */

import { methodNamed } from "../config/methods.js";
import type { ProtocolName } from "../evaluation/evaluate.js";
import { type Figure, figuresOf, percentText, protocolFiguresOf } from "../report/figures.js";
import type { ReportTable } from "../report/html.js";
import { benchmarks } from "../report/published.js";
import type {
  FigureName,
  PublishedProtocol,
  PublishedRow,
  PublishedTable,
} from "../report/published-rows.js";
import type { ComparedRun } from "./run.js";
import { type ComparedRow, rowsOf, shareText } from "./tables.js";

/** How a published figure was scored, in the words of a comparison's protocols. */
const scoredBy: Readonly<Record<PublishedProtocol, string>> = {
  jsa: "jsa",
  "jsa-ogl": "jsa, with OGL",
  area: "area",
  "area-ogl": "area, with OGL",
  extended: "by confidence",
  masks: "not stated",
  retrieval: "retrieval",
  "not-stated": "not stated",
};

const titles: Readonly<Record<FigureName, string>> = {
  ciou: "cIoU@0.5",
  auc: "AUC",
  miou: "mean IoU",
  maxf: "max F",
  ap: "average precision",
  bestf1: "best F1",
  locacc: "localization accuracy",
  "a2i-r1": "R@1 audio → image",
  "a2i-r5": "R@5 audio → image",
  "a2i-r10": "R@10 audio → image",
  "i2a-r1": "R@1 image → audio",
  "i2a-r5": "R@5 image → audio",
  "i2a-r10": "R@10 image → audio",
};

/** Figures that a protocol's cut of the map decides. Those of the others are the same under every protocol. */
const byProtocol: readonly FigureName[] = ["ciou", "auc", "miou"];

/**
 * A table a benchmark: the rows of this comparison, then what the paper and the repositories of the methods print.
 * @param benchmark name in `benchmarks`. Of VGG-SS the paper's retrieval follows where this comparison has it
 * @param trainedOn what the runs were trained on, as the table says it
 * @returns empty without a benchmark
 */
export function publishedTables(
  runs: readonly ComparedRun[],
  protocols: readonly ProtocolName[],
  benchmark: string | undefined,
  trainedOn: string,
): ReportTable[] {
  if (benchmark === undefined) return [];
  const retrieved = runs.some(({ scores }) => scores.retrieval !== undefined);
  const names = benchmark === "vggss" && retrieved ? [benchmark, "vggss-retrieval"] : [benchmark];
  return names.flatMap((name) => {
    const published = benchmarks[name];
    return published ? [publishedTable(runs, protocols, published, trainedOn)] : [];
  });
}

function publishedTable(
  runs: readonly ComparedRun[],
  protocols: readonly ProtocolName[],
  { title, rows: published }: PublishedTable,
  trainedOn: string,
): ReportTable {
  const shown = (Object.keys(titles) as FigureName[]).filter((name) =>
    published.some(({ figures }) => figures[name] !== undefined),
  );
  const cut = shown.some((name) => byProtocol.includes(name));
  const how: readonly (ProtocolName | undefined)[] = cut ? protocols : [undefined];
  // Where no protocol cuts the map, all published rows are scored alike.
  const alike = scoredBy[(published[0] as PublishedRow).protocol];
  const own = rowsOf(runs).flatMap((row) =>
    how.map((protocol) => [
      row.title,
      protocol ?? alike,
      trainedOn,
      "this comparison",
      ...shown.map((name) => shareText(valuesOf(row, protocol, name))),
    ]),
  );
  const theirs = published.map((row) => [
    mapTitle(row),
    scoredBy[row.protocol],
    row.training,
    row.source,
    ...shown.map((name) => percentText(row.figures[name])),
  ]);
  return {
    title: `${title}, with published figures`,
    columns: ["method and map", "protocol", "trained on", "source", ...shown.map((name) => titles[name])],
    rows: grouped([...own, ...theirs]),
    note: "Percent. Compare rows of one protocol alone. Figures of the paper are those that it prints; its own are the best over all epochs on the test set.",
  };
}

/** A figure of every run of a row, in [0, 1]. */
function valuesOf(
  { map, runs }: ComparedRow,
  protocol: ProtocolName | undefined,
  name: FigureName,
): number[] {
  return runs.map(({ scores }) => {
    const figures: readonly Figure[] =
      protocol !== undefined && byProtocol.includes(name)
        ? protocolFiguresOf(scores, protocol, map)
        : figuresOf(scores, map);
    return (figures.find((figure) => figure.name === name)?.value ?? Number.NaN) / 100;
  });
}

const JSA = methodNamed("joint-slot-attention").title;

/** The name that a row of this comparison has for the same method and map. */
function mapTitle({ method, protocol }: PublishedRow): string {
  if (method.toLowerCase() !== JSA.toLowerCase()) return method;
  return protocol === "jsa" ? `${JSA}, IQR` : JSA;
}

/** Rows of one method together, in the order of their first; "EZ-VSL, variant" is EZ-VSL's. */
function grouped(rows: readonly string[][]): string[][] {
  const groups = new Map<string, string[][]>();
  for (const row of rows) {
    const method = (row[0] as string).split(",")[0] as string;
    groups.set(method, [...(groups.get(method) ?? []), row]);
  }
  return [...groups.values()].flat();
}
