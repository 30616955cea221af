/** Tables of the scores under protocols: a row for each map and checkpoint, and one for each size of the object. */
import { type Evaluation, type MapName, mapNames, type Protocol } from "../evaluation/evaluate.js";
import { type Figure, percentText, protocolFiguresOf } from "./figures.js";
import type { ReportTable } from "./html.js";

/** A checkpoint and its scores. */
export interface NamedScores {
  readonly name: string;
  readonly scores: Evaluation;
}

/** A figure with its interval, such as 40.1 [38.2, 42.0]. */
export function withInterval({ value, interval }: Figure): string {
  return percentText(value) + (interval ? ` [${percentText(interval[0])}, ${percentText(interval[1])}]` : "");
}

/** How maps are scored under a protocol, in words. */
export function describeProtocol({
  resize,
  grid,
  ranges,
  alpha,
  threshold,
  adaptive,
  success,
}: Protocol): string {
  const cut =
    threshold.by === "value"
      ? `map ≥ ${threshold.at}`
      : threshold.by === "adaptive"
        ? "as many pixels as the object has"
        : `map ${threshold.comparison} the cut that leaves ${percentText(100 * threshold.share)} % of the pixels`;
  return [
    `${resize.replace("-corners", ", corners aligned")}`,
    grid === "benchmark" ? "on the benchmark's grid" : `on ${grid} × ${grid}`,
    ranges === "minmax" ? "min–max" : "fixed ranges",
    `α ${alpha}`,
    `prediction: ${cut}${adaptive ? ", and adaptive" : ""}`,
    `success: cIoU ${success} 0.5`,
  ].join("; ");
}

/** A table for each protocol; with sizes of objects another. `maps` are its rows, by default all that are scored. */
export function protocolTables(
  results: readonly NamedScores[],
  maps: readonly MapName[] = mapNames,
): ReportTable[] {
  const [first] = results;
  const several = results.length > 1;
  return (first?.scores.settings.protocols ?? []).flatMap((protocol) => {
    const rows = results.flatMap(({ name, scores }) =>
      maps.flatMap((map) => {
        const figures = protocolFiguresOf(scores, protocol.name, map);
        return figures.length > 0 ? [{ title: several ? `${name}, ${map}` : map, figures }] : [];
      }),
    );
    const titles = [...new Set(rows.flatMap(({ figures }) => figures.map(({ title }) => title)))];
    const table: ReportTable = {
      title: `Protocol ${protocol.name}`,
      columns: ["map", ...titles],
      rows: rows.map(({ title, figures }) => [
        title,
        ...titles.map((column) => {
          const own = figures.find((figure) => figure.title === column);
          return own ? withInterval(own) : "–";
        }),
      ]),
      note: `Percent. ${describeProtocol(protocol)}.`,
    };
    return [table, ...results.flatMap((each) => sizeTables(each, protocol, maps, several))];
  });
}

function sizeTables(
  { name, scores }: NamedScores,
  protocol: Protocol,
  maps: readonly MapName[],
  several: boolean,
): ReportTable[] {
  return maps.flatMap((map) => {
    const sizes = scores.protocols?.[protocol.name]?.[map]?.sizes;
    if (!sizes) return [];
    const table: ReportTable = {
      title: `Protocol ${protocol.name}, by the size of the object: ${several ? `${name}, ` : ""}${map}`,
      columns: ["size", "cIoU", "samples", "precision", "average precision", "max F1", "AUC"],
      rows: sizes.map(({ size, success, samples, precision, ap, maxF1, auc }) => [
        size,
        `≥ ${success}`,
        String(samples),
        ...[precision, ap, maxF1, auc].map((share) => percentText(100 * share)),
      ]),
      note: "Percent. Pixels of the object on 224 × 224: small < 32² ≤ medium < 96² ≤ large < 144² ≤ huge. “All” has pairs without a sounding source, the others do not.",
    };
    return [table];
  });
}
