// The output of a running bench: its expected duration, each row once it is measured, and its progress.
import { clock, Progress } from "../../scripts/progress.mjs";

/** A cell's width where a column gives none; longer ones stand out. */
const WIDTH = 10;

export class Report {
  #out;
  #progress;
  #widths = [];
  #started = performance.now();
  #expected;
  #results = [];
  #compared;

  /** @param options `out` and `stream` receive the rows and the progress in place of standard output and error */
  constructor({ out = process.stdout, stream = process.stderr } = {}) {
    this.#out = out;
    this.#progress = new Progress({ stream, note: () => this.#remaining() });
    this.#progress.start("calibrating");
  }

  /** Prints the expected duration, estimated from a small part of the work that the bench has measured first. */
  expect(seconds, rows) {
    this.#started = performance.now();
    this.#expected = 1000 * seconds;
    this.#print(`about ${duration(seconds)}; ${rows} rows`);
  }

  /** Begins a table: its header is printed. */
  table(title, columns, widths = []) {
    this.#widths = columns.map((name, i) => Math.max(name.length, widths[i] ?? WIDTH));
    const rule = this.#widths.map((width, i) => (i ? `${"-".repeat(width + 1)}:` : "-".repeat(width + 2)));
    this.#print(`\n${title}\n\n${this.#line(columns)}\n|${rule.join("|")}|`);
  }

  row(cells) {
    this.#print(this.#line(cells.map(String)));
  }

  /** Begins a table of competitors. @param columns see `comparison` */
  compare(title, columns, widths = [20, 30]) {
    this.#results = [];
    this.#compared = columns;
    this.table(title, comparison([], columns).columns, widths);
  }

  /** The row of one competitor, after those of ours that it is compared with. */
  result(result) {
    this.#results.push(result);
    this.row(comparison(this.#results, this.#compared).rows.at(-1));
  }

  note(text) {
    this.#print(text);
  }

  /** Begins a step of the work. @returns to be called with the work done and the total */
  step(title, total = 0) {
    this.#progress.start(title, { total });
    return (done, of = total) => this.#progress.update(done, of);
  }

  end() {
    this.#progress.end();
  }

  #print(text) {
    this.#progress.clear();
    this.#out.write(`${text}\n`);
  }

  #line(cells) {
    const padded = cells.map((cell, i) =>
      i ? cell.padStart(this.#widths[i]) : cell.padEnd(this.#widths[i]),
    );
    return `| ${padded.join(" | ")} |`;
  }

  #remaining() {
    if (this.#expected === undefined) return "";
    const left = this.#expected - (performance.now() - this.#started);
    return left > 0 ? `in all about ${clock(left)} left` : "longer than expected";
  }
}

/** @returns such as "40 s", "6 min" or "1.5 h" */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/**
 * A row for each competitor, its time as a multiple of each of ours.
 *
 * @param results `{ work, name, ms, peak?, rate? }`
 * @param columns `ours`, the names that others are compared with; `memory` and `rates` add these columns
 */
export function comparison(results, { ours, memory = false, rates = false }) {
  const columns = [
    ...["work", "who", "ms"],
    ...(memory ? ["peak MiB"] : []),
    ...(rates ? ["GFLOP/s"] : []),
    ...ours.map((name) => `× ${name}`),
  ];
  const rows = results.map((result) => [
    result.work,
    result.name,
    result.ms.toFixed(result.ms < 10 ? 2 : 1),
    ...(memory ? [result.peak?.toFixed(0) ?? ""] : []),
    ...(rates ? [result.rate?.toFixed(0) ?? ""] : []),
    ...ours.map((name) => {
      const own = results.find((each) => each.work === result.work && each.name === name);
      return own ? (result.ms / own.ms).toFixed(2) : "";
    }),
  ]);
  return { columns, rows };
}
