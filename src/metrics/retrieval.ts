/** Retrieval metrics: recall at K by cosine of target slots. A hit: one of the top K has the query's class. */
import { aCount, aList, aSignal, aText, check, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { matrixOf } from "../core/matrix.js";
import { native } from "../native.js";

/** Products of one call: about a second. Aborts take effect between calls. */
const WORK_A_CALL = 2e10;

/**
 * For each query the gallery's first `depth` vectors by descending cosine, as indices. Equal cosines (in float32) rank
 * in the gallery's order: slots that are all alike gain nothing for their own pair. A vector that holds NaN is never
 * found.
 * @param queries N vectors of one length
 * @param gallery M vectors of that length
 * @param device where to compare them, such as "cuda:0"; default the CPU
 * @returns N lists of at most `depth` indices
 * @throws {SoundspotError} ERR_SHAPE when lengths differ, ERR_INPUT when `depth` is not an integer from 1, ERR_DEVICE,
 *   ERR_ABORTED.
 */
export async function nearestNeighbours(
  queries: readonly Float32Array[],
  gallery: readonly Float32Array[],
  depth: number,
  signal?: AbortSignal,
  device = "cpu",
): Promise<number[][]> {
  if (!Number.isSafeInteger(depth) || depth < 1) {
    throw new SoundspotError("ERR_INPUT", `depth must be an integer of at least 1; it was ${shown(depth)}.`);
  }
  check(queries, aList, "queries");
  check(gallery, aList, "gallery");
  if (signal !== undefined) check(signal, aSignal, "signal");
  check(device, aText, "device");
  const width = queries[0]?.length ?? 0;
  if (width === 0 || gallery.length === 0) return queries.map(() => []);
  const deepest = Math.min(depth, gallery.length);
  const all = matrixOf(gallery, width);
  const rows = Math.max(1, Math.floor(WORK_A_CALL / all.data.length));
  const found: number[][] = [];
  for (let from = 0; from < queries.length; from += rows) {
    throwIfAborted(signal);
    const some = matrixOf(queries.slice(from, from + rows), width);
    const { data } = await native().nearest(some, all, deepest, device);
    for (let at = 0; at < data.length; at += deepest) {
      found.push([...data.subarray(at, at + deepest)].filter((index) => index >= 0));
    }
  }
  return found;
}

/**
 * The rank, from 1, of each query's first neighbour of its class; Infinity when none has it.
 * @param neighbours indices by query, nearest first
 * @param labels class of each sample
 */
export const firstHits = (neighbours: readonly (readonly number[])[], labels: readonly string[]): number[] =>
  neighbours.map((found, i) => {
    const place = found.findIndex((index) => labels[index] === labels[i]);
    return place < 0 ? Number.POSITIVE_INFINITY : place + 1;
  });

/**
 * For each query the rank, from 1, of the first neighbour of its class, as {@link nearestNeighbours} ranks them;
 * Infinity when none of the first `depth` has it. The query's own pair is in the gallery.
 * @param queries one vector per sample
 * @param gallery the other modality's vectors, same order
 * @param labels class of each sample
 * @throws {SoundspotError} ERR_SHAPE, ERR_INPUT, ERR_ABORTED.
 */
export async function hitRanks(
  queries: readonly Float32Array[],
  gallery: readonly Float32Array[],
  labels: readonly string[],
  depth: number,
  signal?: AbortSignal,
): Promise<number[]> {
  check(labels, aList, "labels");
  return firstHits(await nearestNeighbours(queries, gallery, depth, signal), labels);
}

/**
 * R@K for each K: the share of queries whose class is among the first K of the gallery, as {@link hitRanks} ranks it.
 * @returns shares in [0, 1], in the order of `ks`; NaN without queries
 */
export async function recallAt(
  queries: readonly Float32Array[],
  gallery: readonly Float32Array[],
  labels: readonly string[],
  ks: readonly number[],
): Promise<number[]> {
  check(ks, aList, "ks");
  for (const k of ks) check(k, aCount, "k");
  const ranks = await hitRanks(queries, gallery, labels, Math.max(...ks));
  return ks.map((k) => ranks.filter((rank) => rank <= k).length / ranks.length);
}
