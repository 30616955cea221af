/** Batches on their way to a device: in order, one ahead of the step, with their errors at their turn. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Model, Trainer } from "../../../src/index.js";
import { prepareInput } from "../../../src/model/inputs.js";
import type { SampleHandle, StagedHandle } from "../../../src/native.js";
import type { TrainingBatch } from "../../../src/training/batches.js";
import { stagedAhead } from "../../../src/training/staging.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

/** A source of numbered batches, which notes what is asked of it. */
function source(count: number, { damaged = -1, broken = -1 } = {}) {
  const events: string[] = [];
  async function* batches(): AsyncGenerator<TrainingBatch> {
    try {
      for (let i = 0; i < count; i++) {
        events.push(`load ${i}`);
        if (i === broken) throw new Error(`source ${i}`);
        yield {
          skipped: [],
          samples: () => {
            if (i === damaged) throw new Error(`damaged ${i}`);
            return [i as unknown as SampleHandle];
          },
          views: () => ({ augmented: [(100 + i) as unknown as SampleHandle] }),
          release: () => events.push(`release ${i}`),
        };
      }
    } finally {
      events.push("closed");
    }
  }
  const trainer = {
    stage: async (
      samples: readonly SampleHandle[],
      views: Readonly<Record<string, readonly SampleHandle[]>>,
    ) => {
      events.push(`stage ${samples[0]}`);
      return [samples[0], views.augmented?.[0]] as unknown as StagedHandle;
    },
  };
  return { batches: batches(), trainer, events };
}

const settled = () => new Promise((done) => setImmediate(done));

describe("batches on their way to a device", () => {
  it("come in order, each with its views, and are staged once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(8), async (count) => {
        const { batches, trainer, events } = source(count);
        const got: unknown[] = [];
        for await (const batch of stagedAhead(batches, trainer)) got.push(await batch.staged);
        expect(got).toEqual(Array.from({ length: count }, (_, i) => [i, 100 + i]));
        expect(events.filter((each) => each.startsWith("stage"))).toHaveLength(count);
        expect(events.at(-1)).toBe("closed");
      }),
    );
  });

  it("are one ahead of the step, and no more", async () => {
    const { batches, trainer, events } = source(5);
    let step = 0;
    for await (const batch of stagedAhead(batches, trainer)) {
      await batch.staged;
      await settled();
      const staged = events.filter((each) => each.startsWith("stage"));
      expect(staged).toHaveLength(Math.min(5, step + 2));
      step++;
    }
    expect(step).toBe(5);
  });

  it("bring the error of a sample, and of their source, when it is their turn", async () => {
    const damaged = source(4, { damaged: 2 });
    const seen: unknown[] = [];
    for await (const batch of stagedAhead(damaged.batches, damaged.trainer)) {
      seen.push(await batch.staged.then(String, (error: Error) => error.message));
    }
    expect(seen).toEqual(["0,100", "1,101", "damaged 2", "3,103"]);

    const broken = source(4, { broken: 2 });
    const before: unknown[] = [];
    const all = async () => {
      for await (const batch of stagedAhead(broken.batches, broken.trainer)) {
        before.push(await batch.staged);
        await settled();
      }
    };
    await expect(all()).rejects.toThrow("source 2");
    expect(before).toHaveLength(2);
  });

  it("close their source when the loop is left", async () => {
    const { batches, trainer, events } = source(5);
    for await (const batch of stagedAhead(batches, trainer)) {
      await batch.staged;
      break;
    }
    expect(events.at(-1)).toBe("closed");
    expect(events).not.toContain("load 2");
  });

  it("take the step of the same samples, once", async () => {
    const recipe = { learningRate: 1e-3, precision: "float32", seed: 3 } as const;
    using model = await Model.create(tiny, { seed: 2 });
    using other = await Model.create(tiny, { seed: 2 });
    using trainer = new Trainer(model, recipe);
    using plain = new Trainer(other, recipe);
    for (let step = 0; step < 2; step++) {
      const pairs = [0, 1, 2, 3].map((i) => bar(4 * step + i));
      const samples = await Promise.all(pairs.map((pair) => prepareInput(pair, model.config)));
      const staged = await trainer.stage(samples.map(({ handle }) => handle));
      expect(await trainer.stepPrepared(staged)).toEqual(await plain.step(pairs));
      await expect(trainer.stepPrepared(staged)).rejects.toMatchObject({ code: "ERR_INTERNAL" });
    }
    expect(await model.parameters()).toEqual(await other.parameters());
  });
});
