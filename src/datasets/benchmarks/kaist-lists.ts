/** Lists of the KAIST evaluation suite: AVSBench, IS3 and VPO as JSON, each with boxes or with grey masks. */

import { basename, extname } from "node:path";
import * as z from "zod";
import { aPath } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import { checked, readJson } from "../../files/text.js";
import { decodeImage } from "../../media/image.js";
import type { IterableDataset } from "../samples.js";
import { checkSource } from "../source.js";
import { type BenchmarkOptions, datasetOf } from "./benchmark.js";
import type { Entry } from "./entry.js";
import { type Corners, GRID, groundTruthFromBoxes, groundTruthFromMask, mapCorners } from "./grid.js";

/** A list of the suite, and where its files lie. */
export interface KaistListOptions extends BenchmarkOptions {
  /** `s4_box.json`, `synthetic3240_seg.json`, `vpo_ms_bbox.json` or another of the suite. */
  readonly list: string;
}

interface ListedEntry extends Entry {
  /** Where the list has boxes; empty where nothing sounds. */
  readonly boxes?: readonly Corners[];
}

/** Masks are JPEG, whose black is not quite black. */
const MASK_LEVEL = 127;

const text = z.string().min(1);
const itemSchema = z.object({
  image: text,
  audio: text,
  gt_box: z.union([z.tuple([z.number(), z.number(), z.number(), z.number()]), text], {
    error: "must be [left, top, right, bottom], or the path of a mask",
  }),
});

/**
 * A list of the evaluation suite that Senocak et al. published with their alignment method (ICCV 2023): `s4_box` and
 * `s4_seg`, `ms3_box` and `ms3_seg` (AVSBench), `synthetic3240_bbox` and `_seg` (IS3), `vpo_ss_bbox` and `_seg`,
 * `vpo_ms_bbox` and `_seg`. It is a JSON array of `{ image, audio, gt_box }`; `gt_box` is `[left, top, right, bottom]` in
 * pixels of a 224 × 224 frame, `[0, 0, 0, 0]` where nothing sounds, or the path of a grey mask. Other fields are ignored.
 *
 * Of each path its end is taken, from the folder `visual_frames`, `audio_wav`, `gray_masks` or `gt_masks` on; a file that
 * is not there is searched for in that folder by its name alone. In `root` thus lie `visual_frames/NAME.jpg`,
 * `audio_wav/NAME.wav` and `gray_masks/NAME.jpg` (`gt_masks/NAME.jpg` of IS3), or the folders of AVSBench's own download.
 *
 * A sample is an entry, its id the name of its image, or `IMAGE+AUDIO` where the two have other names. `imageId` is the
 * id without its last `_part` and joins the sources of an image. Frames whose audio has the name of their clip have
 * `clip` instead. `label` is the last part of the id unless that is a number.
 *
 * `groundTruth` is on the 224 × 224 grid, 0 or 1. From a box: corners truncated, right and bottom outside. From a mask:
 * its nearest pixels, brighter than 127. Where nothing sounds it is empty, and the sample counts as one that is not found.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_DATASET for a damaged list, a box outside of the frame,
 * or when no sample has its files; ERR_ABORTED. `missing` lists samples without files. `load()` throws ERR_DATASET that
 * names sample and file.
 * @example
 * const data = await datasets.kaistList({ root: "COCO_AV_MS", list: "vpo_ms_bbox.json" });
 */
export async function kaistList(options: KaistListOptions): Promise<IterableDataset> {
  checkSource("kaistList", options, { root: aPath, list: aPath });
  const { root, list, signal, ffmpeg } = options;
  const entries = await readKaistList(list, signal);
  const count = new Map<string, number>();
  for (const { imageId } of entries) {
    if (imageId !== undefined) count.set(imageId, (count.get(imageId) ?? 0) + 1);
  }
  return datasetOf<ListedEntry>({
    name: options.name ?? basename(list, extname(list)),
    root,
    ffmpeg,
    signal,
    files: [list],
    entries: entries.map((entry) =>
      entry.imageId === undefined ? entry : { ...entry, sources: count.get(entry.imageId) as number },
    ),
    groundTruth: async ({ boxes }, mask, loadSignal) => {
      if (boxes) return groundTruthFromBoxes(boxes, 1);
      return mask === undefined
        ? undefined
        : groundTruthFromMask(await decodeImage(mask, { signal: loadSignal }), MASK_LEVEL);
    },
  });
}

