/** A GPU whose memory runs out: the error names the batch, and model and trainer live on. */
import { describe, expect, it } from "vitest";
import { type ModelOptions, Trainer } from "../../src/index.js";
import { bits, created, device, differing, memory, usable } from "./gpu.js";

/** A model whose first convolution alone needs SAMPLE bytes for each sample. */
const model: ModelOptions = {
  imageSize: 1024,
  imageStages: 1,
  imageStride: 4,
  imageWidth: 256,
  audioStages: 1,
  audioStride: 4,
  audioWidth: 4,
  dim: 16,
  method: { name: "similarity" },
  audio: { seconds: 0.5 },
};
const SAMPLE = 256 * 512 * 512 * 4;

const image = { tensor: new Float32Array(3 * 1024 * 1024).fill(0.1), shape: [3, 1024, 1024] };
const audio = { spectrogram: new Float32Array(257 * 51).fill(0.2), shape: [1, 257, 51] };
const batch = (count: number) => Array.from({ length: count }, () => ({ image, audio }));

describe.skipIf(!usable || memory === 0)("a GPU without memory (skipped without a GPU)", () => {
  it("fails by an error that names the batch, and leaves model and trainer as they were", async () => {
    const many = Math.ceil((1.2 * memory) / SAMPLE);
    using own = await created(device, model);
    using trainer = new Trainer(own, { precision: "float32", augment: false });
    const before = await bits(own);
    const map = (await own.localize(batch(1)))[0]?.heatmap;
    const expected = {
      code: "ERR_OUT_OF_MEMORY",
      message: expect.stringContaining(`does not suffice for a batch of ${many}`),
    };
    expect(await own.localize(batch(many)).catch((reason: unknown) => reason)).toMatchObject(expected);
    expect(await trainer.step(batch(many)).catch((reason: unknown) => reason)).toMatchObject(expected);
    expect(differing(await bits(own), before)).toEqual([]);
    expect((await own.localize(batch(1)))[0]?.heatmap).toEqual(map);
    const { losses } = await trainer.step(batch(2));
    expect(Number.isFinite(losses.total)).toBe(true);
    expect(differing(await bits(own), before).length).toBeGreaterThan(0);
  });
});
