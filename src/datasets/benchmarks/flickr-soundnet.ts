/** Flickr-SoundNet: frames and audio of Flickr videos, some with boxes by several annotators. */

import { join, resolve } from "node:path";
import { aPath, check } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { wrong } from "../../files/csv.js";
import { readText } from "../../files/text.js";
import type { IterableDataset } from "../samples.js";
import { anIdList, checkSource } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { inFrames } from "./entry.js";
import { type Corners, GRID, groundTruthFromBoxes } from "./grid.js";
import { type IdList, readIds, readSilent } from "./lists.js";
import { elementsNamed, parseXml, type XmlElement } from "./xml.js";

/** Where Flickr-SoundNet lies, and which part of it is used. */
export interface FlickrSoundNetOptions extends BenchmarkOptions {
  /** The ids, for instance `flickr_test_SLAVC.csv`: further columns are ignored. */
  readonly list: IdList;
  /** Folder of the XML files. Default `Annotations` in `root`. false: no ground truth, for training. */
  readonly annotations?: string | false | undefined;
  /** `flickr_test_plus_silent.csv`: appends its pairs, whose sound source is not in the image. */
  readonly silent?: string | undefined;
}

/** Side of the frame that the annotators saw, in pixels. */
const FRAME = 256;
const CORNERS = ["xmin", "ymin", "xmax", "ymax"];

/**
 * Flickr-SoundNet (Senocak et al., CVPR 2018), test or training.
 *
 * In `root`: `frames/ID.jpg`, `audio/ID.wav`, and `Annotations/ID.xml` with the annotators' boxes in
 * pixels of a 256 × 256 frame. `groundTruth` is their consensus on the 224 × 224 grid, in [0, 1]: the boxes
 * over a cell / 2, at most 1, with corners `int(224·v / 256)`.
 *
 * Silent pairs have the id `VIDEO+AUDIO`, `sounding: false` and no ground truth.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_DATASET for a damaged list or when no
 * sample has its files; ERR_ABORTED. `missing` lists samples without files. `load()` throws ERR_DATASET that
 * names sample and file.
 * @example
 * const test = await flickrSoundNet({ root: "flickr", list: "flickr_test_SLAVC.csv" });
 * const training = await flickrSoundNet({ root: "flickr", list: "flickr_10k.txt", annotations: false });
 */
export async function flickrSoundNet(options: FlickrSoundNetOptions): Promise<IterableDataset> {
  checkSource("flickrSoundNet", options, { root: aPath, list: anIdList }, { silent: aPath });
  if (options.annotations !== false && options.annotations !== undefined) {
    check(options.annotations, aPath, "flickrSoundNet: annotations", "ERR_CONFIG");
  }
  const { root, list, annotations = join(root, "Annotations"), silent, signal, ffmpeg } = options;
  const ids = await readIds(list, signal);
  const listed = ids.map(({ id }): Entry => {
    const pair = inFrames(id);
    return annotations === false ? pair : { ...pair, annotation: resolve(annotations, `${id}.xml`) };
  });
  return datasetOf({
    name: options.name ?? "flickr-soundnet",
    root,
    ffmpeg,
    signal,
    files: [list, silent],
    entries: silent === undefined ? listed : [...listed, ...(await readSilent(silent, signal))],
    groundTruth: async (_entry, annotation, loadSignal) => {
      if (annotation === undefined) return undefined;
      return groundTruthFromBoxes(flickrBoxes(await readText(annotation, loadSignal), annotation), 1 / 2);
    },
  });
}

/**
 * The boxes of an annotation: every `<bbox>` (or `<bndbox>`), on the 224 × 224 grid. The corners are
 * the children named xmin, ymin, xmax, ymax or, without these names, the second to fifth child, the
 * first being the annotator.
 * @throws {SoundspotError} ERR_DATASET, naming file, line and field.
 */
export function flickrBoxes(xml: string, path: string): Corners[] {
  const boxes = [...elementsNamed(["bbox", "bndbox"], parseXml(xml, path))];
  if (boxes.length === 0) {
    throw new SoundspotError("ERR_DATASET", `${path} has no <bbox>. Copy the annotation again.`);
  }
  return boxes.map((box) => {
    const at = (position: number) => corner(box, position, path);
    return [at(0), at(1), at(2), at(3)];
  });
}

function corner(box: XmlElement, position: number, path: string): number {
  const names = box.children.map((child) => child.name.toLowerCase());
  const wanted = CORNERS[position] ?? "";
  const isNamed = CORNERS.some((name) => names.includes(name));
  const index = isNamed ? names.indexOf(wanted) : names.length === 5 ? position + 1 : -1;
  const field = box.children[index];
  if (!field) throw wrong(path, box.line, wanted, `is missing in <${box.name}>. Copy the annotation again.`);
  const value = Number(field.text);
  if (field.text === "" || !Number.isFinite(value)) {
    throw wrong(path, field.line, field.name, `must be a number of pixels, got "${field.text}".`);
  }
  return Math.trunc((GRID * value) / FRAME);
}
