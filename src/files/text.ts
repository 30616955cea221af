/** Reading the files of a dataset: text, JSON, the pace of long lists, and errors that name a place. */

import { resolve } from "node:path";
import type { z } from "zod";
import { aPath, aSignal, aText, type Check, check, checkFields, shown } from "../core/arguments.js";
import { isError, isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { readMediaFile } from "../media/image.js";
import { Pacer } from "../media/wav.js";

/** Ids, or the path of a list of them. */
export const anIdList: Check = [
  (value) =>
    aPath[0](value) || (Array.isArray(value) && Array.from(value).every((id) => typeof id === "string")),
  "a path or a list of texts",
];

/**
 * Checks the options that say what a dataset is read from.
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

/**
 * Reads text in UTF-8 or UTF-16; a byte order mark is dropped.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET when it is neither.
 */
export async function readText(path: string, signal?: AbortSignal): Promise<string> {
  const bytes = await readMediaFile(path, signal);
  const encoding = encodingOf(bytes);
  // Bytes are not replaced: a path with a replacement character is the path of no file.
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} is not text in UTF-8 or UTF-16. Save it again as UTF-8.`,
      { cause },
    );
  }
}

/** By the byte order mark, or without one by the zeros beside a first letter of ASCII. */
function encodingOf([first, second]: Uint8Array): "utf-8" | "utf-16le" | "utf-16be" {
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0)) return "utf-16le";
  if ((first === 0xfe && second === 0xff) || (first === 0 && second !== 0)) return "utf-16be";
  return "utf-8";
}

/** An object without its fields that are null: JSON writes null for what is absent. */
export function withoutNulls(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}

/**
 * Reads a JSON file.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET when it is not JSON.
 */
export async function readJson(path: string, signal?: AbortSignal): Promise<unknown> {
  return parseJson(await readText(path, signal), path);
}

/** @throws {SoundspotError} ERR_DATASET that names the place when a text is not JSON. */
export function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${place} is not JSON: ${messageOf(cause)}. Download or copy it again.`,
      { cause },
    );
  }
}

/** @throws {SoundspotError} ERR_DATASET that names place and field when a value is not of the schema. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, place: string): T {
  const { success, data, error } = schema.safeParse(withoutNulls(value));
  if (success) return data;
  const [issue] = error.issues;
  const field = issue?.path.length ? `, field "${issue.path.join(".")}"` : "";
  throw new SoundspotError("ERR_DATASET", `${place}${field}: ${issue?.message ?? "is not valid"}.`);
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
 * @param base the folder that relative paths start at, which the message of a file that is not there names
 */
export async function naming<T>(place: string, work: () => Promise<T>, base?: string): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    // These two say nothing about the data.
    if (isSoundspotError(cause) && (cause.code === "ERR_ABORTED" || cause.code === "ERR_FFMPEG_MISSING")) {
      throw cause;
    }
    const start = base !== undefined && isAbsent(cause) ? ` Relative paths start at ${resolve(base)}.` : "";
    throw new SoundspotError("ERR_DATASET", `${place}: ${messageOf(cause)}${start}`, { cause });
  }
}

/** Whether a file is not there. */
function isAbsent(error: unknown): boolean {
  if (!isSoundspotError(error) || error.code !== "ERR_FILE_NOT_FOUND") return false;
  const { code } = Object(error.cause) as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

function messageOf(cause: unknown): string {
  return isError(cause) ? cause.message : String(cause);
}

/** Calls `work` on every item and lets the event loop run in between. */
export async function paced<T>(
  items: Iterable<T>,
  signal: AbortSignal | undefined,
  work: (item: T, index: number) => void,
): Promise<void> {
  const pacer = new Pacer(signal);
  let index = 0;
  for (const item of items) {
    work(item, index++);
    if (pacer.due) await pacer.rest();
  }
}

/** Calls `work` on every item, `atOnce` at a time, and keeps the order. @throws {SoundspotError} ERR_ABORTED */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const runner = async () => {
    while (next < items.length) {
      throwIfAborted(signal);
      const index = next++;
      results[index] = await work(items[index] as T);
    }
  };
  throwIfAborted(signal);
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, runner));
  return results;
}
