/** Samples of a dataset, decoded and prepared one batch ahead, a few samples at a time. */

import type { ModelConfig } from "../config/model.js";
import { anObject, check } from "../core/arguments.js";
import { throwIfAborted } from "../core/errors.js";
import { type InPlace, lookAhead } from "../core/look-ahead.js";
import { isDamage, type SkippedSample, skippedSample } from "../datasets/damage.js";
import type { Dataset, Sample } from "../datasets/dataset.js";
import { type PreparedSample, prepareSample } from "../model/inputs.js";

export interface BatchOptions {
  readonly data: Dataset;
  readonly config: ModelConfig;
  /** Samples from the start of the dataset. */
  readonly total: number;
  /** Indices to load: `from` inclusive, `until` exclusive. Default all. */
  readonly range?: readonly [from: number, until: number];
  readonly batchSize: number;
  /** Sample i takes the audio of sample i + shift. Default 0. */
  readonly audioShift?: number;
  /** "skip" leaves out samples that cannot be read, and records them. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedSample {
  readonly index: number;
  readonly sample: Sample;
  readonly prepared: PreparedSample;
}

/**
 * Batches in order, two in memory at most. Samples that are skipped are added to `skipped`.
 * @throws {SoundspotError} those of the dataset, ERR_ABORTED.
 */
export async function* loadBatches(
  options: BatchOptions,
  skipped: SkippedSample[],
): AsyncGenerator<LoadedSample[]> {
  const { data, config, total, batchSize, audioShift = 0, unreadable = "throw", signal } = options;
  const [start, until] = options.range ?? [0, total];
  const loadOne = async (index: number): Promise<LoadedSample> => {
    const read = async (at: number) => {
      const sample = await data.load(at, { signal });
      check(sample, anObject, `Sample ${at} of ${data.name}`);
      return sample;
    };
    const sample = await read(index);
    const source = audioShift === 0 ? sample : await read((index + audioShift) % total);
    const pair = { id: source.id, image: sample.image, audio: source.audio };
    return {
      index,
      sample,
      prepared: { handle: await prepareSample(pair, config), image: sample.image },
    };
  };
  const tryOne = async (index: number): Promise<LoadedSample | SkippedSample> => {
    try {
      return await loadOne(index);
    } catch (error) {
      throwIfAborted(signal);
      if (unreadable === "throw" || !isDamage(error)) throw error;
      return skippedSample(data, index, error);
    }
  };
  const batches = function* () {
    for (let from = start; from < until; from += batchSize) {
      yield Array.from({ length: Math.min(batchSize, until - from) }, (_, i) => from + i);
    }
  };
  const load: (indices: readonly number[], inPlace: InPlace) => Promise<(LoadedSample | SkippedSample)[]> = (
    indices,
    inPlace,
  ) => Promise.all(indices.map((index) => inPlace(() => tryOne(index))));

  for await (const batch of lookAhead(batches(), load, { items: 2, signal })) {
    skipped.push(...batch.filter((each) => "reason" in each));
    const loaded = batch.filter((each) => "sample" in each);
    if (loaded.length > 0) yield loaded;
  }
}
