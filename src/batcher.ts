/** Joins the work of concurrent callers: what arrives while a batch is at work makes the next one. */

interface Call<Item, Settings, Result> {
  readonly items: readonly Item[];
  readonly settings: Settings;
  readonly kind: string;
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

  /** Calls of equal `kind` have settings that mean the same. */
  submit(items: readonly Item[], settings: Settings, kind: string): Promise<Result[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ items, settings, kind, resolve, reject });
      if (!this.#atWork) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#atWork = true;
    try {
      for (let calls = this.#take(); calls.length > 0; calls = this.#take()) await this.#answer(calls);
    } finally {
      this.#atWork = false;
    }
  }

  /** The first call that waits, and those of its kind that still fit. */
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
      // A batch may be too much for the memory, or one caller's mistake: nobody answers for the others.
      else for (const call of calls) await this.#answer([call]);
    }
  }
}
