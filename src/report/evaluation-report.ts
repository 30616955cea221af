/** The report of an evaluation: figures, curves, overlays and retrieved samples. */

import { dirname } from "node:path";
import sharp from "sharp";
import { targetsOf } from "../config/methods.js";
import type { Dataset, Sample } from "../datasets/dataset.js";
import { encodeImage } from "../drawing/encode.js";
import { renderGrids } from "../drawing/grids.js";
import { renderPanels } from "../drawing/panels.js";
import {
  type Evaluation,
  groundTruthOf,
  type MapName,
  mapsOf,
  type SampleScore,
} from "../evaluation/evaluate.js";
import { successThresholds } from "../metrics/localization.js";
import { prepareSample } from "../model/inputs.js";
import { localizePrepared } from "../model/localize.js";
import type { Model } from "../model/model.js";
import type { Objectness } from "../model/objectness.js";
import type { Spot } from "../model/spot.js";
import { percentText } from "./figures.js";
import { renderScored } from "./gallery.js";
import type {
  ReportData,
  ReportGallery,
  ReportGrid,
  ReportSample,
  ReportTable,
  ReportThumbnail,
} from "./html.js";
import { runCurves } from "./run-curves.js";

/** One checkpoint, its scores, and its images of the chosen samples, group by group. */
export interface ScoredCheckpoint {
  readonly name: string;
  /** Path; a metrics.jsonl beside it gives the curves of its run. */
  readonly checkpoint: string;
  readonly scores: Evaluation;
  readonly images: readonly ChosenImages[];
}

/** Samples to show: the best, those around the median, and the worst by cIoU. */
export interface ChosenGroup {
  readonly title: string;
  readonly samples: readonly SampleScore[];
}

/** Images of a group by one checkpoint. */
export interface ChosenImages {
  readonly overlays: readonly ReportSample[];
  /** Attention of all slots on the group's first sample. */
  readonly attention?: ReportSample;
  /** Attention of all slots over the time of its audio. */
  readonly overTime?: ReportSample;
  /** Its raw and its enlarged map. */
  readonly grids?: ReportSample;
}

const RETRIEVED = 5; // neighbours of a query that are shown
const QUERIES = 3; // queries of each kind: with a right and with a wrong first result
const EXCLUDED = { groups: 6, members: 8 };

/**
 * Best, median and worst samples by the cIoU of a map, `count` in all; fewer groups for few samples. No sample is in two
 * groups.
 */
export function chooseSamples(scores: Evaluation, map: MapName, count: number): ChosenGroup[] {
  const ranked = scores.perSample
    .filter((sample) => sample[map] !== undefined)
    .toSorted((a, b) => (b[map]?.ciou ?? 0) - (a[map]?.ciou ?? 0));
  const each = Math.min(Math.ceil(count / 3), Math.floor(ranked.length / 3) || ranked.length);
  const middle = Math.floor((ranked.length - each) / 2);
  const groups = [
    { title: "Best samples", samples: ranked.slice(0, each) },
    { title: "Median samples", samples: ranked.slice(middle, middle + each) },
    { title: "Worst samples", samples: ranked.slice(ranked.length - each) },
  ];
  return (ranked.length < 3 ? groups.slice(0, 1) : groups).filter(({ samples }) => samples.length > 0);
}

/** Localizes the chosen samples again and draws them. */
export async function drawSamples(
  model: Model,
  data: Dataset,
  groups: readonly ChosenGroup[],
  options: {
    readonly map: MapName;
    /** The checkpoint's own, for the settings and the cIoU of its overlays. */
    readonly scores: Evaluation;
    readonly objectness?: Objectness | undefined;
    /** Note under every overlay. */
    readonly note?: string | undefined;
  },
): Promise<ChosenImages[]> {
  const { map, scores, note } = options;
  const cious = new Map(scores.perSample.map(({ id, [map]: own }) => [id, own?.ciou]));
  const drawnGroups: ChosenImages[] = [];
  for (const { samples } of groups) {
    const overlays: ReportSample[] = [];
    const figures: Partial<Record<"attention" | "overTime" | "grids", ReportSample>> = {};
    for (const { index } of samples) {
      const sample = await data.load(index);
      const spot = await localizeOnGrid(model, sample, options);
      const own = mapsOf(spot)[map] ?? spot.audioMap;
      const { id, label } = sample;
      overlays.push({
        id,
        overlay: await renderScored(sample, own),
        label,
        ciou: cious.get(id),
        note,
      });
      if (overlays.length > 1) continue;
      const under = { id, label, note };
      const panels = await attentionOf(model, sample, spot);
      if (panels) figures.attention = { ...under, overlay: panels };
      if (spot.attention) {
        figures.overTime = { ...under, overlay: await spot.spectrogram({ format: "jpeg", slots: "all" }) };
      }
      figures.grids = { ...under, overlay: await gridsOf(sample, spot) };
    }
    drawnGroups.push({ overlays, ...figures });
  }
  return drawnGroups;
}

