/** The addon stays in the process after the worker threads that loaded it: a thread of its own goes on. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const entry = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));
const built = existsSync(entry) && process.env.SOUNDSPOT_SANITIZED === undefined;
if (!built) console.warn("test/unit/binding/unload.test.ts is skipped: it needs dist (`npm run build:ts`).");

const folder = mkdtempSync(join(tmpdir(), "soundspot-unload-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const program = `
import { Worker, isMainThread, parentPort } from "node:worker_threads";
import { fileURLToPath } from "node:url";
if (isMainThread) {
  const results = [];
  // One after the other: each time the last thread that has the addon open ends.
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(fileURLToPath(import.meta.url));
    worker.on("message", (value) => results.push(value));
    await new Promise((done, fail) => worker.once("exit", done).once("error", fail));
    await new Promise((done) => setTimeout(done, 50));
  }
  console.log(JSON.stringify(results));
} else {
  const { Model } = await import(${JSON.stringify(pathToFileURL(entry).href)});
  const options = { imageSize: 64, imageWidth: 8, audioWidth: 4, dim: 16, audio: { seconds: 1 } };
  const model = await Model.create(options, { seed: 1, precision: "float32" });
  const image = { data: new Uint8Array(64 * 64 * 3).fill(9), width: 64, height: 64 };
  const audio = { samples: Float32Array.from({ length: 16000 }, (_, at) => Math.sin(at / 9)), sampleRate: 16000 };
  const { heatmap } = await model.localize({ image, audio });
  parentPort.postMessage(heatmap.reduce((sum, value) => sum + value, 0));
}
`;

describe.skipIf(!built)("an addon that only worker threads load (skipped without dist)", () => {
  it("works in one after the other, and the process ends well", () => {
    const file = join(folder, "workers.mjs");
    writeFileSync(file, program);
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8" });
    expect({ status, signal }, stdout + stderr).toEqual({ status: 0, signal: null });
    const sums = JSON.parse(stdout) as number[];
    expect(sums).toHaveLength(3);
    expect(sums[0]).toBeGreaterThan(0);
    expect(new Set(sums).size).toBe(1);
  });
});
