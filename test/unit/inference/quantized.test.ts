/** Quantized models: near the float one, the same from a file, independent of the batch, with typed errors. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluate, Model, type ModelOptions, quantize, Trainer } from "../../../src/index.js";
import { type Entry, partsOf, withParts, withValues } from "../../support/safetensors.js";
import { bar, bars } from "../../support/scored.js";
import { slots, tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-int8-"));
const [floatFile, int8File] = ["float.safetensors", "int8.safetensors"].map((name) => join(folder, name)) as [
  string,
  string,
];
const config: ModelOptions = { ...tiny, imageWidth: 16, audioWidth: 16, ...slots({ iterations: 3 }) };
const inputs = Array.from({ length: 5 }, (_, i) => bar(i));
const data = bars(16);

let model: Model;
let int8: Model;

beforeAll(async () => {
  model = await Model.create(config, { seed: 3, device: "cpu", precision: "float32" });
  using trainer = new Trainer(model, { precision: "float32", learningRate: 3e-3, augment: false, seed: 1 });
  for (let step = 0; step < 30; step++)
    await trainer.step([0, 1, 2, 3, 4, 5, 6, 7].map((i) => bar(8 * step + i)));
  int8 = await quantize({ model, data });
  await model.save(floatFile);
  await int8.save(int8File);
});
afterAll(() => {
  model.dispose();
  int8.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const maps = async (of: Model, precision?: "int8" | "float32") =>
  (await of.localize(inputs, precision ? { precision } : {})).map(({ heatmap }) => heatmap);

/** Greatest and mean difference of maps in [0, 1]. */
function apart(one: readonly Float32Array[], other: readonly Float32Array[]) {
  const differences = one.flatMap((map, i) =>
    Array.from(map, (value, k) => Math.abs(value - (other[i]?.[k] as number))),
  );
  return {
    most: Math.max(...differences),
    mean: differences.reduce((a, b) => a + b) / differences.length,
  };
}

describe("a quantized model", () => {
  it("computes in int8 by default, near the float model", async () => {
    expect(int8.compute).toMatchObject({ device: "cpu", requested: "auto", precision: "int8" });
    const own = await maps(int8);
    expect(own).toEqual(await maps(int8, "int8"));
    const { most, mean } = apart(await maps(model), own);
    expect(mean).toBeLessThan(0.03);
    expect(mean).toBeGreaterThan(0);
    expect(most).toBeLessThan(0.3);
  });

  it("computes with its rounded weights in float32", async () => {
    const rounded = await maps(int8, "float32");
    expect(apart(await maps(model), rounded).mean).toBeLessThan(0.02);
    expect(apart(await maps(int8), rounded).mean).toBeGreaterThan(0);
  });

  it("leaves the model that it was made of as it was", async () => {
    using again = await Model.load(floatFile, { precision: "float32", device: "cpu" });
    expect(await maps(model)).toEqual(await maps(again));
    expect(model.compute.precision).toBe("float32");
  });

  it("gives the same from a file, whose weights take a quarter", async () => {
    using loaded = await Model.load(int8File, { device: "cpu" });
    expect(loaded.compute.precision).toBe("int8");
    expect(await maps(loaded)).toEqual(await maps(int8));
    expect(await maps(loaded, "float32")).toEqual(await maps(int8, "float32"));
    const again = join(folder, "again.safetensors");
    await loaded.save(again);
    expect(readFileSync(again)).toEqual(readFileSync(int8File));
    const { entries } = partsOf(readFileSync(int8File));
    const bytes = (of: Entry | undefined) => (of ? of.data_offsets[1] - of.data_offsets[0] : 0);
    const whole = partsOf(readFileSync(floatFile)).entries;
    for (const name of Object.keys(entries).filter((each) => entries[each]?.dtype === "I8")) {
      expect(4 * bytes(entries[name])).toBe(bytes(whole[name]));
    }
    expect(statSync(int8File).size).toBeLessThan(statSync(floatFile).size);
  });

  it("gives each input alone what it gives it in a batch", async () => {
    const together = await maps(int8);
    for (const [i, input] of inputs.entries()) {
      const { most } = apart([(await int8.localize(input)).heatmap], [together[i] as Float32Array]);
      expect(most).toBeLessThan(1e-4);
    }
  });

  it("is evaluated in int8 unless another precision is named", async () => {
    const options = { data, bootstrap: false, falseNegatives: false } as const;
    expect((await evaluate({ model: int8, ...options })).settings.precision).toBe("int8");
    expect((await evaluate({ model: int8, ...options, precision: "float32" })).settings.precision).toBe(
      "float32",
    );
    expect((await evaluate({ model, ...options })).settings.precision).toBe("float32");
    using exact = await Model.load(int8File, { device: "cpu", precision: "float32" });
    expect((await evaluate({ model: exact, ...options })).settings.precision).toBe("float32");
  });

  it("embeds near the float model", async () => {
    const [ours, theirs] = await Promise.all(
      [int8, model].map((each) => each.embed({ image: bar(1).image })),
    );
    const cosine = (ours as Float32Array).reduce((sum, value, i) => sum + value * (theirs?.[i] as number), 0);
    expect(cosine).toBeGreaterThan(0.98);
  });

  it("is not quantized any more once its weights change", async () => {
    using loaded = await Model.load(int8File, { device: "cpu" });
    using trainer = new Trainer(loaded, { precision: "float32" });
    const { losses } = await trainer.step([bar(0), bar(1)]);
    expect(losses.total).toBeGreaterThan(0);
    await expect(loaded.localize(bar(0), { precision: "int8" })).rejects.toMatchObject({ code: "ERR_INPUT" });
    expect((await loaded.localize(bar(0))).heatmap.length).toBeGreaterThan(0);
    const trained = join(folder, "trained.safetensors");
    await loaded.save(trained, { metadata: loaded.metadata });
    using plain = await Model.load(trained, { device: "cpu" });
    expect(plain.compute.precision).not.toBe("int8");
  });

  it("takes pairs from the whole of the data, and says how far it is", async () => {
    const read: number[] = [];
    const seen: number[] = [];
    const counted = {
      ...data,
      load: (index: number) => {
        read.push(index);
        return data.load(index);
      },
    };
    using some = await quantize({
      model,
      data: counted,
      pairs: 4,
      batchSize: 2,
      onProgress: (done, total) => seen.push(done, total),
    });
    expect(some.compute.precision).toBe("int8");
    expect(read.sort((a, b) => a - b)).toEqual([0, 4, 8, 12]);
    expect(seen).toEqual([2, 4, 4, 4]);
  });
});

