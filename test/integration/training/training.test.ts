/** Runs repeat bit for bit, resume where they stopped, and train every configuration. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import {
  type Dataset,
  type LocalizeInput,
  Model,
  type ModelOptions,
  type SoundspotError,
  Trainer,
  type TrainOptions,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";
import { needsBfloat16 } from "../../support/processor.js";
import { type Written, writeSafetensors } from "../../support/safetensors.js";
import { bar } from "../../support/scored.js";
import { ofSlots, slots, tiny as smallest } from "../../support/tiny.js";

const tiny: ModelOptions = { ...smallest, ...slots({ maskProbability: 0.3 }) };

const data: Dataset = {
  name: "bars",
  length: 26, // 6 batches of 4, two samples left over
  async load(index, { signal } = {}) {
    await sleep(index % 3); // samples end out of order
    if (signal?.aborted) throw new Error("interrupted in the middle of a file");
    return bar(index);
  },
};
const steps = 12;
const input = (index: number): LocalizeInput => {
  const { image, audio } = bar(index);
  return { image, audio };
};
const batch = Array.from({ length: 4 }, (_, i) => input(i));

const recipe: TrainOptions = {
  epochs: 2,
  batchSize: 4,
  learningRate: 2e-3,
  schedule: { type: "one-cycle" },
  clip: 1,
  falseNegatives: { k: 2 },
  seed: 3,
};

const made: string[] = [];
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-training-"));
  made.push(folder);
  return folder;
}
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

async function values(model: Model): Promise<ReadonlyMap<string, Float32Array>> {
  return new Map((await model.parameters()).map((each) => [each.name, each.data]));
}

/** Names of the tensors that differ in any bit, and by how much at most. */
function differences(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): string[] {
  expect([...a.keys()]).toEqual([...b.keys()]);
  return [...a].flatMap(([name, left]) => {
    const right = b.get(name) as Float32Array;
    const bytes = (each: Float32Array) => Buffer.from(each.buffer, each.byteOffset, each.byteLength);
    if (bytes(left).equals(bytes(right))) return [];
    return [`${name}: ${left.reduce((most, x, i) => Math.max(most, Math.abs(x - (right[i] ?? 0))), 0)}`];
  });
}

const run = async (options: Partial<TrainRunOptions> = {}) =>
  train({ data, model: tiny, ...recipe, ...options });

async function finalValues(options: Partial<TrainRunOptions> = {}) {
  const { model, steps: taken } = await run(options);
  expect(taken).toBe(steps);
  const result = await values(model);
  model.dispose();
  return result;
}

/** Runs and aborts it when step `at` is done. */
async function aborted(at: number, options: Partial<TrainRunOptions>): Promise<void> {
  const control = new AbortController();
  const onStep = ({ step }: { step: number }) => step === at && control.abort("stop here");
  const error = await run({ ...options, signal: control.signal, onStep }).then(
    () => undefined,
    (reason: SoundspotError) => reason,
  );
  expect(error?.code).toBe("ERR_ABORTED");
  expect(error?.cause).toBe("stop here");
}

interface Line {
  readonly step: number;
  readonly evaluation?: unknown;
  readonly losses?: Readonly<Record<string, number>>;
}

