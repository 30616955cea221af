/** Every thread may load the package and a model of its own. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, it } from "vitest";
import { Model, quantize } from "../../../src/index.js";
import { bars } from "../../support/scored.js";
import { slots, tiny } from "../../support/tiny.js";

const entry = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));
const built = existsSync(entry);
if (!built)
  console.warn(
    "test/unit/binding/workers.test.ts is skipped: there is no dist. Run `npm run build:ts` first.",
  );

const folder = mkdtempSync(join(tmpdir(), "soundspot-workers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const script = `
import { parentPort, workerData } from "node:worker_threads";
const { Model, Trainer } = await import(workerData.entry);
const model = await Model.load(workerData.file);
const spots = [];
for (let i = 0; i < 3; i++) spots.push((await model.localize(workerData.input, { refine: "iqr" })).heatmap);
const trained = await new Trainer(model, { seed: 5 }).step([workerData.input, workerData.input]);
model.dispose();
parentPort.postMessage({ spots, total: trained.losses.total });
`;

interface Answer {
  readonly spots: readonly Float32Array[];
  readonly total: number;
}

describe.skipIf(!built)("worker threads (skipped without dist)", () => {
  it.each([
    ["float32", (model: Model) => model],
    ["int8", (model: Model) => quantize({ model, data: bars(4) })],
  ])("localize and train at the same time, each as the main thread does: %s", async (_, become) => {
    const created = await Model.create({ ...tiny, ...slots({ iterations: 5 }) }, { device: "cpu" });
    const model = await become(created);
    const file = join(folder, "model.safetensors");
    await model.save(file);
    const input = {
      image: { data: new Uint8Array(40 * 30 * 3).map((_, i) => (i * 31) % 256), width: 40, height: 30 },
      audio: { samples: Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i / 9)), sampleRate: 16_000 },
    };
    const { heatmap } = await model.localize(input, { refine: "iqr" });
    const program = join(folder, "worker.mjs");
    writeFileSync(program, script);
    const work = () =>
      new Promise<Answer>((resolve, reject) => {
        const workerData = { entry: pathToFileURL(entry).href, file, input };
        const worker = new Worker(program, { workerData });
        let answer: Answer | undefined;
        worker.on("message", (message: Answer) => {
          answer = message;
        });
        worker.on("error", reject);
        worker.on("exit", (code) =>
          answer && code === 0 ? resolve(answer) : reject(new Error(`a worker ended with ${code}`)),
        );
      });
    const answers = await Promise.all([work(), work()]);
    const [first, second] = answers as [Answer, Answer];
    for (const { spots } of answers) for (const spot of spots) expect(spot).toEqual(heatmap);
    expect(first.total).toBe(second.total);
    // Threads come and go; the addon stays.
    expect(await work()).toEqual(first);
    expect((await model.localize(input, { refine: "iqr" })).heatmap).toEqual(heatmap);
    model.dispose();
  });

  it("can be terminated at work", async () => {
    const model = await Model.create({ imageSize: 32, imageWidth: 4, audioWidth: 4, dim: 16 });
    const file = join(folder, "other.safetensors");
    await model.save(file);
    const endless = join(folder, "endless.mjs");
    writeFileSync(
      endless,
      `import { parentPort, workerData } from "node:worker_threads";
      const { Model } = await import(workerData.entry);
      const model = await Model.load(workerData.file);
      const input = {
        image: { data: new Uint8Array(40 * 30 * 3), width: 40, height: 30 },
        audio: { samples: new Float32Array(8000).fill(0.1), sampleRate: 16000 },
      };
      parentPort.postMessage("ready");
      for (;;) await Promise.all([model.localize(input), model.localize(input), model.parameters()]);`,
    );
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(endless, { workerData: { entry: pathToFileURL(entry).href, file } });
      await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject));
      await worker.terminate();
    }
    expect((await model.parameters()).length).toBeGreaterThan(100);
    model.dispose();
  });
});
