/**
 * What a process holds once the paper's model has made its first map, by precision, each in a process of its own.
 *
 *   node bench/held.mjs
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { addon } from "../scripts/addon.mjs";
import { pair } from "./lib/inputs.mjs";
import { processorLine } from "./lib/processor.mjs";
import { table } from "./lib/turns.mjs";

const MEBIBYTE = 2 ** 20;
const [weights, precision] = process.argv.slice(2);
const { datasets, Model, quantize } = await import("../dist/index.js");

/** Of this process, in MiB: resident memory, and tensors of 256 KiB and more. */
async function measure() {
  const before = process.memoryUsage().rss;
  const input = pair(1);
  const model = await Model.load(weights, { device: "cpu", precision });
  await model.localize(input);
  globalThis.gc();
  const resident = process.memoryUsage().rss;
  addon.tensorMemory(true);
  const figures = [resident, resident - before, addon.tensorMemory(false)].map((bytes) => bytes / MEBIBYTE);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

async function measureAll() {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const files = ["model", "model.int8"].map((name) => join(folder, `${name}.safetensors`));
  try {
    const model = await Model.create({}, { device: "cpu", precision: "float32" });
    await model.save(files[0]);
    const data = datasets.scenes({ length: 4, size: model.config.imageSize, seconds: 5 });
    await (await quantize({ model, data })).save(files[1]);
    const rows = [];
    for (const [name, file, wanted] of [
      ["float32", files[0], "float32"],
      ...(addon.info().cpu.bfloat16 ? [["bfloat16", files[0], "bfloat16"]] : []),
      ["int8", files[1], "int8"],
      ["a quantized model in float32", files[1], "float32"],
    ]) {
      const own = ["--expose-gc", fileURLToPath(import.meta.url), file, wanted];
      const { stdout } = await promisify(execFile)(process.execPath, own);
      rows.push([name, ...JSON.parse(stdout).map((size) => size.toFixed(0))]);
    }
    const columns = ["MiB", "process", "above the import", "tensors"];
    process.stdout.write(`${processorLine(cpus().length)}\n\n${table(columns, rows)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await (weights ? measure() : measureAll());