function metricsOf(folder: string): Line[] {
  const lines = readFileSync(join(folder, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Line);
}

describe("a run", () => {
  it("gives the same weights for the same seed, bit for bit, whatever is decoded ahead", async () => {
    expect(differences(await finalValues({ queue: 1 }), await finalValues({ queue: 5 }))).toEqual([]);
  });

  it("flips images upside down as configured, and leaves every other draw alone", async () => {
    const side = 32;
    const small = (flipped: boolean): Dataset => ({
      ...data,
      load: async (index) => {
        const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * (index + 3) * 37) % 251);
        const rows = Array.from({ length: side }, (_, y) =>
          pixels.subarray(y * side * 3, (y + 1) * side * 3),
        );
        const shown = flipped ? Buffer.concat(rows.reverse()) : pixels;
        return { ...bar(index), image: { data: Uint8Array.from(shown), width: side, height: side } };
      },
    });
    const augment = { crop: false, blurProbability: 0, jitterProbability: 0, greyProbability: 0 };
    const turned = await finalValues({
      data: small(false),
      augment: { ...augment, verticalFlipProbability: 1 },
    });
    expect(differences(turned, await finalValues({ data: small(true), augment }))).toEqual([]);
    expect(differences(turned, await finalValues({ data: small(false), augment })).length).toBeGreaterThan(9);
  });

  it("gives other weights for another seed", async () => {
    const a = await Model.create(tiny, { seed: 1 });
    const b = await Model.create(tiny, { seed: 2 });
    const fresh = differences(await values(a), await values(b));
    expect(fresh.some((line) => line.startsWith("imgnet.conv1.weight"))).toBe(true);
    const start = await values(a);
    // From the same weights, order, augmentation and masks alone must lead elsewhere.
    await b.setParameters(await a.parameters());
    await run({ model: a, seed: 1, epochs: 1 });
    await run({ model: b, seed: 2, epochs: 1 });
    const trained = await values(a);
    expect(differences(trained, await values(b)).length).toBeGreaterThan(100);
    expect(differences(trained, start).length).toBeGreaterThan(100);
  });

  it("changes every parameter and leaves none without a gradient", async () => {
    const model = await Model.create(tiny);
    const trainer = new Trainer(model, recipe);
    const { gradients, losses } = await trainer.step(batch, { gradients: true });
    const named = new Set(gradients.map(({ name }) => name));
    const without = (await model.parameters()).filter(({ name, trainable }) => trainable && !named.has(name));
    expect(without.map(({ name }) => name)).toEqual([]);
    expect(
      gradients.filter(({ data: each }) => !each.every(Number.isFinite)).map(({ name }) => name),
    ).toEqual([]);
    expect(Object.values(losses).every(Number.isFinite), JSON.stringify(losses)).toBe(true);
  });

  it("changes no parameter with update false", async () => {
    const model = await Model.create(tiny);
    const trainable = async () =>
      new Map(
        (await model.parameters()).filter((each) => each.trainable).map((each) => [each.name, each.data]),
      );
    const before = await trainable();
    await new Trainer(model, recipe).step(batch, { update: false });
    expect(differences(before, await trainable())).toEqual([]);
  });

  it("changes nothing at all when the loss is not finite", async () => {
    const model = await Model.create(tiny);
    const trainer = new Trainer(model, recipe);
    await trainer.step(batch);
    const [name, shape] = ["audnet.proj.0.bias", [16]];
    const good = (await model.parameters()).filter((each) => each.name === name);
    await model.setParameters([{ name, shape, data: new Float32Array(16).fill(3e38) }]);
    const before = await values(model);
    await expect(trainer.step(batch)).rejects.toMatchObject({ code: "ERR_INTERNAL" });
    expect(differences(before, await values(model))).toEqual([]);
    // The random state is as before too: with the fix, the run goes on as if nothing had been tried.
    await model.setParameters(good);
    const other = await Model.create(tiny);
    const untroubled = new Trainer(other, recipe);
    await untroubled.step(batch);
    expect(await trainer.step(batch)).toEqual(await untroubled.step(batch));
    expect(differences(await values(model), await values(other))).toEqual([]);
  });

  it("takes a batch of one, and more neighbours than there are samples", async () => {
    using model = await Model.create(tiny);
    const [first] = batch as [(typeof batch)[number]];
    const alone = await new Trainer(model, { falseNegatives: { k: 20 } }).step([first]);
    expect(alone.losses.contrastive).toBe(0); // nobody to tell it from
    expect(alone.diagnostics.falseNegatives).toBe(0);
    const all = await new Trainer(model, { falseNegatives: { k: 100_000 } }).step(batch);
    expect(all.diagnostics.falseNegatives).toBe(batch.length * (batch.length - 1)); // everybody is everybody's neighbour
    expect(all.losses.contrastive).toBe(0);
    await expect(new Trainer(model).step([])).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  // oneDNN's gradient of a 1 × 1 convolution wrote past its memory: the process died, here or later.
  it.each([
    [4, 4, 16],
    [8, 8, 16],
    [12, 20, 24],
  ])("trains widths that do not fill a vector: %i, %i and %i", async (imageWidth, audioWidth, dim) => {
    using model = await Model.create({ ...tiny, imageSize: 224, imageWidth, audioWidth, dim });
    const trainer = new Trainer(model, { learningRate: 1e-6 });
    for (let i = 0; i < 3; i++) {
      const { losses } = await trainer.step(batch.slice(0, 2));
      expect(losses.total).toBeGreaterThan(0);
    }
  });

  it("rejects numbers that float32 cannot hold, and says so of a loss that overflows", async () => {
    using model = await Model.create(tiny);
    expect(() => new Trainer(model, { learningRate: 1e10 })).toThrow(/train\.learningRate/);
    expect(() => new Trainer(model, { epsilon: 1e-300 })).toThrow(/train\.epsilon/);
    const huge = new Trainer(model, { losses: { matching: { weight: 1e300 } } });
    const before = await values(model);
    await expect(huge.step(batch)).rejects.toMatchObject({ code: "ERR_INTERNAL", message: /not finite/ });
    expect(differences(before, await values(model))).toEqual([]);
  });

  it("learns: the loss goes down", async () => {
    const model = await Model.create(tiny);
    const trainer = new Trainer(model, {
      ...recipe,
      schedule: { type: "constant" },
      falseNegatives: { k: 0 },
    });
    const totals: number[] = [];
    for (let i = 0; i < 30; i++) totals.push((await trainer.step(batch)).losses.total as number);
    const mean = (list: number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;
    expect(mean(totals.slice(-5))).toBeLessThan(0.8 * mean(totals.slice(0, 5)));
  });
});

describe("a resumed run", () => {
  it.for(["float32", "bfloat16"] as const)(
    "continues an aborted one bit for bit in %s, with masks and augmentation",
    async (precision, context) => {
      if (precision === "bfloat16") needsBfloat16(context);
      const whole = newFolder();
      const uninterrupted = await finalValues({ precision, output: whole });
      for (const at of precision === "float32" ? [1, 6, 11] : [4]) {
        const output = newFolder();
        await aborted(at, { precision, output });
        expect(differences(uninterrupted, await finalValues({ precision, output, resume: true }))).toEqual(
          [],
        );
        expect(metricsOf(output), `metrics after an abort at step ${at}`).toEqual(metricsOf(whole));
      }
    },
  );

  it("survives several aborts, logs every step once and evaluates every epoch once", async () => {
    const whole = newFolder();
    const uninterrupted = await finalValues({ output: whole, evaluation: data });
    const output = newFolder();
    for (const at of [1, 2, 6, 7]) {
      await aborted(at, { output, evaluation: data, resume: true, checkpointSteps: 2 });
    }
    expect(differences(uninterrupted, await finalValues({ output, evaluation: data, resume: true }))).toEqual(
      [],
    );
    const lines = metricsOf(output);
    expect(lines.filter(({ losses }) => losses).map(({ step }) => step)).toEqual(
      Array.from({ length: steps }, (_, i) => i + 1),
    );
    expect(lines.filter(({ evaluation }) => evaluation).map(({ step }) => step)).toEqual([6, 12]);
    expect(lines).toEqual(metricsOf(whole));
    expect(readdirSync(output).sort()).toEqual(["best.safetensors", "last.safetensors", "metrics.jsonl"]);
  });

  it("keeps the parameters of every epoch where that is asked for", async () => {
    const output = newFolder();
    const ended = await finalValues({ output, keepEvery: 1 });
    expect(readdirSync(output).filter((name) => name.startsWith("epoch"))).toEqual([
      "epoch-0001.safetensors",
      "epoch-0002.safetensors",
    ]);
    const [first, second] = await Promise.all(
      [1, 2].map(async (n) => values(await Model.load(join(output, `epoch-000${n}.safetensors`)))),
    );
    expect(differences(second as typeof ended, ended)).toEqual([]);
    expect(differences(first as typeof ended, ended).length).toBeGreaterThan(100);
  });

  it("saves when it is aborted in an evaluation", async () => {
    const output = newFolder();
    const control = new AbortController();
    const evaluation: Dataset = {
      ...data,
      load: (index, options) => {
        control.abort();
        return data.load(index, options);
      },
    };
    await expect(run({ output, evaluation, signal: control.signal })).rejects.toMatchObject({
      code: "ERR_ABORTED",
    });
    const whole = await finalValues({ evaluation: data });
    expect(differences(whole, await finalValues({ output, evaluation: data, resume: true }))).toEqual([]);
    expect(metricsOf(output).filter(({ evaluation: each }) => each).length).toBe(2);
  });

  it("is finished at once when the run was", async () => {
    const output = newFolder();
    const first = await finalValues({ output });
    let taken = 0;
    const again = await finalValues({ output, resume: true, onStep: () => taken++ });
    expect(taken).toBe(0);
    expect(differences(first, again)).toEqual([]);
    expect(metricsOf(output).length).toBe(steps);
  });

  it("rejects another configuration and names the field", async () => {
    const output = newFolder();
    await aborted(2, { output });
    for (const [field, change] of [
      ["train.learningRate", { learningRate: 1e-3 }],
      ["train.seed", { seed: 4 }],
      ["train.epochs", { epochs: 3 }],
      ["train.precision", { precision: "bfloat16" }],
      ["train.augment", { augment: false }],
      ["train.losses", { losses: { matching: { weight: 3 } } }],
      ["model.dim", { model: { ...tiny, dim: 8 } }],
      ["model.method.iterations", { model: { ...tiny, ...slots({ iterations: 3 }) } }],
      ["number of samples", { data: { ...data, length: 25 } }],
    ] as const) {
      const error = await run({ ...change, output, resume: true }).then(
        () => undefined,
        (reason: SoundspotError) => reason,
      );
      expect(error?.code, `${field}: ${error?.message}`).toBe("ERR_CONFIG");
      expect(error?.message).toContain(field);
      expect(error?.message).toContain(join(output, "last.safetensors"));
    }
    // What does not shape the steps may change.
    await finalValues({ output, resume: true, queue: 1, checkpointSteps: 1, checkpointEvery: 2 });
  });

  it("rejects a checkpoint without training state", async () => {
    const output = newFolder();
    const model = await Model.create(tiny);
    await model.save(join(output, "last.safetensors"));
    await expect(run({ output, resume: true })).rejects.toMatchObject({ code: "ERR_CHECKPOINT_MISMATCH" });
  });

  it("removes what a killed run left half-written, and nothing else", async () => {
    const output = newFolder();
    for (const name of ["last.safetensors.123.tmp", "best.safetensors.9.tmp", "notes.tmp"])
      writeFileSync(join(output, name), "torn");
    await run({ output, epochs: 1 });
    expect(readdirSync(output).filter((name) => name.endsWith(".tmp"))).toEqual(["notes.tmp"]);
  });
});

describe("image weights", () => {
  const prefix = "imgnet.";
  const torchvision = async (seed: number): Promise<Written[]> => {
    const source = await Model.create(tiny, { seed });
    const own = (await source.parameters()).filter(
      ({ name }) => name.startsWith(prefix) && !name.startsWith(`${prefix}proj`),
    );
    const fc = { name: "fc.weight", shape: [10, 8], data: new Float32Array(80).fill(1) };
    return [...own.map((each) => ({ ...each, name: each.name.slice(prefix.length) })), fc];
  };

  it("fill the image encoder from torchvision's names and say what was taken", async () => {
    const path = join(newFolder(), "resnet.safetensors");
    const stored = await torchvision(9);
    writeSafetensors(path, stored);
    const model = await Model.create(tiny, { seed: 1 });
    const before = await values(model);
    const { loaded, ignored, missing } = await model.loadImageWeights(path);
    const after = await values(model);
    const taken = stored.map(({ name }) => prefix + name).filter((name) => name !== "imgnet.fc.weight");
    expect([...loaded].sort()).toEqual(taken.sort());
    expect(ignored).toEqual(["fc.weight"]);
    expect(missing).toEqual(["imgnet.proj.weight", "imgnet.proj.bias"]);
    for (const { name, data: each } of stored) {
      if (name !== "fc.weight") expect(after.get(prefix + name), name).toEqual(each);
    }
    const changed = differences(before, after).filter((line) => !line.startsWith(prefix));
    expect(changed, "outside of the image encoder").toEqual([]);
  });

  it("are rejected whole when one of them is not finite", async () => {
    const path = join(newFolder(), "resnet.safetensors");
    const bad = (await torchvision(9)).map((each) =>
      each.name === "layer1.0.conv1.weight" ? { ...each, data: each.data.map(() => Number.NaN) } : each,
    );
    writeSafetensors(path, bad);
    const model = await Model.create(tiny, { seed: 1 });
    const before = await values(model);
    await expect(model.loadImageWeights(path)).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_CORRUPT",
      message: expect.stringMatching(/layer1\.0\.conv1\.weight.*not finite/),
    });
    expect(await values(model)).toEqual(before);
  });

  it("keep what the file lacks and say so, through a run", async () => {
    const path = join(newFolder(), "resnet.safetensors");
    const stored = await torchvision(9);
    writeSafetensors(
      path,
      stored.filter(({ name }) => name !== "layer2.1.conv2.weight"),
    );
    const { imageWeights, model } = await run({ imageWeights: path, epochs: 1 });
    expect(imageWeights?.missing).toContain("imgnet.layer2.1.conv2.weight");
    expect(imageWeights?.loaded).toContain("imgnet.conv1.weight");
    model.dispose();
  });

  it("are rejected whole when one shape differs or no name fits", async () => {
    const path = join(newFolder(), "resnet.safetensors");
    const stored = await torchvision(9);
    writeSafetensors(path, [
      ...stored.slice(0, 5),
      { name: "layer1.0.conv1.weight", shape: [1], data: new Float32Array(1) },
    ]);
    const model = await Model.create(tiny, { seed: 1 });
    const before = await values(model);
    await expect(model.loadImageWeights(path)).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MISMATCH",
      message: expect.stringContaining("imgnet.layer1.0.conv1.weight"),
    });
    writeSafetensors(path, stored.slice(-1));
    await expect(model.loadImageWeights(path)).rejects.toMatchObject({ code: "ERR_CHECKPOINT_MISMATCH" });
    expect(differences(before, await values(model))).toEqual([]);
  });
});

