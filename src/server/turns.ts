/** Decoding and the model in turns: either wants all processors, and side by side each waits for the other. */
import { throwIfAborted } from "../core/errors.js";
import type { Semaphore } from "../core/semaphore.js";
import { MOST_TOGETHER } from "../model/localize.js";

/** Milliseconds in which nothing was decoded after which the model waits for no more. */
const PATIENCE = 15;

export class Turns {
  readonly #decoders: Semaphore;
  /** Who waits for the model, in order. */
  readonly #waiting = new Set<() => void>();
  /** Requests that are decoded, or are to be. */
  #decoding = 0;
  #computing = 0;
  #timer: NodeJS.Timeout | undefined;
  #asked = false;

  /** @param decoders places to decode in; they are given while the model rests */
  constructor(decoders: Semaphore) {
    this.#decoders = decoders;
  }

  /**
   * Decodes when the model rests; what has begun goes on beside it.
   * @throws {SoundspotError} ERR_ABORTED, and what the work throws.
   */
  async decode<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    this.#decoding++;
    try {
      return await this.#decoders.run(work, signal);
    } finally {
      this.#decoding--;
      this.#stopWaiting();
      this.#ask();
    }
  }

  /**
   * Works with the model together with others: when there are enough, when nobody else is decoded, or when what is
   * decoded takes its time.
   * @throws {SoundspotError} ERR_ABORTED, and what the work throws.
   */
  async compute<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#turn(signal);
    try {
      return await work();
    } finally {
      if (--this.#computing === 0) {
        this.#decoders.resume();
        this.#ask();
      }
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    await new Promise<void>((resolve) => {
      const leave = () => {
        this.#waiting.delete(leave);
        signal.removeEventListener("abort", leave);
        this.#computing++;
        resolve();
      };
      signal.addEventListener("abort", leave);
      this.#waiting.add(leave);
      this.#ask();
    });
  }

  /** Looks whether it is the model's turn when all that happens now has happened. */
  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    setImmediate(() => {
      this.#asked = false;
      this.#next(false);
    });
  }

  #next(impatient: boolean): void {
    if (this.#computing > 0 || this.#waiting.size === 0) return;
    if (this.#decoding > 0 && this.#waiting.size < MOST_TOGETHER && !impatient) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#next(true);
      }, PATIENCE);
      return;
    }
    this.#stopWaiting();
    this.#decoders.pause();
    for (const leave of [...this.#waiting].slice(0, MOST_TOGETHER)) leave();
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
