/** A process or a thread may end while the addon works: no crash, and the exit code is what was asked for. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../../src/index.js";
import { tiny } from "../../support/tiny.js";

const entry = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));
const built = existsSync(entry);
if (!built)
  console.warn(
    "test/integration/binding/teardown.test.ts is skipped: there is no dist. Run `npm run build:ts` first.",
  );

const folder = mkdtempSync(join(tmpdir(), "soundspot-teardown-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Endless work of every kind; `ready` is called when it is under way. */
const work = `
const input = (i) => ({
  image: { data: new Uint8Array(40 * 30 * 3).fill(i), width: 40, height: 30 },
  audio: { samples: Float32Array.from({ length: 8000 }, (_, at) => Math.sin(at / (9 + i))), sampleRate: 16000 },
});
const mask = { data: new Uint8Array(1200).fill(1, 0, 300), width: 40, height: 30 };
const data = { name: "endless", length: 64, load: async (i) => ({ id: String(i), ...input(i), mask }) };
async function endless({ Model, Trainer, evaluate }, kind, file, ready) {
  const model = await Model.load(file);
  const trainer = new Trainer(model);
  const kinds = {
    localize: () => Promise.all([0, 1, 2, 3].map((i) => model.localize(input(i), { refine: "iqr" }))),
    train: () => trainer.step([0, 1, 2, 3].map(input)),
    evaluate: () => evaluate({ model, data, bootstrap: false }),
    load: async () => (await Model.load(file)).dispose(),
    parameters: () => Promise.all([model.parameters(), model.parameters()]),
  };
  await kinds[kind]();
  ready();
  for (;;) await kinds[kind]();
}
`;
const kinds = ["localize", "train", "evaluate", "load", "parameters"] as const;

/** Ends of a process, and what exit code they are to give. */
const ends = {
  "process.exit(7)": ["process.exit(7)", 7],
  "an uncaught exception": ["throw new Error('as intended')", 1],
} as const;

describe.skipIf(!built)("ending at work (skipped without dist)", () => {
  const file = join(folder, "model.safetensors");
  let model: Model;
  beforeAll(async () => {
    model = await Model.create(tiny);
    await model.save(file);
  });
  afterAll(() => model.dispose());

  describe.each(Object.entries(ends))("by %s", (_, [end, code]) => {
    it.each(kinds)("of %s leaves with the code that was asked for", async (kind) => {
      const program = join(folder, "ending.mjs");
      writeFileSync(
        program,
        `${work}
        const [entry, kind, file, delay] = process.argv.slice(2);
        const later = () => setTimeout(() => { ${end}; }, Number(delay));
        void endless(await import(entry), kind, file, later);`,
      );
      for (const delay of [0, 5]) {
        const args = [program, pathToFileURL(entry).href, kind, file, String(delay)];
        const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
        let errors = "";
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          errors += text;
        });
        const ended = await new Promise((resolve) =>
          child.on("close", (status, signal) => resolve({ status, signal })),
        );
        expect(ended, errors).toEqual({ status: code, signal: null });
      }
    });
  });

  it.each(kinds)("of a worker thread in %s leaves the others as they are", async (kind) => {
    const input = {
      image: { data: new Uint8Array(40 * 30 * 3).map((_, i) => (i * 31) % 256), width: 40, height: 30 },
      audio: { samples: Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i / 9)), sampleRate: 16_000 },
    };
    const { heatmap } = await model.localize(input);
    const program = join(folder, "worker.mjs");
    writeFileSync(
      program,
      `import { parentPort, workerData } from "node:worker_threads";
      ${work}
      const { entry, kind, file } = workerData;
      void endless(await import(entry), kind, file, () => parentPort.postMessage("ready"));`,
    );
    for (const delay of [0, 2, 9]) {
      const worker = new Worker(program, { workerData: { entry: pathToFileURL(entry).href, kind, file } });
      await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      await new Promise((resolve) => setTimeout(resolve, delay));
      const running = model.localize(input);
      expect(await worker.terminate()).toBe(1);
      expect((await running).heatmap).toEqual(heatmap);
    }
    expect((await model.localize(input)).heatmap).toEqual(heatmap);
  });

  it("of a worker thread by an error of its own is reported, and its model is freed", async () => {
    const program = join(folder, "failing.mjs");
    writeFileSync(
      program,
      `import { workerData } from "node:worker_threads";
      ${work}
      const { entry, file } = workerData;
      void endless(await import(entry), "localize", file, () => setTimeout(() => { throw new Error("as intended"); }, 2));`,
    );
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(program, { workerData: { entry: pathToFileURL(entry).href, file } });
      const error = await new Promise<Error>((resolve) => worker.once("error", resolve));
      expect(error.message).toBe("as intended");
    }
    expect((await model.parameters()).length).toBeGreaterThan(10);
  });
});
