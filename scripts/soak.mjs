#!/usr/bin/env node
/**
 * Runs the same work many times and reports whether memory, handles or descriptors grow:
 *
 *   node scripts/soak.mjs [--share X] [localize|load|abort|workers|bare-workers|together…]
 *
 * Without names all parts, each in a process of its own. `--share 0.1` does a tenth of the calls. Of each part it prints
 * the resident memory ten times, the slope fitted to the second half in bytes a call, and open descriptors before and
 * after; the exit code is 1 when descriptors stay open. Needs dist: `npm run build:ts`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { PACKAGE } from "./build.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { share: { type: "string", default: "1" }, child: { type: "boolean", default: false } },
});
const entry = pathToFileURL(join(PACKAGE, "dist", "index.js")).href;

const small = {
  imageSize: 32,
  imageStages: 2,
  imageStride: 8,
  imageWidth: 4,
  audioStages: 2,
  audioWidth: 4,
  dim: 16,
  method: { name: "joint-slot-attention", iterations: 2 },
  audio: { seconds: 0.5 },
};
const sample = (i) => ({
  image: { data: new Uint8Array(40 * 30 * 3).map((_, at) => (at * (i + 31)) % 256), width: 40, height: 30 },
  audio: {
    samples: Float32Array.from({ length: 8000 }, (_, at) => Math.sin(at / (9 + i))),
    sampleRate: 16_000,
  },
});
const dataset = {
  name: "soak",
  length: 64,
  load: async (i) => ({ id: String(i), ...sample(i), mask }),
};
/** Descriptors that may be open after a part and were not before it: ffmpeg's, when it has just been stopped. */
const MORE = 4;
const mask = { data: new Uint8Array(40 * 30).fill(1, 0, 300), width: 40, height: 30 };

/** Of each part: the number of calls, and the function that prepares one. */
const parts = {
  localize: {
    calls: 10_000,
    async prepare({ Model }) {
      const model = await Model.create(small);
      return (i) => model.localize(sample(i % 7), { refine: "iqr" });
    },
  },
  load: {
    calls: 200,
    async prepare({ Model }, folder) {
      const file = join(folder, "model.safetensors");
      const model = await Model.create();
      await model.save(file);
      model.dispose();
      return async () => {
        const loaded = await Model.load(file);
        loaded.dispose();
      };
    },
  },
  abort: {
    calls: 1000,
    async prepare({ Model, train, evaluate }, folder) {
      const model = await Model.create(small);
      const clip = await makeClip(join(folder, "clip.mp4"));
      const kinds = [
        (signal) => model.localize(sample(0), { signal }),
        (signal) =>
          train({ data: dataset, model: small, epochs: 50, batchSize: 4, preset: "scratch", signal }),
        (signal) => evaluate({ model, data: dataset, signal }),
        async (signal) => {
          for await (const _ of model.localizeVideo(clip, { signal }));
        },
      ];
      return async (i) => {
        const control = new AbortController();
        const timer = setTimeout(() => control.abort(), 60 * ((i * 0.618) % 1));
        try {
          await kinds[i % kinds.length](control.signal);
        } catch (error) {
          if (error.code !== "ERR_ABORTED") throw error;
        } finally {
          clearTimeout(timer);
        }
      };
    },
  },
  workers: {
    calls: 100,
    async prepare({ Model }, folder) {
      const file = join(folder, "model.safetensors");
      const model = await Model.create(small);
      await model.save(file);
      const program = `
        const { parentPort, workerData } = require("node:worker_threads");
        import(workerData.entry).then(async ({ Model, Trainer, evaluate }) => {
          const model = await Model.load(workerData.file);
          const trainer = new Trainer(model);
          parentPort.postMessage("ready");
          for (;;) await Promise.all([model.localize(workerData.sample), trainer.step([workerData.sample, workerData.sample])]);
        });`;
      return async (i) => {
        const worker = new Worker(program, { eval: true, workerData: { entry, file, sample: sample(i) } });
        await new Promise((ready, fail) => worker.once("message", ready).once("error", fail));
        await new Promise((later) => setTimeout(later, i % 20));
        await worker.terminate();
        await model.localize(sample(i));
      };
    },
  },
  /** The cost of Node's own threads, for comparison. */
  "bare-workers": {
    calls: 100,
    async prepare() {
      const program = `require("node:worker_threads").parentPort.postMessage("ready"); setInterval(() => {}, 5);`;
      return async (i) => {
        const worker = new Worker(program, { eval: true });
        await new Promise((ready, fail) => worker.once("message", ready).once("error", fail));
        await new Promise((later) => setTimeout(later, i % 20));
        await worker.terminate();
      };
    },
  },
  together: {
    calls: 1000,
    async prepare({ Model }) {
      const models = await Promise.all([Model.create(small), Model.create(small, { seed: 1 })]);
      return (i) =>
        Promise.all(Array.from({ length: 10 }, (_, j) => models[j % 2].localize(sample((i + j) % 7))));
    },
  },
};

