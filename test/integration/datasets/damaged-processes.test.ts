/** Damaged samples in a run of two processes: the list and the steps of one process, and one end for both. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { inGroup } from "../../support/processes.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-damaged-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = transpilePackage(join(folder, "package"));

const script = join(folder, "run.mjs");
writeFileSync(
  script,
  `
import { ProcessGroup, SoundspotError, train } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const [output, options] = [process.argv[2], JSON.parse(process.argv[3])];
const wanted = ProcessGroup.fromEnvironment();
const group = wanted && (await ProcessGroup.join(wanted));
const damaged = new Set(options.damaged);
const noise = (length, seed) => {
  let state = seed * 2654435761;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, () => 2 * (draw() + draw()));
};
const mask = { data: new Uint8Array(36 * 36).fill(1, 0, 36 * 12), width: 36, height: 36 };
const data = {
  name: "noise",
  length: 26,
  idOf: (index) => "clip-" + index,
  async load(index) {
    if (damaged.has(index)) throw new SoundspotError("ERR_MEDIA_DECODE", "clip-" + index + ".png is truncated");
    const image = Uint8Array.from(noise(36 * 36 * 3, index + 1), (x) => 255 * (0.5 + x / 4));
    const samples = noise(8000, index + 1000).map((x) => 0.4 * x);
    return { id: "clip-" + index, mask, image: { data: image, width: 36, height: 36 }, audio: { samples, sampleRate: 16000 } };
  },
};
const stop = new AbortController();
try {
  const { skipped, steps } = await train({
    model: {
      imageSize: 32, imageStages: 2, imageStride: 8, imageWidth: 4, audioStages: 2, audioWidth: 4, dim: 16,
      method: { name: "joint-slot-attention", iterations: 2 }, audio: { seconds: 0.5 },
    },
    epochs: 2, batchSize: 4, learningRate: 2e-3, falseNegatives: { k: 2 }, augment: false, batchNorm: "synchronised",
    maxDamaged: options.maxDamaged ?? 1, resume: true, data, evaluation: data, evaluateEvery: 2, output, signal: stop.signal,
    onStep: ({ step }) => step === options.stop && stop.abort(),
    ...(group ? { group } : {}),
  });
  process.stdout.write(JSON.stringify({ steps, skipped }));
} catch (error) {
  process.stdout.write(JSON.stringify({ code: error.code, message: error.message }));
}
await group?.leave();
`,
);

interface Reported {
  readonly steps?: number;
  readonly skipped?: readonly unknown[];
  readonly code?: string;
  readonly message?: string;
}

const run = async (size: number, output: string, options: unknown): Promise<Reported[]> => {
  const env = size === 1 ? { WORLD_SIZE: "1" } : {};
  const outcomes = await inGroup(size, [script, output, JSON.stringify(options)], undefined, env);
  return outcomes.map(({ output: text, errors }) => {
    expect(text, errors).not.toBe("");
    return JSON.parse(text) as Reported;
  });
};

const lossesOf = (output: string) =>
  readFileSync(join(output, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .flatMap((line) => (JSON.parse(line) as { losses?: { total: number } }).losses?.total ?? []);
const listOf = (output: string) => readFileSync(join(output, "skipped.jsonl"), "utf8");

describe("two processes", () => {
  const damaged = [2, 7, 11, 19, 23];

  it("skip what one process skips, also when they are resumed, and list it in one order", async () => {
    const [one, two, parts] = ["one", "two", "parts"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const [alone] = await run(1, one, { damaged });
    expect(alone?.steps).toBe(12);
    expect(alone?.skipped?.length).toBe(10); // five of them in the evaluation
    const both = await run(2, two, { damaged });
    expect(both).toEqual([alone, alone]);
    expect(listOf(two)).toBe(listOf(one));
    for (const [i, loss] of lossesOf(two).entries()) expect(loss).toBeCloseTo(lossesOf(one)[i] as number, 3);
    for (const { code } of await run(2, parts, { damaged, stop: 5 })) expect(code).toBe("ERR_ABORTED");
    expect(await run(2, parts, { damaged })).toEqual([alone, alone]);
    expect(listOf(parts)).toBe(listOf(one));
    expect(lossesOf(parts)).toEqual(lossesOf(two));
  });

  it("end together, both with the reason, when more are damaged than may be", async () => {
    const output = join(folder, "stopped");
    const [first, second] = await run(2, output, { damaged, maxDamaged: 0.1 });
    expect(first).toMatchObject({ code: "ERR_DATASET", message: expect.stringContaining("maxDamaged") });
    expect(second).toMatchObject({ code: "ERR_DATASET", message: expect.stringContaining("maxDamaged") });
    expect(first?.message).toContain(join(output, "skipped.jsonl"));
    expect(existsSync(join(output, "last.safetensors"))).toBe(true);
  });
});