describe("weights of another model", () => {
  const position = "img_decoder.pos_emb";

  it("start a finer model, but for what its grid is part of", async () => {
    const path = join(newFolder(), "coarse.safetensors");
    const coarse = await Model.create(tiny, { seed: 9 });
    await coarse.save(path);
    const model = await Model.create({ ...tiny, imageStride: 4 }, { seed: 1 });
    const before = await values(model);
    const { loaded, ignored, missing } = await model.loadWeights(path);
    const [after, source] = [await values(model), await values(coarse)];
    expect(ignored.length).toBeGreaterThan(0);
    expect(ignored.every((name) => name.startsWith(position))).toBe(true);
    expect(missing).toEqual(ignored);
    expect([...loaded, ...missing].sort()).toEqual([...before.keys()].sort());
    for (const name of loaded) expect(after.get(name), name).toEqual(source.get(name));
    for (const name of missing) expect(after.get(name), name).toEqual(before.get(name));
  });

  it("are where a run starts, and are not taken again when it is resumed", async () => {
    const folder = newFolder();
    const path = join(folder, "coarse.safetensors");
    const source = await Model.create(tiny, { seed: 9 });
    await source.save(path);
    const options = {
      weights: path,
      learningRate: 1e-12,
      weightDecay: 0,
      epochs: 1,
      output: join(folder, "run"),
    };
    const { weights, model } = await run(options);
    expect(weights?.missing).toEqual([]);
    const trained = await values(model);
    for (const [name, data] of await values(source)) {
      if (!name.includes("running") && !name.includes("tracked")) {
        expect(trained.get(name)?.[0], name).toBeCloseTo(data[0] as number, 6);
      }
    }
    const resumed = await run({ ...options, resume: true });
    expect(resumed.weights).toBeUndefined();
    expect(differences(trained, await values(resumed.model))).toEqual([]);
  });

  it("are rejected when none fits", async () => {
    const path = join(newFolder(), "other.safetensors");
    await (await Model.create(tiny)).save(path);
    const model = await Model.create({ ...tiny, dim: 32, imageWidth: 6, audioWidth: 6 });
    const before = await values(model);
    await expect(model.loadWeights(path)).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MISMATCH",
      message: expect.stringContaining(path),
    });
    expect(differences(before, await values(model))).toEqual([]);
  });
});

