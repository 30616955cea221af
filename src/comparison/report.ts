/** The files of a finished comparison: `comparison.json` with every figure, `report.html` with tables and maps. */

import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { methodNamed } from "../config/methods.js";
import type { Dataset } from "../datasets/dataset.js";
import type { Evaluation, ProtocolName } from "../evaluation/evaluate.js";
import { type ReportGrid, type ReportTable, type ReportThumbnail, renderHtmlReport } from "../report/html.js";
import { publishedTables } from "./published.js";
import type { ComparedMethod } from "./recipes.js";
import type { ComparedData, ComparedRun } from "./run.js";
import { costTable, figuresTable } from "./tables.js";

/** Names of the files, in the comparison's folder. */
export const comparisonFiles = { result: "comparison.json", report: "report.html" } as const;

/** One training of a comparison: what, and its folder. */
export interface ComparedPlan {
  readonly method: ComparedMethod;
  readonly seed: number;
  readonly folder: string;
}

/** A finished comparison. */
export interface Comparison {
  readonly runs: readonly ComparedRun[];
  readonly disc: Omit<Evaluation, "perSample">;
  readonly conditions: unknown;
  readonly plans: readonly ComparedPlan[];
  readonly protocols: readonly ProtocolName[];
  /** A benchmark whose published figures stand beside; undefined for none. */
  readonly benchmark: string | undefined;
}

/** Localization, published figures of the benchmark, cost. */
export function comparisonTables(
  { runs, disc, protocols, benchmark }: Comparison,
  { data }: ComparedData,
): ReportTable[] {
  return [
    figuresTable(runs, disc, protocols),
    ...publishedTables(runs, protocols, benchmark, `${data.name}, ${data.length} pairs`),
    costTable(runs),
  ];
}

/**
 * Contents of the comparison's files by name.
 * @param tables of `comparisonTables`
 * @param summary sentences under the title
 * @param shown samples whose maps the report shows
 */
export async function comparisonReport(
  { runs, disc, conditions, plans }: Comparison,
  { evaluation }: ComparedData,
  {
    tables,
    summary,
    shown,
  }: { readonly tables: readonly ReportTable[]; readonly summary: string; readonly shown: number },
): Promise<Record<string, string>> {
  const processor = cpus()[0]?.model;
  return {
    [comparisonFiles.result]: `${JSON.stringify({ conditions, processor, runs, disc }, null, 2)}\n`,
    [comparisonFiles.report]: await renderHtmlReport({
      title: "Comparison of methods",
      summary,
      figures: [],
      tables,
      grids: await gridsOf(runs, plans, evaluation, shown),
      config: conditions,
    }),
  };
}

/** The same samples with the audio map of every method of the first seed. */
async function gridsOf(
  runs: readonly ComparedRun[],
  plans: readonly ComparedPlan[],
  evaluation: Dataset,
  shown: number,
): Promise<ReportGrid[]> {
  const seed = plans[0]?.seed;
  const first = plans.filter((plan) => plan.seed === seed);
  const rows: ReportGrid["rows"][number][] = [];
  for (let i = 0; i < Math.min(shown, evaluation.length); i++) {
    const cells: ReportThumbnail[] = [];
    const { id, label } = await evaluation.load(i);
    const heading = label === undefined ? id : `${id}: ${label}`;
    for (const { method, folder } of first) {
      const image = await readFile(join(folder, `map-${i}.png`)).catch(() => undefined);
      if (!image) continue;
      const { title } = methodNamed(method);
      // Runs of earlier versions have no cIoU of single samples.
      const ciou = runs.find((run) => run.method === method && run.seed === seed)?.shownCious?.[i];
      const score = ciou === undefined ? [] : [`cIoU ${ciou.toFixed(3)}`];
      cells.push({
        image,
        caption: [title, ...score].join(" · "),
        shows: [`Heatmap of ${heading}`, `audio map of ${title}`, ...score].join(", "),
      });
    }
    rows.push({ heading, cells });
  }
  if (rows.length === 0) return [];
  return [
    {
      title: "The same images, every method",
      note: `Audio map of seed ${seed}, with the contour of the ground truth.`,
      rows,
    },
  ];
}
