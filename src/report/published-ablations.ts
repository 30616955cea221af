/** Published figures of the paper's ablations, in percent: tables 5, 6, 8 and 9–12, after IQR. */
import { benchmarks } from "./published.js";
import {
  type FigureName,
  type PublishedRow,
  type PublishedSource,
  type PublishedTable,
  recalls,
  rowsOf,
} from "./published-rows.js";

const localized: readonly FigureName[] = ["ciou", "auc"];

/** Rows of variants after VGG-Sound 144k. */
const variants = (
  source: PublishedSource,
  names: readonly FigureName[],
  rows: readonly (readonly [variant: string, ...figures: readonly number[]])[],
): PublishedRow[] =>
  rowsOf(
    { source, protocol: "jsa" },
    names,
    rows.map(([variant, ...figures]) => [variant, "VGG-Sound 144k", ...figures]),
  );

const table5: Pick<PublishedTable, "rows" | "note"> = {
  rows: variants("table 5", localized, [
    ["row 1", 14.95, 27.02],
    ["row 2", 36.23, 39.13],
    ["row 3", 18.69, 30.03],
    ["row 4", 15.03, 28.18],
    ["row 5", 40.56, 41.35],
    ["row 6", 36.14, 39.31],
    ["row 7", 20.37, 30.81],
    ["row 8, all losses", 40.71, 41.62],
  ]),
  note: "Which losses rows 1 to 7 combine could not be read.",
};

/** Ablations by name, on VGG-SS unless the row says otherwise. */
export const publishedAblations: Readonly<Record<string, PublishedTable>> = {
  losses: { title: "Losses (table 5), rows in the paper's order", ...table5 },
  "losses-exclusion": { title: "Losses (table 5), rows in the paper's order", ...table5 },
  "initial-slots": {
    title: "Initial slots, trained on and scored on (tables 1 and 6)",
    rows: [
      ...rowsOf({ source: "table 1", protocol: "jsa" }, localized, [
        ["shared, VGG-SS", "Flickr 144k", 37.01, 39.42],
        ["shared, Flickr-SoundNet", "Flickr 144k", 86.0, 65.16],
        ["shared, VGG-SS", "VGG-Sound 144k", 40.62, 41.66],
        ["shared, Flickr-SoundNet", "VGG-Sound 144k", 83.6, 64.68],
      ]),
      ...rowsOf({ source: "table 6", protocol: "jsa" }, localized, [
        ["separate, VGG-SS", "Flickr 144k", 34.8, 38.72],
        ["separate, Flickr-SoundNet", "Flickr 144k", 84.0, 61.7],
        ["separate, VGG-SS", "VGG-Sound 144k", 33.11, 37.92],
        ["separate, Flickr-SoundNet", "VGG-Sound 144k", 81.2, 64.36],
      ]),
    ],
  },
  iterations: {
    title: "Iterations of slot attention (table 9)",
    rows: variants(
      "table 9",
      [...localized, ...recalls],
      [
        ["1 iteration", 16.36, 27.81, 1.12, 5.78, 9.89, 3.47, 11.65, 17.82],
        ["3 iterations", 39.59, 40.78, 16.17, 36.27, 47.91, 19.45, 41.55, 53.88],
        ["5 iterations", 40.71, 41.62, 30.61, 57.87, 69.37, 31.7, 58.43, 69.81],
        ["7 iterations", 39.74, 41.21, 23.03, 46.88, 58.14, 24.97, 49.17, 61.25],
        ["10 iterations", 34.24, 38.6, 7.12, 19.58, 28.44, 7.43, 24.37, 35.69],
      ],
    ),
  },
  neighbours: {
    title: "Neighbours that may be false negatives (table 10)",
    rows: variants("table 10", localized, [
      ["k = 10", 40.29, 41.16],
      ["k = 20", 40.71, 41.62],
      ["k = 30", 40.15, 41.14],
      ["k = 50", 40.44, 41.56],
    ]),
  },
  masking: {
    title: "Share of masked tokens (table 11)",
    rows: variants(
      "table 11",
      [...localized, "a2i-r1", "i2a-r1"],
      [
        ["0 %", 37.46, 40.26, 8.9, 10.08],
        ["5 %", 40.07, 40.96, 17.39, 20.24],
        ["10 %", 40.71, 41.62, 30.61, 31.7],
        ["20 %", 33.5, 38.34, 9.25, 9.52],
        ["30 %", 31.72, 37.48, 9.13, 9.13],
        ["50 %", 16.56, 29.22, 12.54, 15.08],
      ],
    ),
  },
  slots: {
    title: "Target and off-target slots (table 12)",
    rows: variants("table 12", localized, [
      ["1 target, 1 off-target", 40.71, 41.62],
      ["1 target, 2 off-target", 38.91, 40.69],
      ["1 target, 3 off-target", 34.52, 38.66],
      ["2 target, 1 off-target", 40.36, 41.17],
      ["3 target, 1 off-target", 37.5, 40.11],
    ]),
  },
  "target-slots": {
    title: "AVSBench MS3 (table 8)",
    rows: benchmarks["avsbench-ms3"]?.rows ?? [],
    note: "Other methods. The paper's own rows, one for each number of target slots, could not be read.",
  },
};
