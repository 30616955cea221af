// Competitors measured in turns: a machine that changes its speed then changes it for all of them.

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/**
 * @param competitors `{ name, unit?, run(times) → Promise<ms[]>, close?() }`
 * @param rounds turns of each
 * @param times measurements a turn; one more comes first and is not counted
 * @param onRound called with the number of turns done, and of all
 * @param onMeasured called with a competitor's name and `{ median, all }` once its last turn is over
 * @returns name → { median, all } in milliseconds
 */
export async function inTurns(competitors, { rounds, times, onRound, onMeasured }) {
  const all = new Map(competitors.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { name, run }] of competitors.entries()) {
      const values = all.get(name);
      values.push(...(await run(times + 1)).slice(1));
      onRound?.(round * competitors.length + i + 1, rounds * competitors.length);
      if (round === rounds - 1) onMeasured?.(name, { median: median(values), all: values });
    }
  }
  return new Map([...all].map(([name, values]) => [name, { median: median(values), all: values }]));
}

/** Seconds of `inTurns` where a measurement takes `ms`. */
export const turnsSeconds = (ms, { rounds, times, competitors }) =>
  (ms / 1000) * rounds * (times + 1) * competitors;

/** `work` timed one call after another. */
export function timed(work) {
  return async (times) => {
    const values = [];
    for (let i = 0; i < times; i++) {
      const started = performance.now();
      await work();
      values.push(performance.now() - started);
    }
    return values;
  };
}

/** A table for a terminal and for Markdown. */
export function table(columns, rows) {
  const all = [columns, ...rows].map((row) => row.map(String));
  const widths = columns.map((_, i) => Math.max(...all.map((row) => row[i].length)));
  const line = (row) =>
    `| ${row.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i ? `${"-".repeat(width + 1)}:` : "-".repeat(width + 2))).join("|")}|`;
  return [line(all[0]), rule, ...all.slice(1).map(line)].join("\n");
}
