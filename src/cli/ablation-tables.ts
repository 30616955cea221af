/** Tables of an ablation: its runs, their means over seeds, each target slot, and the published rows. */

import type { Row } from "../ablation/files.js";
import { type OverSeeds, overSeeds } from "../ablation/seeds.js";
import type { MapName } from "../evaluation/evaluate.js";
import { recallRanks } from "../evaluation/retrieve.js";
import { type Figure, figuresOf, percentText } from "../report/figures.js";
import type { ReportTable } from "../report/html.js";
import type { FigureName, PublishedTable } from "../report/published-rows.js";

/** A figure of every run. */
export interface Column {
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
  const of = ({ scores }: Row) => figuresOf(scores, map).find((figure) => figure.name === name);
  return { name, title, brief, of };
}

/** cIoU of the audio map and of IQR, the other metrics of one map, and retrieval where the rows have it. */
export function columnsOf(rows: readonly Row[], map: MapName): Column[] {
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

const minutesText = (minutes: number | null) => (minutes === null ? "–" : minutes.toFixed(1));

/** What a run is called: its variant and, of several seeds, its seed. */
export const runName = ({ variant, seed }: Pick<Row, "variant" | "seed">) =>
  seed === undefined ? variant : `${variant}, seed ${seed}`;

/** The terminal's figures of a run in one line. */
export function line(row: Row, map: MapName): string {
  return columnsOf([row], map)
    .filter(({ brief }) => brief !== undefined)
    .map(({ brief, of }) => `${brief} ${percentText(of(row)?.value)}`)
    .join(", ");
}

/** Every figure of every run, with intervals over samples. */
export function runsTable(title: string, rows: readonly Row[], columns: readonly Column[]): ReportTable {
  return {
    title: rows.some(({ seed }) => seed !== undefined) ? "Runs" : "Variants",
    columns: [title, ...columns.map((each) => each.title), "minutes of training"],
    rows: rows.map((row) => [
      runName(row),
      ...columns.map(({ of }) => withInterval(of(row))),
      minutesText(row.minutes),
    ]),
    note: "95 % bootstrap intervals over samples.",
  };
}

/** The same on a terminal: the figures that have a brief title, with the intervals of cIoU. */
export function briefTable(title: string, rows: readonly Row[], columns: readonly Column[]) {
  const shown = columns.filter(({ brief }) => brief !== undefined);
  return {
    columns: [title, ...shown.map((each) => each.brief as string), "minutes"],
    rows: rows.map((row) => [
      runName(row),
      ...shown.map((each) =>
        each.name === "ciou" ? withInterval(each.of(row)) : percentText(each.of(row)?.value),
      ),
      minutesText(row.minutes),
    ]),
  };
}

/** A variant over its seeds: a mean for each column, undefined where a run lacks the figure. */
export interface VariantMeans {
  readonly variant: string;
  readonly seeds: readonly number[];
  readonly figures: readonly (OverSeeds | undefined)[];
  /** Of training, of all its runs together; null where a run's are unknown. */
  readonly minutes: number | null;
}

/** In percent, by variant in the order of the rows. */
export function meansOf(rows: readonly Row[], columns: readonly Column[]): VariantMeans[] {
  const byVariant = new Map<string, Row[]>();
  for (const row of rows) byVariant.set(row.variant, [...(byVariant.get(row.variant) ?? []), row]);
  return Array.from(byVariant, ([variant, runs]) => ({
    variant,
    seeds: runs.flatMap(({ seed }) => seed ?? []),
    figures: columns.map(({ of }) => {
      const values = runs.map((run) => of(run)?.value);
      return values.includes(undefined) ? undefined : overSeeds(values as number[]);
    }),
    minutes: runs.reduce<number | null>(
      (sum, { minutes }) => (sum === null || minutes === null ? null : sum + minutes),
      0,
    ),
  }));
}

function meanText(figure: OverSeeds | undefined): string {
  const ends = figure?.interval ? ` [${figure.interval.map(percentText).join(", ")}]` : "";
  return percentText(figure?.mean) + ends;
}

export const SEEDS_NOTE = "Means over seeds with 95 % t intervals over seeds.";

/** The means of every variant, with their intervals; `brief` for a terminal. */
export function meansTable(
  title: string,
  means: readonly VariantMeans[],
  columns: readonly Column[],
  brief = false,
): ReportTable {
  const shown = columns.flatMap((each, i) => (brief && each.brief === undefined ? [] : [{ ...each, i }]));
  return {
    title: "Means over seeds",
    columns: [
      title,
      ...shown.map((each) => (brief ? (each.brief as string) : each.title)),
      "seeds",
      brief ? "minutes" : "minutes of training",
    ],
    rows: means.map(({ variant, seeds, figures, minutes }) => [
      variant,
      ...shown.map(({ i }) => meanText(figures[i])),
      String(seeds.length),
      minutesText(minutes),
    ]),
    note: SEEDS_NOTE,
  };
}

/** Scores of each target slot's map by itself: of IQR where the rows have it, else of the audio map. */
export function targetsTable(title: string, rows: readonly Row[]): ReportTable | undefined {
  const scored = rows.filter(({ targets }) => targets !== undefined);
  if (scored.length === 0) return undefined;
  const map = scored.some(({ targets }) => targets?.iqr) ? "iqr" : "audio";
  return {
    title: `Each target slot by itself, ${mapTitles[map]}`,
    columns: [title, "target slot", "mean IoU", "max F", "cIoU@0.5"],
    rows: scored.flatMap((row) =>
      (row.targets?.[map] ?? []).map(({ meanIou, maxF, ciou }, target) => [
        runName(row),
        String(target),
        ...[meanIou, maxF, ciou].map((share) => percentText(100 * share)),
      ]),
    ),
    note: "The table above scores the maximum over the maps of the target slots.",
  };
}

/** Published figures, in a separate table: most ablations use other data. */
export function publishedTable({ title, rows, note }: PublishedTable): ReportTable {
  const titles = new Map<FigureName, string>([
    ["ciou", "cIoU@0.5 IQR"],
    ["auc", "AUC IQR"],
    ["miou", "mean IoU"],
    ["maxf", "max F"],
    ...recallRanks.map((k) => [`a2i-r${k}`, `R@${k} audio → image`] as [FigureName, string]),
    ...recallRanks.map((k) => [`i2a-r${k}`, `R@${k} image → audio`] as [FigureName, string]),
  ]);
  const shown = [...titles].filter(([name]) => rows.some(({ figures }) => figures[name] !== undefined));
  const several = new Set(rows.map(({ training }) => training)).size > 1;
  const own = rows.some(({ protocol }) => protocol === "jsa");
  return {
    title: `Published: ${title}`,
    columns: ["", ...shown.map(([, text]) => text)],
    rows: rows.map(({ method, training, figures }) => [
      several ? `${method}, after ${training}` : method,
      ...shown.map(([name]) => percentText(figures[name])),
    ]),
    note: [
      ...(own
        ? [
            "VGG-SS after VGG-Sound 144k unless the row says otherwise, each figure the best over epochs on the test set.",
          ]
        : []),
      ...(note === undefined ? [] : [note]),
    ].join(" "),
  };
}
