/** A progress bar on a terminal, nothing elsewhere. */

const WIDTH = 24;

export class Progress {
  readonly #stream = process.stderr;
  readonly #enabled: boolean;
  #shown = false;
  #started = performance.now();
  #last = 0;

  constructor(enabled = true) {
    this.#enabled = enabled && this.#stream.isTTY === true;
  }

  /** Starts the clock of a new task. */
  restart(): void {
    this.#started = performance.now();
    this.#last = 0;
  }

  update(done: number, total: number, text: string): void {
    if (!this.#enabled) return;
    const now = performance.now();
    if (now - this.#last < 100 && done < total) return;
    this.#last = now;
    const filled = Math.round((WIDTH * done) / Math.max(total, 1));
    const left = done > 0 ? ((now - this.#started) / done) * (total - done) : 0;
    const clock = `${Math.floor(left / 60_000)}:${String(Math.floor((left / 1000) % 60)).padStart(2, "0")}`;
    const bar = `${"█".repeat(filled)}${"░".repeat(WIDTH - filled)}`;
    this.#stream.write(`\r\x1b[K${bar} ${done}/${total} ${clock} left  ${text}`);
    this.#shown = true;
  }

  /** Removes the bar, so that a line can be printed. */
  clear(): void {
    if (this.#shown) this.#stream.write("\r\x1b[K");
    this.#shown = false;
  }
}
