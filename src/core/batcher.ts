/** Joins the work of concurrent callers: calls that arrive together, or while a batch runs, form the next batch. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { throwIfAborted } from "./errors.js";

interface Call<Item, Settings, Result> {
  readonly items: readonly Item[];
  readonly settings: Settings;
  readonly kind: string;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (results: Result[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** Runs one batch at a time, in the order of the calls; calls of one kind share a batch of at most `most` items. */
export class Batcher<Item, Settings, Result> {
  readonly #run: (items: readonly Item[], settings: Settings) => Promise<Result[]>;
  readonly #most: number;
  #waiting: Call<Item, Settings, Result>[] = [];
  #atWork = false;

  constructor(run: (items: readonly Item[], settings: Settings) => Promise<Result[]>, most: number) {
    this.#run = run;
    this.#most = most;
  }

  /**
   * Calls of equal `kind` have equivalent settings. A call whose signal fires leaves the queue while it waits; running
   * work ends with its batch.
   * @throws {SoundspotError} ERR_ABORTED, and the errors of the work.
   */
  async submit(
    items: readonly Item[],
    settings: Settings,
    kind: string,
    signal?: AbortSignal,
  ): Promise<Result[]> {
    throwIfAborted(signal);
    try {
      return await new Promise<Result[]>((resolve, reject) => {
        // Adding the same listener again has no effect, however many calls share the signal.
        signal?.addEventListener("abort", this.#onAbort);
        this.#waiting.push({ items, settings, kind, signal, resolve, reject });
        if (!this.#atWork) void this.#work();
      });
    } finally {
      if (!this.#waiting.some((call) => call.signal === signal)) {
        signal?.removeEventListener("abort", this.#onAbort);
      }
    }
  }

  readonly #onAbort = ({ target }: Event): void => {
    const leaves = ({ signal }: Call<Item, Settings, Result>) => signal !== undefined && signal === target;
    const leaving = this.#waiting.filter(leaves);
    this.#waiting = this.#waiting.filter((call) => !leaves(call));
    for (const { signal, reject } of leaving) {
      try {
        throwIfAborted(signal);
      } catch (reason) {
        reject(reason);
      }
    }
  };

  async #work(): Promise<void> {
    this.#atWork = true;
    await nextTurn();
    try {
      for (let calls = this.#take(); calls.length > 0; calls = this.#take()) await this.#answer(calls);
    } finally {
      this.#atWork = false;
    }
  }

  /** The first waiting call, and those of its kind that still fit. */
  #take(): Call<Item, Settings, Result>[] {
    const [first] = this.#waiting;
    let count = 0;
    const taken: Call<Item, Settings, Result>[] = [];
    const left: Call<Item, Settings, Result>[] = [];
    for (const call of this.#waiting) {
      const fits = call === first || (call.kind === first?.kind && count + call.items.length <= this.#most);
      (fits ? taken : left).push(call);
      if (fits) count += call.items.length;
    }
    this.#waiting = left;
    return taken;
  }

  async #answer(calls: readonly Call<Item, Settings, Result>[]): Promise<void> {
    const [{ settings }] = calls as [Call<Item, Settings, Result>];
    try {
      const results = await this.#run(
        calls.flatMap(({ items }) => items),
        settings,
      );
      let from = 0;
      for (const { items, resolve } of calls) {
        resolve(results.slice(from, from + items.length));
        from += items.length;
      }
    } catch (reason) {
      const [only, ...others] = calls;
      if (others.length === 0) only?.reject(reason);
      // A batch may need too much memory, or one caller's input may be wrong: each call fails or succeeds alone.
      else for (const call of calls) await this.#answer([call]);
    }
  }
}