describe("losses", () => {
  it.each(["pooled", "contrastive", "matching", "divergence", "reconstruction"])(
    "trains with %s alone, and not at all before its time",
    async (name) => {
      const model = await Model.create(tiny);
      const trainer = new Trainer(model, { ...recipe, losses: { [name]: { weight: 1, from: 1, until: 3 } } });
      const step = (epoch: number) =>
        trainer.step(batch, { at: { step: 4, total: 12, epoch }, gradients: true });
      const early = await step(0);
      expect(early.losses).toEqual({ total: 0 });
      expect(early.gradientNorm).toBe(0);
      const due = await step(1);
      expect(Object.keys(due.losses).sort()).toEqual([name, "total"].sort());
      expect(due.losses.total).toBeCloseTo(due.losses[name] as number, 5);
      expect(due.gradientNorm).toBeGreaterThan(0);
      expect((await step(3)).losses).toEqual({ total: 0 });
    },
  );

  it("sums the weighted losses", async () => {
    const model = await Model.create(tiny);
    const weights = { contrastive: 1, matching: 100, divergence: 0.1, reconstruction: 0.1 };
    const { losses } = await new Trainer(model, recipe).step(batch);
    const sum = Object.entries(weights).reduce(
      (part, [name, weight]) => part + weight * (losses[name] as number),
      0,
    );
    expect(Math.abs(sum / (losses.total as number) - 1)).toBeLessThan(1e-5);
  });

  it("has the gradient of its value: central differences along it", async () => {
    const model = await Model.create(tiny);
    const name = "slot_attn.img_to_k.weight";
    const trainer = new Trainer(model, { ...recipe, losses: { contrastive: { weight: 1, temperature: 1 } } });
    const at = (gradients: boolean) => trainer.step(batch, { update: false, masking: false, gradients });
    const gradient = (await at(true)).gradients.find((each) => each.name === name);
    const start = (await model.parameters()).find((each) => each.name === name);
    if (!gradient || !start) throw new Error(`no ${name}`);
    const norm = Math.sqrt(gradient.data.reduce((sum, x) => sum + x * x, 0));
    const valueAt = async (distance: number) => {
      const data = start.data.map((x, i) => x + (distance * (gradient.data[i] as number)) / norm);
      await model.setParameters([{ ...start, data }]);
      return (await at(false)).losses.contrastive as number;
    };
    const slope = ((await valueAt(0.05)) - (await valueAt(-0.05))) / 0.1;
    expect(Math.abs(slope / norm - 1), `slope ${slope}, norm of the gradient ${norm}`).toBeLessThan(0.05);
  });
});

