// npm run bench -- NAME [--rounds N] [--threads N] [--json FILE] [--device cuda], where NAME is that of a file beside
// this one
//
// Runs soundspot and every installed baseline in turns and prints medians and ratios: first the expected duration, each
// row once it is measured, and in the end the whole table. README.md describes how to install the baselines.
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gpuLine, processor, processorLine } from "./lib/processor.mjs";
import { comparison, Report } from "./lib/report.mjs";
import { table } from "./lib/turns.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    threads: { type: "string" },
    json: { type: "string" },
    // Of localize, train and kernels.
    device: { type: "string", default: "cpu" },
    // Of search.
    count: { type: "string" },
    vectors: { type: "string" },
    variants: { type: "string" },
    model: { type: "string" },
    // Of methods.
    methods: { type: "string" },
    // Of startup.
    against: { type: "string" },
    // Of serve.
    seconds: { type: "string" },
  },
});
const names = [
  "localize",
  "train",
  "methods",
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
/** The benches that measure on a GPU, too. */
const ON_GPUS = ["localize", "train", "kernels"];
const [name] = positionals;
const { device } = values;
if (!names.includes(name) || !(device === "cpu" || ON_GPUS.includes(name))) {
  process.stderr.write(
    `usage: npm run bench -- ${names.join("|")} [--rounds N] [--threads N] [--json FILE]\n` +
      `       ${ON_GPUS.join(", ")}: [--device cpu|cuda|cuda:N]\n`,
  );
  process.exit(2);
}
const threads = Number(values.threads ?? cpus().length);
const bench = (await import(`./${name}.mjs`))[name];
const machine = [processorLine(threads), ...(device === "cpu" ? [] : [gpuLine(device)])].join("; ");
process.stdout.write(`${name}; ${machine}\n`);
const report = new Report();
const measured = await bench({
  ...(values.rounds ? { rounds: Number(values.rounds) } : {}),
  ...(values.count ? { count: Number(values.count) } : {}),
  ...(values.vectors ? { vectors: Number(values.vectors) } : {}),
  ...(values.variants ? { variants: values.variants.split(",") } : {}),
  ...(values.methods ? { methods: values.methods.split(",") } : {}),
  ...(values.model ? { model: values.model } : {}),
  ...(values.against ? { against: values.against } : {}),
  ...(values.seconds ? { seconds: Number(values.seconds) } : {}),
  threads,
  device,
  report,
})
  .catch((error) => {
    if (error.code !== "ERR_DEVICE") throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  })
  .finally(() => report.end());

const tables = measured.tables ?? [
  { title: measured.title, ...(measured.table ?? comparison(measured.results, measured.columns)) },
];
for (const { title, columns, rows } of tables) {
  process.stdout.write(`\n${title}; ${machine}\n\n${table(columns, rows)}\n`);
}
for (const note of measured.notes ?? []) process.stdout.write(`${note}\n`);
if (values.json) {
  const gpu = device === "cpu" ? {} : { device, gpu: gpuLine(device) };
  const conditions = { threads, cpu: cpus()[0].model, processor: processor(), ...gpu };
  writeFileSync(values.json, `${JSON.stringify({ ...conditions, ...measured }, null, 2)}\n`);
}
