/** Nearest neighbours within a dataset, for methods that train with views of them. */

import * as z from "zod";
import { methodNamed } from "../config/methods.js";
import type { ModelConfig } from "../config/model.js";
import { aCount, aFunction, aSignal, check, checkFields, isObject, oneOf } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { isDamage } from "../datasets/damage.js";
import { aDataset, type Dataset } from "../datasets/dataset.js";
import { writeOutput } from "../files/atomic-writes.js";
import { checked, readJson } from "../files/text.js";
import { embedBatch } from "../model/embed.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import { native } from "../native.js";

/** For each sample of a dataset the indices of its nearest neighbours, nearest first, without itself. */
export type Neighbours = readonly (readonly number[])[];

/** Neighbours of each sample, where no number is given. */
export const NEIGHBOURS = 10;

/** How neighbours are found. */
export interface FindNeighboursOptions {
  /** Its embeddings are compared. */
  readonly model: Model;
  readonly data: Dataset;
  /** Neighbours of each sample. Default 10. */
  readonly k?: number;
  /** What is compared. Default "image". */
  readonly modality?: "image" | "audio";
  readonly signal?: AbortSignal | undefined;
  /** Called after every few samples. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Samples that are decoded and embedded at a time. */
const BATCH = 16;
/** Queries at a time: the memory of a search grows with them. */
const QUERIES = 4096;

/**
 * The k nearest neighbours of every sample of a dataset, by the cosine of embeddings, exactly. Equal cosines keep the
 * order of the dataset. A sample that cannot be read has none and is nobody's.
 * @returns a list for each sample, nearest first, without the sample itself
 * @throws {SoundspotError} ERR_INPUT; ERR_DATASET when there are fewer than two samples; ERR_ABORTED; and those of the
 * dataset that are no damage.
 * @example
 * const neighbours = await findNeighbours({ model, data, k: 10 });
 * await train({ preset: "alignment", data, neighbours });
 */
export async function findNeighbours(options: FindNeighboursOptions): Promise<Neighbours> {
  checkFields(options, {
    k: aCount,
    modality: oneOf("image", "audio"),
    signal: aSignal,
    onProgress: aFunction,
  });
  const { model, data, k = NEIGHBOURS, modality = "image", signal, onProgress } = options;
  check(model, aModel, "model");
  check(data, aDataset, "data");
  if (data.length < 2) {
    throw new SoundspotError("ERR_DATASET", `${data.name} has ${data.length} samples. Neighbours need two.`);
  }
  const vectors: (Float32Array | undefined)[] = [];
  for (let from = 0; from < data.length; from += BATCH) {
    const indices = Array.from({ length: Math.min(BATCH, data.length - from) }, (_, i) => from + i);
    const samples = await Promise.all(indices.map((index) => readable(data, index, signal)));
    const known = samples.flatMap((sample) => (sample ? [sample] : []));
    const inputs = known.map(({ image, audio }) => (modality === "image" ? { image } : { audio }));
    const rows = await embedBatch(model, inputs, { signal });
    for (const sample of samples) vectors.push(sample ? rows.shift() : undefined);
    onProgress?.(vectors.length, data.length);
  }
  return nearestOf(vectors, Math.min(k, data.length - 1), model.compute.device, signal);
}

async function readable(data: Dataset, index: number, signal: AbortSignal | undefined) {
  try {
    return await data.load(index, { signal });
  } catch (error) {
    throwIfAborted(signal);
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

async function nearestOf(
  vectors: readonly (Float32Array | undefined)[],
  k: number,
  device: string,
  signal: AbortSignal | undefined,
): Promise<Neighbours> {
  const dim = vectors.find((vector) => vector)?.length ?? 1;
  // A vector that holds NaN is never found.
  const gallery = new Float32Array(vectors.length * dim).fill(Number.NaN);
  for (const [i, vector] of vectors.entries()) if (vector) gallery.set(vector, i * dim);
  const all = { data: gallery, shape: [vectors.length, dim] };
  const lists: number[][] = [];
  for (let from = 0; from < vectors.length; from += QUERIES) {
    throwIfAborted(signal);
    const count = Math.min(QUERIES, vectors.length - from);
    const queries = { data: gallery.slice(from * dim, (from + count) * dim), shape: [count, dim] };
    const found = await native().nearest(queries, all, k + 1, device);
    for (let i = 0; i < count; i++) {
      const row = found.data.subarray(i * (k + 1), (i + 1) * (k + 1));
      const others = vectors[from + i] ? [...row].filter((other) => other >= 0 && other !== from + i) : [];
      lists.push(others.slice(0, k));
    }
  }
  return lists;
}

/** A file of neighbours names samples by their ids. */
const fileSchema = z.object({
  dataset: z.string(),
  encoder: z.string(),
  neighbours: z.record(z.string(), z.array(z.string())),
});

/**
 * Writes neighbours as JSON, by the ids of the samples; atomic.
 * @throws {SoundspotError} ERR_DATASET when the dataset does not know its ids; ERR_FILE_WRITE.
 */
export async function writeNeighbours(
  path: string,
  neighbours: Neighbours,
  data: Dataset,
  encoder: string,
): Promise<void> {
  const ids = idsOf(data);
  const lists = neighbours.map((own, i) => [ids[i], own.map((index) => ids[index])]);
  const content = { dataset: data.name, encoder, neighbours: Object.fromEntries(lists) };
  await writeOutput(path, `${JSON.stringify(content)}\n`);
}

/**
 * The neighbours of a dataset's samples from a file that `soundspot neighbours` wrote. Neighbours that the dataset does
 * not have are left out.
 * @throws {SoundspotError} ERR_DATASET when it is no such file, or a sample has no neighbour in it; and those of reading.
 */
export async function readNeighbours(path: string, data: Dataset): Promise<Neighbours> {
  const { neighbours } = checked(fileSchema, await readJson(path), path);
  const ids = idsOf(data);
  const places = new Map(ids.map((id, i) => [id, i]));
  return ids.map((id) => {
    const own = Object.hasOwn(neighbours, id) ? (neighbours[id] as string[]) : [];
    const found = own.flatMap((other) => places.get(other) ?? []);
    if (found.length > 0) return found;
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} has no neighbour of the sample ${id} of ${data.name}. Write it again for this data: soundspot neighbours.`,
    );
  });
}

function idsOf(data: Dataset): string[] {
  return Array.from({ length: data.length }, (_, index) => {
    const id = data.idOf?.(index);
    if (id !== undefined) return id;
    throw new SoundspotError(
      "ERR_DATASET",
      `${data.name} does not know the ids of its samples. Find its neighbours in the program that trains: findNeighbours.`,
    );
  });
}

/**
 * @internal The neighbours that a run needs; undefined for methods without views of them.
 * @throws {SoundspotError} ERR_CONFIG when they are missing or not of this data.
 */
export async function neighboursOf(
  { method }: Pick<ModelConfig, "method">,
  data: Dataset,
  given: Neighbours | string | undefined,
): Promise<Neighbours | undefined> {
  const { views = {}, title } = methodNamed(method.name);
  if (!Object.values(views).some((view) => view.of === "neighbour")) return undefined;
  if (given === undefined) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${title} trains with nearest neighbours. Give neighbours (--neighbours): the file of soundspot neighbours, or what findNeighbours returns.`,
    );
  }
  if (typeof given === "string") return readNeighbours(given, data);
  const isList = Array.isArray(given) && given.length === data.length;
  const wrong = isList
    ? given.findIndex((own) => !Array.isArray(own) || !own.every((index) => isIndex(index, data.length)))
    : 0;
  if (isList && wrong < 0) return given;
  throw new SoundspotError(
    "ERR_CONFIG",
    isList
      ? `neighbours[${wrong}] must be a list of indices from 0 to ${data.length - 1}.`
      : `neighbours must be a list for each of the ${data.length} samples of ${data.name}${isObject(given) && "length" in given ? `, got ${String(given.length)}` : ""}.`,
  );
}

const isIndex = (value: unknown, length: number) =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < length;

/** @internal A sample's neighbours in their order, from one that a draw decides, around. */
export function neighboursFrom(neighbours: Neighbours | undefined, index: number, draw: bigint): number[] {
  const own = neighbours?.[index] ?? [];
  const first = own.length === 0 ? 0 : Number(draw % BigInt(own.length));
  return [...own.slice(first), ...own.slice(0, first)];
}
