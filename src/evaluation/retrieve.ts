/** Cross-modal retrieval: which pictures go with a sound, and which sounds with a picture (section 1.10). */

import { aCount, aFunction, anObject, aSignal, check, checkFields, oneOf } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import type { Dataset, MissingSample } from "../datasets/dataset.js";
import { aDataset } from "../datasets/dataset.js";
import { aGroup, checkSameWork, type ProcessGroup, shareOf } from "../distributed/process-group.js";
import { type BootstrapOptions, bootstrapInterval } from "../metrics/bootstrap.js";
import { firstHits, nearestNeighbours } from "../metrics/retrieval.js";
import type { Precision } from "../model/compute.js";
import { embedPrepared } from "../model/embed.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import { loadBatches } from "./batches.js";
import { type Embedding, Embeddings } from "./embeddings.js";

/** R@1, R@5, R@10, each in [0, 1]. */
export interface Retrieval {
  readonly audioToImage: readonly number[];
  readonly imageToAudio: readonly number[];
  readonly intervals?: {
    readonly audioToImage: readonly (readonly [low: number, high: number])[];
    readonly imageToAudio: readonly (readonly [low: number, high: number])[];
  };
}

/** The K of R@K. */
export const recallRanks: readonly number[] = [1, 5, 10];

/** Which pairs are searched, by which model. */
export interface RetrieveOptions {
  readonly model: Model;
  /** Labelled pairs. */
  readonly data: Dataset;
  /** Samples from the start of the dataset; default all. */
  readonly limit?: number;
  /** Default 16. */
  readonly batchSize?: number;
  /** Of the encoders. Default "float32", so that scores do not depend on the processor. */
  readonly precision?: Precision;
  /** "skip" goes on without samples that cannot be read and lists them in `skipped`. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  /** Confidence intervals; false makes none. Default 1000 resamples, 95 %, seed 0. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false;
  /** Processes that share the encoding: all call `retrieve` with the same options, and all are given the whole result. */
  readonly group?: ProcessGroup;
  readonly signal?: AbortSignal | undefined;
  /** In a group, of this process's share. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface RetrievalRun extends Retrieval {
  readonly dataset: string;
  readonly samples: number;
  /** Samples left out because nothing in their picture makes the sound. */
  readonly silent: number;
  readonly missing: readonly MissingSample[];
  readonly skipped: readonly SkippedSample[];
}

/** What one sample finds, and where the first of its class is among it. */
export interface SampleRetrieval {
  /** Ids of the ten nearest pictures of its sound, and of the ten nearest sounds of its picture, nearest first. */
  readonly pictures: readonly string[];
  readonly sounds: readonly string[];
  /** Place, from 1, of the first of its class among them; absent when none of the ten is. */
  readonly pictureRank?: number;
  readonly soundRank?: number;
}

/** @internal Recall among embeddings, and what each of them finds, by id. */
export async function retrievalOf(
  embeddings: readonly Embedding[],
  bootstrap: RetrieveOptions["bootstrap"],
  signal: AbortSignal | undefined,
): Promise<{ readonly retrieval: Retrieval; readonly found: ReadonlyMap<string, SampleRetrieval> }> {
  const labels = embeddings.map(({ label }) => label);
  const groups = embeddings.map(({ group }) => group);
  const images = embeddings.map(({ image }) => image);
  const sounds = embeddings.map(({ audio }) => audio);
  const deepest = Math.max(...recallRanks);
  const direction = async (queries: readonly Float32Array[], gallery: readonly Float32Array[]) => {
    const neighbours = await nearestNeighbours(queries, gallery, deepest, signal);
    const ranks = firstHits(neighbours, labels);
    const recalls: number[] = [];
    const intervals: (readonly [number, number])[] = [];
    for (const k of recallRanks) {
      const hits: number[] = ranks.map((rank) => (rank <= k ? 1 : 0));
      recalls.push(hits.reduce((a, b) => a + b, 0) / hits.length);
      if (bootstrap === false) continue;
      const { low, high } = await bootstrapInterval(hits, { ...bootstrap, groups, signal });
      intervals.push([low, high]);
    }
    const ids = neighbours.map((found) => found.map((i) => (embeddings[i] as Embedding).id));
    return { recalls, intervals, ranks, ids };
  };
  const there = await direction(sounds, images);
  const back = await direction(images, sounds);
  const found = embeddings.map(({ id }, i) => {
    const [pictureRank, soundRank] = [there.ranks[i] as number, back.ranks[i] as number];
    const own: SampleRetrieval = {
      pictures: there.ids[i] ?? [],
      sounds: back.ids[i] ?? [],
      ...(Number.isFinite(pictureRank) ? { pictureRank } : {}),
      ...(Number.isFinite(soundRank) ? { soundRank } : {}),
    };
    return [id, own] as const;
  });
  return {
    retrieval: {
      audioToImage: there.recalls,
      imageToAudio: back.recalls,
      ...(bootstrap === false
        ? {}
        : { intervals: { audioToImage: there.intervals, imageToAudio: back.intervals } }),
    },
    found: new Map(found),
  };
}

