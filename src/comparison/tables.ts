/** A comparison's figures as tables: over seeds, with the centred disc, and what they cost. */

import { overSeeds } from "../ablation/seeds.js";
import { methodNamed } from "../config/methods.js";
import type { Evaluation, MapName, ProtocolName } from "../evaluation/evaluate.js";
import { percentText } from "../report/figures.js";
import type { ReportTable } from "../report/html.js";
import { type ComparedMethod, comparedMethods } from "./recipes.js";
import type { ComparedRun } from "./run.js";

type Scores = Omit<Evaluation, "perSample">;

/** A row: a map of a method, and the runs that it is of. */
export interface ComparedRow {
  readonly method: ComparedMethod;
  readonly map: MapName;
  readonly title: string;
  readonly runs: readonly ComparedRun[];
}

/** The methods' audio maps in the order of the tables; of methods that refine, the default map follows. */
export function rowsOf(runs: readonly ComparedRun[]): ComparedRow[] {
  return comparedMethods.flatMap((method) => {
    const own = runs.filter((run) => run.method === method);
    if (own.length === 0) return [];
    const { title, defaultMap } = methodNamed(method);
    const row = { method, map: "audio" as MapName, title, runs: own };
    if (defaultMap === "audio") return [row];
    return [row, { ...row, map: defaultMap, title: `${title}, ${defaultMap.toUpperCase()}` }];
  });
}

/** Share of successes of a map under a protocol, in [0, 1]. */
export function successOf(scores: Scores, protocol: ProtocolName, map: MapName): number {
  return scores.protocols?.[protocol]?.[map]?.ciou ?? Number.NaN;
}

const aucOf = (scores: Scores, protocol: ProtocolName, map: MapName) =>
  scores.protocols?.[protocol]?.[map]?.auc ?? Number.NaN;

/** A mean over seeds of shares in [0, 1]: in percent, with half of its interval. */
export function shareText(values: readonly number[]): string {
  if (values.some(Number.isNaN) || values.length === 0) return "–";
  const { mean, interval } = overSeeds(values);
  if (!interval) return percentText(100 * mean);
  const half = 100 * ((interval[1] - interval[0]) / 2);
  return `${percentText(100 * mean)} ± ${half.toFixed(1)}`;
}

/** Localization and retrieval of every method, and of the centred disc. */
export function figuresTable(
  runs: readonly ComparedRun[],
  disc: Scores,
  protocols: readonly ProtocolName[],
): ReportTable {
  const two = runs.some(({ twoSources }) => twoSources !== undefined);
  const retrieval = runs.some(({ scores }) => scores.retrieval !== undefined);
  const [first] = protocols;
  const rows = rowsOf(runs).map(({ title, map, runs: own }) => {
    const below =
      first !== undefined &&
      overSeeds(own.map(({ scores }) => successOf(scores, first, map))).mean <=
        successOf(disc, first, "audio");
    return [
      below ? `${title} *` : title,
      ...protocols.flatMap((protocol) => [
        shareText(own.map(({ scores }) => successOf(scores, protocol, map))),
        shareText(own.map(({ scores }) => aucOf(scores, protocol, map))),
      ]),
      ...(two ? [shareText(own.map(({ twoSources = Number.NaN }) => twoSources))] : []),
      ...(retrieval
        ? (["audioToImage", "imageToAudio"] as const).map((way) =>
            shareText(own.map(({ scores }) => scores.retrieval?.[way][0] ?? Number.NaN)),
          )
        : []),
    ];
  });
  const baseline = [
    "Centred disc",
    ...protocols.flatMap((protocol) => [
      shareText([successOf(disc, protocol, "audio")]),
      shareText([aucOf(disc, protocol, "audio")]),
    ]),
    ...(two ? ["–"] : []),
    ...(retrieval ? ["–", "–"] : []),
  ];
  const starred = rows.some(([name = ""]) => name.endsWith("*"));
  const seeds = new Set(runs.map(({ seed }) => seed)).size;
  return {
    title: "Localization",
    columns: [
      "method and map",
      ...protocols.flatMap((protocol) => [`cIoU@0.5, ${protocol}`, `AUC, ${protocol}`]),
      ...(two ? ["two sources"] : []),
      ...(retrieval ? ["R@1 audio → image", "R@1 image → audio"] : []),
    ],
    rows: [...rows, baseline],
    note: [
      `Percent${seeds > 1 ? `, mean over ${seeds} seeds ± half of the 95 % t interval` : ""}.`,
      ...(starred ? ["* not above the centred disc: it did not learn to localize within this budget."] : []),
    ].join(" "),
  };
}

/** Parameters, time and memory of every method. */
export function costTable(runs: readonly ComparedRun[]): ReportTable {
  const median = (values: readonly number[]) => {
    const sorted = [...values].sort((a, b) => a - b);
    const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]];
    return ((low as number) + (high as number)) / 2;
  };
  const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
  const methods = comparedMethods.filter((method) => runs.some((run) => run.method === method));
  return {
    title: "Cost",
    columns: [
      "method",
      "trained",
      "stored",
      "minutes of training",
      "ms a pair to localize",
      "MiB in training",
    ],
    rows: methods.map((method) => {
      const own = runs.filter((run) => run.method === method);
      const { trained = 0, stored = 0 } = own[0]?.parameters ?? {};
      return [
        methodNamed(method).title,
        millions(trained),
        millions(stored),
        median(own.map(({ minutes }) => minutes)).toFixed(1),
        median(own.map(({ milliseconds }) => milliseconds)).toFixed(2),
        median(own.map(({ memory }) => memory)).toFixed(0),
      ];
    }),
    note: "Parameters without statistics of batch norm. Medians over seeds. Localization: a pair in prepared batches of 16. Memory: the most that tensors of 256 KiB and more held at one time in training.",
  };
}
