/** Long loops that yield to the event loop and end when their signal fires. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "./errors.js";

/** Yields when a loop has held the event loop for a few milliseconds. */
export class Pacer {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether the loop has run long enough to rest. */
  get due(): boolean {
    return performance.now() - this.#since > 2;
  }

  /** @throws {SoundspotError} ERR_ABORTED */
  async rest(): Promise<void> {
    await nextTurn();
    throwIfAborted(this.#signal);
    this.#since = performance.now();
  }
}

/**
 * Calls `step(from, to)` over 0 … count in slices of `size`, and lets the event loop run between
 * slices when a few milliseconds have passed. A slice should take less than a millisecond.
 *
 * @throws {SoundspotError} ERR_ABORTED
 */
export async function inSlices(
  count: number,
  size: number,
  signal: AbortSignal | undefined,
  step: (from: number, to: number) => void,
): Promise<void> {
  throwIfAborted(signal);
  const pacer = new Pacer(signal);
  for (let from = 0; from < count; from += size) {
    step(from, Math.min(count, from + size));
    if (pacer.due) await pacer.rest();
  }
}

/** Calls `work` on every item and lets the event loop run in between. */
export async function paced<T>(
  items: Iterable<T>,
  signal: AbortSignal | undefined,
  work: (item: T, index: number) => void,
): Promise<void> {
  const pacer = new Pacer(signal);
  let index = 0;
  for (const item of items) {
    work(item, index++);
    if (pacer.due) await pacer.rest();
  }
}
