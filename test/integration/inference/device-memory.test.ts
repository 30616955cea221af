/** A device whose memory runs out: the error names the batch, nothing is changed, and model and trainer live on. */
import { existsSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Model, Trainer } from "../../../src/index.js";
import { bar } from "../../support/scored.js";
import { slots, tiny } from "../../support/tiny.js";

const addon = vi.hoisted(() => {
  const build = process.env.SOUNDSPOT_VARIANT === "cuda" ? "build/cuda" : "build";
  process.env.SOUNDSPOT_PREBUILD = `${process.cwd()}/${build}/test`;
  return `${process.env.SOUNDSPOT_PREBUILD}/build/Release/soundspot_test.node`;
});
const built = existsSync(addon) && process.platform !== "win32";
if (!built)
  console.warn(`test/integration/inference/device-memory.test.ts is skipped: there is no ${addon}.`);

/** The test device gives no block that is larger. */
const allow = (bytes: number | undefined) => {
  if (bytes === undefined) delete process.env.SOUNDSPOT_TEST_DEVICE_BYTES;
  else process.env.SOUNDSPOT_TEST_DEVICE_BYTES = String(bytes);
};
afterEach(() => allow(undefined));

/** What a call says of the memory, for limits at which it fails in different places. */
async function messages(call: () => Promise<unknown>): Promise<(string | undefined)[]> {
  const all: (string | undefined)[] = [];
  for (const limit of [4096, 16_384, 65_536]) {
    allow(limit);
    const outcome = await call().then(
      () => undefined,
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );
    all.push(outcome);
  }
  allow(undefined);
  return all;
}

const suffice = (batch: number) =>
  `ERR_OUT_OF_MEMORY The GPU's memory does not suffice for a batch of ${batch}. Use a smaller batch, in training ` +
  "microBatchSize, a smaller image or a smaller model.";

describe.skipIf(!built)("a device without memory", () => {
  it("fails by an error that names the batch, and computes the same afterwards", async () => {
    using model = await Model.create(
      { ...tiny, ...slots({ targetSlots: 2 }) },
      { seed: 3, device: "testdevice:0" as "cpu", precision: "float32" },
    );
    const inputs = [0, 1, 2].map((i) => bar(i));
    const before = await model.localize(inputs);
    for (const call of [() => model.localize(inputs), () => model.encode(inputs)]) {
      const said = await messages(call);
      expect(said[0]).toBe(suffice(3));
      for (const each of said) expect([suffice(3), undefined]).toContain(each);
    }
    const after = await model.localize(inputs);
    after.forEach(({ heatmap }, i) => {
      expect(heatmap).toEqual(before[i]?.heatmap);
    });
  });

  it("leaves model and optimizer as they were before the step", async () => {
    const settings = { precision: "float32", learningRate: 1e-2, epsilon: 1e-3, augment: false } as const;
    const make = () =>
      Model.create({ ...tiny, method: { name: "similarity" } }, { seed: 3, device: "testdevice:0" as "cpu" });
    using model = await make();
    using other = await make();
    const [trainer, undisturbed] = [new Trainer(model, settings), new Trainer(other, settings)];
    const batch = (step: number) => [0, 1, 2, 3].map((i) => bar(4 * step + i));
    await trainer.step(batch(0));
    await undisturbed.step(batch(0));
    const said = await messages(() => trainer.step(batch(1)));
    expect(said[0]).toBe(suffice(4));
    expect(new Set(said)).toEqual(new Set([suffice(4)]));
    const { losses } = await trainer.step(batch(1));
    expect(losses).toEqual((await undisturbed.step(batch(1))).losses);
    const [ours, theirs] = await Promise.all([model.parameters(), other.parameters()]);
    expect(ours.map(({ data }) => data)).toEqual(theirs.map(({ data }) => data));
  });
});