async function localizeOnGrid(
  model: Model,
  sample: Sample,
  { scores, objectness }: Pick<Parameters<typeof drawSamples>[3], "scores" | "objectness">,
): Promise<Spot> {
  const { height, width } = sample.sounding === false ? sample.image : groundTruthOf(sample);
  const handle = await prepareSample(sample, model.config);
  const [spot] = await localizePrepared(model, [{ handle, image: sample.image }], {
    ...scores.settings,
    ...(objectness ? { objectness } : {}),
    allMaps: true,
    sizes: [[height, width]],
  });
  return spot as Spot;
}

/** Undefined where the method has no slots. */
async function attentionOf(model: Model, sample: Sample, { attention }: Spot): Promise<Buffer | undefined> {
  if (!attention) return undefined;
  const rendered = await renderPanels(
    sample.image,
    [
      { title: "audio queries", ...attention.audioOnImage },
      { title: "image queries", ...attention.imageOnImage },
    ],
    { targets: targetsOf(model.config), contours: true, panelSize: 280 },
  );
  return encodeImage(rendered, { format: "jpeg" });
}

/** The raw map beside the enlarged one, on the grid used for scoring. */
async function gridsOf(sample: Sample, spot: Spot): Promise<Buffer> {
  const { data, shape } = spot.targets.audio;
  const [targets = 0, h = 0, w = 0] = shape;
  const tokens = Float32Array.from({ length: h * w }, (_, i) =>
    Math.max(...Array.from({ length: targets }, (_, target) => data[target * h * w + i] as number)),
  );
  const { width, height } = spot;
  const pixels = await sharp(sample.image.data, {
    raw: { width: sample.image.width, height: sample.image.height, channels: 3 },
  })
    .resize(width, height, { fit: "fill" })
    .raw()
    .toBuffer();
  const image = { data: new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length), width, height };
  const row = { title: "image", tokens: { data: tokens, shape: [h, w] }, map: spot.audioMap };
  return encodeImage(await renderGrids(image, [row]), { format: "jpeg" });
}

export type ReportParts = Pick<ReportData, "curves" | "success" | "breakdowns" | "galleries" | "grids">;

/**
 * All parts of the report below its tables of figures. Samples, retrieval and false negatives are those of the first
 * checkpoint; every checkpoint has its curves and overlays.
 */
export async function reportParts(
  results: readonly ScoredCheckpoint[],
  groups: readonly ChosenGroup[],
  data: Dataset,
  map: MapName,
): Promise<ReportParts> {
  const [first] = results;
  if (!first) return {};
  const several = results.length > 1;
  const thumbnails = new Thumbnails(data, first.scores);
  return {
    curves: await curvesOf(results),
    success: results.flatMap(({ name, scores }) => {
      const own = scores[map];
      return own ? [{ name, thresholds: successThresholds, success: own.curve }] : [];
    }),
    breakdowns: [...results.flatMap((each) => areaTable(each, map, several)), ...classTable(results, map)],
    galleries: [
      ...overlayGalleries(results, groups, map),
      ...attentionGallery(results),
      ...detailGalleries(results),
    ],
    grids: [
      ...(await retrievalGrids(first.scores, thumbnails)),
      ...(await exclusionGrid(first.scores, thumbnails)),
    ],
  };
}

/** Curves of each run once, however many of its checkpoints are scored. */
async function curvesOf(results: readonly ScoredCheckpoint[]): Promise<ReportData["curves"]> {
  const folders = new Map(results.map(({ name, checkpoint }) => [dirname(checkpoint), name] as const));
  const curves: NonNullable<ReportData["curves"]>[number][] = [];
  for (const [folder, name] of folders) {
    curves.push(...(await runCurves(folder, folders.size > 1 ? name : undefined)));
  }
  return curves;
}