if (values.child) await soak(positionals[0]);
else {
  const names = positionals.length > 0 ? positionals : Object.keys(parts);
  for (const name of names) {
    if (!Object.hasOwn(parts, name))
      throw new Error(`Unknown part ${name}. Use ${Object.keys(parts).join(", ")}.`);
    const args = ["--expose-gc", fileURLToPath(import.meta.url), "--child", "--share", values.share, name];
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
}

async function soak(name) {
  const calls = Math.max(10, Math.round(parts[name].calls * Number(values.share)));
  const folder = mkdtempSync(join(tmpdir(), "soundspot-soak-"));
  try {
    const one = await parts[name].prepare(await import(entry), resolve(folder));
    for (let i = 0; i < 5; i++) await one(i);
    const before = await opened();
    const points = [];
    const every = Math.max(1, Math.floor(calls / 100));
    console.log(`${name}: ${calls} calls`);
    for (let i = 1; i <= calls; i++) {
      await one(i);
      if (i % every !== 0) continue;
      global.gc?.();
      const { rss } = process.memoryUsage();
      points.push([i, rss]);
      if (i % (every * 10) === 0)
        console.log(`  ${String(i).padStart(6)}  ${(rss / 2 ** 20).toFixed(1)} MiB`);
    }
    const slope = slopeOf(points.slice(points.length >> 1));
    const after = await opened();
    console.log(`  slope of the second half: ${slope.toFixed(0)} bytes a call`);
    console.log(`  open before: ${openText(before)}; after: ${openText(after)}`);
    process.exit(after.descriptors > before.descriptors + MORE ? 1 : 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Descriptors, where the system reports them, and the handles of the event loop. */
async function opened() {
  await new Promise((later) => setTimeout(later, 500));
  let descriptors = Number.NaN;
  try {
    descriptors = readdirSync("/proc/self/fd").length - 1; // one of them reads the list
  } catch {
    // Only Linux reports them.
  }
  const resources = process.getActiveResourcesInfo().filter((resource) => resource !== "Timeout");
  return { descriptors, resources };
}

function openText({ descriptors, resources }) {
  return `${descriptors || "?"} descriptors, [${resources.join(", ")}]`;
}

/** Least squares. */
function slopeOf(points) {
  const mean = (at) => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const across = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  return across / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
}

/** Two seconds of a test pattern with a tone. */
async function makeClip(file) {
  const installed = (name) =>
    import(name).then(
      ({ default: found }) => found.path ?? found,
      () => undefined,
    );
  const program =
    process.env.FFMPEG_PATH ??
    (await installed("ffmpeg-static")) ??
    (await installed("@ffmpeg-installer/ffmpeg")) ??
    "ffmpeg";
  const inputs = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=10:d=2", "-f", "lavfi", "-i", "sine=d=2"];
  const { status } = spawnSync(program, ["-v", "error", ...inputs, file], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) throw new Error("The abort part needs ffmpeg: install it, or set FFMPEG_PATH.");
  return file;
}
