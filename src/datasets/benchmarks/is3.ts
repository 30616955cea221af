/** IS3: composed images with two sources each, every source with its own audio, mask and box. */

import { basename, extname, join } from "node:path";
import * as z from "zod";
import { aPath } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import { checked, readJson } from "../../files/text.js";
import { decodeImage } from "../../media/image.js";
import type { IterableDataset } from "../samples.js";
import { checkSource, oneOf } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { type Corners, GRID, groundTruthFromBoxes, groundTruthFromMask, mapCorners } from "./grid.js";

/** Where IS3 lies, and what its ground truth is made of. */
export interface Is3Options extends BenchmarkOptions {
  /** Default `IS3_annotation.json` in `root`. */
  readonly annotations?: string | undefined;
  /** Where `groundTruth` comes from: the segmentation, or the box in the annotations. Default "mask". */
  readonly groundTruthFrom?: "mask" | "box" | undefined;
}

export interface Is3Source {
  /** `IMAGE_SOURCE`. */
  readonly id: string;
  readonly imageId: string;
  /** File name of the image, where the annotations give it. */
  readonly image?: string;
  readonly category: string;
  /** In pixels of a 224 × 224 frame. */
  readonly boxes?: readonly Corners[];
}

interface SourceEntry extends Entry {
  readonly boxes?: readonly Corners[];
}

/** Masks may be JPEG, whose black is not quite black. */
const MASK_LEVEL = 127;

const box = z.tuple([z.number(), z.number(), z.number(), z.number()], {
  error: "must be [left, top, right, bottom]",
});
const boxes = z.union([box.transform((one) => [one]), z.array(box)], {
  error: "must be [left, top, right, bottom] or a list of such boxes",
});
const text = z.string().min(1);
/** Names that fields have in IS3's own files and in those of its readers. */
const sourceSchema = z.object({
  audio: text.optional(),
  image: text.optional(),
  file: text.optional(),
  name: text.optional(),
  category: text.optional(),
  class: text.optional(),
  label: text.optional(),
  gt_category: text.optional(),
  gt_box: boxes.optional(),
  bbox: boxes.optional(),
  box: boxes.optional(),
});

/**
 * IS3, Interactive-Synthetic Sound Source (Senocak et al., 2024): one sample per source, with the id
 * `IMAGE_SOURCE`; `imageId` joins the sources of one image, `label` is the category.
 *
 * In `root`: `images/ID.jpg` (or `images/IMAGE.jpg`), `audio_wav/ID.wav`, `gt_segmentation/ID.png` or
 * `.jpg`, and `IS3_annotation.json`, a list of objects, or an object of them by id. The id is the file
 * name, without folder and ending, in `audio`, `file`, `name` or `image`; the box is `gt_box`, `bbox` or
 * `box`, `[left, top, right, bottom]` in pixels of a 224 × 224 frame; the category is `category`,
 * `class`, `label` or `gt_category`, and without these the last part of the id. Public readers use
 * `audio`, `image` and `gt_box`; the other names are tolerance, since the published description of the
 * file names no fields.
 *
 * `groundTruth` is on the 224 × 224 grid, 0 or 1. From the mask: its nearest pixels, brighter than 127. From
 * the box: corners truncated, right and bottom outside.
 *
 * @throws {SoundspotError} ERR_CONFIG for an unknown `groundTruthFrom`; ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY;
 * ERR_DATASET for damaged annotations or when no sample has its files; ERR_ABORTED. `missing` lists samples
 * without files. `load()` throws ERR_DATASET that names sample and file.
 * @example
 * const data = await is3({ root: "IS3", groundTruthFrom: "box" });
 */
