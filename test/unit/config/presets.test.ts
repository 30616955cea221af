/** Presets with every method: losses that a method lacks are left out, and what is asked for stays. */
import { describe, expect, it } from "vitest";
import { methodNamed, methodNames } from "../../../src/config/methods.js";
import { mergeModel, parseModelConfig } from "../../../src/config/model.js";
import { mergeTrain, presets } from "../../../src/config/presets.js";
import { lossWeightAt } from "../../../src/config/schedule.js";
import { parseTrainConfig, type TrainOptions } from "../../../src/config/train.js";

const merged = (preset: keyof typeof presets, options: TrainOptions, method: string) =>
  parseTrainConfig(mergeTrain(presets[preset].train, options, method), method);

describe.each(methodNames())("with the method %s", (method) => {
  const { losses: own, defaultLosses } = methodNamed(method);

  it.each(Object.keys(presets) as (keyof typeof presets)[])(
    "the preset %s is valid and trains in every epoch",
    (preset) => {
      const model = parseModelConfig(
        mergeModel(presets[preset].model, { method: { name: method } as never }),
      );
      expect(model.method.name).toBe(method);
      const { losses, epochs } = merged(preset, {}, method);
      for (const name of Object.keys(losses)) expect(own).toContain(name);
      for (let epoch = 0; epoch < epochs; epoch++) {
        const weights = Object.values(losses).map((loss) => lossWeightAt(loss, epoch));
        expect(Math.max(...weights), `epoch ${epoch}`).toBeGreaterThan(0);
      }
    },
  );

  it.each(Object.keys(presets) as (keyof typeof presets)[])(
    "a loss of one's own stands beside those of the preset %s",
    (preset) => {
      for (const name of own) {
        const { losses } = merged(preset, { losses: { [name]: { weight: 0.37 } } }, method);
        const { losses: before } = merged(preset, {}, method);
        expect(losses).toEqual({
          ...before,
          [name]: { weight: 0.37, from: 0, ramp: 0, temperature: expect.any(Number) },
        });
      }
    },
  );

  it("without a preset's losses, the method's own are the default", () => {
    expect(Object.keys(merged("paper", {}, method).losses).sort()).toEqual(Object.keys(defaultLosses).sort());
  });

  it("a loss that only another method has is rejected", () => {
    const foreign = methodNames()
      .flatMap((other) => methodNamed(other).losses)
      .find((name) => !own.includes(name));
    if (foreign === undefined) return;
    expect(() => merged("scratch", { losses: { [foreign]: { weight: 1 } } }, method)).toThrow(
      new RegExp(`train.losses.${foreign}: the method ${method} has no such loss`),
    );
  });
});

describe("training over a preset's", () => {
  const { train } = presets.scratch;

  it.each([
    ["augment", { verticalFlipProbability: 0.1 }],
    ["viewAugment", { translate: 0.1 }],
    ["falseNegatives", { from: 3 }],
    ["schedule", { type: "one-cycle", warmup: 0.4 }],
  ] as const)("%s keeps the fields that it does not name", (name, own) => {
    const base: TrainOptions = { viewAugment: { blurKind: "pillow" }, ...train };
    const result = parseTrainConfig(mergeTrain(base, { [name]: own }));
    const before = parseTrainConfig(mergeTrain(base, {}));
    expect(result).toEqual({ ...before, [name]: { ...(before[name] as object), ...own } });
    expect(result).not.toEqual(before);
  });

  it("off, or of another type, replaces the preset's", () => {
    expect(merged("scratch", { augment: false }, "joint-slot-attention").augment).toBe(false);
    expect(merged("scratch", { schedule: { type: "constant" } }, "joint-slot-attention").schedule).toEqual({
      type: "constant",
    });
    expect(mergeTrain({ augment: false }, { augment: { crop: false } }).augment).toEqual({ crop: false });
    expect(mergeTrain(train, { augment: undefined }).augment).toEqual(train.augment);
  });
});

describe("audio over a preset's", () => {
  it("keeps the fields that it does not name", () => {
    expect(mergeModel({ audio: { seconds: 2, hop: 80 } }, { audio: { hop: 100 } }).audio).toEqual({
      seconds: 2,
      hop: 100,
    });
    const { audio } = parseModelConfig(
      mergeModel({ audio: { frontEnd: "scipy", seconds: 3 } }, { audio: { sampleRate: 44_100 } }),
    );
    expect(audio).toMatchObject({ frontEnd: "scipy", seconds: 3, sampleRate: 44_100, hop: 238 });
    expect(mergeModel({ audio: { seconds: 2 } }).audio).toEqual({ seconds: 2 });
    expect(mergeModel({}, { audio: { seconds: 4 } }).audio).toEqual({ seconds: 4 });
  });
});
