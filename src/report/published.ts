/**
 * Published figures, in percent, for comparison: Kim et al., "Improving Sound Source Localization with Joint
 * Slot Attention on Image and Audio", CVPR 2025, tables 1–4 and 8 (with those of the methods it compares with) and its
 * ablations, tables 5, 6 and 9–12; table 7 counts parameters and is in docs/benchmarks.md. Cells that could not be read
 * are left out: the method's own rows of tables 3 and 8, on VGG-SS that after Flickr 10k, and the losses that the rows
 * of table 5 combine. Localization figures of that method are after IQR unless the row says otherwise, and each is the
 * best over all epochs on the test set.
 */

/** Figures by name, in percent; the names are those of the command line's table. */
export type Figures = Readonly<Partial<Record<FigureName, number>>>;
export type FigureName =
  | "ciou"
  | "auc"
  | "miou"
  | "maxf"
  | "a2i-r1"
  | "a2i-r5"
  | "a2i-r10"
  | "i2a-r1"
  | "i2a-r5"
  | "i2a-r10";

export interface PublishedRow {
  readonly method: string;
  readonly figures: Figures;
}

export interface PublishedTable {
  readonly title: string;
  readonly rows: readonly PublishedRow[];
  readonly note?: string;
}

const localization = (rows: readonly (readonly [method: string, ciou?: number, auc?: number])[]) =>
  rows.map(([method, ciou, auc]): PublishedRow => ({ method, figures: present({ ciou, auc }) }));

const segmentation = (rows: readonly (readonly [method: string, miou: number, maxf: number])[]) =>
  rows.map(([method, miou, maxf]): PublishedRow => ({ method, figures: { miou, maxf } }));

const present = (figures: Readonly<Record<string, number | undefined>>): Figures =>
  Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));

type Recalls = readonly [number, number, number, number, number, number];
const retrieval = ([a1, a5, a10, i1, i5, i10]: Recalls): Figures => ({
  "a2i-r1": a1,
  "a2i-r5": a5,
  "a2i-r10": a10,
  "i2a-r1": i1,
  "i2a-r5": i5,
  "i2a-r10": i10,
});

const recalled = (method: string, ciou: number, auc: number, recalls: Recalls): PublishedRow => ({
  method,
  figures: { ciou, auc, ...retrieval(recalls) },
});

/** Benchmarks by name. */
export const benchmarks: Readonly<Record<string, PublishedTable>> = {
  vggss: {
    title: "VGG-SS (table 1)",
    rows: localization([
      ["joint slot attention, Flickr 144k", 37.01, 39.42],
      ["joint slot attention, VGG-Sound 10k", 37.84, 39.82],
      ["joint slot attention, VGG-Sound 144k", 40.62, 41.66],
      ["the same with OGL, Flickr 10k", 39.16, 40.51],
      ["the same with OGL, Flickr 144k", 40.15, 40.75],
      ["the same with OGL, VGG-Sound 10k", 41.02, 41.29],
      ["the same with OGL, VGG-Sound 144k", 42.56, 42.46],
      ["Attention10k", 18.5, 30.2],
      ["DMC", 29.1, 34.8],
      ["AVObject", 29.7, 35.7],
      ["LVS", 34.4, 38.2],
      ["HardPos", 34.6, 38.0],
      ["EZ-VSL", 34.38, 37.7],
      ["SLAVC", 37.22],
      ["FNAC", 39.5, 39.66],
      ["Alignment", 39.94, 40.02],
      ["NoPrior", 41.4],
    ]),
  },
  flickr: {
    title: "Flickr-SoundNet (table 1)",
    rows: localization([
      ["joint slot attention, Flickr 10k", 85.2, 65.26],
      ["joint slot attention, Flickr 144k", 86.0, 65.16],
      ["joint slot attention, VGG-Sound 10k", 86.0, 64.9],
      ["joint slot attention, VGG-Sound 144k", 83.6, 64.68],
      ["the same with OGL, Flickr 10k", 87.6, 66.5],
      ["the same with OGL, Flickr 144k", 89.2, 64.5],
      ["the same with OGL, VGG-Sound 10k", 87.6, 65.42],
      ["the same with OGL, VGG-Sound 144k", 84.8, 64.82],
      ["LVS, VGG-Sound 144k", 73.5, 59.0],
      ["HardPos, VGG-Sound 144k", 76.8, 59.2],
      ["EZ-VSL, VGG-Sound 144k", 79.51, 61.17],
      ["SLAVC, VGG-Sound 144k", 83.2],
      ["FNAC, VGG-Sound 144k", 84.73],
      ["Alignment, VGG-Sound 144k", 79.6, 63.44],
    ]),
  },
  "vggss-heard": {
    title: "VGG-SS, Heard 110 (table 2)",
    rows: localization([
      ["joint slot attention", 38.46, 40.15],
      ["LVS", 28.9, 36.2],
      ["EZ-VSL", 31.86, 36.19],
      ["SLAVC", 35.84],
    ]),
  },
  "vggss-unheard": {
    title: "VGG-SS, Unheard 110 (table 2)",
    rows: localization([
      ["joint slot attention", 40.35, 41.25],
      ["LVS", 26.3, 34.7],
      ["EZ-VSL", 32.66, 36.72],
      ["SLAVC", 36.5],
    ]),
  },
  "avsbench-s4": {
    title: "AVSBench S4 (table 3)",
    rows: segmentation([
      ["LVS", 26.9, 33.6],
      ["EZ-VSL", 27.6, 34.2],
      ["SLAVC", 28.1, 34.6],
      ["FNAC", 27.15, 31.4],
      ["Alignment, self-supervised", 29.3, 35.6],
    ]),
  },
  "avsbench-ms3": {
    title: "AVSBench MS3 (table 8)",
    rows: segmentation([
      ["LVS", 18.54, 17.4],
      ["EZ-VSL", 21.36, 21.6],
      ["FNAC", 21.98, 22.5],
      ["SLAVC", 24.37, 25.56],
    ]),
  },
  "vggss-retrieval": {
    title: "Retrieval on VGG-SS (table 4)",
    rows: [
      { method: "joint slot attention", figures: retrieval([30.61, 57.87, 69.37, 31.7, 58.43, 69.81]) },
      { method: "LVS", figures: retrieval([3.87, 12.35, 20.73, 4.9, 14.29, 21.37]) },
      { method: "EZ-VSL", figures: retrieval([5.01, 15.73, 24.81, 14.2, 33.51, 45.18]) },
      { method: "SSL-TIE", figures: retrieval([10.29, 30.68, 43.76, 12.76, 29.58, 39.72]) },
      { method: "SLAVC", figures: retrieval([4.77, 13.08, 19.1, 6.12, 21.16, 32.12]) },
    ],
  },
};

