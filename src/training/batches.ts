/** The batches of an epoch of training, decoded and augmented ahead of the step, with replacements of damaged samples. */
import type { TrainConfig } from "../config/train.js";
import { SoundspotError } from "../core/errors.js";
import { type InPlace, lookAhead } from "../core/look-ahead.js";
import { hash, permutation } from "../core/random.js";
import { loadReplacing, type Replaced, type SkippedSample } from "../datasets/damage.js";
import type { Dataset, LoadableSample, SequenceRequest } from "../datasets/dataset.js";
import { prepareSample } from "../model/inputs.js";
import type { LoadedModel } from "../model/loaded.js";
import type { SampleHandle } from "../native.js";

export interface TrainingPlace {
  readonly data: Dataset;
  readonly epoch: number;
  /** The first batch to read. */
  readonly fromBatch: number;
  /** Rank of the process, 0 ≤ rank < size; it gets its part of each batch. */
  readonly rank: number;
  readonly size: number;
  /** A damaged sample throws. */
  readonly strict: boolean;
  readonly signal: AbortSignal | undefined;
}

export interface TrainingBatch {
  /** Damaged samples that were found for this batch, in its order. */
  readonly skipped: readonly SkippedSample[];
  /** @throws {SoundspotError} ERR_DATASET when a sample and all its replacements are damaged. */
  samples(): readonly SampleHandle[];
}

/**
 * This process's part of the batches of one epoch, `queue` of them ahead.
 * @throws {SoundspotError} ERR_ABORTED, and those of the dataset that are no damage.
 */
export async function* trainingBatches(
  { config, model }: { readonly config: TrainConfig; readonly model: LoadedModel },
  { data, epoch, fromBatch, rank, size, strict, signal }: TrainingPlace,
): AsyncGenerator<TrainingBatch> {
  const { seed, batchSize } = config;
  const prepare = async ({ index, load }: LoadableSample): Promise<Replaced<SampleHandle>> => {
    const augment = config.augment
      ? { options: config.augment, seed: hash(config.seed, epoch, index) }
      : undefined;
    const one = async (at: number, replaces: boolean) => {
      const sample = await (replaces ? data.load(at, { epoch, signal }) : load(signal));
      return prepareSample(sample, model.config, augment);
    };
    if (strict) return { value: await one(index, false), skipped: [] };
    return loadReplacing(data, { seed, epoch, signal }, index, one);
  };
  const request: SequenceRequest = {
    epoch,
    seed,
    batchSize,
    fromBatch,
    rank,
    size,
    unreadable: "throw",
    signal,
  };
  const source = data.sequence?.batches(request) ?? drawnBatches(data, request);
  const load = async (batch: readonly LoadableSample[], inPlace: InPlace) =>
    batchOf(await Promise.all(batch.map((each) => inPlace(() => prepare(each)))));
  yield* lookAhead(source, load, { items: config.queue, signal });
}

function batchOf(loaded: readonly Replaced<SampleHandle>[]): TrainingBatch {
  return {
    skipped: loaded.flatMap(({ skipped }) => skipped),
    samples: () =>
      loaded.map(({ value, skipped }) => {
        if (value !== undefined) return value;
        throw new SoundspotError(
          "ERR_DATASET",
          `Neither a sample nor the ${skipped.length - 1} drawn in its place can be read: ${skipped[0]?.reason}`,
        );
      }),
  };
}

/** Batches of a dataset that is read at any place, in an order that seed and epoch draw. */
async function* drawnBatches(
  data: Dataset,
  { epoch, seed, batchSize, fromBatch, rank, size }: SequenceRequest,
): AsyncGenerator<readonly LoadableSample[]> {
  const order = permutation(data.length, seed, epoch);
  const own = batchSize / size;
  for (let batch = fromBatch; batch < Math.floor(data.length / batchSize); batch++) {
    const from = batch * batchSize + rank * own;
    yield Array.from(order.subarray(from, from + own), (index) => ({
      index,
      load: (signal) => data.load(index, { epoch, signal }),
    }));
  }
}
