// Evaluation's overhead over the bare forward pass, and its memory over many samples.
//
//   node bench/evaluate.mjs [samples = 10000]
//
// One model, one set of decoded samples. "forward" prepares them and runs localize() batch by batch for the audio map
// alone; "evaluate" also makes the other maps, scores them, and computes retrieval and intervals at the end. Both run
// in this process in turns; medians and the ratio are printed. The time of retrieval grows with the square of the
// samples. It is measured separately, among `samples` vectors of the paper's 512 numbers, both ways. Then a small model
// evaluates `samples` samples, and the resident memory is printed meanwhile.
import { cpus } from "node:os";
import { performance } from "node:perf_hooks";
import { evaluate, Model, metrics, presets } from "../dist/index.js";
import { processorLine } from "./lib/processor.mjs";
import { Report } from "./lib/report.mjs";
import { median, table } from "./lib/turns.mjs";

const many = Number(process.argv[2] ?? 10_000);
const rate = 16_000;

/** Decoded samples: only the model and the scoring are timed. */
function decoded(count, size, seconds) {
  const made = Array.from({ length: 16 }, (_, n) => {
    const data = Uint8Array.from({ length: size * size * 3 }, (_, i) => (i * (n + 3) * 7919) % 251);
    const samples = Float32Array.from(
      { length: rate * seconds },
      (_, i) => 0.3 * Math.sin(i * 0.02 * (n + 1)),
    );
    const mask = {
      data: Uint8Array.from({ length: size * size }, (_, i) => ((i % size) * 2 < size ? 1 : 0)),
      width: size,
      height: size,
    };
    return { image: { data, width: size, height: size }, audio: { samples, sampleRate: rate }, mask };
  });
  return {
    name: "decoded",
    length: count,
    load: async (i) => ({ id: String(i), label: String(i % 16), ...made[i % 16] }),
  };
}

const [ROUNDS, COUNT, BATCH] = [3, 256, 16];
const columns = ["what", "measured"];
const title = `evaluation, ${many} samples`;
process.stdout.write(`evaluate; ${processorLine(cpus().length)}\n`);
const report = new Report();
const rows = [];
const row = (...cells) => {
  rows.push(cells);
  report.row(cells);
};

const vectorsOf = (count) =>
  Array.from({ length: count }, () => Float32Array.from({ length: 512 }, () => Math.random() - 0.5));

async function secondsOf(work) {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** Seconds of everything, by a part of each work. */
async function expected() {
  const paper = await Model.create();
  const data = decoded(BATCH, 224, 5);
  await evaluate({ model: paper, data });
  const forward = await secondsOf(() => evaluate({ model: paper, data }));
  paper.dispose();
  const scratch = await Model.create(presets.scratch.model);
  const some = Math.min(many, 64);
  const each = (await secondsOf(() => evaluate({ model: scratch, data: decoded(some, 112, 2) }))) / some;
  scratch.dispose();
  const [a, b] = [vectorsOf(500), vectorsOf(500)];
  const compared = await secondsOf(() => metrics.nearestNeighbours(a, b, 10));
  return (COUNT / BATCH) * (2 * ROUNDS + 1) * forward + many * each + 2 * (many / 500) ** 2 * compared;
}

async function overhead() {
  const model = await Model.create();
  const data = decoded(COUNT, 224, 5);
  const samples = await Promise.all(Array.from({ length: data.length }, (_, i) => data.load(i)));
  const forward = async () => {
    for (let from = 0; from < samples.length; from += 16)
      await model.localize(samples.slice(from, from + 16), { precision: "float32" });
  };
  const scored = () => evaluate({ model, data });
  await forward();
  const times = { forward: [], scored: [] };
  const progress = report.step("forward and evaluate", 2 * ROUNDS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, work] of [
      ["forward", forward],
      ["scored", scored],
    ]) {
      const started = performance.now();
      await work();
      times[name].push((performance.now() - started) / samples.length);
      progress(2 * round + (name === "forward" ? 1 : 2));
      if (round < ROUNDS - 1) continue;
      const label = name === "forward" ? "forward" : "evaluate";
      row(`${label}, paper's model, 224 px, batch ${BATCH}`, `${median(times[name]).toFixed(1)} ms a pair`);
    }
  }
  const [bare, all] = [median(times.forward), median(times.scored)];
  row("ratio evaluate / forward", (all / bare).toFixed(3));
  model.dispose();
  return { bare, all };
}

async function retrieval({ bare, all }) {
  report.step("retrieval");
  const [images, audio] = [vectorsOf(many), vectorsOf(many)];
  const started = performance.now();
  await metrics.nearestNeighbours(audio, images, 10);
  await metrics.nearestNeighbours(images, audio, 10);
  const pair = (performance.now() - started) / many;
  row(`retrieval among ${many} pairs`, `${pair.toFixed(2)} ms a pair`);
  row("ratio with it", ((all + pair) / bare).toFixed(3));
}

async function memory() {
  const model = await Model.create(presets.scratch.model);
  const data = decoded(many, 112, 2);
  const step = Math.max(1, Math.floor(many / 10));
  let next = step;
  const progress = report.step("memory");
  await evaluate({
    model,
    data,
    batchSize: 32,
    onProgress: (done) => {
      progress(done, many);
      if (done < next) return;
      next += step;
      globalThis.gc?.();
      const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
      const mib = [rss, heapUsed, external, arrayBuffers].map((bytes) => (bytes / 2 ** 20).toFixed(0));
      row(`MiB after ${done} samples: resident, heap, external, buffers`, mib.join(", "));
    },
  });
  model.dispose();
}

report.expect(await expected(), 5 + Math.min(many, 10));
report.table(title, columns, [64, 24]);
try {
  await retrieval(await overhead());
  await memory();
} finally {
  report.end();
}
process.stdout.write(`\n${title}; ${processorLine(cpus().length)}\n\n${table(columns, rows)}\n`);
