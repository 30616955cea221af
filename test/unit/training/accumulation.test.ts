/** Steps on batches that go through the model in parts. */
import { describe, expect, it } from "vitest";
import { Model, Trainer, type TrainOptions } from "../../../src/index.js";
import { pair } from "../../support/noise.js";
import { everyLoss, slots, tiny } from "../../support/tiny.js";

type Parameter = Awaited<ReturnType<Model["parameters"]>>[number];

const BATCH = 6;

interface Extra {
  readonly masking?: boolean;
  readonly update?: boolean;
  readonly change?: (parameters: readonly Parameter[]) => Parameter[];
}

async function step(options: TrainOptions, { masking = false, update = false, change }: Extra = {}) {
  const model = await Model.create({ ...tiny, dim: 32, ...slots({ maskProbability: 0.3 }) }, { seed: 5 });
  if (change) await model.setParameters(change(await model.parameters()));
  const before = await model.parameters();
  const trainer = new Trainer(model, { losses: everyLoss, falseNegatives: { k: 2 }, ...options });
  const batch = Array.from({ length: BATCH }, (_, i) => pair(model, i));
  const result = await trainer.step(batch, { gradients: true, masking, update });
  return { ...result, before, after: await model.parameters() };
}

type Step = Awaited<ReturnType<typeof step>>;

function statistics({ after }: Step, ending: string) {
  return after.filter(({ name }) => name.endsWith(ending)).map(({ data }) => [...data]);
}

describe("a batch in parts", () => {
  it.each([1, 2, 4, 5])("is one large batch where statistics are frozen: parts of %i", async (part) => {
    const whole = await step({ batchNorm: "frozen" });
    const parts = await step({ batchNorm: "frozen", microBatchSize: part });
    expect(parts.diagnostics.falseNegatives).toBe(whole.diagnostics.falseNegatives);
    expect(Object.keys(parts.losses)).toEqual(Object.keys(whole.losses));
    for (const [name, value] of Object.entries(whole.losses)) {
      expect(value, name).toBeGreaterThan(0);
      expect(Math.abs((parts.losses[name] as number) / value - 1), name).toBeLessThan(1e-4);
    }
    const others = new Map(parts.gradients.map(({ name, data }) => [name, data]));
    expect([...others.keys()].sort()).toEqual(whole.gradients.map(({ name }) => name).sort());
    let [difference, length] = [0, 0];
    for (const { name, data } of whole.gradients) {
      for (const [i, value] of data.entries()) {
        difference += (value - (others.get(name)?.[i] as number)) ** 2;
        length += value ** 2;
      }
    }
    expect(length).toBeGreaterThan(0);
    expect(Math.sqrt(difference / length)).toBeLessThan(0.01);
    expect(Math.abs(parts.gradientNorm / whole.gradientNorm - 1)).toBeLessThan(0.01);
  });

  it("leaves frozen statistics as they are", async () => {
    const frozen = await step({ batchNorm: "frozen", microBatchSize: 2 }, { update: true });
    const before = new Map(frozen.before.map(({ name, data }) => [name, [...data]]));
    for (const { name, data, trainable } of frozen.after) {
      if (!trainable) expect([...data], name).toEqual(before.get(name));
    }
    const moved = frozen.after.filter(
      ({ name, data, trainable }) => trainable && data.some((value, i) => value !== before.get(name)?.[i]),
    );
    expect(moved.length).toBeGreaterThan(50);
  });

  it("takes statistics from each part, once", async () => {
    const parts = await step({ microBatchSize: 2 });
    for (const count of statistics(parts, "num_batches_tracked")) expect(count).toEqual([BATCH / 2]);
    // which is another step than that of the whole batch
    const whole = await step({});
    expect(statistics(parts, "running_mean")).not.toEqual(statistics(whole, "running_mean"));
    expect(Math.abs((parts.losses.total as number) - (whole.losses.total as number))).toBeGreaterThan(1e-4);
  });

  it("masks the same tokens in both passes", async () => {
    // Along its gradient, a mask token changes the loss as fast as the gradient is long.
    const name = "slot_attn.mask_token_img";
    const options: TrainOptions = {
      batchNorm: "frozen",
      microBatchSize: 2,
      losses: { contrastive: { weight: 1, temperature: 0.5 } }, // others hold their targets fixed
      falseNegatives: { k: 0 },
    };
    const { gradients } = await step(options, { masking: true });
    const gradient = gradients.find((each) => each.name === name)?.data as Float32Array;
    const length = Math.hypot(...gradient);
    const lossAt = async (distance: number) => {
      const moved = await step(options, {
        masking: true,
        change: (parameters) =>
          parameters
            .filter((each) => each.name === name)
            .map((each) => ({
              ...each,
              data: each.data.map((value, i) => value + (distance * (gradient[i] as number)) / length),
            })),
      });
      return moved.losses.total as number;
    };
    const slope = ((await lossAt(0.05)) - (await lossAt(-0.05))) / 0.1;
    expect(length).toBeGreaterThan(1e-3);
    expect(Math.abs(slope / length - 1)).toBeLessThan(0.05);
  });

  it("is the whole batch where a part is as large", async () => {
    const whole = await step({}, { masking: true });
    const parts = await step({ microBatchSize: BATCH }, { masking: true });
    expect(parts.losses).toEqual(whole.losses);
  });
});
