/** Cross-modal retrieval: from audio to images and from images to audio. */

import { aCount, aFunction, anObject, aSignal, check, checkFields, oneOf } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import type { Dataset, MissingSample } from "../datasets/dataset.js";
import { aDataset } from "../datasets/dataset.js";
import { aGroup, checkSameWork, type ProcessGroup, shareOf } from "../distributed/process-group.js";
import { type BootstrapOptions, bootstrapInterval } from "../metrics/bootstrap.js";
import { firstHits, nearestNeighbours } from "../metrics/retrieval.js";
import { type Precision, scoringPrecision } from "../model/compute.js";
import { embedPrepared } from "../model/embed.js";
import { releaseSamples } from "../model/inputs.js";
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

/** Model, data and settings of a retrieval run. */
export interface RetrieveOptions {
  readonly model: Model;
  /** Labelled pairs. */
  readonly data: Dataset;
  /** Samples from the start of the dataset; default all. */
  readonly limit?: number;
  /** Default 16. */
  readonly batchSize?: number;
  /**
   * Precision of the encoders. Default "float32": scores are then independent of the processor. Of a quantized model
   * that was not loaded for another precision "int8".
   */
  readonly precision?: Precision;
  /** "skip" leaves out samples that cannot be read and lists them in `skipped`. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  /** Confidence intervals; false makes none. Default 1000 resamples, 95 %, seed 0. */
  readonly bootstrap?: Pick<BootstrapOptions, "resamples" | "level" | "seed"> | false;
  /** Processes that share the encoding: all call `retrieve` with the same options, and each gets the whole result. */
  readonly group?: ProcessGroup;
  readonly signal?: AbortSignal | undefined;
  /** Samples done and their total; in a group, those of this process. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface RetrievalRun extends Retrieval {
  readonly dataset: string;
  readonly samples: number;
  /** Samples left out because nothing in their image makes the sound. */
  readonly silent: number;
  readonly missing: readonly MissingSample[];
  readonly skipped: readonly SkippedSample[];
}

/** The nearest neighbours of one sample, and the rank of the first one of its class. */
export interface SampleRetrieval {
  /** Ids of the ten images nearest to its audio, and of the ten audio clips nearest to its image, nearest first. */
  readonly images: readonly string[];
  readonly audios: readonly string[];
  /** Rank, from 1, of the first one of its class among them; absent when none of the ten is. */
  readonly imageRank?: number;
  readonly audioRank?: number;
}

/** @internal Recall among embeddings, and the neighbours of each, by id. */
export async function retrievalOf(
  embeddings: readonly Embedding[],
  bootstrap: RetrieveOptions["bootstrap"],
  signal: AbortSignal | undefined,
  device: string | undefined,
): Promise<{ readonly retrieval: Retrieval; readonly found: ReadonlyMap<string, SampleRetrieval> }> {
  const labels = embeddings.map(({ label }) => label);
  const groups = embeddings.map(({ group }) => group);
  const images = embeddings.map(({ image }) => image);
  const audios = embeddings.map(({ audio }) => audio);
  const deepest = Math.max(...recallRanks);
  const direction = async (queries: readonly Float32Array[], gallery: readonly Float32Array[]) => {
    const neighbours = await nearestNeighbours(queries, gallery, deepest, signal, device);
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
  const there = await direction(audios, images);
  const back = await direction(images, audios);
  const found = embeddings.map(({ id }, i) => {
    const [imageRank, audioRank] = [there.ranks[i] as number, back.ranks[i] as number];
    const own: SampleRetrieval = {
      images: there.ids[i] ?? [],
      audios: back.ids[i] ?? [],
      ...(Number.isFinite(imageRank) ? { imageRank } : {}),
      ...(Number.isFinite(audioRank) ? { audioRank } : {}),
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
      try {
        const sounding = batch.filter(({ sample }) => sample.sounding !== false);
        const unlabelled = sounding.find(({ sample }) => sample.label === undefined);
        if (unlabelled) {
          throw new SoundspotError(
            "ERR_DATASET",
            `Sample ${unlabelled.sample.id} of ${data.name} has no label. Retrieval needs the class of every sample.`,
          );
        }
        silent += batch.length - sounding.length;
        samples += sounding.length;
        if (sounding.length === 0) continue;
        const handles = sounding.map(({ prepared }) => prepared.handle);
        const precision = scoringPrecision(model, options.precision);
        const images = await embedPrepared(model, handles, "image", { precision });
        const audios = await embedPrepared(model, handles, "audio", { precision });
        for (const [i, { sample }] of sounding.entries()) {
          embeddings.add(sample, { image: images[i] as Float32Array, audio: audios[i] as Float32Array });
        }
        throwIfAborted(signal);
        options.onProgress?.(samples + silent + skipped.length, share);
      } finally {
        releaseSamples(batch.map(({ prepared }) => prepared.handle));
      }
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
  if (!embeddings.rows) throw new SoundspotError("ERR_DATASET", `${data.name} has no usable sample.`);
  const { retrieval } = await retrievalOf(embeddings.rows, options.bootstrap, signal, model.compute.device);
  return { dataset: data.name, samples, silent, ...retrieval, missing: data.missing ?? [], skipped };
}
