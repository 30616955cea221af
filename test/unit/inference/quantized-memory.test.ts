/** The weights of a quantized model: int8 alone in memory, and in float32 wherever they are asked for. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, type ModelOptions, quantize, type TensorData, Trainer } from "../../../src/index.js";
import { prepareInput } from "../../../src/model/inputs.js";
import { native } from "../../../src/native.js";
import { partsOf } from "../../support/safetensors.js";
import { bar, bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-int8-memory-"));
const file = join(folder, "int8.safetensors");
/** Its quantized weights are nearly all that lies in blocks of 256 KiB and more, the ones that are counted. */
const wide: ModelOptions = { ...tiny, imageWidth: 128, audioWidth: 16 };

/** Bytes of large tensors at this moment. */
function inUse(): number {
  native().tensorMemory(true);
  return native().tensorMemory(false);
}

let bytes = 0; // of the int8 weights
beforeAll(async () => {
  using model = await Model.create(wide, { seed: 5, device: "cpu", precision: "float32" });
  using int8 = await quantize({ model, data: bars(4) });
  await int8.save(file);
  for (const { dtype, data_offsets } of Object.values(partsOf(readFileSync(file)).entries)) {
    if (dtype === "I8") bytes += data_offsets[1] - data_offsets[0];
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = () => Model.load(file, { device: "cpu" });
const map = async (model: Model, precision: "int8" | "float32") =>
  (await model.localize(bar(0), { precision })).heatmap;
const digest = (data: Float32Array) => createHash("sha256").update(data).digest("hex");
/** Digests of the parameters by name. */
const values = async (model: Model) =>
  Object.fromEntries((await model.parameters()).map(({ name, data }) => [name, digest(data)]));

/** A model of the same weights that was never quantized. */
async function twin(of: Model): Promise<Model> {
  const model = await Model.create(wide, { seed: 6, device: "cpu", precision: "float32" });
  await model.setParameters(await of.parameters());
  return model;
}

describe("the memory of a quantized model", () => {
  // Where weights are rounded to 7 bits, those are held beside the 8 bits of the file.
  const { levels } = (
    native() as unknown as { quantizedWeight(weight: TensorData): { levels: number } }
  ).quantizedWeight({ shape: [1, 1, 1, 1], data: Float32Array.of(1) });
  const forms = levels === 127 ? 1 : 2;

  it.each(["loaded", "made"])(
    "holds the weights once in int8 when it is %s, and has localized",
    async (how) => {
      using model = await Model.create(wide, { seed: 5, device: "cpu", precision: "float32" });
      using warm = await load();
      await map(warm, "int8");
      const before = inUse();
      using int8 = how === "loaded" ? await load() : await quantize({ model, data: bars(2) });
      expect(inUse() - before).toBeLessThan(1.1 * bytes);
      await map(int8, "int8");
      const held = inUse() - before;
      expect(held).toBeLessThan(1.1 * forms * bytes);
      expect(held).toBeGreaterThan(0.7 * forms * bytes); // some weights lie in smaller blocks
    },
  );

  it("holds float32 weights from a change of the weights on", async () => {
    const before = inUse();
    using int8 = await load();
    const held = inUse() - before;
    const { name, data, shape } = (await int8.parameters())[0] as { name: string } & TensorData;
    await int8.setParameters([{ name, data, shape }]);
    expect(inUse() - before).toBeGreaterThan(3.5 * held);
  });
});

describe("the float32 weights of a quantized model", () => {
  it("are the same before and after it has localized in int8", async () => {
    using int8 = await load();
    const before = await values(int8);
    const exact = await map(int8, "float32");
    using other = await load();
    await map(other, "int8");
    expect(await values(other)).toEqual(before);
    expect(await map(other, "float32")).toEqual(exact);
    using plain = await twin(int8);
    expect(await map(plain, "float32")).toEqual(exact);
    const again = join(folder, "again.safetensors");
    await other.save(again);
    expect(readFileSync(again)).toEqual(readFileSync(file));
  });

  it("are those of LibTorch's own operators", async () => {
    using int8 = await load();
    using plain = await twin(int8);
    const { handle: sample } = await prepareInput(bar(0), int8.config);
    const [ours, theirs] = await Promise.all(
      [int8, plain].map(({ handle }) =>
        native().encode(handle, [sample], { sharpening: 1, precision: "float32", plain: true }),
      ),
    );
    expect(ours).toEqual(theirs);
  });

  it("are calibrated again to the same values", async () => {
    using int8 = await load();
    using again = await quantize({ model: int8, data: bars(4) });
    expect(await values(again)).toEqual(await values(int8));
  });

  it("stay when one of them is set", async () => {
    using int8 = await load();
    const before = await int8.parameters();
    const [first] = before.filter(({ name }) => name === "imgnet.layer2.1.conv2.weight");
    if (!first) throw new Error("no such parameter");
    const halved = { ...first, data: first.data.map((value) => value / 2) };
    await int8.setParameters([halved]);
    const unchanged = Object.fromEntries(before.map(({ name, data }) => [name, digest(data)]));
    expect(await values(int8)).toEqual({ ...unchanged, [first.name]: digest(halved.data) });
    expect((await int8.localize(bar(0))).heatmap.length).toBeGreaterThan(0);
  });

  it("are where training goes on from", async () => {
    using int8 = await load();
    await map(int8, "int8");
    using plain = await twin(int8);
    const options = { precision: "float32", learningRate: 1e-3, augment: false, seed: 1 } as const;
    using ours = new Trainer(int8, options);
    using theirs = new Trainer(plain, options);
    const batch = [bar(0), bar(1), bar(2)];
    for (let step = 0; step < 2; step++) {
      expect((await ours.step(batch)).losses).toEqual((await theirs.step(batch)).losses);
    }
    expect(await values(int8)).toEqual(await values(plain));
  });
});

describe("a change of the weights during calibration", () => {
  const changes = {
    "set parameters": async (model: Model) => model.setParameters((await model.parameters()).slice(0, 1)),
    "a step of training": async (model: Model) => {
      using trainer = new Trainer(model, { precision: "float32" });
      await trainer.step([bar(0), bar(1)]);
    },
  };
  it.each(Object.entries(changes).flatMap(([name, change]) => [0, 7].map((at) => ({ name, change, at }))))(
    "by $name is an error, at pair $at of 8",
    async ({ change, at }) => {
      using model = await Model.create(tiny, { seed: 1, device: "cpu" });
      const data = bars(8);
      const load = async (index: number) => {
        if (index === at) await change(model);
        return data.load(index);
      };
      await expect(quantize({ model, data: { ...data, load }, batchSize: 2 })).rejects.toMatchObject({
        code: "ERR_INPUT",
        message: expect.stringMatching(/weights changed while it was calibrated.*Quantize it again/),
      });
      using after = await quantize({ model, data });
      expect(after.compute.precision).toBe("int8");
    },
  );
});
