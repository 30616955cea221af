// Evaluation's overhead over the bare forward pass, and its memory over many samples.
//
//   node bench/evaluate.mjs [samples = 10000]
//
// One model, one set of decoded samples. "forward" prepares them and runs localize() batch by batch for the audio map
// alone; "evaluate" also makes the other maps, scores them, and computes retrieval and intervals at the end. Both run
// in this process in turns; medians and the ratio are printed. Retrieval grows with the square of the samples, so it is
// timed apart, among `samples` vectors of the paper's 512 numbers, both ways. Then `samples` samples are evaluated by a
// small model, and the resident memory is printed on the way.
import { performance } from "node:perf_hooks";
import { evaluate, Model, metrics, presets } from "../dist/index.js";

const many = Number(process.argv[2] ?? 10_000);
const rate = 16_000;

/** Samples that are decoded already, so that only the model's work and the scoring are timed. */
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

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function overhead() {
  const model = await Model.create();
  const data = decoded(256, 224, 5);
  const samples = await Promise.all(Array.from({ length: data.length }, (_, i) => data.load(i)));
  const forward = async () => {
    for (let from = 0; from < samples.length; from += 16)
      await model.localize(samples.slice(from, from + 16), { precision: "float32" });
  };
  const scored = () => evaluate({ model, data });
  await forward();
  const times = { forward: [], scored: [] };
  for (let round = 0; round < 3; round++) {
    for (const [name, work] of [
      ["forward", forward],
      ["scored", scored],
    ]) {
      const started = performance.now();
      await work();
      times[name].push((performance.now() - started) / samples.length);
    }
  }
  const [bare, all] = [median(times.forward), median(times.scored)];
  console.log(
    `paper's model, 224 px, batch 16, ms a pair: forward ${bare.toFixed(1)}, evaluate ${all.toFixed(1)}`,
  );
  console.log(`ratio evaluate / forward: ${(all / bare).toFixed(3)}`);
  model.dispose();
  return { bare, all };
}

async function retrieval({ bare, all }) {
  const vectors = () =>
    Array.from({ length: many }, () => Float32Array.from({ length: 512 }, () => Math.random() - 0.5));
  const [images, sounds] = [vectors(), vectors()];
  const started = performance.now();
  await metrics.nearestNeighbours(sounds, images, 10);
  await metrics.nearestNeighbours(images, sounds, 10);
  const pair = (performance.now() - started) / many;
  console.log(
    `retrieval among ${many} pairs: ${pair.toFixed(2)} ms a pair; ratio with it ${((all + pair) / bare).toFixed(3)}`,
  );
}

async function memory() {
  const model = await Model.create(presets.scratch.model);
  const data = decoded(many, 112, 2);
  const step = Math.max(1, Math.floor(many / 10));
  let next = step;
  await evaluate({
    model,
    data,
    batchSize: 32,
    onProgress: (done) => {
      if (done < next) return;
      next += step;
      globalThis.gc?.();
      const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
      const mib = [rss, heapUsed, external, arrayBuffers].map((bytes) => (bytes / 2 ** 20).toFixed(0));
      console.log(
        `${done} samples: ${mib[0]} MiB resident, ${mib[1]} heap, ${mib[2]} external, ${mib[3]} buffers`,
      );
    },
  });
  model.dispose();
}

await retrieval(await overhead());
await memory();
