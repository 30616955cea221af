/**
 * How long the event loop waits while a model trains, is evaluated and localizes, and how long each call into
 * the addon holds it. Run it after `npm run build`: node bench/event-loop.mjs [steps]
 *
 * "delay" is measured by perf_hooks, less its resolution. It includes the time in which the system gave the
 * processor to another process. "own" excludes that time where the system reports it (Linux): it is the delay that
 * the process itself caused. Of calls into the addon it also excludes garbage collections that began in them:
 * JavaScript's objects cause these.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import { addon } from "../scripts/addon.mjs";

const steps = Number(process.argv[2] ?? 24);
const resolution = 5; // ms between samples of the loop

/** Milliseconds that the main thread was ready and had no processor, since it started; 0 where it is unknown. */
function queued() {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "latin1").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** Milliseconds since `start`, and without the time in which there was no processor. */
const now = () => ({ wall: performance.now(), queued: queued() });
function since(start) {
  const end = now();
  const wall = end.wall - start.wall;
  return { wall, own: Math.max(0, wall - (end.queued - start.queued)) };
}

/** The synchronous part of every call, by function. */
const calls = new Map();
for (const [name, call] of Object.entries(addon)) {
  if (typeof call !== "function") continue;
  const times = [];
  calls.set(name, times);
  addon[name] = (...values) => {
    const started = now();
    try {
      return call(...values);
    } finally {
      times.push({ ...since(started), from: started.wall, to: performance.now() });
    }
  };
}

const collections = [];
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) collections.push({ startTime, duration });
}).observe({ entryTypes: ["gc"] });

const { datasets, evaluate, Model, train } = await import("../dist/index.js");
const { processorLine } = await import("./lib/processor.mjs");
const { Report } = await import("./lib/report.mjs");
const { table } = await import("./lib/turns.mjs");
process.stdout.write(`event-loop; ${processorLine(cpus().length)}\n`);
const report = new Report();

function figures(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return [0.5, 0.99, 1].map((share) => at(share).toFixed(2));
}

/** Runs `work` and prints the delay of the loop meanwhile. */
async function measured(name, work) {
  report.step(name);
  const delay = monitorEventLoopDelay({ resolution });
  const own = [];
  let last = now();
  const timer = setInterval(() => {
    own.push(Math.max(0, since(last).own - resolution));
    last = now();
  }, resolution);
  const started = performance.now();
  delay.enable();
  await work();
  delay.disable();
  clearInterval(timer);
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution).toFixed(2);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const delays = [delay.percentile(50), delay.percentile(99), delay.max].map(late);
  rows.push([name, seconds, ...delays, ...figures(own), own.length]);
  report.row(rows.at(-1));
}

const quantiles = (name) => ["p50", "p99", "max"].map((each) => `${name} ${each}`);
const columns = ["work", "s", ...quantiles("delay"), ...quantiles("own"), "turns"];
const title = "delay of the event loop, ms";
const rows = [];

const batchSize = 16;
const data = datasets.scenes({ workers: 1, length: steps * batchSize });
const test = datasets.scenes({ workers: 1, split: "test", length: 64 });
let model;

/** Seconds of everything, by a few steps and pairs; the calls that this makes are not counted. */
async function expected() {
  const few = datasets.scenes({ workers: 1, length: 4 * batchSize });
  const started = performance.now();
  const run = await train({ preset: "scratch", data: few, batchSize, epochs: 1 });
  const step = (performance.now() - started) / 4000;
  run.model.dispose();
  await few.close();
  for (const times of calls.values()) times.length = 0;
  collections.length = 0;
  // Every other part takes about as long as some steps, together as many as are evaluated and localized below.
  return 2 + step * (steps + 64 / batchSize + 8 + 8);
}

report.expect(await expected(), 6);
report.table(title, columns, [11, 6]);
await measured("idle", () => new Promise((resolve) => setTimeout(resolve, 2000)));
await measured("train", async () => {
  ({ model } = await train({ preset: "scratch", data, batchSize, epochs: 1 }));
});
await measured("evaluate", () => evaluate({ model, data: test }));
const samples = await Promise.all(Array.from({ length: 16 }, (_, i) => test.load(i)));
await measured("localize", async () => {
  for (let round = 0; round < 4; round++) {
    for (const { image, audio } of samples) await model.localize({ image, audio }, { refine: "iqr" });
    await model.localize(samples);
  }
});
const paper = await Model.create();
await measured("paper", async () => {
  const image = { data: new Uint8Array(1280 * 720 * 3).fill(90), width: 1280, height: 720 };
  const audio = { samples: new Float32Array(5 * 48_000 * 2).fill(0.1), sampleRate: 48_000, channels: 2 };
  for (let i = 0; i < 5; i++) await paper.localize({ image, audio });
  await paper.parameters();
});
const wide = {
  name: "wide",
  length: 8,
  async load(index) {
    const image = { data: new Uint8Array(1280 * 720 * 3).fill(index), width: 1280, height: 720 };
    const audio = { samples: new Float32Array(32_000).fill(0.1), sampleRate: 16_000 };
    return {
      id: String(index),
      label: "same",
      image,
      audio,
      boxes: [{ x: 9, y: 9, width: 500, height: 300 }],
    };
  },
};
await measured("evaluate HD", () => evaluate({ model, data: wide, batchSize: 4 }));

await new Promise((resolve) => setTimeout(resolve, 100)); // the last collections are reported late
/** Milliseconds of garbage collection within a call. */
function collecting({ from, to }) {
  return collections
    .filter(({ startTime }) => startTime >= from && startTime <= to)
    .reduce((sum, { duration }) => sum + duration, 0);
}
report.end();
const callColumns = ["call", "calls", ...quantiles("wall"), ...quantiles("own")];
const callRows = [...calls]
  .filter(([, times]) => times.length > 0)
  .map(([name, times]) => [
    ...[name, times.length, ...figures(times.map(({ wall }) => wall))],
    ...figures(times.map((each) => Math.max(0, each.own - collecting(each)))),
  ]);
process.stdout.write(`\n${title}\n\n${table(columns, rows)}\n`);
process.stdout.write(`\nsynchronous part of calls into the addon, ms\n\n${table(callColumns, callRows)}\n`);
const [p50, p99, max] = figures(collections.map(({ duration }) => duration));
process.stdout.write(`garbage collections: ${collections.length}, ms: p50 ${p50}, p99 ${p99}, max ${max}\n`);
model.dispose();
paper.dispose();
await data.close();
await test.close();