/** The same sample of every checkpoint side by side. */
function overlayGalleries(
  results: readonly ScoredCheckpoint[],
  groups: readonly ChosenGroup[],
  map: MapName,
): ReportGallery[] {
  return groups.map(({ title, samples }, group) => ({
    title,
    note: `By the cIoU of map ${map}${results.length > 1 ? ` of ${results[0]?.name}` : ""}. The white contour is the ground truth.`,
    shows: `Heatmap, map ${map},`,
    samples: samples.flatMap((_, i) => results.flatMap(({ images }) => images[group]?.overlays[i] ?? [])),
  }));
}

function attentionGallery(results: readonly ScoredCheckpoint[]): ReportGallery[] {
  const samples = results.flatMap(({ images }) => images.flatMap(({ attention }) => attention ?? []));
  if (samples.length === 0) return [];
  const title = "Attention of target and off-target slots";
  const note =
    "The first sample of each group. A row of panels shares one colour scale. A contour marks where a slot's attention is halfway between its minimum and maximum; the target's is green. A uniform attention has none.";
  return [{ title, note, shows: title, samples, wide: true }];
}

/** The audio half of the attention, and the audio map at both resolutions, checkpoint by checkpoint. */
function detailGalleries(results: readonly ScoredCheckpoint[]): ReportGallery[] {
  const groups = Math.max(0, ...results.map(({ images }) => images.length));
  const of = (figure: "overTime" | "grids") =>
    Array.from({ length: groups }, (_, group) =>
      results.flatMap(({ images }) => images[group]?.[figure] ?? []),
    ).flat();
  const galleries: ReportGallery[] = [
    {
      title: "Attention over time of target and off-target slots",
      note: "The first sample of each group: its spectrogram, and under it the attention of the audio's slots on the audio. The slots share one scale.",
      shows: "Spectrogram, and under it the attention over time of the slots,",
      samples: of("overTime"),
      wide: true,
    },
    {
      title: "Raw and enlarged maps",
      note: "The first sample of each group: the audio's attention on the image's tokens, and the audio map that it is enlarged to.",
      shows: "Raw and enlarged audio map beside the image",
      samples: of("grids"),
      wide: true,
    },
  ];
  return galleries.filter(({ samples }) => samples.length > 0);
}

const METRICS = [
  ["ciou", "cIoU@0.5"],
  ["auc", "AUC"],
  ["meanIou", "mean IoU"],
  ["f", "F"],
] as const;
const share = (value: number | undefined) => percentText(value === undefined ? undefined : 100 * value);

function areaTable({ name, scores }: ScoredCheckpoint, map: MapName, several: boolean): ReportTable[] {
  if (scores.perArea.length < 2) return [];
  return [
    {
      title: `By the area of the sounding object${several ? `, ${name}` : ""}`,
      columns: ["share of the image", "samples", ...METRICS.map(([, title]) => title)],
      rows: scores.perArea.map(({ from, to, samples, maps }) => [
        `${share(from)} – ${share(to)} %`,
        String(samples),
        ...METRICS.map(([metric]) => share(maps[map]?.[metric])),
      ]),
      note: `Quarters of the samples, map ${map}, percent.`,
    },
  ];
}

function classTable(results: readonly ScoredCheckpoint[], map: MapName): ReportTable[] {
  const [first] = results;
  if (!first?.scores.perClass?.length) return [];
  if (results.length > 1) {
    return [
      {
        title: "By class",
        columns: ["class", "samples", ...results.map(({ name }) => name)],
        rows: first.scores.perClass.map(({ label, samples }) => [
          label,
          String(samples),
          ...results.map(({ scores }) =>
            share(scores.perClass?.find((each) => each.label === label)?.maps[map]?.ciou),
          ),
        ]),
        note: `cIoU@0.5 of map ${map}, percent.`,
      },
    ];
  }
  return [
    {
      title: "By class",
      columns: [
        "class",
        "samples",
        ...METRICS.map(([, title]) => title),
        "R@1 of images",
        "R@1 of audio",
        "confused with",
      ],
      rows: first.scores.perClass.map(
        ({ label, samples, maps, audioToImage, imageToAudio, confusedWith }) => [
          label,
          String(samples),
          ...METRICS.map(([metric]) => share(maps[map]?.[metric])),
          share(audioToImage),
          share(imageToAudio),
          confusedWith ? `${confusedWith.label}, ${share(confusedWith.share)}` : "–",
        ],
      ),
      note: `Map ${map}, percent. R@1 of the images retrieved by its audio and of the audio retrieved by its images. Confused with: the other class whose image its audio retrieves first most often, and how often.`,
    },
  ];
}

