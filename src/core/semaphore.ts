/** A counting semaphore: a bounded number of holders at a time; the rest wait, in order or by clients in turns. */
import { availableParallelism } from "node:os";
import { SoundspotError, throwIfAborted } from "./errors.js";
import { FairQueue } from "./fair-queue.js";

/** Samples of a dataset decoded at a time: enough to keep every processor busy while files are read. */
export const SAMPLES_AT_A_TIME = Math.max(8, 2 * availableParallelism());

interface Waiting {
  readonly signal: AbortSignal | undefined;
  readonly client: string | undefined;
  /** Called with true when a place is free, with false when none will come. */
  readonly answer: (place: boolean) => void;
}

export class Semaphore {
  readonly #places: number;
  readonly #waiting = new FairQueue<Waiting>();
  #taken = 0;
  #closed = false;
  #paused = false;

  constructor(places: number) {
    this.#places = places;
  }

  /**
   * Waits for a place. Callers of different clients get places in turns, those of one client in order.
   * @returns releases the place; calling it again has no effect.
   * @throws {SoundspotError} ERR_ABORTED at once when the signal fires or the semaphore is closed.
   */
  async take(signal?: AbortSignal, client?: string): Promise<() => void> {
    if (!(await this.#place(signal, client))) {
      throwIfAborted(signal);
      throw new SoundspotError("ERR_ABORTED", "The operation that this work belongs to has ended.");
    }
    let held = true;
    return () => {
      if (held) this.#giveBack();
      held = false;
    };
  }

  /** Does the work in a place of its own. @throws {SoundspotError} as `take`, and the errors of the work. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal, client?: string): Promise<T> {
    const giveBack = await this.take(signal, client);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  /** Gives out no places until `resume`; holders keep theirs. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (this.#taken < this.#places) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#taken++;
      this.#leave(next, true);
    }
  }

  /** Rejects waiting and later callers; holders keep their places. */
  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting) this.#leave(waiting, false);
  }

  #place(signal: AbortSignal | undefined, client: string | undefined): boolean | Promise<boolean> {
    if (this.#closed || signal?.aborted) return false;
    if (this.#taken < this.#places && !this.#paused) {
      this.#taken++;
      return true;
    }
    // Adding the same listener again has no effect, however many wait.
    signal?.addEventListener("abort", this.#onAbort);
    return new Promise((answer) => this.#waiting.add({ signal, client, answer }, client));
  }

  #giveBack(): void {
    const next = this.#paused ? undefined : this.#waiting.shift();
    if (next) this.#leave(next, true);
    else this.#taken--;
  }

  #leave(waiting: Waiting, place: boolean): void {
    const { signal, client, answer } = waiting;
    this.#waiting.delete(waiting, client);
    answer(place);
    for (const other of this.#waiting) if (other.signal === signal) return;
    signal?.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = ({ target }: Event): void => {
    for (const waiting of this.#waiting) if (waiting.signal === target) this.#leave(waiting, false);
  };
}
