/** Where memory runs out a call fails by a code, and the process lives: under a limit that the system sets. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const entry = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));
const limits = process.platform === "linux" && process.env.SOUNDSPOT_SANITIZED === undefined;
const built = existsSync(entry) && limits;
if (!built)
  console.warn("test/unit/binding/memory.test.ts is skipped: it needs dist (`npm run build:ts`) and Linux.");

const folder = mkdtempSync(join(tmpdir(), "soundspot-memory-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** So wide that a batch passes its blocks as a whole: narrower ones take a few samples at a time, and little memory. */
const program = `
import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
const { Model, Trainer } = await import(process.argv[2]);
const input = (i) => ({
  image: { data: new Uint8Array(64 * 64 * 3).map((_, at) => (at * (i + 3)) % 251), width: 64, height: 64 },
  audio: { samples: Float32Array.from({ length: 16000 }, (_, at) => Math.sin(at / (9 + i))), sampleRate: 16000 },
});
const options = { imageSize: 224, imageWidth: 256, audioWidth: 4, imageStages: 1, audioStages: 1, imageStride: 4, dim: 16, method: { name: "joint-slot-attention", iterations: 2 }, audio: { seconds: 1 } };
const model = await Model.create(options);
await new Trainer(model, { learningRate: 1e-9 }).step([input(0), input(1)], { update: false }); // threads are there
const { heatmap } = await model.localize(input(0));
const inputs = Array.from({ length: 256 }, (_, i) => input(i));
const mebibytes = () => Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
const limit = Math.round(mebibytes() + 600);
execFileSync("prlimit", ["--pid", String(process.pid), "--as=" + limit * 2 ** 20]);
const trainer = new Trainer(model, { learningRate: 1e-3, falseNegatives: { k: 2 } });
const calls = {
  localize: () => model.localize(inputs, { precision: "float32" }),
  encode: () => model.encode(inputs),
  step: () => trainer.step(inputs),
  create: () => Model.create({ dim: 4096, method: { name: "joint-slot-attention", decoderHidden: 16384, decoderLayers: 8 } }),
};
const before = await model.parameters();
for (const [name, call] of Object.entries(calls)) {
  const outcome = await call().then(() => "done", (error) => error.name + " " + error.code + " " + error.message);
  console.log(JSON.stringify({ name, outcome, free: limit - mebibytes() }));
}
const after = await model.parameters();
const unchanged = before.every(({ data }, i) => Buffer.from(data.buffer).equals(Buffer.from(after[i].data.buffer)));
const again = await model.localize(input(0));
console.log(JSON.stringify({ unchanged, same: again.heatmap.every((value, i) => value === heatmap[i]) }));
process.exit(0);
`;

describe.skipIf(!built)("out of memory (skipped without dist or prlimit)", () => {
  it("is an error of its own code, changes nothing, and the process goes on", () => {
    const file = join(folder, "limited.mjs");
    writeFileSync(file, program);
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      [file, pathToFileURL(entry).href],
      { encoding: "utf8" },
    );
    expect({ status, signal }, stdout + stderr).toEqual({ status: 0, signal: null });
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const outcomes = Object.fromEntries(lines.slice(0, -1).map(({ name, outcome }) => [name, outcome]));
    expect(Object.keys(outcomes)).toEqual(["localize", "encode", "step", "create"]);
    for (const name of Object.keys(outcomes)) {
      expect(outcomes[name], stdout).toMatch(/^SoundspotError ERR_OUT_OF_MEMORY .*[Uu]se a smaller batch/);
    }
    // What failed has given back what it took: V8 ends the process where it finds no memory.
    for (const { free } of lines.slice(0, -1)) expect(free, stdout).toBeGreaterThan(200);
    expect(lines.at(-1), stdout).toEqual({ unchanged: true, same: true });
  });
});