/** Ablations by name: VGG-SS after VGG-Sound 144k, unless the row says otherwise. */
export const publishedAblations: Readonly<Record<string, PublishedTable>> = {
  losses: {
    title: "Losses (table 5), rows in the paper's order",
    rows: localization([
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
  },
  "initial-slots": {
    title: "Initial slots, trained on and scored on (tables 1 and 6)",
    rows: localization([
      ["shared, Flickr 144k, VGG-SS", 37.01, 39.42],
      ["shared, Flickr 144k, Flickr-SoundNet", 86.0, 65.16],
      ["shared, VGG-Sound 144k, VGG-SS", 40.62, 41.66],
      ["shared, VGG-Sound 144k, Flickr-SoundNet", 83.6, 64.68],
      ["separate, Flickr 144k, VGG-SS", 34.8, 38.72],
      ["separate, Flickr 144k, Flickr-SoundNet", 84.0, 61.7],
      ["separate, VGG-Sound 144k, VGG-SS", 33.11, 37.92],
      ["separate, VGG-Sound 144k, Flickr-SoundNet", 81.2, 64.36],
    ]),
  },
  iterations: {
    title: "Iterations of slot attention (table 9)",
    rows: [
      recalled("1 iteration", 16.36, 27.81, [1.12, 5.78, 9.89, 3.47, 11.65, 17.82]),
      recalled("3 iterations", 39.59, 40.78, [16.17, 36.27, 47.91, 19.45, 41.55, 53.88]),
      recalled("5 iterations", 40.71, 41.62, [30.61, 57.87, 69.37, 31.7, 58.43, 69.81]),
      recalled("7 iterations", 39.74, 41.21, [23.03, 46.88, 58.14, 24.97, 49.17, 61.25]),
      recalled("10 iterations", 34.24, 38.6, [7.12, 19.58, 28.44, 7.43, 24.37, 35.69]),
    ],
  },
  neighbours: {
    title: "Neighbours that may be false negatives (table 10)",
    rows: localization([
      ["k = 10", 40.29, 41.16],
      ["k = 20", 40.71, 41.62],
      ["k = 30", 40.15, 41.14],
      ["k = 50", 40.44, 41.56],
    ]),
  },
  masking: {
    title: "Share of masked tokens (table 11)",
    rows: (
      [
        ["0 %", 37.46, 40.26, 8.9, 10.08],
        ["5 %", 40.07, 40.96, 17.39, 20.24],
        ["10 %", 40.71, 41.62, 30.61, 31.7],
        ["20 %", 33.5, 38.34, 9.25, 9.52],
        ["30 %", 31.72, 37.48, 9.13, 9.13],
        ["50 %", 16.56, 29.22, 12.54, 15.08],
      ] as const
    ).map(([method, ciou, auc, a1, i1]) => ({ method, figures: { ciou, auc, "a2i-r1": a1, "i2a-r1": i1 } })),
  },
  slots: {
    title: "Target and off-target slots (table 12)",
    rows: localization([
      ["1 target, 1 off-target", 40.71, 41.62],
      ["1 target, 2 off-target", 38.91, 40.69],
      ["1 target, 3 off-target", 34.52, 38.66],
      ["2 target, 1 off-target", 40.36, 41.17],
      ["3 target, 1 off-target", 37.5, 40.11],
    ]),
  },
};