/**
 * R@1, 5 and 10 both ways by cosine of the embeddings: a hit when one of the top K has the query's class. The
 * query's own pair is in the gallery.
 * @example
 * const { audioToImage, imageToAudio } = await retrieve({ model, data: await datasets.vggss({ root, annotations }) });
 * @throws {SoundspotError} ERR_DATASET when a sample has no label or cannot be read, ERR_ABORTED.
 */
export async function retrieve(options: RetrieveOptions): Promise<RetrievalRun> {
  checkFields(options, {
    limit: aCount,
    batchSize: aCount,
    unreadable: oneOf("throw", "skip"),
    group: aGroup,
    onProgress: aFunction,
    signal: aSignal,
  });
  check(options.model, aModel, "model");
  check(options.data, aDataset, "data");
  if (options.bootstrap !== false && options.bootstrap !== undefined) {
    check(options.bootstrap, anObject, "bootstrap");
  }
  const { model, data, signal } = options;
  const total = Math.min(options.limit ?? data.length, data.length);
  let skipped: SkippedSample[] = [];
  let embeddings = new Embeddings();
  let [samples, silent] = [0, 0];
  const { group } = options;
  const batchSize = options.batchSize ?? 16;
  const range = shareOf(total, batchSize, group);
  const share = range[1] - range[0];
  const batches = loadBatches(
    {
      data,
      config: model.config,
      total,
      range,
      batchSize,
      unreadable: options.unreadable ?? "throw",
      signal,
    },
    skipped,
  );
  const encodeShare = async () => {
    for await (const batch of batches) {
      const heard = batch.filter(({ sample }) => sample.sounding !== false);
      const unlabelled = heard.find(({ sample }) => sample.label === undefined);
      if (unlabelled) {
        throw new SoundspotError(
          "ERR_DATASET",
          `Sample ${unlabelled.sample.id} of ${data.name} has no label. Retrieval needs the class of every sample.`,
        );
      }
      silent += batch.length - heard.length;
      samples += heard.length;
      if (heard.length === 0) continue;
      const handles = heard.map(({ prepared }) => prepared.handle);
      const { precision = "float32" } = options;
      const images = await embedPrepared(model, handles, "image", { precision });
      const audios = await embedPrepared(model, handles, "audio", { precision });
      for (const [i, { sample }] of heard.entries()) {
        embeddings.add(sample, { image: images[i] as Float32Array, audio: audios[i] as Float32Array });
      }
      throwIfAborted(signal);
      options.onProgress?.(samples + silent + skipped.length, share);
    }
  };
  if (group) {
    const parts = await group.gatherFrom(async () => {
      if (share > 0) await encodeShare();
      return { total, batchSize, rows: embeddings.all, skipped, samples, silent };
    });
    checkSameWork(parts);
    embeddings = new Embeddings();
    for (const { rows } of parts) embeddings.addRows(rows);
    skipped = parts.flatMap((part) => part.skipped);
    samples = parts.reduce((sum, part) => sum + part.samples, 0);
    silent = parts.reduce((sum, part) => sum + part.silent, 0);
  } else {
    await encodeShare();
  }
  if (!embeddings.rows)
    throw new SoundspotError("ERR_DATASET", `${data.name} has no sample that could be used.`);
  const { retrieval } = await retrievalOf(embeddings.rows, options.bootstrap, signal);
  return { dataset: data.name, samples, silent, ...retrieval, missing: data.missing ?? [], skipped };
}
