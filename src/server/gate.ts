/** Admission of requests: a number at work, a number that waits, and a share for each client; more are rejected. */
import { Semaphore } from "../core/semaphore.js";
import { type Client, LOCAL } from "./clients.js";
import { HttpError } from "./http-error.js";
import { Shares } from "./shares.js";

/** Weight of earlier measurements against one more request. */
const MEMORY = 0.95;
/** Longest `Retry-After`, in seconds. */
const LONGEST = 60;

export interface GateOptions {
  /** Requests at work at a time. */
  readonly concurrency: number;
  /** Requests that wait for their turn, or are still being received. */
  readonly queue: number;
  /** Requests of a client while it is alone. Default all. */
  readonly perClient?: number;
}

/** An accepted request. */
export interface Ticket {
  /** Waits for its turn; clients take turns. @throws {SoundspotError} ERR_ABORTED when the signal fires. */
  turn(signal: AbortSignal): Promise<void>;
  /** Gives its place to the next; calling it again has no effect. `answered` ones count for the rate. */
  leave(answered: boolean): void;
}

export class Gate {
  readonly #places: Semaphore;
  readonly #most: number;
  readonly #accepted: Shares;
  readonly #now: () => number;
  #atWork = 0;
  /** Answers and the seconds of work that they took, as decaying sums. */
  #answers = 0;
  #seconds = 0;
  #since = 0;

  /** @param now a clock in milliseconds */
  constructor({ concurrency, queue, perClient }: GateOptions, now: () => number = () => performance.now()) {
    this.#places = new Semaphore(concurrency);
    this.#most = concurrency + queue;
    this.#accepted = new Shares(this.#most, perClient ?? this.#most);
    this.#now = now;
  }

  /** Accepted, but not at work. */
  get waiting(): number {
    return this.#accepted.used - this.#atWork;
  }

  get atWork(): number {
    return this.#atWork;
  }

  /** Seconds until all accepted requests are answered, at the measured rate: a whole number from 1 to 60. */
  get retryAfter(): number {
    const each = this.#answers > 0 ? this.#seconds / this.#answers : 0;
    return Math.max(1, Math.min(LONGEST, Math.ceil(this.#accepted.used * each)));
  }

  /** @throws {HttpError} 429 with the time to try again when all places are taken, or the client has its share. */
  admit(client: Client = LOCAL): Ticket {
    const shortage = this.#accepted.shortage(client);
    if (shortage !== undefined) {
      const why =
        shortage === "full"
          ? `${this.#most} requests are waiting or at work, and no more are accepted.`
          : `${this.#accepted.heldBy(client)} requests of your address are waiting or at work: its share of the places, which shrinks while others call.`;
      throw new HttpError(429, "ERR_OVERLOADED", `${why} Try again after ${this.retryAfter} s.`, {
        retryAfter: this.retryAfter,
      });
    }
    this.#accepted.take(client);
    let giveBack: (() => void) | undefined;
    let left = false;
    return {
      turn: async (signal) => {
        giveBack = await this.#places.take(signal, client.key);
        if (this.#atWork++ === 0) this.#since = this.#now();
      },
      leave: (answered) => {
        if (left) return;
        left = true;
        this.#accepted.giveBack(client);
        if (!giveBack) return;
        this.#measure(answered);
        this.#atWork--;
        giveBack();
      },
    };
  }

  /** Time counts only while something is at work. */
  #measure(answered: boolean): void {
    const now = this.#now();
    if (answered) {
      this.#answers = MEMORY * this.#answers + 1;
      this.#seconds *= MEMORY;
    }
    this.#seconds += (now - this.#since) / 1000;
    this.#since = now;
  }
}
