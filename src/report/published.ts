/**
 * Published figures of the benchmarks, in percent, for comparison: tables 1–4 and 8 of the paper, and those that the
 * repositories of the compared methods print. docs/benchmarks.md lists what could not be read. The figures of joint slot
 * attention are each the best over all epochs on the test set.
 */
import {
  type FigureName,
  type PublishedRow,
  type PublishedTable,
  recalls,
  rowsOf,
} from "./published-rows.js";

const JSA = "joint slot attention";
const localized: readonly FigureName[] = ["ciou", "auc"];
const segmented: readonly FigureName[] = ["miou", "maxf"];
const extended: readonly FigureName[] = ["ap", "bestf1", "locacc"];

const table1 = (
  protocol: "jsa" | "jsa-ogl" | "area" | "area-ogl" | "not-stated",
  rows: Parameters<typeof rowsOf>[2],
): PublishedRow[] => rowsOf({ source: "table 1", protocol }, localized, rows);
const table2 = (protocol: "jsa" | "area" | "area-ogl", rows: Parameters<typeof rowsOf>[2]): PublishedRow[] =>
  rowsOf({ source: "table 2", protocol }, localized, rows);

const HEARD = "VGG-Sound, heard classes";
const UNKNOWN = "training set not stated";

/** Benchmarks by name. */
export const benchmarks: Readonly<Record<string, PublishedTable>> = {
  vggss: {
    title: "VGG-SS",
    rows: [
      ...table1("jsa", [
        [JSA, "Flickr 144k", 37.01, 39.42],
        [JSA, "VGG-Sound 10k", 37.84, 39.82],
        [JSA, "VGG-Sound 144k", 40.62, 41.66],
      ]),
      ...table1("jsa-ogl", [
        [JSA, "Flickr 10k", 39.16, 40.51],
        [JSA, "Flickr 144k", 40.15, 40.75],
        [JSA, "VGG-Sound 10k", 41.02, 41.29],
        [JSA, "VGG-Sound 144k", 42.56, 42.46],
      ]),
      ...table1("area", [
        ["LVS", "VGG-Sound 144k", 34.4, 38.2],
        ["EZ-VSL", "Flickr 10k", 19.86, 30.96],
        ["EZ-VSL", "Flickr 144k", 30.27, 35.92],
        ["EZ-VSL", "VGG-Sound 10k", 25.84, 33.68],
        ["EZ-VSL", "VGG-Sound 144k", 34.38, 37.7],
        ["SLAVC", "VGG-Sound 144k", 37.22],
        ["FNAC", "Flickr 10k", 35.27, 38.0],
        ["FNAC", "Flickr 144k", 33.93, 37.29],
        ["FNAC", "VGG-Sound 10k", 37.29, 38.99],
        ["FNAC", "VGG-Sound 144k", 39.5, 39.66],
        ["Alignment", "VGG-Sound 144k", 39.94, 40.02],
      ]),
      ...table1("area-ogl", [
        ["EZ-VSL", "VGG-Sound 10k", 38.71, 39.8],
        ["SLAVC", "VGG-Sound 144k", 39.67],
      ]),
      ...table1("not-stated", [
        ["Attention10k", "VGG-Sound 144k", 18.5, 30.2],
        ["DMC", "VGG-Sound 144k", 29.1, 34.8],
        ["AVObject", "VGG-Sound 144k", 29.7, 35.7],
        ["HardPos", "VGG-Sound 144k", 34.6, 38.0],
        ["NoPrior", "VGG-Sound 144k", 41.4],
      ]),
      ...rowsOf({ source: "README of EZ-VSL", protocol: "area-ogl" }, localized, [
        ["EZ-VSL", "VGG-Sound 10k", 37.18, 38.75],
        ["EZ-VSL", "VGG-Sound 144k", 38.85, 39.54],
        ["EZ-VSL", "VGG-Sound, all", 39.34, 39.78],
      ]),
      ...rowsOf({ source: "README of FNAC", protocol: "area" }, localized, [
        ["FNAC", "Flickr 10k", 35.27, 38.0],
        ["FNAC", "Flickr 144k", 33.93, 37.29],
        ["FNAC", "VGG-Sound 10k", 37.29, 38.99],
        ["FNAC", "VGG-Sound 144k", 39.5, 39.66],
      ]),
      ...rowsOf({ source: "README of Alignment", protocol: "area" }, localized, [
        ["Alignment, supervised neighbours", UNKNOWN, 39.94],
        ["Alignment, self-supervised neighbours", UNKNOWN, 39.16],
        ["Alignment, pre-trained image encoder", UNKNOWN, 41.42],
      ]),
    ],
  },
  flickr: {
    title: "Flickr-SoundNet",
    rows: [
      ...table1("jsa", [
        [JSA, "Flickr 10k", 85.2, 65.26],
        [JSA, "Flickr 144k", 86.0, 65.16],
        [JSA, "VGG-Sound 10k", 86.0, 64.9],
        [JSA, "VGG-Sound 144k", 83.6, 64.68],
      ]),
      ...table1("jsa-ogl", [
        [JSA, "Flickr 10k", 87.6, 66.5],
        [JSA, "Flickr 144k", 89.2, 64.5],
        [JSA, "VGG-Sound 10k", 87.6, 65.42],
        [JSA, "VGG-Sound 144k", 84.8, 64.82],
      ]),
      ...table1("area", [
        ["LVS", "Flickr 10k", 58.2, 52.5],
        ["LVS", "Flickr 144k", 69.9, 57.3],
        ["LVS", "VGG-Sound 10k", 61.8, 53.6],
        ["LVS", "VGG-Sound 144k", 73.5, 59.0],
        ["EZ-VSL", "Flickr 10k", 62.24, 54.74],
        ["EZ-VSL", "Flickr 144k", 72.69, 58.7],
        ["EZ-VSL", "VGG-Sound 10k", 63.85, 54.44],
        ["EZ-VSL", "VGG-Sound 144k", 79.51, 61.17],
        ["SLAVC", "VGG-Sound 144k", 83.2],
        ["FNAC", "VGG-Sound 144k", 84.73],
        ["Alignment", "VGG-Sound 144k", 79.6, 63.44],
      ]),
      ...table1("area-ogl", [["SLAVC", "VGG-Sound 144k", 86.4]]),
      ...table1("not-stated", [["HardPos", "VGG-Sound 144k", 76.8, 59.2]]),
      ...rowsOf({ source: "README of EZ-VSL", protocol: "area-ogl" }, localized, [
        ["EZ-VSL", "Flickr 10k", 81.93, 62.58],
        ["EZ-VSL", "Flickr 144k", 83.13, 63.06],
        ["EZ-VSL", "VGG-Sound 144k", 83.94, 63.6],
      ]),
      ...rowsOf({ source: "README of Alignment", protocol: "area" }, localized, [
        ["Alignment, supervised neighbours", UNKNOWN, 85.2],
        ["Alignment, self-supervised neighbours", UNKNOWN, 84.8],
        ["Alignment, pre-trained image encoder", UNKNOWN, 86.0],
      ]),
    ],
  },
  "vggss-heard": {
    title: "VGG-SS, Heard 110",
    rows: [
      ...table2("jsa", [[JSA, HEARD, 38.46, 40.15]]),
      ...table2("area", [
        ["LVS", HEARD, 28.9, 36.2],
        ["EZ-VSL", HEARD, 31.86, 36.19],
        ["SLAVC", HEARD, 35.84],
      ]),
      ...table2("area-ogl", [
        ["SLAVC", HEARD, 38.22],
        ["FNAC", HEARD, 39.54, 39.83],
      ]),
      ...rowsOf({ source: "README of EZ-VSL", protocol: "area-ogl" }, localized, [
        ["EZ-VSL", HEARD, 37.25, 38.97],
      ]),
    ],
  },
  "vggss-unheard": {
    title: "VGG-SS, Unheard 110",
    rows: [
      ...table2("jsa", [[JSA, HEARD, 40.35, 41.25]]),
      ...table2("area", [
        ["LVS", HEARD, 26.3, 34.7],
        ["EZ-VSL", HEARD, 32.66, 36.72],
        ["SLAVC", HEARD, 36.5],
      ]),
      ...table2("area-ogl", [
        ["SLAVC", HEARD, 38.87],
        ["FNAC", HEARD, 42.91, 41.17],
      ]),
      ...rowsOf({ source: "README of EZ-VSL", protocol: "area-ogl" }, localized, [
        ["EZ-VSL", HEARD, 39.57, 39.6],
      ]),
    ],
  },
  "avsbench-s4": {
    title: "AVSBench S4",
    rows: rowsOf({ source: "table 3", protocol: "masks" }, segmented, [
      ["LVS", UNKNOWN, 26.9, 33.6],
      ["EZ-VSL", UNKNOWN, 27.6, 34.2],
      ["SLAVC", UNKNOWN, 28.1, 34.6],
      ["FNAC", UNKNOWN, 27.15, 31.4],
      ["Alignment, self-supervised neighbours", UNKNOWN, 29.3, 35.6],
    ]),
  },
  "avsbench-ms3": {
    title: "AVSBench MS3",
    rows: rowsOf({ source: "table 8", protocol: "masks" }, segmented, [
      ["LVS", UNKNOWN, 18.54, 17.4],
      ["EZ-VSL", UNKNOWN, 21.36, 21.6],
      ["FNAC", UNKNOWN, 21.98, 22.5],
      ["SLAVC", UNKNOWN, 24.37, 25.56],
    ]),
  },
  "vggss-retrieval": {
    title: "Retrieval on VGG-SS",
    rows: rowsOf({ source: "table 4", protocol: "retrieval" }, recalls, [
      [JSA, "VGG-Sound 144k", 30.61, 57.87, 69.37, 31.7, 58.43, 69.81],
      ["LVS", UNKNOWN, 3.87, 12.35, 20.73, 4.9, 14.29, 21.37],
      ["EZ-VSL", UNKNOWN, 5.01, 15.73, 24.81, 14.2, 33.51, 45.18],
      ["SSL-TIE", UNKNOWN, 10.29, 30.68, 43.76, 12.76, 29.58, 39.72],
      ["SLAVC", UNKNOWN, 4.77, 13.08, 19.1, 6.12, 21.16, 32.12],
      ["Alignment", UNKNOWN, undefined, 36.99, 49.0, undefined, 42.38, 53.66],
    ]),
  },
  "vggss-extended": {
    title: "Extended VGG-SS",
    rows: rowsOf({ source: "README of SLAVC", protocol: "extended" }, extended, [
      ["SLAVC", UNKNOWN, 32.95, 40.0, 37.79],
    ]),
  },
  "flickr-extended": {
    title: "Extended Flickr-SoundNet",
    rows: rowsOf({ source: "README of SLAVC", protocol: "extended" }, extended, [
      ["SLAVC", UNKNOWN, 51.63, 59.1, 83.6],
    ]),
  },
};

const byDataset: Readonly<Record<string, string>> = {
  "vgg-ss": "vggss",
  "vgg-ss, vggss_heard_test": "vggss-heard",
  "vgg-ss, vggss_unheard_test": "vggss-unheard",
  "flickr-soundnet": "flickr",
  "avsbench-s4": "avsbench-s4",
  "avsbench-ms3": "avsbench-ms3",
};

/** Choices of `--published`: the benchmarks, or no published figures. */
export const publishedChoices: readonly string[] = [...Object.keys(benchmarks), "none"];

/** The requested benchmark's name, or that of a dataset by its name; undefined for "none" and for other data. */
export function benchmarkOf(dataset: string, requested?: string): string | undefined {
  if (requested === "none") return undefined;
  return requested ?? byDataset[dataset];
}
