/** Work that prepares samples for itself frees them when it ends, and does not leave that to the garbage collector. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { datasets, Model, preprocess, quantize, retrieve, Trainer } from "../../../src/index.js";
import { native } from "../../../src/native.js";
import { tiny } from "../../support/tiny.js";

const disposed = expect.objectContaining({ code: "ERR_DISPOSED" });
const scenes = () => datasets.scenes({ size: 32, seconds: 1, length: 6 });

let model: Model;
let trainer: Trainer;
beforeAll(async () => {
  model = await Model.create({ ...tiny, imageWidth: 16 }, { seed: 1, device: "cpu" });
  trainer = new Trainer(model, { batchSize: 4 });
});
afterAll(() => {
  trainer?.dispose();
  model?.dispose();
});

async function pairs(count: number) {
  await using data = scenes();
  return await Promise.all(Array.from({ length: count }, (_, i) => data.load(i)));
}

/** Does the work, and expects that no sample which it prepared can be taken any more. */
async function expectFreed(work: () => Promise<unknown>, count: number): Promise<void> {
  const prepare = vi.spyOn(native(), "prepare");
  onTestFinished(() => prepare.mockRestore());
  await work();
  const handles = await Promise.all(prepare.mock.results.map(({ value }) => value));
  expect(handles).toHaveLength(count);
  for (const handle of handles) expect(() => native().tensors(handle)).toThrow(disposed);
}

describe("samples are freed by", () => {
  it("Trainer.step", () => expectFreed(async () => trainer.step(await pairs(4)), 4));
  it("Model.encode", () => expectFreed(async () => model.encode(await pairs(3)), 3));
  it("Model.embed", () =>
    expectFreed(async () => {
      const [one, two, three] = await pairs(3);
      await model.embed([{ image: one?.image as never }, { audio: two?.audio as never }]);
      await model.embed({ audio: three?.audio as never });
    }, 3));
  it("preprocess", () =>
    expectFreed(async () => {
      const [one] = await pairs(1);
      const image = await preprocess.image(one?.image as never, model.config);
      const audio = await preprocess.audio(one?.audio as never, model.config);
      expect([image, audio].map(({ data }) => data.some((value) => value !== 0))).toEqual([true, true]);
    }, 2));
  it("retrieve", () =>
    expectFreed(async () => {
      await using data = scenes();
      await retrieve({ model, data, batchSize: 4 });
    }, 6));
  it("retrieve, of a batch without a sound too", () =>
    expectFreed(async () => {
      await using data = scenes();
      const { load } = data;
      data.load = async (index, options) => ({
        ...(await load.call(data, index, options)),
        sounding: index >= 2,
      });
      await retrieve({ model, data, batchSize: 2 });
    }, 6));
  it("quantize", () =>
    expectFreed(async () => {
      await using data = scenes();
      (await quantize({ model, data, pairs: 5, batchSize: 2 })).dispose();
    }, 5));
});

describe("samples are freed when the work fails, by", () => {
  const failing = (name: "step" | "encode" | "embed" | "calibrate") => {
    const spy = vi.spyOn(native(), name).mockRejectedValue(new Error("It failed."));
    onTestFinished(() => spy.mockRestore());
  };
  it("Trainer.step", () =>
    expectFreed(async () => {
      failing("step");
      await expect(trainer.step(await pairs(4))).rejects.toThrow("It failed.");
    }, 4));
  it("Model.encode", () =>
    expectFreed(async () => {
      failing("encode");
      await expect(model.encode(await pairs(2))).rejects.toThrow("It failed.");
    }, 2));
  it("Model.embed", () =>
    expectFreed(async () => {
      failing("embed");
      const [one] = await pairs(1);
      await expect(model.embed({ image: one?.image as never })).rejects.toThrow("It failed.");
    }, 1));
  it("retrieve", () =>
    expectFreed(async () => {
      failing("embed");
      await using data = scenes();
      await expect(retrieve({ model, data, batchSize: 6 })).rejects.toThrow("It failed.");
    }, 6));
  it("quantize", () =>
    expectFreed(async () => {
      failing("calibrate");
      await using data = scenes();
      await expect(quantize({ model, data, pairs: 5, batchSize: 5 })).rejects.toThrow("It failed.");
    }, 5));
});
