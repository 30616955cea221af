// One model and its trainer in a process of their own, for bench/train.mjs: { times } → { ms, peak }.
import { Model, Trainer } from "../../dist/index.js";
import { pair } from "./inputs.mjs";

const [weights, precision, batchSize, plain] = process.argv.slice(2);
const model = await Model.load(weights);
const trainer = new Trainer(model, { precision });
const batch = Array.from({ length: Number(batchSize) }, (_, i) => pair(i + 1));

process.on("message", async ({ times }) => {
  const ms = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    await trainer.step(batch, { plain: plain === "plain" });
    ms.push(performance.now() - started);
  }
  process.send({ ms, peak: process.resourceUsage().maxRSS / 1024 });
});
process.send("ready");
