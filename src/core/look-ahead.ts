/** Works on the items of a source ahead of the consumer: the loader of every loop over samples. */
import { throwIfAborted } from "./errors.js";
import { SAMPLES_AT_A_TIME, Semaphore } from "./semaphore.js";

/** Does one part of an item's work as soon as a place is free. */
export type InPlace = <T>(work: () => Promise<T>) => Promise<T>;

export interface LookAheadOptions {
  /** Items in memory at most: the last one yielded, and those in work after it. At least 1. */
  readonly items: number;
  /** Parts in work at a time, of all items together. Default `SAMPLES_AT_A_TIME`. */
  readonly places?: number;
  /** Ends the work with ERR_ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The results of `work`, in the order of the source. An error of the source or of an item is thrown when its turn comes,
 * after the results before it. When the loop is left, waiting parts are cancelled and the source is closed.
 * @param work does the parts of an item through `inPlace`
 * @throws {SoundspotError} ERR_ABORTED, and the errors of source and work.
 */
export async function* lookAhead<Item, Result>(
  source: Iterable<Item> | AsyncIterable<Item>,
  work: (item: Item, inPlace: InPlace) => Promise<Result>,
  { items, places = SAMPLES_AT_A_TIME, signal }: LookAheadOptions,
): AsyncGenerator<Result, void, void> {
  const semaphore = new Semaphore(places);
  const inPlace: InPlace = (part) => semaphore.run(part, signal);
  const iterator =
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();

  /** The item after that of `before`, whose work has begun; undefined after the last. */
  const begin = async (before: Promise<unknown>) => {
    await before;
    const { value, done } = await iterator.next();
    if (done) return undefined;
    const result = work(value, inPlace);
    result.catch(() => undefined); // thrown when its turn comes
    return { result };
  };

  const begun: ReturnType<typeof begin>[] = [];
  try {
    for (;;) {
      throwIfAborted(signal);
      while (begun.length < items) {
        const next = begin(begun.at(-1) ?? Promise.resolve());
        next.catch(() => undefined); // thrown when its turn comes
        begun.push(next);
      }
      try {
        const first = await begun.shift();
        if (!first) return;
        yield await first.result;
      } catch (error) {
        throwIfAborted(signal); // takes precedence over the error of interrupted work
        throw error;
      }
    }
  } finally {
    semaphore.close();
    await iterator.return?.();
  }
}
