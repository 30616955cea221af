/**
 * What the tensors of a training step of the paper's model hold at one time, by batch size: measured for small batches on
 * the CPU, and a line through them for the batches of a GPU. A step keeps the same tensors there; its libraries take
 * memory besides.
 *
 *   node bench/memory.mjs
 */
import { cpus } from "node:os";
import { addon } from "../scripts/addon.mjs";
import { batchOf } from "./lib/inputs.mjs";
import { processorLine } from "./lib/processor.mjs";
import { Report } from "./lib/report.mjs";
import { table } from "./lib/turns.mjs";

const MEASURED = [4, 8, 16, 32];
const COMPUTED = [64, 128, 256];
const GIB = 2 ** 30;
const types = addon.info().cpu.bfloat16 ? ["float32", "bfloat16"] : ["float32"];
process.stdout.write(`memory; ${processorLine(cpus().length)}\n`);
const report = new Report();
const { Model, Trainer } = await import("../dist/index.js");

/** Bytes of a training step of so many pairs, or of localizing them. */
async function measured(precision, batch, training) {
  const model = await Model.create({}, { precision });
  const trainer = training ? new Trainer(model, { precision }) : undefined;
  const { pairs } = batchOf(batch);
  const work = () => (trainer ? trainer.step(pairs) : model.localize(pairs, { precision }));
  await work();
  addon.tensorMemory(true);
  await work();
  const bytes = addon.tensorMemory(false);
  trainer?.dispose();
  model.dispose();
  return bytes;
}

/** The line of least squares through points [x, y]: y = fixed + each · x. */
function line(points) {
  const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)];
  const each = mean((point) => (point[0] - x) * (point[1] - y)) / mean((point) => (point[0] - x) ** 2);
  return { fixed: y - each * x, each };
}

const gib = (bytes) => (bytes / GIB).toFixed(2);
const columns = [
  "work",
  ...MEASURED.map(String),
  "fixed",
  "MiB a pair",
  ...COMPUTED.map((n) => `${n}, computed`),
];
const title = "GiB of tensors by batch size";
const rows = [];
try {
  report.table(title, columns, [30]);
  for (const training of [true, false]) {
    for (const precision of types) {
      const points = [];
      for (const batch of MEASURED) points.push([batch, await measured(precision, batch, training)]);
      const { fixed, each } = line(points);
      rows.push([
        `${training ? "training step" : "localization"}, ${precision}`,
        ...points.map(([, bytes]) => gib(bytes)),
        gib(fixed),
        (each / 2 ** 20).toFixed(1),
        ...COMPUTED.map((batch) => gib(fixed + each * batch)),
      ]);
      report.row(rows.at(-1));
    }
  }
  process.stdout.write(`\n${title}; ${processorLine(cpus().length)}\n\n${table(columns, rows)}\n`);
} finally {
  report.end();
}
