/**
 * Progress of a long job on standard error: one line that overwrites itself on a terminal, and a line every ten seconds
 * elsewhere, such as in the log of CI. Lines come at that pace also while a step sends no updates.
 *
 *   SOUNDSPOT_PROGRESS=30   seconds between the lines of a log; 0 prints no progress at all
 */

const INTERVAL = 10;
const REDRAW = 100;
const TICK = 1000;
const BAR = 24;
/** Milliseconds before which an estimate of the remaining time means nothing. */
const SETTLED = 2000;

/** Seconds between lines, or undefined for no progress. */
function chosenInterval() {
  const text = process.env.SOUNDSPOT_PROGRESS?.trim();
  if (!text) return INTERVAL;
  const seconds = Number(text);
  if (seconds === 0) return undefined;
  return seconds > 0 && Number.isFinite(seconds) ? seconds : INTERVAL;
}

/** @returns {string} minutes:seconds, or hours:minutes:seconds. */
export function clock(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

const counters = {
  steps: (done, total) => (total > 0 ? ` [${done}/${total}]` : ` [${done}]`),
  bytes: (done, total) =>
    total > 0 ? ` ${megabytes(done)} of ${megabytes(total)} MB` : ` ${megabytes(done)} MB`,
  percent: () => "",
};
const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

export class Progress {
  #stream;
  #interval;
  #prefix;
  #note;
  #timer;
  #shown = false;
  #drawn = Number.NEGATIVE_INFINITY;
  #started = performance.now();
  /** The first update of the step: work that a resumed run had done before does not count for the pace. */
  #first;
  #title = "";
  #text = "";
  #unit = "steps";
  #done = 0;
  #total = 0;

  /**
   * @param {object} [options]
   * @param {boolean} [options.enabled] Default true.
   * @param {string} [options.prefix] Begins each line.
   * @param {() => string} [options.note] Asked for the end of each line.
   * @param {{ write(text: string): unknown, isTTY?: boolean, columns?: number }} [options.stream] Default stderr.
   */
  constructor({ enabled = true, prefix = "", note = () => "", stream = process.stderr } = {}) {
    this.#interval = enabled ? chosenInterval() : undefined;
    this.#prefix = prefix;
    this.#note = note;
    this.#stream = stream;
  }

  /**
   * Begins a step, whose elapsed time counts from now.
   *
   * @param {string} title
   * @param {object} [options]
   * @param {number} [options.total] Default 0: unknown.
   * @param {"steps" | "bytes" | "percent"} [options.unit] Default steps.
   */
  start(title, { total = 0, unit = "steps" } = {}) {
    this.#title = title;
    this.#total = total;
    this.#unit = unit;
    this.#done = 0;
    this.#text = "";
    this.#first = undefined;
    this.#started = performance.now();
    this.#drawn = Number.NEGATIVE_INFINITY;
    this.#begin();
    if (this.#stream.isTTY) this.#draw();
  }

  /** Updates the work done, the total, and a short text. Omitted values stay as they were. */
  update(done, total = this.#total, text = this.#text, unit = this.#unit) {
    this.#unit = unit;
    this.#done = done;
    this.#total = total;
    this.#text = text;
    this.#first ??= { done, at: performance.now() };
    this.#begin();
    if (!this.#stream.isTTY) return;
    const now = performance.now();
    if (now - this.#drawn < REDRAW && done < total) return;
    this.#draw();
  }

  add(amount) {
    this.update(this.#done + amount);
  }

  /** Removes the line from a terminal to print another. The next update draws it again. */
  clear() {
    if (this.#shown) this.#stream.write("\r\x1b[K");
    this.#shown = false;
  }

  /** Ends the job: nothing is printed any more until the next step begins. */
  end() {
    this.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One clock for all steps: many short ones print no less often than a long one. */
  #begin() {
    if (this.#interval === undefined || this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#draw(), this.#stream.isTTY ? TICK : 1000 * this.#interval);
    this.#timer.unref?.();
  }

  #draw() {
    if (this.#interval === undefined) return;
    this.#drawn = performance.now();
    const line = this.#line(this.#drawn - this.#started);
    if (!this.#stream.isTTY) {
      this.#stream.write(`${line}\n`);
      return;
    }
    const filled = Math.round(BAR * this.#share());
    const bar = this.#total > 0 ? `${"█".repeat(filled)}${"░".repeat(BAR - filled)} ` : "";
    // A line that wraps could not be overwritten.
    const width = Math.max(20, (this.#stream.columns ?? 80) - 1);
    this.#stream.write(`\r\x1b[K${`${bar}${line}`.slice(0, width)}`);
    this.#shown = true;
  }

  #share() {
    return this.#total > 0 ? Math.min(1, this.#done / this.#total) : 0;
  }

  /** Remaining milliseconds of the step at the pace until now, once it is known. */
  #left() {
    if (this.#first === undefined || this.#done >= this.#total) return undefined;
    const [done, passed] = [this.#done - this.#first.done, performance.now() - this.#first.at];
    return done > 0 && passed >= SETTLED ? (passed / done) * (this.#total - this.#done) : undefined;
  }

  #line(elapsed) {
    const known = this.#total > 0 && (this.#done > 0 || this.#unit !== "steps");
    const amount = this.#done > 0 || this.#total > 0 ? counters[this.#unit](this.#done, this.#total) : "";
    const parts = [`${this.#prefix}${this.#title}${amount}`];
    if (known) parts.push(`${Math.floor(100 * this.#share())} %`);
    parts.push(clock(elapsed));
    const left = this.#left();
    if (left !== undefined) parts.push(`about ${clock(left)} left`);
    for (const text of [this.#text, this.#note()]) if (text) parts.push(text);
    return parts.join(", ").replace(/ {2,}/g, " ").trimStart();
  }
}

/**
 * The counter at the start of a line of Ninja, `[12/57] Building …`, or of Make, `[ 21%] Building …`.
 *
 * @param {string} line
 * @returns {{ done: number, total: number, unit: "steps" | "percent" } | undefined}
 */
export function parseBuildLine(line) {
  // Ninja on a terminal starts its line with \r and may colour it.
  const ninja = /^[\s\r]*\[\s*(\d+)\/(\d+)\]/.exec(line);
  if (ninja) {
    const [done, total] = [Number(ninja[1]), Number(ninja[2])];
    return done <= total && total > 0 ? { done, total, unit: "steps" } : undefined;
  }
  const make = /^[\s\r]*\[\s*(\d+)%\]/.exec(line);
  if (make && Number(make[1]) <= 100) return { done: Number(make[1]), total: 100, unit: "percent" };
  return undefined;
}
