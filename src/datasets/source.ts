/** Sources of datasets: checks of options, and errors that name sample and place. */

import { resolve } from "node:path";
import { aPath, aSignal, aText, type Check, check, checkFields, shown } from "../core/arguments.js";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { messageOf } from "../files/text.js";

/** Ids, or the path of a list of them. */
export const anIdList: Check = [
  (value) =>
    aPath[0](value) || (Array.isArray(value) && Array.from(value).every((id) => typeof id === "string")),
  "a path or a list of texts",
];

/**
 * Checks the options that name a dataset's sources.
 * @throws {SoundspotError} ERR_CONFIG with the name of a field that is of a wrong type, or missing.
 */
export function checkSource(
  dataset: string,
  options: unknown,
  required: Readonly<Record<string, Check>>,
  optional: Readonly<Record<string, Check>> = {},
): void {
  const common = { name: aText, ffmpeg: aText, signal: aSignal };
  checkFields(options, { ...common, ...optional }, `${dataset}: the options`, "ERR_CONFIG");
  for (const [field, own] of Object.entries(required)) {
    check((options as Record<string, unknown>)[field], own, `${dataset}: ${field}`, "ERR_CONFIG");
  }
}

/** @throws {SoundspotError} ERR_CONFIG when an option has a value that it does not know. */
export function oneOf<T extends string>(option: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value;
  throw new SoundspotError(
    "ERR_CONFIG",
    `${option} must be ${known.map((name) => JSON.stringify(name)).join(" or ")}, got ${shown(value)}.`,
  );
}

/** @throws {SoundspotError} ERR_INPUT when there is no row of that index. */
export function rowAt<T>(rows: readonly T[], index: number, source: string): T {
  const row = rows[index];
  if (row !== undefined) return row;
  throw noSample(rows.length, index, source);
}

/** The error for an index that is not of a dataset. */
export function noSample(length: number, index: number, source: string): SoundspotError {
  return new SoundspotError(
    "ERR_INPUT",
    `Sample index must be an integer in 0 … ${length - 1}, got ${shown(index)} (${source}).`,
  );
}

/**
 * Puts a place before the message of what went wrong there, as ERR_DATASET.
 * @param base the folder that relative paths start at, which the message of a missing file names
 */
export async function naming<T>(place: string, work: () => Promise<T>, base?: string): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    // These two do not concern the data.
    if (isSoundspotError(cause) && (cause.code === "ERR_ABORTED" || cause.code === "ERR_FFMPEG_MISSING")) {
      throw cause;
    }
    const start = base !== undefined && isAbsent(cause) ? ` Relative paths start at ${resolve(base)}.` : "";
    throw new SoundspotError("ERR_DATASET", `${place}: ${messageOf(cause)}${start}`, { cause });
  }
}

/** Whether a file is missing. */
function isAbsent(error: unknown): boolean {
  if (!isSoundspotError(error) || error.code !== "ERR_FILE_NOT_FOUND") return false;
  const { code } = Object(error.cause) as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}
