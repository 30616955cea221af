/**
 * The cost of verifying the checksum of a checkpoint: the paper's model is loaded with it and without, 20 times each in
 * turn; the time is that of the processor.
 *
 *   node bench/checksum.mjs
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Model } from "soundspot";
import { processorLine } from "./lib/processor.mjs";
import { Report } from "./lib/report.mjs";
import { median, table } from "./lib/turns.mjs";

const RUNS = 20;
const columns = ["checkpoint", "MB", "ms of the processor, median"];
process.stdout.write(`checksum; ${processorLine(cpus().length)}\n`);
const report = new Report();
const folder = await mkdtemp(join(tmpdir(), "soundspot-bench-"));
const [checked, unchecked] = ["checked", "unchecked"].map((name) => join(folder, `${name}.safetensors`));
try {
  const model = await Model.create();
  await model.save(checked);
  model.dispose();
  const bytes = await readFile(checked);
  bytes.write("another.name______", bytes.indexOf("soundspot.checksum"));
  bytes.write("sum___", bytes.indexOf("xxh64:"));
  await writeFile(unchecked, bytes);

  const started = performance.now();
  for (const path of [checked, unchecked]) (await Model.load(path)).dispose();
  report.expect((RUNS * (performance.now() - started)) / 1000, 2);
  report.table("loading a checkpoint", columns, [20]);
  const progress = report.step("loading", 2 * RUNS);
  const rows = [];
  const times = new Map([checked, unchecked].map((path) => [path, []]));
  for (let run = 0; run < RUNS; run++) {
    for (const [path, list] of times) {
      const before = process.cpuUsage();
      const loaded = await Model.load(path);
      const { user, system } = process.cpuUsage(before);
      list.push((user + system) / 1000);
      loaded.dispose();
      progress(2 * run + (path === checked ? 1 : 2));
      if (list.length < RUNS) continue;
      const name = path === checked ? "with the checksum" : "without";
      rows.push([name, (bytes.length / 1e6).toFixed(0), median(list).toFixed(0)]);
      report.row(rows.at(-1));
    }
  }
  process.stdout.write(
    `\nloading a checkpoint; ${processorLine(cpus().length)}\n\n${table(columns, rows)}\n`,
  );
} finally {
  report.end();
  await rm(folder, { recursive: true, force: true });
}
