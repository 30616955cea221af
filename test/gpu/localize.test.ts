/** Whole models on a GPU compute what they compute on the CPU. */
import { describe, expect, it } from "vitest";
import { evaluate, Model } from "../../src/index.js";
import { native } from "../../src/native.js";
import { bar, bars } from "../support/scored.js";
import { created, device, difference, gpus, methods, usable } from "./gpu.js";

/**
 * Of the greatest value. float32 rounds by 6e-8, and a map is scaled to its own minimum and maximum: one that is nearly
 * constant enlarges what convolutions round by three digits.
 */
const FLOAT32 = 1e-3;
/** Of embeddings, unit vectors, whose encoders round to bfloat16, by 2⁻⁸ in each layer. */
const BFLOAT16 = 0.1;

describe.skipIf(!usable)("a model on the GPU (skipped without one)", () => {
  it("is there for auto, by its number", async ({ skip }) => {
    if (gpus === 0) skip("auto chooses GPUs alone");
    using model = await Model.create(methods.similarity?.model, { seed: 1 });
    expect(model.compute.device).toMatch(/^cuda:\d+$/);
  });

  for (const [name, { model }] of Object.entries(methods)) {
    it(`${name}: maps, embeddings and scores are the CPU's`, async () => {
      using own = await created(device, model);
      using other = await created("cpu", model);
      const inputs = Array.from({ length: 9 }, (_, i) => bar(i));
      // Up to eight samples and more of them are computed by different kernels.
      for (const count of [1, 8, 9]) {
        const batch = inputs.slice(0, count);
        const others = await other.localize(batch);
        // The second pass of a size is recorded, the third is a replay.
        for (const pass of ["first", "second", "third"]) {
          for (const [i, spot] of (await own.localize(batch)).entries()) {
            const far = difference(spot.heatmap, others[i]?.heatmap ?? []);
            expect(far, `${pass} map ${i} of ${count}`).toBeLessThan(FLOAT32);
          }
        }
      }
      for (const input of [{ image: bar(2).image }, { audio: bar(2).audio }]) {
        expect(difference(await own.embed(input), await other.embed(input))).toBeLessThan(FLOAT32);
      }
      const data = bars(6);
      const [ours, others] = [
        await evaluate({ model: own, data, precision: "float32" }),
        await evaluate({ model: other, data, precision: "float32" }),
      ];
      expect(ours.audio.ciou).toBeCloseTo(others.audio.ciou, 4);
    });

    it(`${name}: embeddings in bfloat16 are near those in float32`, async ({ skip }) => {
      if (device.startsWith("testdevice") || !native().info().precisions[device]?.includes("bfloat16"))
        skip(`${device} does not multiply bfloat16`);
      using own = await created(device, model);
      const input = { image: bar(3).image };
      const [half, full] = [
        await own.embed(input, { precision: "bfloat16" }),
        await own.embed(input, { precision: "float32" }),
      ];
      expect(difference(half, full)).toBeLessThan(BFLOAT16);
      expect(difference(half, full)).toBeGreaterThan(0);
    });
  }

  it("repeats maps bit for bit", async () => {
    using model = await created(device);
    const batch = Array.from({ length: 12 }, (_, i) => bar(i));
    const first = await model.localize(batch);
    for (const _ of ["recorded", "replayed"]) {
      const again = await model.localize(batch);
      for (const [i, { heatmap }] of first.entries()) expect(again[i]?.heatmap).toEqual(heatmap);
    }
  });
});

describe.skipIf(!usable || gpus === 0 || gpus > 7)("a GPU that is not there (skipped without any)", () => {
  it("is rejected by an error that counts those that are", async () => {
    const error = await created("cuda:7").catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      name: "SoundspotError",
      code: "ERR_DEVICE",
      message: expect.stringMatching(
        new RegExp(`^There is no device "cuda:7"\\. ${gpus} GPUs answer\\. Use one of: auto, cpu, cuda:0`),
      ),
    });
  });
});
