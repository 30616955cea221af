/** Whether a run is to end early: by its caller's signal, one of the system, or another process of its group. */
import { setMaxListeners } from "node:events";
import { isSoundspotError } from "../core/errors.js";
import type { TrainRunOptions } from "./run-options.js";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

export class Stopping {
  /** Fires when the run is to end. */
  readonly halt: AbortSignal;
  /**
   * Cuts short what runs. Undefined in a group, whose processes end together: each informs the others with its next step,
   * and nothing is cut short before.
   */
  readonly interrupt: AbortSignal | undefined;
  readonly #controller = new AbortController();
  readonly #callers: AbortSignal | undefined;
  #by: NodeJS.Signals | undefined;

  constructor({
    signal,
    group,
    handleSignals = false,
  }: Pick<TrainRunOptions, "signal" | "group" | "handleSignals">) {
    this.#callers = signal;
    this.halt = signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal;
    setMaxListeners(0, this.halt); // every sample that is decoded listens
    this.interrupt = group ? undefined : this.halt;
    if (handleSignals) for (const name of SIGNALS) process.once(name, this.stop);
  }

  /** The signal of the system that ended the run, in this process or in another of the group. */
  get by(): NodeJS.Signals | undefined {
    return this.#by;
  }

  readonly stop = (by: NodeJS.Signals | undefined): void => {
    this.#by = by;
    this.#controller.abort(by);
  };

  /** Whether an error is what `halt` led to. */
  causes(error: unknown): boolean {
    return this.halt.aborted && isSoundspotError(error) && error.code === "ERR_ABORTED";
  }

  /** Whether the run gives its result, and not the error, to its caller. */
  givesResult(error: unknown): boolean {
    return this.causes(error) && !this.#callers?.aborted && this.#by !== undefined;
  }

  [Symbol.dispose](): void {
    for (const name of SIGNALS) process.off(name, this.stop);
  }
}
