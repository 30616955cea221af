/** VGG-SS: clips of the VGG-Sound test set with boxes around the sound sources. */

import { basename, extname } from "node:path";
import * as z from "zod";
import { aPath } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import { wrong } from "../../files/csv.js";
import { checked, readJson } from "../../files/text.js";
import type { IterableDataset } from "../samples.js";
import { anIdList, checkSource } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { inFrames } from "./entry.js";
import { type Corners, GRID, groundTruthFromBoxes, mapCorners } from "./grid.js";
import { type IdList, listName, readIds, readSilent } from "./lists.js";

/** Where VGG-SS lies, and which clips of it are taken. */
export interface VggssOptions extends BenchmarkOptions {
  /** `vggss.json`. */
  readonly annotations: string;
  /** Only these, in this order, for instance `vggss_heard_test.csv`. Default all that are annotated. */
  readonly list?: IdList | undefined;
  /** `vggss_test_plus_silent.csv`: appends all its pairs, whose sound source is not in the image. */
  readonly silent?: string | undefined;
}

export interface VggssClip {
  readonly id: string;
  readonly label: string;
  /** Relative to the frame; some lie outside [0, 1] or are empty. */
  readonly boxes: readonly Corners[];
}

interface BoxedEntry extends Entry {
  readonly boxes?: readonly Corners[];
}

const clipSchema = z
  .object({
    file: z.string().min(1),
    class: z.string().min(1),
    bbox: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])),
  })
  .transform(({ file, class: label, bbox }): VggssClip => ({ id: file, label, boxes: bbox }));

/**
 * VGG-SS (Chen et al., CVPR 2021): 5,158 clips in 221 classes.
 *
 * In `root`: `frames/ID.jpg` and `audio/ID.wav`. `label` is the class; `groundTruth` is the union of the
 * boxes on the 224 × 224 grid, 0 or 1: clipped to [0, 1], × 224, truncated, right and bottom outside.
 * The boxes of two clips, M1P1xla8rg0_000000 and MKC9LvRivTM_000030, are empty, and so is their ground truth.
 *
 * It is called "vgg-ss" when it has all annotated clips, else "vgg-ss, LIST" after the list's file name, such as
 * "vgg-ss, vggss_heard_test".
 *
 * Silent pairs have the id `VIDEO+AUDIO`, `sounding: false`, no label and no ground truth. In the published
 * list 4,779 pairs join a frame of VGG-SS with the audio of another of its clips; in 379 both ids are
 * the same, a clip outside VGG-SS whose own audio has no source in view. Its files are in the same
 * folders.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_DATASET for damaged annotations, an
 * id that they do not have, or when no sample has its files; ERR_ABORTED. `missing` lists samples without
 * files. `load()` throws ERR_DATASET that names sample and file.
 * @example
 * const unheard = await vggss({ root: "vggss", annotations: "vggss.json", list: "vggss_unheard_test.csv" });
 */
export async function vggss(options: VggssOptions): Promise<IterableDataset> {
  checkSource("vggss", options, { root: aPath, annotations: aPath }, { list: anIdList, silent: aPath });
  const { root, annotations, list, silent, signal, ffmpeg } = options;
  const annotated = await readVggss(annotations, signal);
  const clips = await clipsListed(annotated, annotations, list, signal);
  const boxed = clips.map(({ id, label, boxes }): BoxedEntry => ({ ...inFrames(id), label, boxes }));
  return datasetOf<BoxedEntry>({
    name: options.name ?? nameOf(list, clips.length, annotated.size),
    root,
    ffmpeg,
    signal,
    files: [annotations, list, silent],
    entries: silent === undefined ? boxed : [...boxed, ...(await readSilent(silent, signal))],
    groundTruth: async ({ boxes }) => boxes && groundTruthFromBoxes(boxes.map(onGrid), 1),
  });
}

/** A part of the clips is not the benchmark, and not called so. */
function nameOf(list: IdList | undefined, listed: number, annotated: number): string {
  if (list === undefined || listed === annotated) return "vgg-ss";
  const part = typeof list === "string" ? basename(list, extname(list)) : `${listed} of ${annotated} clips`;
  return `vgg-ss, ${part}`;
}

/** The annotated clips that a list names, in its order. */
async function clipsListed(
  clips: ReadonlyMap<string, VggssClip>,
  annotations: string,
  list: IdList | undefined,
  signal: AbortSignal | undefined,
): Promise<VggssClip[]> {
  if (list === undefined) return [...clips.values()];
  return (await readIds(list, signal)).map(({ id, line }) => {
    const clip = clips.get(id);
    if (clip) return clip;
    throw wrong(listName(list), line, undefined, `${id} is not in ${annotations}. Take it out of the list.`);
  });
}

/**
 * Reads `vggss.json`: a list of `{ file, class, bbox: [[x0, y0, x1, y1], …] }`.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function readVggss(path: string, signal?: AbortSignal): Promise<Map<string, VggssClip>> {
  const content = await readJson(path, signal);
  if (!Array.isArray(content) || content.length === 0) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} must be a list of { file, class, bbox }, with one at least.`,
    );
  }
  const clips = new Map<string, VggssClip>();
  await paced(content as unknown[], signal, (item, index) => {
    const place = `${path}, clip ${index + 1}`;
    const clip = checked(clipSchema, item, place);
    if (clips.has(clip.id)) {
      throw new SoundspotError(
        "ERR_DATASET",
        `${place}: ${clip.id} is listed already. Give each clip one entry.`,
      );
    }
    clips.set(clip.id, clip);
  });
  return clips;
}

function onGrid(box: Corners): Corners {
  return mapCorners(box, (relative) => Math.trunc(GRID * Math.min(1, Math.max(0, relative))));
}
