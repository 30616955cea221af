/** Samples of a dataset one after the other: `for await (const sample of data)`. */
import { setMaxListeners } from "node:events";
import { aCount, aFunction, anInteger, aSignal, check, checkFields, oneOf } from "../core/arguments.js";
import { eitherSignal, SoundspotError, throwIfAborted } from "../core/errors.js";
import { lookAhead } from "../core/look-ahead.js";
import { isDamage, type SkippedSample, skippedSample } from "./damage.js";
import { aDataset, type Dataset, type LoadOptions, type Sample, type SequenceRequest } from "./dataset.js";

/** How {@link samplesOf} reads. */
export interface SamplesOptions {
  /** Endless datasets give other samples in another epoch; finite ones ignore it. Default 0. */
  readonly epoch?: number;
  /** Samples in memory at most: the one that the loop works on, and those that are decoded after it. Default 5. */
  readonly items?: number;
  /** "skip" leaves out samples that cannot be read. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  /** Called for each sample that is left out. */
  readonly onSkip?: (sample: SkippedSample) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A dataset that this package makes: `for await` goes through its samples in order, `await using` closes it. */
export interface IterableDataset extends Dataset, AsyncIterable<Sample>, AsyncDisposable {
  /** Frees workers and handles; further loading throws ERR_DISPOSED. */
  close(): Promise<void>;
  /** All samples in the order of their index, as `samplesOf(data)` gives them. */
  [Symbol.asyncIterator](): AsyncGenerator<Sample, void, void>;
  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The samples of any dataset in the order of their index; the next ones are decoded while the loop works on one. Leaving
 * the loop stops what is being decoded.
 * @throws {SoundspotError} ERR_ABORTED, and those of `Dataset.load` when the sample's turn comes
 * @example
 * for await (const { id, image, audio } of samplesOf(data, { unreadable: "skip" })) console.log(id, image.width);
 */
export async function* samplesOf(
  dataset: Dataset,
  options: SamplesOptions = {},
): AsyncGenerator<Sample, void, void> {
  check(dataset, aDataset, "The dataset");
  checkFields(options, {
    epoch: anInteger,
    items: aCount,
    unreadable: oneOf("throw", "skip"),
    onSkip: aFunction,
    signal: aSignal,
  });
  const { epoch = 0, items = 5, unreadable = "throw", onSkip, signal } = options;
  const left = new AbortController();
  const stop = signal ? eitherSignal(signal, left.signal) : left.signal;
  setMaxListeners(0, stop); // every sample that is decoded listens
  const load = async (index: number): Promise<Sample | SkippedSample> => {
    try {
      return await dataset.load(index, { epoch, signal: stop });
    } catch (error) {
      throwIfAborted(stop);
      if (unreadable === "throw" || !isDamage(error)) throw error;
      return skippedSample(dataset, index, error);
    }
  };
  const indices = function* () {
    for (let index = 0; index < dataset.length; index++) yield index;
  };
  try {
    for await (const each of lookAhead(indices(), load, { items, signal })) {
      if ("reason" in each) onSkip?.(each);
      else yield each;
    }
  } finally {
    left.abort();
  }
}

/** @internal The dataset itself, with what every dataset of this package has: it is iterated and closed. */
export function iterable(dataset: Dataset): IterableDataset {
  let closed = false;
  const checkOpen = () => {
    if (!closed) return;
    throw new SoundspotError("ERR_DISPOSED", `The dataset ${dataset.name} was closed. Open it again.`);
  };
  const { load, close, sequence } = dataset;
  return Object.assign(dataset, {
    load: async (index: number, options?: LoadOptions) => {
      checkOpen();
      return load.call(dataset, index, options);
    },
    ...(sequence
      ? {
          sequence: {
            order: sequence.order,
            async *batches(request: SequenceRequest) {
              checkOpen();
              yield* sequence.batches(request);
            },
          },
        }
      : {}),
    close: async () => {
      closed = true;
      await close?.call(dataset);
    },
    // Of the object that they are called on: a copy with another `load` gives what that loads.
    [Symbol.asyncIterator](this: Dataset) {
      return samplesOf(this);
    },
    async [Symbol.asyncDispose](this: Dataset) {
      await this.close?.();
    },
  });
}