describe("configurations", () => {
  it.each([
    { targetSlots: 1, offTargetSlots: 0 },
    { targetSlots: 1, offTargetSlots: 3 },
    { targetSlots: 2, offTargetSlots: 1 },
    { targetSlots: 3, offTargetSlots: 2, sharedSlots: false },
    { targetSlots: 1, offTargetSlots: 1, sharedSlots: false },
  ])("trains and localizes with %o", async (numbers) => {
    const model = await Model.create({ ...tiny, ...slots(numbers) });
    const trainer = new Trainer(model, recipe);
    for (let i = 0; i < 2; i++) {
      const { losses, gradientNorm } = await trainer.step(batch);
      expect(Object.values(losses).every(Number.isFinite), JSON.stringify(losses)).toBe(true);
      expect(gradientNorm).toBeGreaterThan(0);
    }
    const count = numbers.targetSlots + numbers.offTargetSlots;
    const spot = ofSlots(await model.localize(input(0), { refine: "iqr" }));
    expect(spot.slots.image.shape).toEqual([count, 16]);
    expect(spot.attention.audioOnImage.shape).toEqual([count, 4, 4]);
    expect(spot.heatmap.length).toBe(40 * 40);
    expect(spot.heatmap.every((x) => x >= 0 && x <= 1)).toBe(true);
    expect(Math.abs(spot.confidence)).toBeLessThanOrEqual(1 + 1e-5);
    const { imageOnImage } = spot.attention;
    for (let slot = 0; slot < count; slot++) {
      const row = imageOnImage.data.subarray(slot * 16, (slot + 1) * 16);
      expect(
        row.reduce((sum, x) => sum + x, 0),
        `slot ${slot} over tokens`,
      ).toBeCloseTo(1, 3);
    }
  });

  it.each([
    [1, 4],
    [2, 4],
    [2, 8],
    [3, 8],
    [3, 16],
    [4, 4],
    [4, 16],
    [4, 32],
  ] as const)(
    "gives maps of the right size from %i stages with stride %i",
    async (imageStages, imageStride) => {
      const model = await Model.create({ ...tiny, imageSize: 64, imageStages, imageStride });
      await new Trainer(model, recipe).step(batch);
      const side = 64 / imageStride;
      const { audioOnImage, imageFeatures } = ofSlots(await model.encode([input(0)]));
      expect(audioOnImage.shape).toEqual([1, 2, side * side]);
      expect(imageFeatures.shape).toEqual([1, side * side, 16]);
      const { attention } = ofSlots(await model.localize(input(0)));
      expect(attention.audioOnImage.shape).toEqual([2, side, side]);
      model.dispose();
    },
  );
});