describe("errors of int8", () => {
  const hint = expect.objectContaining({
    message: expect.stringContaining("soundspot quantize MODEL --data LIST"),
  });

  it("names the command where a model is not quantized", async () => {
    await expect(Model.load(floatFile, { precision: "int8" })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(model.localize(bar(0), { precision: "int8" })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(model.localize(bar(0), { precision: "int8" })).rejects.toEqual(hint);
    await expect(Model.create(tiny, { precision: "int8" })).rejects.toEqual(hint);
  });

  it("rejects training in int8", () => {
    expect(() => new Trainer(model, { precision: "int8" as "float32" })).toThrow(/precision/);
  });

  it("does not calibrate with data that cannot be read", async () => {
    const broken = { ...data, load: () => Promise.reject(new Error("no")) };
    await expect(quantize({ model, data: broken })).rejects.toThrow("no");
    await expect(quantize({ model, data: { ...data, length: 0 } })).rejects.toMatchObject({
      code: "ERR_INPUT",
    });
  });

  const name = "imgnet.layer1.0.conv1";
  it.each([
    ["a scale that is not a number", `${name}.weight_scale`, Number.NaN],
    ["a negative scale", `${name}.weight_scale`, -1],
    ["a scale of zero", `${name}.input_scale`, 0],
    ["a scale without end", `${name}.input_scale`, Number.POSITIVE_INFINITY],
    ["a scale beyond all sizes", `${name}.weight_scale`, 1e30],
  ])("rejects a file with %s", async (_, tensor, value) => {
    const path = join(folder, "corrupt.safetensors");
    writeFileSync(
      path,
      withValues(readFileSync(int8File), tensor, (values) => values.fill(value, 0, 1)),
    );
    await expect(Model.load(path)).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_CORRUPT",
      message: expect.stringContaining(tensor),
    });
  });

  it.each([`${name}.weight_scale`, `${name}.input_scale`])("rejects a file without %s", async (tensor) => {
    const path = join(folder, "without.safetensors");
    const { metadata, entries, data: bytes } = partsOf(readFileSync(int8File));
    const { [tensor]: _, ...rest } = entries;
    const { "soundspot.checksum": __, ...others } = metadata;
    // Its bytes go to a tensor that no part of the model has.
    rest["unused.tensor"] = _ as Entry;
    writeFileSync(path, withParts({ metadata: others, entries: rest, data: bytes }));
    await expect(Model.load(path)).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_CORRUPT",
      message: expect.stringContaining(name),
    });
  });

  it("rejects an int8 weight in a file that is not of a quantized model", async () => {
    const path = join(folder, "unmarked.safetensors");
    const { metadata, entries, data: bytes } = partsOf(readFileSync(int8File));
    const { "soundspot.checksum": _, "soundspot.quantization": __, ...others } = metadata;
    writeFileSync(path, withParts({ metadata: others, entries, data: bytes }));
    await expect(Model.load(path)).rejects.toMatchObject({ code: "ERR_CHECKPOINT_MISMATCH" });
  });
});
