/** Two processes with a GPU each take the steps of one. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { inGroup } from "../support/processes.js";
import { transpilePackage } from "../support/transpiled.js";
import { gpus, usable } from "./gpu.js";

const STEPS = 5;
const BATCH = 16;
const folder = mkdtempSync(join(tmpdir(), "soundspot-gpus-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Prints the losses of a few steps on batches of BATCH, of which each process has its part. */
const steps = (source: string) => `
import { Model, ProcessGroup, Trainer } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const { RANK: rank, WORLD_SIZE: size } = process.env;
const group = Number(size) > 1 ? await ProcessGroup.join(ProcessGroup.fromEnvironment()) : undefined;
const model = await Model.create(
  { imageSize: 32, imageStages: 2, imageStride: 8, imageWidth: 8, audioStages: 2, audioWidth: 8, dim: 16, audio: { seconds: 0.5 } },
  { seed: 4, device: "cuda:" + rank, precision: "float32" },
);
const trainer = new Trainer(model, { falseNegatives: { k: 3 }, precision: "float32", batchNorm: "synchronised", epsilon: 1e-3 }, group);
const numbers = (length, seed) => Float32Array.from({ length }, (_, i) => Math.sin(i * (0.01 + seed * 0.003) + seed));
const pair = (i) => ({
  image: { tensor: numbers(3072, i + 1), shape: [3, 32, 32] },
  audio: { spectrogram: numbers(257 * 51, i + 500), shape: [1, 257, 51] },
});
const own = ${BATCH} / Number(size);
const losses = [];
for (let step = 0; step < ${STEPS}; step++) {
  const batch = Array.from({ length: own }, (_, i) => pair(step * ${BATCH} + Number(rank) * own + i));
  losses.push((await trainer.step(batch)).losses.total);
}
process.stdout.write(JSON.stringify({ device: model.compute.device, losses }));
process.exit(0);
`;

describe.skipIf(!usable || gpus < 2)("two processes with a GPU each (skipped without two)", () => {
  it("take the steps of one process, by NCCL", async () => {
    const script = join(folder, "steps.mjs");
    writeFileSync(script, steps(transpilePackage(join(folder, "package"))));
    const outcomes = async (size: number) =>
      (await inGroup(size, [script])).map(({ code, output, errors }) => {
        expect(code, errors).toBe(0);
        return JSON.parse(output) as { device: string; losses: number[] };
      });
    const [one] = await outcomes(1);
    const two = await outcomes(2);
    expect(two.map(({ device }) => device)).toEqual(["cuda:0", "cuda:1"]);
    for (const { losses } of two) {
      expect(losses).toHaveLength(STEPS);
      for (const [i, loss] of losses.entries()) {
        const expected = one?.losses[i] as number;
        expect(Math.abs(loss - expected) / expected, `step ${i}`).toBeLessThan(1e-3);
      }
    }
  });
});
