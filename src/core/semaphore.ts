/** A limit on how much is worked on at a time; what comes beyond it waits, in order. */
import { availableParallelism } from "node:os";
import { SoundspotError, throwIfAborted } from "./errors.js";

/** Samples of a dataset decoded at a time: every processor is busy while files are waited for. */
export const SAMPLES_AT_A_TIME = Math.max(8, 2 * availableParallelism());

interface Waiting {
  readonly signal: AbortSignal | undefined;
  /** Told whether there is a place, or none will come. */
  readonly answer: (place: boolean) => void;
}

export class Semaphore {
  readonly #places: number;
  readonly #waiting = new Set<Waiting>();
  #taken = 0;
  #closed = false;
  #paused = false;

  constructor(places: number) {
    this.#places = places;
  }

  /**
   * Waits for a place.
   * @returns what gives it back; harmless when it was given back.
   * @throws {SoundspotError} ERR_ABORTED at once when the signal fires or the limit is closed.
   */
  async take(signal?: AbortSignal): Promise<() => void> {
    if (!(await this.#place(signal))) {
      throwIfAborted(signal);
      throw new SoundspotError("ERR_ABORTED", "What this was to be part of has ended.");
    }
    let held = true;
    return () => {
      if (held) this.#giveBack();
      held = false;
    };
  }

  /** Does the work in a place of its own. @throws {SoundspotError} as `take`, and what the work throws. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const giveBack = await this.take(signal);
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  /** Lets nobody in until `resume`; who has a place keeps it. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (this.#taken < this.#places) {
      const [next] = this.#waiting;
      if (!next) return;
      this.#taken++;
      this.#leave(next, true);
    }
  }

  /** Turns away who waits or comes later; who has a place keeps it. */
  close(): void {
    this.#closed = true;
    for (const waiting of this.#waiting) this.#leave(waiting, false);
  }

  #place(signal: AbortSignal | undefined): boolean | Promise<boolean> {
    if (this.#closed || signal?.aborted) return false;
    if (this.#taken < this.#places && !this.#paused) {
      this.#taken++;
      return true;
    }
    // The same listener again is no second one, however many wait.
    signal?.addEventListener("abort", this.#onAbort);
    return new Promise((answer) => this.#waiting.add({ signal, answer }));
  }

  #giveBack(): void {
    const [next] = this.#waiting;
    if (next && !this.#paused) this.#leave(next, true);
    else this.#taken--;
  }

  #leave(waiting: Waiting, place: boolean): void {
    const { signal, answer } = waiting;
    this.#waiting.delete(waiting);
    answer(place);
    for (const other of this.#waiting) if (other.signal === signal) return;
    signal?.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = ({ target }: Event): void => {
    for (const waiting of this.#waiting) if (waiting.signal === target) this.#leave(waiting, false);
  };
}
