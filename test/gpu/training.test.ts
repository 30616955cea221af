/** Training on a GPU: near the CPU's over many steps, and resumed bit for bit. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type SoundspotError, type TrainRunOptions, train } from "../../src/index.js";
import { bars } from "../support/scored.js";
import { bits, device, differing, methods, usable } from "./gpu.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-gpu-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const STEPS = 50;
const BATCH = 8;
const PER_EPOCH = 10;
const SAMPLES = BATCH * PER_EPOCH;

/** Small steps: great ones enlarge the rounding of each step in the next, on any two devices. */
const recipe = {
  data: bars(SAMPLES),
  epochs: STEPS / PER_EPOCH,
  batchSize: BATCH,
  learningRate: 1e-4,
  epsilon: 1e-3,
  batchNorm: "frozen",
  precision: "float32",
  augment: false,
  seed: 5,
} as const;

/** For methods that take views of neighbours. */
const neighbours = Array.from({ length: SAMPLES }, (_, i) => [(i + 1) % SAMPLES, (i + 2) % SAMPLES]);
const neighboursFor = (name: string) => (name === "alignment" ? { neighbours } : {});

/**
 * Relative differences of a step's total loss: of the first steps, and of all. The CPU's fused kernels and LibTorch's
 * operators, two sets of kernels on one processor, are up to 6e-7 and 1e-4 apart.
 */
const FIRST = { steps: 5, most: 1e-4 };
const ALL = 5e-3;

async function lossesOn(where: string, options: Partial<TrainRunOptions>): Promise<number[]> {
  const totals: number[] = [];
  const { model } = await train({
    ...recipe,
    ...options,
    device: where as "cpu",
    onStep: ({ result }) => void totals.push(result.losses.total as number),
  } as TrainRunOptions);
  model.dispose();
  return totals;
}

describe.skipIf(!usable)("training on the GPU (skipped without one)", () => {
  for (const [name, { model, train: options }] of Object.entries(methods)) {
    it(`${name}: the losses of ${STEPS} steps are near the CPU's`, async () => {
      const own = await lossesOn(device, { model, ...options, ...neighboursFor(name) });
      const other = await lossesOn("cpu", { model, ...options, ...neighboursFor(name) });
      expect(own).toHaveLength(STEPS);
      expect(other).toHaveLength(STEPS);
      const apart = own.map(
        (loss, i) => Math.abs(loss - (other[i] as number)) / Math.abs(other[i] as number),
      );
      expect(Math.max(...apart.slice(0, FIRST.steps)), "first steps").toBeLessThan(FIRST.most);
      expect(Math.max(...apart), "all steps").toBeLessThan(ALL);
    });
  }

  const changes = { translate: 0.2, verticalFlipProbability: 0.5, hideProbability: 0.2 };
  const augmented = {
    "joint-slot-attention": { augment: changes },
    alignment: { augment: { ...changes, blurKind: "pillow" }, viewAugment: { crop: "resized" } },
  } as const;
  for (const [name, augment] of Object.entries(augmented)) {
    it(`${name}: images that the GPU augments are the CPU's`, async () => {
      const method = methods[name];
      const options = {
        model: method?.model,
        ...method?.train,
        ...neighboursFor(name),
        ...augment,
        epochs: 1,
      };
      const own = await lossesOn(device, options as Partial<TrainRunOptions>);
      const other = await lossesOn("cpu", options as Partial<TrainRunOptions>);
      expect(own).toHaveLength(PER_EPOCH);
      // Steps from the third are repetitions of a recorded one.
      for (const [i, loss] of own.entries()) {
        const expected = other[i] as number;
        expect(Math.abs(loss - expected) / Math.abs(expected), `step ${i + 1}`).toBeLessThan(ALL);
      }
    });
  }

  it("goes on bit for bit where it was stopped", async () => {
    const run = (output: string, more: Partial<TrainRunOptions> = {}) =>
      train({
        ...recipe,
        epochs: 2,
        model: methods["joint-slot-attention"]?.model,
        ...methods["joint-slot-attention"]?.train,
        batchNorm: "batch",
        device: device as "cpu",
        output: join(folder, output),
        ...more,
      } as TrainRunOptions);
    const whole = await run("whole");
    const control = new AbortController();
    const onStep = ({ step }: { step: number }) => step === 13 && control.abort("stop here");
    const stopped = await run("parts", { signal: control.signal, onStep, checkpointSteps: 4 }).catch(
      (reason: SoundspotError) => reason,
    );
    expect(stopped).toMatchObject({ code: "ERR_ABORTED" });
    const resumed = await run("parts", { resume: true, checkpointSteps: 4 });
    expect(resumed.steps).toBe(whole.steps);
    expect(differing(await bits(resumed.model), await bits(whole.model))).toEqual([]);
    for (const { model } of [whole, resumed]) model.dispose();
  });
});
