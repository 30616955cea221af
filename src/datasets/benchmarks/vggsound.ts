/** VGG-Sound for training: the clips of a list, with classes where the dataset's own CSV is given. */

import { anObject, aPath } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import { csvRecords, wrong } from "../../files/csv.js";
import { readText } from "../../files/text.js";
import type { IterableDataset } from "../samples.js";
import { anIdList, checkSource } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { inFrames } from "./entry.js";
import { type IdList, listName, readIds } from "./lists.js";
import { readVggss } from "./vggss.js";

/** Where VGG-Sound lies, and which clips of it are taken. */
export interface VggSoundOptions extends BenchmarkOptions {
  /** The ids, `YOUTUBE_SECOND` with six digits, for instance those of the 10k or 144k training sets. */
  readonly list: IdList;
  /** VGG-Sound's own `vggsound.csv`, which has the class of every clip. */
  readonly labels?: string | undefined;
  /** Only clips of these classes; needs `labels`. `vggClasses()` gives those of a test list. */
  readonly classes?: readonly string[] | ReadonlySet<string> | undefined;
}

/** A list and where its classes are: `vggss.json` or `vggsound.csv`. */
export type VggClassesOptions = { readonly list: IdList; readonly signal?: AbortSignal | undefined } & (
  | { readonly annotations: string; readonly labels?: undefined }
  | { readonly labels: string; readonly annotations?: undefined }
);

/**
 * VGG-Sound (Chen et al., ICASSP 2020), for training: no ground truth. In `root`: `frames/ID.jpg` and
 * `audio/ID.wav`.
 *
 * @throws {SoundspotError} ERR_CONFIG for classes without labels; ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY;
 * ERR_DATASET for a damaged list, an id without a class, a class without clips, or when no sample has its
 * files; ERR_ABORTED. `missing` lists samples without files. `load()` throws ERR_DATASET that names sample
 * and file.
 * @example
 * const heard = await vggClasses({ list: "vggss_heard_test.csv", labels: "vggsound.csv" });
 * const data = await vggSound({ root: "vggsound", list: "train.csv", labels: "vggsound.csv", classes: heard });
 */
export async function vggSound(options: VggSoundOptions): Promise<IterableDataset> {
  checkSource("vggSound", options, { root: aPath, list: anIdList }, { labels: aPath, classes: anObject });
  const { root, list, labels, classes, signal, ffmpeg } = options;
  if (classes !== undefined && labels === undefined) {
    throw new SoundspotError("ERR_CONFIG", "classes needs labels: the path of vggsound.csv.");
  }
  const ids = (await readIds(list, signal)).map(({ id }) => id);
  const labelOf = labels === undefined ? undefined : await readVggSoundLabels(labels, signal);
  const wanted = classes === undefined ? undefined : new Set(classes);
  if (labelOf && wanted) checkClasses(wanted, labelOf, labels);
  const entries = ids.flatMap((id): Entry[] => {
    if (!labelOf) return [inFrames(id)];
    const label = labelIn(labelOf, id, list, labels);
    return !wanted || wanted.has(label) ? [{ ...inFrames(id), label }] : [];
  });
  if (entries.length === 0) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${listName(list)} has no clip of the ${wanted?.size} classes asked for. Give other classes or another list.`,
    );
  }
  return datasetOf({
    name: options.name ?? "vgg-sound",
    root,
    ffmpeg,
    signal,
    files: [list, labels],
    entries,
  });
}

/**
 * The classes of the clips in a list, sorted: of `vggss_heard_test.csv` the 110 heard ones.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function vggClasses(options: VggClassesOptions): Promise<string[]> {
  checkSource("vggClasses", options, { list: anIdList }, { annotations: aPath, labels: aPath });
  const { list, annotations, labels, signal } = options;
  const labelOf =
    annotations === undefined
      ? await readVggSoundLabels(labels, signal)
      : new Map([...(await readVggss(annotations, signal)).values()].map(({ id, label }) => [id, label]));
  const ids = await readIds(list, signal);
  return [...new Set(ids.map(({ id }) => labelIn(labelOf, id, list, annotations ?? labels)))].sort();
}

/**
 * Reads `vggsound.csv`: `YouTubeID,start,label,split`, no header, start in seconds. The id of a clip is
 * the YouTube id, `_` and the start in six digits.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function readVggSoundLabels(path: string, signal?: AbortSignal): Promise<Map<string, string>> {
  const labels = new Map<string, string>();
  await paced(csvRecords(await readText(path, signal), path), signal, ({ line, cells }) => {
    const [youtube = "", start = "", label = ""] = cells.map((cell) => cell.trim());
    if (youtube === "" || label === "") {
      throw wrong(
        path,
        line,
        undefined,
        "must be YouTubeID,start,label,split, with quotes around labels with commas.",
      );
    }
    if (!/^\d+$/.test(start)) {
      throw wrong(path, line, undefined, `start, the second cell, must be whole seconds, got "${start}".`);
    }
    labels.set(`${youtube}_${start.padStart(6, "0")}`, label);
  });
  return labels;
}

function labelIn(
  labelOf: ReadonlyMap<string, string>,
  id: string,
  list: IdList,
  source: string | undefined,
): string {
  const label = labelOf.get(id);
  if (label !== undefined) return label;
  throw new SoundspotError(
    "ERR_DATASET",
    `${listName(list)}: ${id} has no class in ${source}. Take it out of the list, or give the file that has it.`,
  );
}

function checkClasses(
  wanted: ReadonlySet<string>,
  labelOf: ReadonlyMap<string, string>,
  source: string | undefined,
): void {
  const known = new Set(labelOf.values());
  const unknown = [...wanted].find((name) => !known.has(name));
  if (unknown !== undefined) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${source} has no clip of the class "${unknown}". Check its spelling.`,
    );
  }
}
