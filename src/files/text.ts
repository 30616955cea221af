/** Text and JSON files, with errors that name the place. */

import type * as z from "zod";
import { isError, SoundspotError } from "../core/errors.js";
import { readMediaFile } from "./media-file.js";

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

export function messageOf(cause: unknown): string {
  return isError(cause) ? cause.message : String(cause);
}