/**
 * Reads a list in the form that `kaistList` describes.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_DATASET, ERR_ABORTED
 */
export async function readKaistList(path: string, signal?: AbortSignal): Promise<ListedEntry[]> {
  const content = await readJson(path, signal);
  if (!Array.isArray(content) || content.length === 0) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} must be a list of { image, audio, gt_box }, with one at least.`,
    );
  }
  const entries = new Map<string, ListedEntry>();
  await paced(content as unknown[], signal, (item, index) => {
    const place = `${path}, sample ${index + 1}`;
    const entry = entryOf(item, place);
    if (entries.has(entry.id)) {
      throw new SoundspotError(
        "ERR_DATASET",
        `${place}: ${entry.id} is listed already. Give each sample one entry.`,
      );
    }
    entries.set(entry.id, entry);
  });
  return [...entries.values()];
}

function entryOf(item: unknown, place: string): ListedEntry {
  const { image, audio, gt_box: annotation } = checked(itemSchema, item, place);
  const [imageName, audioName] = [nameOf(image), nameOf(audio)];
  const cut = imageName.lastIndexOf("_");
  const imageId = cut < 1 ? imageName : imageName.slice(0, cut);
  // MS3's frames are called NAME.mp4_1.
  const isFrame = cut > 0 && audioName === imageId.replace(/\.mp4$/, "");
  const part = imageName.slice(cut + 1);
  return {
    id: isFrame || audioName === imageName ? imageName : `${imageName}+${audioName}`,
    ...(isFrame ? { clip: audioName } : { imageId }),
    ...(cut > 0 && !/^\d*$/.test(part) ? { label: part } : {}),
    image: placesOf(image, ["visual_frames"], [".jpg", ".png"], `${place}, field "image"`),
    audio: placesOf(audio, ["audio_wav"], [".wav"], `${place}, field "audio"`),
    ...(typeof annotation === "string"
      ? {
          annotation: placesOf(
            annotation,
            ["gray_masks", "gt_masks"],
            [".jpg", ".png"],
            `${place}, field "gt_box"`,
          ),
        }
      : { boxes: boxesOf(annotation, place) }),
  };
}

const nameOf = (path: string) => basename(path, extname(path));

/**
 * Where a file may lie below the root: at the end of its path, from one of the folders on, or in one of them by its name.
 * @throws {SoundspotError} ERR_DATASET for a path that leads out of the root
 */
function placesOf(
  path: string,
  folders: readonly string[],
  endings: readonly string[],
  place: string,
): readonly string[] {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || path.includes("\0") || parts.length === 0) {
    throw new SoundspotError("ERR_DATASET", `${place}: ${JSON.stringify(path)} is not the path of a file.`);
  }
  const from = parts.findLastIndex((part) => folders.includes(part));
  const listed = from < 0 || from === parts.length - 1 ? [] : [parts.slice(from).join("/")];
  const file = parts.at(-1) as string;
  const names = [file, ...endings.map((ending) => nameOf(file) + ending)];
  return [...new Set([...listed, ...folders.flatMap((folder) => names.map((name) => `${folder}/${name}`))])];
}

/** None where nothing sounds. */
function boxesOf(box: Corners, place: string): readonly Corners[] {
  const [left, top, right, bottom] = box;
  const inside = box.every((value) => value >= 0 && value <= GRID);
  if (!inside || left > right || top > bottom) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${place}: the box [${box.join(", ")}] must be [left, top, right, bottom] in 0 … ${GRID}, pixels of a ${GRID} × ${GRID} frame.`,
    );
  }
  return box.every((value) => value === 0) ? [] : [mapCorners(box, Math.trunc)];
}
