/** Samples that cannot be read: what counts as damage, and which sample takes the place of a damaged one. */

import {
  type ErrorCode,
  isError,
  isSoundspotError,
  type SoundspotError,
  throwIfAborted,
} from "../core/errors.js";
import { hash } from "../core/random.js";
import type { Dataset } from "./dataset.js";

/** A sample that could not be read, and why. */
export interface SkippedSample {
  readonly index: number;
  /** Where the dataset knows it without reading the sample. */
  readonly id?: string;
  readonly code: string;
  readonly reason: string;
}

/** Codes that speak of one sample. All others speak of the system, the network or the caller, and end the work. */
const ofSamples = new Set<ErrorCode>([
  "ERR_AUDIO_EMPTY",
  "ERR_AUDIO_NOT_FINITE",
  "ERR_DATASET",
  "ERR_FILE_EMPTY",
  "ERR_FILE_NOT_FOUND",
  "ERR_INPUT",
  "ERR_MEDIA_DECODE",
  "ERR_NO_AUDIO",
  "ERR_SHAPE",
]);

/** Error codes of the system when the process lacks a resource: any other file would fail as well. */
const ofProcess = new Set(["EMFILE", "ENFILE", "ENOMEM"]);

/** Whether an error concerns one sample alone, as damaged or missing. */
export function isDamage(error: unknown): error is SoundspotError {
  if (!isSoundspotError(error)) return false;
  for (let each: unknown = error; isError(each); each = each.cause) {
    if (isSoundspotError(each) && !ofSamples.has(each.code)) return false;
    if (ofProcess.has((each as NodeJS.ErrnoException).code ?? "")) return false;
    if (each.name === "RangeError" && /allocation/i.test(each.message)) return false;
  }
  return true;
}

/** The record of a damaged sample. */
export function skippedSample(
  data: Dataset,
  index: number,
  { code, message }: SoundspotError,
): SkippedSample {
  const id = data.idOf?.(index);
  return { index, ...(id === undefined ? {} : { id }), code, reason: message };
}

/** Samples that are tried in place of a damaged one. */
export const REPLACEMENTS = 20;

/** Those samples, in order: they depend on seed, epoch and index alone, whoever asks and whenever. */
export function* replacements(
  { seed, epoch, length }: { readonly seed: number; readonly epoch: number; readonly length: number },
  index: number,
): Generator<number, void, void> {
  for (let attempt = 0; attempt < REPLACEMENTS; attempt++) {
    yield Number(hash(seed, epoch, index, attempt) % BigInt(length));
  }
}

/** What came of a sample: its value or that of another one, and the damage on the way. */
export interface Replaced<T> {
  /** Absent when no replacement could be read either. */
  readonly value?: T;
  readonly skipped: readonly SkippedSample[];
}

/**
 * Loads a sample, or in its place the first replacement that can be read.
 * @throws what `load` throws when it is not damage; ERR_ABORTED.
 */
export async function loadReplacing<T>(
  data: Dataset,
  draw: { readonly seed: number; readonly epoch: number; readonly signal: AbortSignal | undefined },
  index: number,
  load: (index: number, replaces: boolean) => Promise<T>,
): Promise<Replaced<T>> {
  const skipped: SkippedSample[] = [];
  const tryOne = async (at: number, replaces: boolean): Promise<readonly [T] | undefined> => {
    try {
      return [await load(at, replaces)];
    } catch (error) {
      throwIfAborted(draw.signal);
      if (!isDamage(error)) throw error;
      skipped.push(skippedSample(data, at, error));
      return undefined;
    }
  };
  let found = await tryOne(index, false);
  if (!found) {
    for (const other of replacements({ ...draw, length: data.length }, index)) {
      found = await tryOne(other, true);
      if (found) break;
    }
  }
  return { ...(found ? { value: found[0] } : {}), skipped };
}
