/** The batches of an epoch of training, decoded and augmented ahead of the step, with replacements of damaged samples. */
import { methodNamed, type ViewInfo } from "../config/methods.js";
import type { AugmentConfig, TrainConfig } from "../config/train.js";
import { SoundspotError } from "../core/errors.js";
import { type InPlace, lookAhead } from "../core/look-ahead.js";
import { hash, permutation } from "../core/random.js";
import { isDamage, loadReplacing, type Replaced, type SkippedSample } from "../datasets/damage.js";
import type { Dataset, LoadableSample, Sample, SequenceRequest } from "../datasets/dataset.js";
import { prepareSample, releaseSamples } from "../model/inputs.js";
import type { LoadedModel } from "../model/loaded.js";
import type { SampleHandle } from "../native.js";
import type { DecodedStore } from "./decoded-store.js";
import { type Neighbours, neighboursFrom } from "./neighbours.js";

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
  /** Of each sample, for methods that train with views of neighbours. */
  readonly neighbours?: Neighbours | undefined;
  /** Of decoded samples of `data`. */
  readonly store?: DecodedStore | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface TrainingBatch {
  /** Damaged samples that were found for this batch, in its order. */
  readonly skipped: readonly SkippedSample[];
  /** @throws {SoundspotError} ERR_DATASET when a sample and all its replacements are damaged. */
  samples(): readonly SampleHandle[];
  /** The further views of these samples that the method trains with, by name; the same error. */
  views(): Readonly<Record<string, readonly SampleHandle[]>>;
  /** Frees samples and views, once no running step holds them. */
  release(): void;
}

/** One view of a batch: which samples it shows, and how they are changed. */
interface ViewOfBatch {
  /** Undefined for the samples themselves. */
  readonly name: string | undefined;
  readonly augment: AugmentConfig | false;
  readonly indices: Uint32Array;
  readonly seeds: BigUint64Array;
}

/** The same, and which samples a store has. */
interface ExpectedView extends ViewOfBatch {
  readonly found: Uint8Array;
}

/** A batch that is to be read, and all its views where there is a store. */
interface PlannedBatch {
  readonly batch: readonly LoadableSample[];
  readonly shown: readonly ExpectedView[];
}

/** What a store has of a sample and its further views. */
type Stored = Partial<Prepared>;

/** A sample as the model takes it, and its further views. */
interface Prepared {
  readonly handle: SampleHandle;
  readonly views: Readonly<Record<string, SampleHandle>>;
}

/**
 * This process's part of the batches of one epoch, `queue` of them ahead.
 * @throws {SoundspotError} ERR_ABORTED, and those of the dataset that are no damage.
 */
