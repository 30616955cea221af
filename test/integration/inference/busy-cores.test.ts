/** Which thread computes which part depends on what else the cores do; the results must not. */
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, presets, Trainer } from "../../../src/index.js";
import { bar } from "../../support/scored.js";

const stop = new Int32Array(new SharedArrayBuffer(4));
/** Works and rests at random, so that threads of the model are held up at other moments each time. */
const restless = `
  const { workerData: stop } = require("node:worker_threads");
  while (Atomics.load(stop, 0) === 0) {
    const until = performance.now() + 8 * Math.random();
    while (performance.now() < until);
    Atomics.wait(stop, 0, 0, 8 * Math.random());
  }`;
let workers: Worker[] = [];
const disturb = () => {
  workers = [0, 1].map(() => new Worker(restless, { eval: true, workerData: stop }));
};

beforeAll(() => void Atomics.store(stop, 0, 0));
afterAll(async () => {
  Atomics.store(stop, 0, 1);
  Atomics.notify(stop, 0);
  await Promise.all(workers.map((worker) => worker.terminate()));
});

const precisions = ["float32", "bfloat16"] as const;
const { model: options, train: recipe } = presets.scratch;
const bits = (floats: Float32Array) => Buffer.from(floats.buffer, floats.byteOffset, floats.byteLength);

async function maps(model: Model, count: number): Promise<Buffer> {
  const spots = await model.localize(
    Array.from({ length: count }, (_, i) => bar(i)),
    { refine: "iqr" },
  );
  return Buffer.concat(spots.map(({ heatmap }) => bits(heatmap)));
}

async function trained(precision: (typeof precisions)[number]): Promise<Buffer> {
  const model = await Model.create(options, { seed: 5, precision });
  const trainer = new Trainer(model, { ...recipe, precision, epochs: 1 });
  for (let step = 0; step < 3; step++) {
    await trainer.step(Array.from({ length: 6 }, (_, i) => bar(6 * step + i)));
  }
  const weights = (await model.parameters()).map(({ data }) => bits(data));
  trainer.dispose();
  model.dispose();
  return Buffer.concat(weights);
}

describe("cores that others use too", () => {
  it("change no bit of a map, nor of what a training learns", async () => {
    const models = await Promise.all(
      precisions.map((precision) => Model.create(options, { seed: 5, precision })),
    );
    const counts = [1, 2, 5];
    const all = async () => {
      const results: Buffer[] = [];
      for (const model of models) for (const count of counts) results.push(await maps(model, count));
      for (const precision of precisions) results.push(await trained(precision));
      return results;
    };
    const quiet = await all();
    disturb();
    for (let run = 0; run < 4; run++) {
      const busy = await all();
      for (const [i, each] of busy.entries())
        expect(each.equals(quiet[i] as Buffer), `result ${i}`).toBe(true);
    }
    for (const model of models) model.dispose();
  }, 120_000);
});
