// What this processor, as its environment caps it, makes of bfloat16: one line of JSON. Run by processor.test.ts.
import { Model, Trainer, train } from "../../dist/index.js";
import { addon } from "../../scripts/addon.mjs";

const [checkpoint, output] = process.argv.slice(2);
const warnings = [];
process.on("warning", ({ code, message }) => warnings.push({ code, message }));
/** Warnings come in a turn of their own. */
const turn = () => new Promise((done) => setImmediate(done));

const side = 32;
const bar = (seed) => ({
  image: {
    data: Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * (seed + 3) * 7) % 251),
    width: side,
    height: side,
  },
  audio: {
    samples: Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i / (seed + 5))),
    sampleRate: 16_000,
  },
});

const model = await Model.load(checkpoint, { precision: "bfloat16" });
const inputs = [bar(1), bar(2)];
const maps = async (precision) =>
  (await model.localize(inputs, { precision })).flatMap(({ audioMap }) => [...audioMap]);
const exact = await maps("float32");
const apart = (others) => Math.max(...exact.map((value, i) => Math.abs(value - others[i])));
const bfloat16 = apart(await maps("bfloat16"));
const auto = apart(await maps("auto"));
for (let i = 0; i < 3; i++) await model.localize(inputs);

const losses = {};
for (const precision of ["float32", "bfloat16"]) {
  const trained = await Model.load(checkpoint);
  const trainer = new Trainer(trained, { precision, falseNegatives: { k: 0 } });
  losses[precision] = (await trainer.step(inputs)).losses.total;
}
await turn();
const { cpu } = addon.info();
const first = [...warnings];

// A run that began in bfloat16 goes on here; in a worker of its own, for a process warns once.
const { Worker } = await import("node:worker_threads");
const data = { name: "bars", length: 4, load: async (i) => bar(i) };
const options = {
  data,
  model: (await Model.load(checkpoint)).config,
  output,
  precision: "bfloat16",
  batchSize: 2,
  falseNegatives: { k: 0 },
  epochs: 1,
  losses: {},
};
await train(options);
const resumed = await new Promise((done, fail) => {
  const worker = new Worker(
    `import { parentPort, workerData } from "node:worker_threads";
     const { train } = await import(workerData.library);
     const bar = ${bar.toString()};
     const side = ${side};
     const warnings = [];
     process.on("warning", ({ code }) => warnings.push({ code }));
     const load = async (i) => bar(i);
     await train({ ...workerData.options, data: { name: "bars", length: 4, load }, resume: true });
     await new Promise((done) => setImmediate(done));
     parentPort.postMessage(warnings);`,
    {
      eval: true,
      type: "module",
      workerData: {
        library: new URL("../../dist/index.js", import.meta.url).href,
        options: { ...options, data: undefined },
      },
    },
  );
  worker.on("message", done);
  worker.on("error", fail);
});
process.stdout.write(
  JSON.stringify({ cpu, compute: model.compute, warnings: first, bfloat16, auto, losses, resumed }),
);