export async function* trainingBatches(
  { config, model }: { readonly config: TrainConfig; readonly model: LoadedModel },
  { data, epoch, fromBatch, rank, size, strict, neighbours, store, signal }: TrainingPlace,
): AsyncGenerator<TrainingBatch> {
  const { seed, batchSize } = config;
  const views = Object.entries(methodNamed(model.config.method.name).views ?? {});
  const prepareView = (
    sample: Sample,
    at: number,
    kind: ViewInfo["augment"],
    ...keys: readonly number[]
  ): Promise<SampleHandle> => {
    const options = config[kind];
    const augment = options ? { options, seed: hash(seed, epoch, ...keys) } : undefined;
    return prepareSample(sample, model.config, augment, model.handle, store?.place(at));
  };
  /** A neighbour of sample `at`, the next one where it is damaged, and the sample itself without any. */
  const readableNeighbour = async (
    at: number,
    own: () => Promise<Sample>,
    draw: bigint,
  ): Promise<readonly [Sample, at: number]> => {
    for (const other of neighboursFrom(neighbours, at, draw)) {
      try {
        return [await data.load(other, { epoch, signal }), other];
      } catch (error) {
        // It is counted as damaged when its own turn comes.
        if (strict || !isDamage(error)) throw error;
      }
    }
    return [await own(), at];
  };
  /**
   * `at` is the place of the sample, which is loaded where the store lacks a view of it; draws are those of `index`,
   * whose place in the batch it has.
   */
  const prepareAll = async (
    load: () => Promise<Sample>,
    at: number,
    index: number,
    stored: Stored = {},
  ): Promise<Prepared> => {
    let loaded: Promise<Sample> | undefined;
    const own = () => {
      loaded ??= load();
      return loaded;
    };
    const handle = stored.handle ?? (await prepareView(await own(), at, "augment", index));
    const others: Record<string, SampleHandle> = { ...stored.views };
    for (const [number, [name, { of, augment }]] of views.entries()) {
      if (others[name]) continue;
      const [other, place] =
        of === "sample"
          ? [await own(), at]
          : await readableNeighbour(at, own, hash(seed, epoch, index, number));
      others[name] = await prepareView(other, place, augment, index, number);
    }
    return { handle, views: others };
  };
  const prepare = async ({ index, load }: LoadableSample, stored?: Stored): Promise<Replaced<Prepared>> => {
    const one = (at: number, replaces: boolean) =>
      replaces
        ? prepareAll(() => data.load(at, { epoch, signal }), at, index)
        : prepareAll(() => load(signal), at, index, stored);
    if (strict) return { value: await one(index, false), skipped: [] };
    return loadReplacing(data, { seed, epoch, signal }, index, one);
  };
  const viewsOf = (batch: readonly LoadableSample[]): ViewOfBatch[] => {
    const own = Uint32Array.from(batch, ({ index }) => index);
    const seeds = (...keys: readonly number[]) =>
      BigUint64Array.from(batch, ({ index }) => hash(seed, epoch, index, ...keys));
    const neighbour = (index: number, number: number) =>
      neighboursFrom(neighbours, index, hash(seed, epoch, index, number))[0] ?? index;
    return [
      { name: undefined, augment: config.augment, indices: own, seeds: seeds() },
      ...views.map(([name, { of, augment }], number) => ({
        name,
        augment: config[augment],
        indices: of === "sample" ? own : own.map((index) => neighbour(index, number)),
        seeds: seeds(number),
      })),
    ];
  };
  /** What the store has of each sample of a batch of which these are the views. */
  const readStored = async (from: DecodedStore, shown: readonly ExpectedView[]): Promise<Stored[]> => {
    const stored: { handle?: SampleHandle; views: Record<string, SampleHandle> }[] = [];
    for (const { name, augment, indices, seeds, found } of shown) {
      const samples = await from.read(indices, { augment, seeds }, found, model);
      for (const i of indices.keys()) {
        stored[i] ??= { views: {} };
        const handle = samples[i];
        if (!handle) continue;
        if (name === undefined) stored[i].handle = handle;
        else stored[i].views[name] = handle;
      }
    }
    return stored;
  };
  /** The system fetches what is stored of a batch from the disk while earlier batches are read. */
  const expect = async (from: DecodedStore, batch: readonly LoadableSample[]): Promise<PlannedBatch> => {
    const shown = viewsOf(batch).map(async (view) => ({ ...view, found: await from.expect(view.indices) }));
    return { batch, shown: await Promise.all(shown) };
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
  const load = async ({ batch, shown }: PlannedBatch, inPlace: InPlace) => {
    const stored = store ? await readStored(store, shown) : [];
    const loaded = await Promise.all(
      batch.map((each, i) => {
        const own = stored[i];
        const handle = own?.handle;
        if (handle && views.every(([name]) => own.views?.[name])) {
          return { value: { handle, views: own.views ?? {} }, skipped: [] };
        }
        return inPlace(() => prepare(each, own));
      }),
    );
    store?.warnOfFailure();
    return batchOf(loaded);
  };
  const ahead = { items: config.queue, signal };
  if (!store) {
    yield* lookAhead(source, (batch, inPlace) => load({ batch, shown: [] }, inPlace), ahead);
    return;
  }
  yield* lookAhead(
    lookAhead(source, (batch) => expect(store, batch), ahead),
    load,
    ahead,
  );
}

function batchOf(loaded: readonly Replaced<Prepared>[]): TrainingBatch {
  const values = () =>
    loaded.map(({ value, skipped }) => {
      if (value !== undefined) return value;
      throw new SoundspotError(
        "ERR_DATASET",
        `Neither a sample nor the ${skipped.length - 1} drawn in its place can be read: ${skipped[0]?.reason}`,
      );
    });
  return {
    skipped: loaded.flatMap(({ skipped }) => skipped),
    samples: () => values().map(({ handle }) => handle),
    views: () => {
      const all = values();
      const names = Object.keys(all[0]?.views ?? {});
      return Object.fromEntries(
        names.map((name) => [name, all.map(({ views }) => views[name] as SampleHandle)]),
      );
    },
    release: () => {
      for (const { value } of loaded) {
        if (value) releaseSamples([value.handle, ...Object.values(value.views)]);
      }
    },
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
