// One model and its trainer in a process of their own, for bench/train.mjs and bench/methods.mjs: { times } → { ms, peak }.
import { Model, Trainer } from "../../dist/index.js";
import { batchOf } from "./inputs.mjs";
import { peakMemory } from "./memory.mjs";

const { weights, device = "cpu", train, batch, shapes, views, step } = JSON.parse(process.argv[2]);
const model = await Model.load(weights, { device });
const trainer = new Trainer(model, train);
const { pairs, ...others } = batchOf(batch, shapes, views);

process.on("message", async ({ times }) => {
  const ms = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    await trainer.step(pairs, { ...step, views: others });
    ms.push(performance.now() - started);
  }
  process.send({ ms, peak: peakMemory() });
});
process.send("ready");
