/** Every method: two processes take the step of one, with the whole batch in its losses and statistics. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { methodNames } from "../../../src/config/methods.js";
import { frameCount, parseModelConfig } from "../../../src/config/model.js";
import type { ModelOptions } from "../../../src/index.js";
import { comparisonMethods, small } from "../../support/comparison.js";
import { inGroup, type ProcessOutcome } from "../../support/processes.js";
import { slots, tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-group-methods-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const source = transpilePackage(join(folder, "package"));

const BATCH = 8;
const models = {
  "joint-slot-attention": { ...tiny, ...slots({ maskProbability: 0.3 }) },
  similarity: { ...tiny, method: { name: "similarity" } },
  ...Object.fromEntries(
    // Dropout has draws of its own for every sample of the whole batch.
    comparisonMethods.map((name) => [name, small(name, { imageDropout: 0.3, audioDropout: 0.2 })]),
  ),
};

const frameCounts = Object.fromEntries(
  Object.entries(models).map(([name, options]) => [
    name,
    frameCount(parseModelConfig(options as ModelOptions)),
  ]),
);

/** Two steps of each method by plain gradient descent; prints losses and gradients. */
const path = join(folder, "steps.mjs");
writeFileSync(
  path,
  `
import { Model, ProcessGroup, Trainer } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const models = ${JSON.stringify(models)};
const frameCounts = ${JSON.stringify(frameCounts)};
const [contrast, operators] = process.argv.slice(2);
const group = Number(process.env.WORLD_SIZE) > 1 ? await ProcessGroup.join(ProcessGroup.fromEnvironment()) : undefined;
const { rank, size } = group ?? { rank: 0, size: 1 };
const noise = (length, seed) => {
  let state = seed * 2654435761;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, () => 2 * (draw() + draw()));
};
const own = ${BATCH} / size;
for (const [name, options] of Object.entries(models)) {
  const model = await Model.create(options, { seed: 4 });
  const frames = frameCounts[name];
  const part = (seed) => ({
    image: { tensor: noise(3 * 32 * 32, seed), shape: [3, 32, 32] },
    audio: { spectrogram: noise(257 * frames, seed + 500), shape: [1, 257, frames] },
  });
  const trainer = new Trainer(
    model,
    { batchNorm: "synchronised", contrast, precision: "float32", falseNegatives: { k: 2 }, seed: 7 },
    group,
  );
  for (let step = 0; step < 2; step++) {
    const view = (shift) => Array.from({ length: own }, (_, i) => part(1 + shift + step * 100 + rank * own + i));
    const views = { neighbour: view(3000), augmented: view(6000) };
    const { losses, gradients } = await trainer.step(view(0), { update: false, gradients: true, views, plain: operators === "plain" });
    const sums = gradients.map(({ name: parameter, data }) => [parameter, Math.hypot(...data), data.reduce((sum, x, i) => sum + x * Math.sin(i + 1), 0)]);
    process.stdout.write(JSON.stringify({ name, losses, sums }) + "\\n");
    const moved = new Map(gradients.map((each) => [each.name, each.data]));
    await model.setParameters(
      (await model.parameters())
        .filter((each) => moved.has(each.name))
        .map((each) => ({ ...each, data: each.data.map((x, i) => x - 1e-4 * moved.get(each.name)[i]) })),
    );
  }
  trainer.dispose();
  model.dispose();
}
await group?.leave();
`,
);

interface Step {
  readonly name: string;
  readonly losses: Readonly<Record<string, number>>;
  readonly sums: readonly (readonly [string, number, number])[];
}

function stepsOf({ code, output, errors }: ProcessOutcome): Step[] {
  expect([code, errors]).toEqual([0, ""]);
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Step);
}

const alone = async (contrast: string) => stepsOf((await inGroup(1, [path, contrast]))[0] as ProcessOutcome);

describe("two processes", () => {
  it.each(["fused", "plain"])(
    "take the steps of one for every method, with global contrast and synchronised batch norm, %s",
    async (operators) => {
      const one = await alone("global");
      expect(new Set(one.map(({ name }) => name))).toEqual(new Set(methodNames()));
      for (const process of await inGroup(2, [path, "global", operators])) {
        for (const [i, { name, losses, sums }] of stepsOf(process).entries()) {
          const wanted = one[i] as Step;
          expect(name).toBe(wanted.name);
          for (const [loss, value] of Object.entries(wanted.losses)) {
            expect(Math.abs((losses[loss] as number) - value), `${name} ${loss}`).toBeLessThan(
              2e-4 * (1 + Math.abs(value)),
            );
          }
          const whole = Math.hypot(...wanted.sums.map(([, length]) => length));
          const apart = Math.hypot(...wanted.sums.map(([, , sum], n) => sum - (sums[n]?.[2] as number)));
          expect(whole, name).toBeGreaterThan(0);
          expect(apart / whole, `gradients of ${name}`).toBeLessThan(0.02);
        }
      }
    },
  );

  it("compare their own samples alone with local contrast", async () => {
    const one = await alone("local");
    const [first] = await inGroup(2, [path, "local"]);
    const steps = stepsOf(first as ProcessOutcome);
    for (const name of methodNames()) {
      const [own, wanted] = [steps, one].map((all) => all.find((step) => step.name === name) as Step) as [
        Step,
        Step,
      ];
      const difference = Math.abs((own.losses.total as number) / (wanted.losses.total as number) - 1);
      expect(difference, name).toBeGreaterThan(1e-3);
    }
  });
});
