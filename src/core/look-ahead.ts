/** Work on what a source gives, some items ahead of the one that is asked for: the loader of every loop over samples. */
import { throwIfAborted } from "./errors.js";
import { SAMPLES_AT_A_TIME, Semaphore } from "./semaphore.js";

/** Does one part of an item's work when there is a place for it. */
export type InPlace = <T>(work: () => Promise<T>) => Promise<T>;

export interface LookAheadOptions {
  /** Items in memory at most: the one that was given last, and those that are worked on after it. At least 1. */
  readonly items: number;
  /** Parts that are worked on at a time, of all items together. Default `SAMPLES_AT_A_TIME`. */
  readonly places?: number;
  /** Ends the work with ERR_ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The results of `work`, in the order of the source. An error of the source or of an item is thrown when its turn comes,
 * after the results before it. When the loop is left, parts that wait for a place are given up and the source is closed.
 * @param work does the parts of an item through `inPlace`
 * @throws {SoundspotError} ERR_ABORTED, and what source and work throw.
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
        throwIfAborted(signal); // whatever the work says when it is interrupted
        throw error;
      }
    }
  } finally {
    semaphore.close();
    await iterator.return?.();
  }
}
