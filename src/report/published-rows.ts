/** What a published figure is: where it stands, how it was scored, and what was trained on. */

/** Figures by name, in percent; the names are those of the command line's table. */
export type Figures = Readonly<Partial<Record<FigureName, number>>>;
export type FigureName =
  | "ciou"
  | "auc"
  | "miou"
  | "maxf"
  | "ap"
  | "bestf1"
  | "locacc"
  | "a2i-r1"
  | "a2i-r5"
  | "a2i-r10"
  | "i2a-r1"
  | "i2a-r5"
  | "i2a-r10";

/**
 * A table of the paper (Kim et al., "Improving Sound Source Localization with Joint Slot Attention on Image and Audio",
 * CVPR 2025), or what the authors of another method print in their own repository.
 */
export type PublishedSource =
  | `table ${1 | 2 | 3 | 4 | 5 | 6 | 8 | 9 | 10 | 11 | 12}`
  | `README of ${"EZ-VSL" | "SLAVC" | "FNAC" | "Alignment"}`;

/** How the figures were scored, with the words of a table. */
export const protocols = {
  /** The map after IQR; prediction map ≥ 0.6. */
  jsa: "IQR",
  /** The audio map blended with the objectness of an ImageNet ResNet-18; prediction map ≥ 0.6. */
  "jsa-ogl": "with OGL",
  /** The method's own map; the half of the pixels with the highest values is predicted. */
  area: "half the area",
  /** The same with objectness. */
  "area-ogl": "half the area, with OGL",
  /** Scores on a fixed range, of the map and of objectness; average precision by confidence. */
  extended: "by confidence",
  /** Masks of AVSBench; the threshold of the compared methods is not stated. */
  masks: "masks",
  /** The nearest by cosine, among all samples of VGG-SS. */
  retrieval: "retrieval",
  /** The table quotes the figure; its source does not state the protocol. */
  "not-stated": "protocol not stated",
} as const;
export type PublishedProtocol = keyof typeof protocols;

/** Sizes are pairs; "not stated" where neither the table nor the repository names the set. */
export type TrainingSet =
  | "Flickr 10k"
  | "Flickr 144k"
  | "VGG-Sound 10k"
  | "VGG-Sound 144k"
  | "VGG-Sound, all"
  | "VGG-Sound, heard classes"
  | "training set not stated";

export interface PublishedRow {
  /** The method; in an ablation the variant. */
  readonly method: string;
  readonly figures: Figures;
  readonly source: PublishedSource;
  readonly protocol: PublishedProtocol;
  readonly training: TrainingSet;
}

export interface PublishedTable {
  readonly title: string;
  readonly rows: readonly PublishedRow[];
  readonly note?: string;
}

/** A row's name in a table: "EZ-VSL, half the area, Flickr 10k (table 1)". */
export function publishedName({ method, protocol, training, source }: PublishedRow): string {
  const how = protocol === "retrieval" || protocol === "masks" ? "" : `, ${protocols[protocol]}`;
  return `${method}${how}, ${training} (${source})`;
}

/** Without the figures that are undefined. */
export const present = (figures: Readonly<Record<string, number | undefined>>): Figures =>
  Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));

type Cell = number | undefined;

/** Rows of one source and protocol: training set and the figures of the names, in their order. */
export function rowsOf(
  { source, protocol }: Pick<PublishedRow, "source" | "protocol">,
  names: readonly FigureName[],
  rows: readonly (readonly [method: string, training: TrainingSet, ...figures: readonly Cell[]])[],
): PublishedRow[] {
  return rows.map(([method, training, ...values]) => ({
    method,
    figures: present(Object.fromEntries(names.map((name, i) => [name, values[i]]))),
    source,
    protocol,
    training,
  }));
}

/** Recall at 1, 5 and 10 of images by audio, then of audio by images. */
export const recalls: readonly FigureName[] = ["a2i-r1", "a2i-r5", "a2i-r10", "i2a-r1", "i2a-r5", "i2a-r10"];
