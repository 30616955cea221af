/** AVSBench: five frames per clip, each with a mask of its sound sources; one (S4) or several (MS3). */

import { aPath } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import type { RawAudio } from "../../core/types.js";
import { csvRows, required, wrong } from "../../files/csv.js";
import { readText } from "../../files/text.js";
import { decodeAudio } from "../../media/audio.js";
import { decodeImage } from "../../media/image.js";
import type { IterableDataset } from "../samples.js";
import { checkSource, oneOf } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { groundTruthFromMask } from "./grid.js";

export type AvsbenchSubset = "s4" | "ms3";
export type AvsbenchSplit = "train" | "val" | "test";

export interface AvsbenchOptions extends BenchmarkOptions {
  /** `s4_meta_data.csv` or `ms3_meta_data.csv`. */
  readonly metadata: string;
  /** "s4": one source per clip, with its category. "ms3": several. */
  readonly subset: AvsbenchSubset;
  /** Default "test". */
  readonly split?: AvsbenchSplit | "all" | undefined;
  /**
   * "annotated": the frames that AVSBench has a mask for, in S4's training split the first of each clip. "all": the
   * others too, without ground truth, to train on. Default "all" for the split "train", else "annotated".
   */
  readonly frames?: "annotated" | "all" | undefined;
}

export interface AvsbenchClip {
  readonly name: string;
  readonly split: AvsbenchSplit;
  /** S4 has it. */
  readonly category?: string;
}

const FRAMES = [1, 2, 3, 4, 5];
/** Clips whose audio is kept: the frames of one clip are read close together, a batch at a time. */
const CLIPS_KEPT = 8;

/**
 * AVSBench-object (Zhou et al., ECCV 2022), one sample per frame: its id is `NAME_k`, k = 1 … 5, and the
 * audio is its clip's, which `clip` names. `label` is S4's category.
 *
 * In `root`: `visual_frames/NAME_k.png`, `audio_wav/NAME.wav`, `gt_masks/NAME_k.png`. The folders of
 * AVSBench's own download serve as well: in S4 `visual_frames/SPLIT/CATEGORY/NAME/NAME_k.png`,
 * `audio_wav/SPLIT/CATEGORY/NAME.wav`, `gt_masks/SPLIT/CATEGORY/NAME/NAME_k.png`; in MS3
 * `visual_frames/NAME/NAME.mp4_k.png`, `audio_wav/SPLIT/NAME.wav`, `gt_masks/SPLIT/NAME/NAME_k.png`.
 *
 * `groundTruth` is the mask on the 224 × 224 grid, 0 or 1. Any colour but black is a sound source: the
 * sources of MS3, each in a colour of its own, count together. Masks of another size are resized by
 * nearest neighbour: the published code asks for bicubic, but opens them as palette images, for which
 * Pillow always takes nearest. S4 has masks for the first frame alone of each clip of its training split; `frames`
 * says whether the others are included, without ground truth.
 *
 * @throws {SoundspotError} ERR_CONFIG for an unknown subset or split; ERR_FILE_NOT_FOUND,
 * ERR_FILE_EMPTY; ERR_DATASET for damaged metadata or when no sample has its files; ERR_ABORTED.
 * `missing` lists samples without files. `load()` throws ERR_DATASET that names sample and file.
 * @example
 * const data = await avsbench({ root: "avsbench/s4", metadata: "s4_meta_data.csv", subset: "s4" });
 */
export async function avsbench(options: AvsbenchOptions): Promise<IterableDataset> {
  checkSource("avsbench", options, { root: aPath, metadata: aPath });
  const { root, metadata, signal, ffmpeg } = options;
  const subset = oneOf("subset", options.subset, ["s4", "ms3"]);
  const split = oneOf("split", options.split ?? "test", ["train", "val", "test", "all"]);
  const frames = oneOf("frames", options.frames ?? (split === "train" ? "all" : "annotated"), [
    "annotated",
    "all",
  ]);
  const clips = await readAvsbench(metadata, subset, signal);
  const wanted = clips.filter((clip) => split === "all" || clip.split === split);
  if (wanted.length === 0) {
    throw new SoundspotError("ERR_DATASET", `${metadata} has no clip of the split "${split}".`);
  }
  return datasetOf({
    // The published scores are of the test split, or of all.
    name: options.name ?? `avsbench-${subset}${split === "train" || split === "val" ? `-${split}` : ""}`,
    root,
    ffmpeg,
    signal,
    files: [metadata],
    entries: wanted.flatMap((clip) => {
      const annotated = subset === "s4" && clip.split === "train" ? FRAMES.slice(0, 1) : FRAMES;
      const taken = frames === "all" ? FRAMES : annotated;
      return taken.map((frame) => entryOf(clip, frame, annotated.includes(frame)));
    }),
    groundTruth: async (_entry, mask, loadSignal) =>
      mask === undefined
        ? undefined
        : groundTruthFromMask(await decodeImage(mask, { signal: loadSignal }), 0),
    decode: cachingAudio(ffmpeg),
  });
}

/**
 * Reads the clips of S4 (`name,start,category,split`) or MS3 (`video_id,split`).
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function readAvsbench(
  path: string,
  subset: AvsbenchSubset,
  signal?: AbortSignal,
): Promise<AvsbenchClip[]> {
  const clips = new Map<string, AvsbenchClip>();
  await paced(csvRows(await readText(path, signal), path), signal, ({ line, fields }) => {
    const name = required(fields, subset === "s4" ? "name" : "video_id", path, line);
    const category = subset === "s4" ? required(fields, "category", path, line) : undefined;
    const split = required(fields, "split", path, line);
    if (split !== "train" && split !== "val" && split !== "test") {
      throw wrong(path, line, "split", `must be train, val or test, got "${split}".`);
    }
    if (clips.has(name))
      throw wrong(path, line, undefined, `${name} is listed already. List each clip once.`);
    clips.set(name, { name, split, ...(category === undefined ? {} : { category }) });
  });
  return [...clips.values()];
}

function entryOf({ name, split, category }: AvsbenchClip, frame: number, annotated: boolean): Entry {
  const id = `${name}_${frame}`;
  const nested = category === undefined ? split : `${split}/${category}`;
  const nestedImage = category === undefined ? `${name}/${name}.mp4_${frame}` : `${nested}/${name}/${id}`;
  return {
    id,
    clip: name,
    image: [`visual_frames/${id}.png`, `visual_frames/${nestedImage}.png`],
    audio: [`audio_wav/${name}.wav`, `audio_wav/${nested}/${name}.wav`],
    annotation: [`gt_masks/${id}.png`, `gt_masks/${nested}/${name}/${id}.png`],
    annotationOptional: !annotated,
    ...(category === undefined ? {} : { label: category }),
  };
}

/**
 * Decodes the audio of a clip once for its five frames. No caller's signal reaches the decoding,
 * because others may wait for the same audio.
 */
function cachingAudio(ffmpeg: string | undefined): (path: string) => Promise<RawAudio> {
  const kept = new Map<string, Promise<RawAudio>>();
  return (path) => {
    const known = kept.get(path);
    if (known) return known;
    const decoded = decodeAudio(path, { ffmpeg });
    kept.set(path, decoded);
    decoded.catch(() => kept.delete(path));
    const [oldest] = kept.keys();
    if (kept.size > CLIPS_KEPT && oldest !== undefined) kept.delete(oldest);
    return decoded;
  };
}