/** Thumbnails of samples by id, each made once. */
class Thumbnails {
  readonly #data: Dataset;
  readonly #samples: ReadonlyMap<string, SampleScore>;
  readonly #made = new Map<string, Promise<Buffer>>();

  constructor(data: Dataset, scores: Evaluation) {
    this.#data = data;
    this.#samples = new Map(scores.perSample.map((sample) => [sample.id, sample]));
  }

  label(id: string): string {
    return this.#samples.get(id)?.label ?? id;
  }

  of(id: string): Promise<Buffer> {
    const known = this.#made.get(id);
    if (known) return known;
    const made = this.#make(this.#samples.get(id)?.index ?? 0);
    this.#made.set(id, made);
    return made;
  }

  async #make(index: number): Promise<Buffer> {
    const { data, width, height } = (await this.#data.load(index)).image;
    return sharp(data, { raw: { width, height, channels: 3 } })
      .resize(144, 144, { fit: "inside" })
      .jpeg({ quality: 80 })
      .toBuffer();
  }
}

/** At most `count` items, evenly spread. */
function spread<T>(items: readonly T[], count: number): T[] {
  const taken = Math.min(count, items.length);
  return Array.from({ length: taken }, (_, i) => items[Math.floor((i * items.length) / taken)] as T);
}

/** Some queries that find their class first and some that do not, with their results, both ways. */
async function retrievalGrids(scores: Evaluation, thumbnails: Thumbnails): Promise<ReportGrid[]> {
  const ways = [
    { title: "Images retrieved by audio", found: "images", rank: "imageRank", query: "Audio of" },
    { title: "Audio retrieved by images", found: "audios", rank: "audioRank", query: "Image of" },
  ] as const;
  const asked = scores.perSample.filter((sample) => sample.retrieval);
  if (asked.length === 0) return [];
  const grids: ReportGrid[] = [];
  for (const { title, found, rank, query } of ways) {
    const right = asked.filter(({ retrieval }) => retrieval?.[rank] === 1);
    const wrong = asked.filter(({ retrieval }) => retrieval?.[rank] !== 1);
    const rows: ReportGrid["rows"][number][] = [];
    for (const { id, label, retrieval } of [...spread(right, QUERIES), ...spread(wrong, QUERIES)]) {
      const cells: ReportThumbnail[] = [
        { image: await thumbnails.of(id), caption: "its own image", shows: `Image of ${id}` },
      ];
      for (const other of retrieval?.[found].slice(0, RETRIEVED) ?? []) {
        const caption = thumbnails.label(other) + (other === id ? " (its own pair)" : "");
        cells.push({
          image: await thumbnails.of(other),
          caption,
          shows: `Image of ${other}`,
          right: thumbnails.label(other) === label,
        });
      }
      rows.push({ heading: `${query} ${id}: ${label}`, cells });
    }
    grids.push({
      title,
      note: `By cosine of the target slots, the nearest first; right is one of the query's class. Audio is shown as its image. ${right.length} of ${asked.length} find their class first; half of the queries shown are of those.`,
      rows,
    });
  }
  return grids;
}

/** Pairs that the contrastive loss would exclude as predicted false negatives, in groups. */
async function exclusionGrid({ exclusions }: Evaluation, thumbnails: Thumbnails): Promise<ReportGrid[]> {
  if (!exclusions || exclusions.pairs === 0) return [];
  const { k, batchSize, pairs, sameClass, sameClassOfAll, groups } = exclusions;
  const rows: ReportGrid["rows"][number][] = [];
  for (const group of groups.slice(0, EXCLUDED.groups)) {
    const cells: ReportThumbnail[] = [];
    for (const id of group.ids.slice(0, EXCLUDED.members)) {
      cells.push({
        image: await thumbnails.of(id),
        caption: thumbnails.label(id),
        shows: `Image of ${id}`,
      });
    }
    const more = group.ids.length > cells.length ? `, ${cells.length} of them shown` : "";
    rows.push({
      heading: `${group.ids.length} pairs${more}: ${share(group.sameClass)} % of their combinations are of one class`,
      cells,
    });
  }
  return [
    {
      title: "Predicted false negatives",
      note: `With k = ${k} in batches of at most ${batchSize}, ${pairs} combinations of two pairs would be excluded from the contrastive loss; ${share(sameClass)} % of them are of one class, against ${share(sameClassOfAll)} % of all combinations. The largest groups whose members are all excluded pairwise:`,
      rows,
    },
  ];
}
