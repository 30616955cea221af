/** Work on the items of a list, some at a time. */
import { throwIfAborted } from "./errors.js";

/** Calls `work` on every item, `atOnce` at a time, and keeps the order. @throws {SoundspotError} ERR_ABORTED */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal | undefined,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const runner = async () => {
    while (next < items.length) {
      throwIfAborted(signal);
      const index = next++;
      results[index] = await work(items[index] as T);
    }
  };
  throwIfAborted(signal);
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, runner));
  return results;
}
