// npm run bench -- NAME [--rounds N] [--threads N] [--json FILE], where NAME is that of a file beside this one
//
// Runs soundspot and every rival that is installed in turns and prints medians and ratios. README.md says how to
// install the rivals.
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { table } from "./lib/turns.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    threads: { type: "string" },
    json: { type: "string" },
    // Of search.
    count: { type: "string" },
    vectors: { type: "string" },
    variants: { type: "string" },
    model: { type: "string" },
  },
});
const names = [
  "localize",
  "train",
  "kernels",
  "products",
  "data",
  "startup",
  "processes",
  "network",
  "shards",
  "video",
  "search",
  "serve",
];
const [name] = positionals;
if (!names.includes(name)) {
  process.stderr.write(
    `usage: npm run bench -- ${names.join("|")} [--rounds N] [--threads N] [--json FILE]\n`,
  );
  process.exit(2);
}
const threads = Number(values.threads ?? cpus().length);
const bench = (await import(`./${name}.mjs`))[name];
const measured = await bench({
  ...(values.rounds ? { rounds: Number(values.rounds) } : {}),
  ...(values.count ? { count: Number(values.count) } : {}),
  ...(values.vectors ? { vectors: Number(values.vectors) } : {}),
  ...(values.variants ? { variants: values.variants.split(",") } : {}),
  ...(values.model ? { model: values.model } : {}),
  threads,
  progress: (done, total) => process.stderr.isTTY && process.stderr.write(`\rround ${done} of ${total} `),
});

/** A row for each competitor, its time as a multiple of each of ours. */
function compared(results) {
  const own = (result) =>
    results.filter((each) => each.work === result.work && each.name.startsWith("soundspot"));
  const [memory, rates] = [results.some(({ peak }) => peak), results.some(({ rate }) => rate)];
  const ours = [...new Set(results.filter((r) => r.name.startsWith("soundspot")).map((r) => r.name))];
  const rows = results.map((result) => [
    result.work,
    result.name,
    result.ms.toFixed(result.ms < 10 ? 2 : 1),
    ...(memory ? [result.peak?.toFixed(0) ?? ""] : []),
    ...(rates ? [result.rate?.toFixed(0) ?? ""] : []),
    ...ours.map((name) => {
      const each = own(result).find((other) => other.name === name);
      return each ? (result.ms / each.ms).toFixed(2) : "";
    }),
  ]);
  const columns = [
    "work",
    "who",
    "ms",
    ...(memory ? ["peak MiB"] : []),
    ...(rates ? ["GFLOP/s"] : []),
    ...ours.map((name) => `× ${name}`),
  ];
  return { columns, rows };
}

const tables = measured.tables ?? [
  { title: measured.title, ...(measured.table ?? compared(measured.results)) },
];
const machine = `${cpus()[0].model}, ${threads} threads`;
for (const { title, columns, rows } of tables) {
  process.stdout.write(`\n${title}; ${machine}\n\n${table(columns, rows)}\n`);
}
for (const note of measured.notes ?? []) process.stdout.write(`${note}\n`);
if (values.json) {
  writeFileSync(values.json, `${JSON.stringify({ threads, cpu: cpus()[0].model, ...measured }, null, 2)}\n`);
}