export async function is3(options: Is3Options): Promise<IterableDataset> {
  checkSource("is3", options, { root: aPath }, { annotations: aPath });
  const { root, annotations = join(root, "IS3_annotation.json"), signal, ffmpeg } = options;
  const groundTruthFrom = oneOf("groundTruthFrom", options.groundTruthFrom ?? "mask", ["mask", "box"]);
  const sources = await readIs3(annotations, signal);
  const count = new Map<string, number>();
  for (const { imageId } of sources) count.set(imageId, (count.get(imageId) ?? 0) + 1);
  return datasetOf<SourceEntry>({
    name: options.name ?? "is3",
    root,
    ffmpeg,
    signal,
    files: [annotations],
    entries: sources.map((source) => ({
      ...entryOf(source),
      sources: count.get(source.imageId) as number,
      ...(groundTruthFrom === "mask"
        ? { annotation: [`gt_segmentation/${source.id}.png`, `gt_segmentation/${source.id}.jpg`] }
        : { boxes: boxesOf(source, annotations) }),
    })),
    groundTruth: async (entry, mask, loadSignal) => {
      if (entry.boxes) return groundTruthFromBoxes(entry.boxes, 1);
      return mask === undefined
        ? undefined
        : groundTruthFromMask(await decodeImage(mask, { signal: loadSignal }), MASK_LEVEL);
    },
  });
}

function entryOf({ id, imageId, image, category }: Is3Source): SourceEntry {
  return {
    id,
    imageId,
    label: category,
    image: [...(image === undefined ? [] : [`images/${image}`]), `images/${id}.jpg`, `images/${imageId}.jpg`],
    audio: `audio_wav/${id}.wav`,
  };
}

function boxesOf(source: Is3Source, path: string): Corners[] {
  const { id, boxes: known = [] } = source;
  if (known.length === 0) {
    throw new SoundspotError("ERR_DATASET", `${path}: ${id} has no box. Take groundTruthFrom "mask".`);
  }
  if (known.flat().some((value) => value < 0 || value > GRID)) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${path}: the box of ${id}, [${known.join("], [")}], must lie in 0 … ${GRID}, pixels of a ${GRID} × ${GRID} frame.`,
    );
  }
  return known.map((corners) => mapCorners(corners, Math.trunc));
}

/**
 * Reads `IS3_annotation.json`, in the forms that `is3` describes.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function readIs3(path: string, signal?: AbortSignal): Promise<Is3Source[]> {
  const content = await readJson(path, signal);
  const items: readonly (readonly [string | undefined, unknown])[] = Array.isArray(content)
    ? content.map((item) => [undefined, item] as const)
    : Object.entries(content ?? {});
  const sources = new Map<string, Is3Source>();
  await paced(items, signal, ([key, item], index) => {
    const place = key === undefined ? `${path}, source ${index + 1}` : `${path}, ${key}`;
    const source = sourceOf(key, item, place);
    if (sources.has(source.id)) {
      throw new SoundspotError(
        "ERR_DATASET",
        `${place}: ${source.id} is listed already. Give each source one entry.`,
      );
    }
    sources.set(source.id, source);
  });
  if (sources.size === 0) {
    throw new SoundspotError("ERR_DATASET", `${path} must be a list of sources, with one at least.`);
  }
  return [...sources.values()];
}

function sourceOf(key: string | undefined, item: unknown, place: string): Is3Source {
  const data = checked(sourceSchema, item, place);
  const file = data.audio ?? data.file ?? data.name ?? key ?? data.image;
  if (file === undefined) {
    throw new SoundspotError("ERR_DATASET", `${place} has no name: give it "audio" or "image", a file name.`);
  }
  const id = basename(file, extname(file));
  const cut = id.lastIndexOf("_");
  const found = data.gt_box ?? data.bbox ?? data.box;
  return {
    id,
    imageId: cut < 0 ? id : id.slice(0, cut),
    category: data.category ?? data.class ?? data.label ?? data.gt_category ?? id.slice(cut + 1),
    ...(data.image === undefined ? {} : { image: basename(data.image) }),
    ...(found === undefined ? {} : { boxes: found }),
  };
}
