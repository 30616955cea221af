/** The lists that benchmarks come with: ids, and pairs whose sound source is not in the image. */

import { SoundspotError } from "../../core/errors.js";
import { paced } from "../../core/pacer.js";
import { csvRecords, csvRows, required, wrong } from "../../files/csv.js";
import { readText } from "../../files/text.js";
import type { Entry } from "./entry.js";
import { inFrames } from "./entry.js";

/** Ids, or the path of a CSV that has them in its first column, without a header. */
export type IdList = string | readonly string[];

export interface ListedId {
  readonly id: string;
  /** Where it stands in the list, from 1. */
  readonly line: number;
}

/** What a list is called in errors. */
export function listName(list: IdList): string {
  return typeof list === "string" ? list : "list";
}

/**
 * The ids of a list, in order; an id that is listed twice counts once.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET for a row
 * without an id or a list without rows.
 */
export async function readIds(list: IdList, signal?: AbortSignal): Promise<ListedId[]> {
  const name = listName(list);
  const records =
    typeof list === "string"
      ? csvRecords(await readText(list, signal), list)
      : list.map((id, i) => ({ line: i + 1, cells: [id] }));
  const lines = new Map<string, number>();
  await paced(records, signal, ({ line, cells }) => {
    const id = cells[0]?.trim() ?? "";
    if (id === "") throw wrong(name, line, undefined, "has no id in its first column.");
    if (!lines.has(id)) lines.set(id, line);
  });
  if (lines.size === 0) {
    throw new SoundspotError("ERR_DATASET", `${name} lists no samples. Add at least one id.`);
  }
  return [...lines].map(([id, line]) => ({ id, line }));
}

/**
 * Pairs whose sound source is not in the image, from a list with the header `video,audio,label` and the
 * label `non-sounding`, as published with SLAVC (Mo and Morgado, NeurIPS 2022). The id is
 * `VIDEO+AUDIO`.
 * @throws {SoundspotError} as `readIds`.
 */
export async function readSilent(path: string, signal?: AbortSignal): Promise<Entry[]> {
  const entries = new Map<string, Entry>();
  await paced(csvRows(await readText(path, signal), path), signal, ({ line, fields }) => {
    const video = required(fields, "video", path, line);
    const audio = required(fields, "audio", path, line);
    const label = required(fields, "label", path, line);
    if (label !== "non-sounding") {
      throw wrong(path, line, "label", `must be "non-sounding", got "${label}". List other pairs elsewhere.`);
    }
    const id = `${video}+${audio}`;
    entries.set(id, { ...inFrames(id, video, audio), sounding: false });
  });
  if (entries.size === 0)
    throw new SoundspotError("ERR_DATASET", `${path} lists no pairs. Add at least one.`);
  return [...entries.values()];
}
