/** The engine that localizes (folded, fused, packed) against the plain composition of the model. */
import { describe, expect, it } from "vitest";
import { Model, type ModelOptions } from "../../../src/index.js";
import { prepareInput } from "../../../src/model/inputs.js";
import { native } from "../../../src/native.js";
import { needsBfloat16 } from "../../support/processor.js";
import { bar } from "../../support/scored.js";
import { ofSlots, slots, tiny } from "../../support/tiny.js";

const configurations: [string, ModelOptions][] = [
  ["the smallest model", tiny],
  ["features that fill no panel", { ...tiny, dim: 50, ...slots({ mlpHidden: 70 }) }],
  ["channels by the panel", { ...tiny, imageSize: 72, imageWidth: 32, audioWidth: 64 }],
  ["channels that fill no panel in one stage", { ...tiny, imageWidth: 48, audioWidth: 16 }],
  ["several target and off-target slots", { ...tiny, ...slots({ targetSlots: 3, offTargetSlots: 2 }) }],
  ["separate initial slots", { ...tiny, ...slots({ sharedSlots: false }) }],
  ["one iteration", { ...tiny, ...slots({ iterations: 1 }) }],
  ["one slot", { ...tiny, ...slots({ offTargetSlots: 0 }) }],
  ["many stages", { ...tiny, imageStages: 4, imageStride: 32, audioStages: 3, ...slots({ iterations: 5 }) }],
  ["activations that a batch of five makes in two parts", { ...tiny, imageSize: 256, imageWidth: 64 }],
  ["similarity instead of slots", { ...tiny, method: { name: "similarity" } }],
];

/** Weights as after some training: running statistics, norms and biases away from where they start. */
async function used(config: ModelOptions): Promise<Model> {
  const model = await Model.create(config, { seed: 3 });
  const tensors = await model.parameters();
  let state = 1;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const changed = tensors
    .filter(({ shape, name }) => shape.length === 1 && !name.includes("tracked"))
    .map(({ name, shape, data }) => ({ name, shape, data: data.map((value) => value + 0.5 * draw()) }));
  await model.setParameters(changed);
  return model;
}

async function outputs(
  model: Model,
  batch: number,
  options: { precision: "float32" | "bfloat16"; plain: boolean },
) {
  const inputs = Array.from({ length: batch }, (_, i) => bar(i));
  const samples = await Promise.all(inputs.map((input) => prepareInput(input, model.config)));
  return native().encode(
    model.handle,
    samples.map(({ handle }) => handle),
    { sharpening: 0.7, ...options },
  );
}

type Outputs = Awaited<ReturnType<typeof outputs>>;

/** Greatest difference of two outputs over the greatest value of the first. */
function apart(one: Outputs, other: Outputs, name: keyof Outputs): number {
  const [a, b] = [ofSlots(one)[name], ofSlots(other)[name]];
  expect(b.shape, name).toEqual(a.shape);
  const most = a.data.reduce((high, value) => Math.max(high, Math.abs(value)), 1e-6);
  return a.data.reduce((high, value, i) => Math.max(high, Math.abs(value - (b.data[i] as number))), 0) / most;
}

describe("the engine", () => {
  it.each(configurations)("gives in float32 what the plain composition gives: %s", async (_, config) => {
    const model = await used(config);
    for (const batch of [1, 2, 5]) {
      const plain = await outputs(model, batch, { precision: "float32", plain: true });
      const engine = await outputs(model, batch, { precision: "float32", plain: false });
      for (const name of Object.keys(plain) as (keyof Outputs)[]) {
        expect(apart(plain, engine, name), `${name} of ${batch}`).toBeLessThan(2e-5);
      }
    }
  });

  it.for(configurations)("comes near it in bfloat16: %s", async ([_, config], context) => {
    needsBfloat16(context);
    const model = await used(config);
    const plain = await outputs(model, 3, { precision: "float32", plain: true });
    const engine = await outputs(model, 3, { precision: "bfloat16", plain: false });
    for (const name of Object.keys(plain) as (keyof Outputs)[]) {
      expect(apart(plain, engine, name), name).toBeLessThan(0.05);
    }
  });

  it("sees weights that were put after it was made", async () => {
    const model = await used(tiny);
    const before = await outputs(model, 2, { precision: "float32", plain: false });
    const tensors = await model.parameters();
    await model.setParameters(
      tensors
        .filter(({ trainable }) => trainable)
        .map((each) => ({ ...each, data: each.data.map((x) => 0.9 * x) })),
    );
    const after = await outputs(model, 2, { precision: "float32", plain: false });
    const plain = await outputs(model, 2, { precision: "float32", plain: true });
    expect(apart(before, after, "imageFeatures")).toBeGreaterThan(1e-3);
    expect(apart(plain, after, "imageFeatures")).toBeLessThan(2e-5);
  });

  it("gives the logits that its attention is made of", async () => {
    const model = await used({ ...tiny, ...slots({ targetSlots: 2 }) });
    const sharpening = 0.7;
    const spot = ofSlots(await model.localize(bar(1), { precision: "float32", sharpening }));
    for (const name of Object.keys(spot.attention) as (keyof typeof spot.attention)[]) {
      const { data, shape } = spot.attention[name];
      const logits = spot.logits?.[name];
      expect(logits?.shape).toEqual(shape);
      const [slots = 0, ...rest] = shape;
      const tokens = rest.reduce((product, side) => product * side, 1);
      const powers = Array.from(logits?.data ?? [], (logit) => Math.exp(sharpening * logit));
      const ofToken = (token: number) =>
        Array.from({ length: slots }, (_, slot) => powers[slot * tokens + token] as number).reduce(
          (a, b) => a + b,
        );
      const shares = powers.map((power, i) => power / ofToken(i % tokens));
      for (let slot = 0; slot < slots; slot++) {
        const row = shares.slice(slot * tokens, (slot + 1) * tokens);
        const sum = row.reduce((a, b) => a + b);
        row.forEach((share, token) => {
          expect(share / sum, name).toBeCloseTo(data[slot * tokens + token] as number, 6);
        });
      }
    }
    const plain = await used({ ...tiny, method: { name: "similarity" } });
    expect((await plain.localize(bar(1))).logits).toBeUndefined();
  });
});
