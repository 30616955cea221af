/** Decoding and the models take turns: each uses all processors, and in parallel they slow each other down. */
import { throwIfAborted } from "../core/errors.js";
import { FairQueue } from "../core/fair-queue.js";
import type { Semaphore } from "../core/semaphore.js";
import { MOST_TOGETHER } from "../model/localize.js";

/** Milliseconds without a decoded request after which the model no longer waits. */
const PATIENCE = 15;

export class Turns {
  readonly #decoders: Semaphore;
  /** Requests that wait for the model. */
  readonly #waiting = new FairQueue<() => void>();
  /** Requests that are being decoded, or wait for it. */
  #decoding = 0;
  #computing = 0;
  #timer: NodeJS.Timeout | undefined;
  #asked = false;

  /** @param decoders places for decoding; they are given out while the model is idle */
  constructor(decoders: Semaphore) {
    this.#decoders = decoders;
  }

  /**
   * Decodes while the model is idle, clients in turns; decoding that has begun continues beside it.
   * @throws {SoundspotError} ERR_ABORTED, and the errors of the work.
   */
  async decode<T>(work: () => Promise<T>, signal: AbortSignal, client?: string): Promise<T> {
    this.#decoding++;
    try {
      return await this.#decoders.run(work, signal, client);
    } finally {
      this.#decoding--;
      this.#stopWaiting();
      this.#ask();
    }
  }

  /**
   * Runs on the models together with other requests: when enough of them wait, when no other is being decoded, or when
   * decoding takes too long. Clients take turns.
   * @throws {SoundspotError} ERR_ABORTED, and the errors of the work.
   */
  async compute<T>(work: () => Promise<T>, signal: AbortSignal, client?: string): Promise<T> {
    await this.#turn(signal, client);
    try {
      return await work();
    } finally {
      if (--this.#computing === 0) {
        this.#decoders.resume();
        this.#ask();
      }
    }
  }

  async #turn(signal: AbortSignal, client: string | undefined): Promise<void> {
    throwIfAborted(signal);
    await new Promise<void>((resolve) => {
      const leave = () => {
        this.#waiting.delete(leave, client);
        signal.removeEventListener("abort", leave);
        this.#computing++;
        resolve();
      };
      signal.addEventListener("abort", leave);
      this.#waiting.add(leave, client);
      this.#ask();
    });
  }

  /** Checks after the current events whether it is the model's turn. */
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
    const together = Array.from({ length: Math.min(MOST_TOGETHER, this.#waiting.size) }, () =>
      this.#waiting.shift(),
    );
    for (const leave of together) leave?.();
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
