/**
 * The order of an epoch's samples, dealt out to readers that each go forwards through archives of their own. It depends on
 * the seed, the epoch and the number of readers, not on how many processes share them.
 */
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import { hash, permutation, uniform } from "../../core/random.js";
import type { Members, Shard } from "./shard.js";

/** An archive, its number of samples, and which sample of the dataset its first one is. */
export interface CountedShard {
  readonly shard: Shard;
  readonly samples: number;
  readonly first: number;
}

/** Samples `from` … `until` − 1 of an archive. */
export interface Stretch extends CountedShard {
  readonly from: number;
  readonly until: number;
}

/** What one reader does in an epoch. */
export interface ReaderPlan {
  /** Samples it gives to each batch. */
  readonly share: number;
  /** Read one after the other. */
  readonly stretches: readonly Stretch[];
  /** In which order its samples come out of its buffer, as positions in what it reads. */
  readonly order: Uint32Array;
}

export interface EpochOptions {
  readonly epoch: number;
  readonly seed: number;
  /** Of all processes. */
  readonly batchSize: number;
  /** Of all processes. */
  readonly readers: number;
  /** Samples that a reader holds to draw from. */
  readonly buffer: number;
}

/**
 * Archives in a drawn order, their samples cut into one run for each reader. Each batch has the same number of samples of
 * a reader; what is left of the last batch is left out, in other archives in each epoch.
 */
export function planEpoch(shards: readonly CountedShard[], options: EpochOptions): readonly ReaderPlan[] {
  const { epoch, seed, batchSize, readers, buffer } = options;
  const shuffled = Array.from(permutation(shards.length, seed, epoch), (i) => shards[i] as CountedShard);
  const total = shuffled.reduce((sum, { samples }) => sum + samples, 0);
  const batches = Math.floor(total / batchSize);
  const dealt = (reader: number) => Math.floor((reader * batchSize) / readers);
  return Array.from({ length: readers }, (_, reader) => {
    const [begin, end] = [batches * dealt(reader), batches * dealt(reader + 1)];
    return {
      share: dealt(reader + 1) - dealt(reader),
      stretches: stretchesOf(shuffled, begin, end),
      order: bufferOrder(end - begin, buffer, uniform(Number(hash(seed, epoch, reader + 1) & 0xffffffffn))),
    };
  });
}

function stretchesOf(shards: readonly CountedShard[], begin: number, end: number): Stretch[] {
  const stretches: Stretch[] = [];
  let at = 0;
  for (const each of shards) {
    const [from, until] = [Math.max(0, begin - at), Math.min(each.samples, end - at)];
    if (from < until) stretches.push({ ...each, from, until });
    at += each.samples;
  }
  return stretches;
}

/** The order in which 0 … length − 1 leave a buffer of `size` places that is refilled after each draw. */
export function bufferOrder(length: number, size: number, draw: () => number): Uint32Array {
  const order = new Uint32Array(length);
  const held = Uint32Array.from({ length: Math.min(size, length) }, (_, i) => i);
  let [next, filled] = [held.length, held.length];
  for (let i = 0; i < length; i++) {
    const place = Math.floor(draw() * filled);
    order[i] = held[place] as number;
    held[place] = next < length ? next++ : (held[--filled] as number);
  }
  return order;
}

/** A sample as it comes out of a reader, still encoded, or why it could not be read. */
export interface ReadSample {
  /** In the dataset. */
  readonly index: number;
  readonly found: { readonly key: string; readonly members: Members } | SoundspotError;
}

/**
 * Reads the samples of a plan, from its sample `skip` on. Earlier samples are skipped; archives that are behind it are
 * not opened. At most the buffer's number of samples is held.
 * @throws {SoundspotError} ERR_NETWORK, ERR_FILE_NOT_FOUND, ERR_ABORTED; damage is given for the samples it concerns.
 */
export async function* readPlan(
  { stretches, order }: ReaderPlan,
  skip: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<ReadSample, void, void> {
  const left = order.subarray(skip);
  const awaited = new Uint8Array(order.length);
  for (const position of left) awaited[position] = 1;
  const input = forwards(stretches, awaited, signal);
  const held = new Map<number, ReadSample>();
  try {
    for (const position of left) {
      while (!held.has(position)) {
        const { value, done } = await input.next();
        if (done) throw new SoundspotError("ERR_INTERNAL", `Sample ${position} of a reader did not come.`);
        held.set(value.position, value.sample);
      }
      yield held.get(position) as ReadSample;
      held.delete(position);
    }
  } finally {
    await input.return();
  }
}

interface Placed {
  readonly position: number;
  readonly sample: ReadSample;
}

/** The awaited samples in the order of the archives. */
async function* forwards(
  stretches: readonly Stretch[],
  awaited: Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<Placed, void, void> {
  let begin = 0;
  for (const stretch of stretches) {
    const end = begin + stretch.until - stretch.from;
    const first = awaited.subarray(begin, end).indexOf(1);
    if (first >= 0) yield* inStretch(stretch, begin, first, awaited, signal);
    begin = end;
  }
}

async function* inStretch(
  { shard, first: firstIndex, from, until, samples }: Stretch,
  begin: number,
  first: number,
  awaited: Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<Placed, void, void> {
  const positionOf = (number: number) => begin + number - from;
  const isAwaited = (number: number) => number < until && awaited[positionOf(number)] === 1;
  let next = from + first;
  let failure: SoundspotError | undefined;
  try {
    for await (const { number, key, members } of shard.samples({ from: next, wanted: isAwaited, signal })) {
      next = number + 1;
      if (members) {
        yield {
          position: positionOf(number),
          sample: { index: firstIndex + number, found: { key, members } },
        };
      }
      if (next >= until) break;
    }
  } catch (error) {
    if (!isSoundspotError(error) || error.code !== "ERR_MEDIA_DECODE") throw error;
    failure = error;
  }
  failure ??= new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${shard.place} has ${next} samples, not ${samples}. Count them again, or copy the archive again.`,
  );
  for (let number = next; number < until; number++) {
    if (isAwaited(number)) {
      yield { position: positionOf(number), sample: { index: firstIndex + number, found: failure } };
    }
  }
}
