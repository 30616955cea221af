/** The comparison methods: sizes, published files, steps in parts, copies, transforms, views. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  type Dataset,
  lossTerms,
  Model,
  type ModelOptions,
  presets,
  type Sample,
  Trainer,
  type TrainOptions,
  train,
} from "../../../src/index.js";
import { native } from "../../../src/native.js";
import {
  comparisonMethods,
  pairs,
  publishedFile,
  small,
  unusedOf,
  viewsFor,
} from "../../support/comparison.js";
import { noise } from "../../support/noise.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-comparison-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Parameter = Awaited<ReturnType<Model["parameters"]>>[number];
const isBuffer = ({ name }: { name: string }) => /running_mean|running_var|num_batches_tracked/.test(name);
const sizeOf = (list: readonly { data: ArrayLike<number> }[]) =>
  list.reduce((sum, { data }) => sum + data.length, 0);
const values = async (model: Model) =>
  Object.fromEntries((await model.parameters()).map(({ name, data }) => [name, [...data]]));
/** Weights and settings of a short training that show every term. */
const recipe = (method: (typeof comparisonMethods)[number], options: TrainOptions = {}): TrainOptions => ({
  ...(presets[method].train as TrainOptions),
  ...(method === "fnac"
    ? {
        losses: {
          maxSimilarity: { weight: 1, temperature: 0.1 },
          audioSuppression: { weight: 100, temperature: 0.1 },
          imageSuppression: { weight: 100, temperature: 0.1 },
          foregroundSeparation: { weight: 100, temperature: 0.1 },
        },
      }
    : {}),
  precision: "float32",
  batchSize: 4,
  ...options,
});

describe("the published layouts", () => {
  it.each([
    ["ez-vsl", 22_872_064, 22_872_064],
    ["fnac", 22_872_064, 22_872_064],
    ["slavc", 23_397_376, 46_794_752],
    ["lvs", 22_346_752, 22_346_752],
    ["ssl-tie", 22_346_752, 22_346_752],
  ] as const)("%s trains %i parameters and stores %i", async (method, trained, stored) => {
    using model = await Model.create(presets[method].model as ModelOptions);
    const parameters = await model.parameters();
    expect(sizeOf(parameters.filter(({ trainable }) => trainable))).toBe(trained);
    expect(sizeOf(parameters.filter((each) => !isBuffer(each)))).toBe(stored);
  });

  it.each([
    ["lvs", 7, 14],
    ["ez-vsl", 7, 7],
    ["alignment", 7, 14],
  ] as const)("%s has one audio token and a map of the published side", async (method, _, side) => {
    using model = await Model.create({ ...(presets[method].model as ModelOptions), audio: { seconds: 1 } });
    const { imageFeatures, audioFeatures } = await model.encode(pairs(1));
    expect(imageFeatures.shape).toEqual([1, side * side, 512]);
    expect(audioFeatures.shape).toEqual([1, 1, 512]);
  });
});

/** Names that the published programs store, of the whole-size models: a few of each part, with shapes. */
const published = {
  lvs: [
    ["imgnet.conv1_a.weight", [64, 1, 7, 7]],
    ["imgnet.conv1.weight", [64, 3, 7, 7]],
    ["imgnet.conv1_flow.weight", [64, 6, 7, 7]],
    ["imgnet.layer4.0.downsample.0.weight", [512, 256, 1, 1]],
    ["imgnet.fc.weight", [1000, 512]],
    ["imgnet.fc.bias", [1000]],
    ["audnet.conv1_a.weight", [64, 1, 7, 7]],
    ["audnet.conv1.weight", [64, 3, 7, 7]],
    ["audnet.conv1_flow.weight", [64, 6, 7, 7]],
    ["audnet.bn1.running_var", [64]],
    ["audnet.fc.weight", [1000, 512]],
  ],
  "ez-vsl": [
    ["imgnet.conv1.weight", [64, 3, 7, 7]],
    ["audnet.conv1.weight", [64, 1, 7, 7]],
    ["img_proj.weight", [512, 512, 1, 1]],
    ["img_proj.bias", [512]],
    ["aud_proj.weight", [512, 512]],
    ["aud_proj.bias", [512]],
  ],
  fnac: [
    ["img_proj.weight", [512, 512, 1, 1]],
    ["aud_proj.weight", [512, 512]],
  ],
  slavc: [
    ["img_proj1.weight", [512, 512, 1, 1]],
    ["aud_proj2.weight", [512, 512]],
    ["momentum_imgnet.conv1.weight", [64, 3, 7, 7]],
    ["momentum_audnet.layer1.0.bn1.running_mean", [64]],
    ["momentum_img_proj2.bias", [512]],
    ["momentum_aud_proj1.weight", [512, 512]],
  ],
  alignment: [
    ["audnet.conv1_a.weight", [64, 1, 7, 7]],
    ["imgnet.fc.weight", [1000, 512]],
  ],
  "ssl-tie": [
    ["vision_fc1.weight", [512, 1024, 1, 1]],
    ["vision_fc1.bias", [512]],
    ["conv3.weight", [1, 1, 1, 1]],
    ["norm3.running_var", [1]],
    ["imgnet.conv1_flow.weight", [64, 6, 7, 7]],
  ],
} as const;

describe.each(comparisonMethods)("files of %s", (method) => {
  const options = small(method);
  const make = async () => {
    using model = await Model.create(options, { seed: 3 });
    // torch-file writes float32; counters of batch norm may be missing.
    const own = (await model.parameters()).filter(
      ({ name }) => !name.includes("num_batches_tracked") && !name.startsWith("alignment."),
    );
    const unused = unusedOf(method, 8, 16).map(([name, shape], i) => ({
      name,
      shape: [...shape],
      data: noise([...shape], i),
    }));
    return { own, unused };
  };

  it("have the published names and shapes, in a model of whole size", async () => {
    using model = await Model.create({ ...(presets[method].model as ModelOptions), audio: { seconds: 1 } });
    const known = new Map((await model.parameters()).map(({ name, shape }) => [name, shape]));
    const all = new Map([
      ...known,
      ...unusedOf(method, 64, 512).map(([name, shape]) => [name, [...shape]] as const),
    ]);
    for (const [name, shape] of published[method]) expect([name, all.get(name)]).toEqual([name, [...shape]]);
  });

  it("load, keep what no computation uses, localize, and are written back whole", async () => {
    const { own, unused } = await make();
    const path = join(folder, `${method}.pth`);
    writeFileSync(path, publishedFile(method, [...own, ...unused]));
    using model = await Model.load(path, { config: options, precision: "float32" });
    expect(model.loaded?.ignored).toEqual([]);
    const loaded = new Map((await model.parameters()).map((each) => [each.name, each]));
    for (const { name, shape, data } of [...own, ...unused]) {
      expect([name, loaded.get(name)?.shape]).toEqual([name, shape]);
      expect([...(loaded.get(name)?.data ?? [])]).toEqual([...data]);
    }
    for (const { name } of unused) expect(loaded.get(name)?.trainable).toBe(false);
    const [input] = pairs(1);
    const spot = await model.localize(input as never);
    expect(Math.max(...spot.heatmap)).toBeCloseTo(1, 6);
    const again = join(folder, `${method}.safetensors`);
    await model.save(again);
    using second = await Model.load(again, { precision: "float32" });
    expect(second.config).toEqual(model.config);
    expect(await values(second)).toEqual(await values(model));
    expect([...(await second.localize(input as never)).heatmap]).toEqual([...spot.heatmap]);
  });

  it("say which tensor is missing or has another shape", async () => {
    const { own } = await make();
    const path = join(folder, `${method}-wrong.pth`);
    const missing = own.find(({ name }) => name.includes("layer2.0.conv1.weight")) as Parameter;
    writeFileSync(
      path,
      publishedFile(
        method,
        own.filter((each) => each !== missing),
      ),
    );
    await expect(Model.load(path, { config: options })).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MISMATCH",
      message: expect.stringContaining(missing.name),
    });
    await expect(
      Model.load(path, { config: { ...options, imageWidth: 16, dim: 32, audioWidth: 16 } }),
    ).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MISMATCH",
      message: expect.stringMatching(/has shape|no tensor/),
    });
  });
});

describe("a published file of whole size", () => {
  it.each([
    ["lvs", 22_346_752, 23_422_928],
    ["ssl-tie", 22_346_752, 23_947_732],
    ["ez-vsl", 22_872_064, 22_872_064],
  ] as const)("of %s is recognised, trains %i parameters and stores %i", async (method, trained, stored) => {
    const path = join(folder, `${method}-whole.pth`);
    {
      using model = await Model.create(presets[method].model as ModelOptions);
      const own = (await model.parameters()).filter(({ name }) => !name.includes("num_batches_tracked"));
      const unused = unusedOf(method, 64, 512).map(([name, shape]) => ({
        name,
        shape: [...shape],
        data: new Float32Array(shape.reduce<number>((product, size) => product * size, 1)),
      }));
      writeFileSync(path, publishedFile(method, [...own, ...unused]));
    }
    using model = await Model.load(path);
    rmSync(path);
    expect([model.config.method.name, model.loaded?.preset, model.loaded?.ignored]).toEqual([
      method,
      method,
      [],
    ]);
    const parameters = (await model.parameters()).filter((each) => !isBuffer(each));
    expect(sizeOf(parameters.filter(({ trainable }) => trainable))).toBe(trained);
    expect(sizeOf(parameters)).toBe(stored);
  });
});

describe.each(comparisonMethods)("a step of %s", (method) => {
  const step = async (options: TrainOptions, extra: { plain?: boolean; update?: boolean } = {}) => {
    using model = await Model.create(small(method), { seed: 5 });
    using trainer = new Trainer(model, recipe(method, options));
    return await trainer.step(pairs(6), { ...viewsFor(method, 6), gradients: true, update: false, ...extra });
  };
  const distance = (a: Awaited<ReturnType<typeof step>>, b: Awaited<ReturnType<typeof step>>) => {
    const others = new Map(b.gradients.map(({ name, data }) => [name, data]));
    expect([...others.keys()].sort()).toEqual(a.gradients.map(({ name }) => name).sort());
    let [difference, length] = [0, 0];
    for (const { name, data } of a.gradients) {
      for (const [i, value] of data.entries()) {
        difference += (value - (others.get(name)?.[i] as number)) ** 2;
        length += value ** 2;
      }
    }
    expect(length).toBeGreaterThan(0);
    return Math.sqrt(difference / length);
  };

  it.each([1, 2, 4])(
    "in parts of %i is that of the whole batch, where statistics are frozen",
    async (part) => {
      const whole = await step({ batchNorm: "frozen" });
      const parts = await step({ batchNorm: "frozen", microBatchSize: part });
      for (const [name, value] of Object.entries(whole.losses)) {
        expect(Math.abs((parts.losses[name] as number) / value - 1), name).toBeLessThan(1e-4);
      }
      expect(distance(whole, parts)).toBeLessThan(0.01);
    },
  );

  it("is by fused kernels what it is by LibTorch's own", async () => {
    const fused = await step({});
    const plain = await step({}, { plain: true });
    for (const [name, value] of Object.entries(plain.losses)) {
      expect(Math.abs((fused.losses[name] as number) / value - 1), name).toBeLessThan(1e-3);
    }
    expect(distance(plain, fused)).toBeLessThan(0.02);
  });

  it("moves every trained parameter that its losses reach, and lowers the loss", async () => {
    using model = await Model.create(small(method), { seed: 6 });
    using trainer = new Trainer(model, recipe(method, { learningRate: 2e-3 }));
    const before = await model.parameters();
    const losses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const { losses: own } = await trainer.step(pairs(6), viewsFor(method, 6));
      losses.push(own.total as number);
    }
    const after = await values(model);
    for (const { name, trainable, data } of before) {
      if (trainable) expect(after[name], name).not.toEqual([...data]);
    }
    expect(Math.min(...losses.slice(-4))).toBeLessThan(losses[0] as number);
  });
});

describe.each(comparisonMethods)("a run of %s", (method) => {
  it("resumes to the weights of the uninterrupted run, bit for bit", async () => {
    const data: Dataset = {
      name: "pairs",
      length: 8,
      load: async (index) => ({ id: String(index), ...pairs(8)[index] }) as Sample,
    };
    const run = {
      ...{ data, model: small(method), ...recipe(method), epochs: 3, augment: false as const, seed: 4 },
      ...(method === "alignment" ? { neighbours: Array.from({ length: 8 }, (_, i) => [(i + 1) % 8]) } : {}),
    };
    const whole = await train(run);
    const output = join(folder, `run-${method}`);
    const stop = new AbortController();
    const first = train({ ...run, output, signal: stop.signal, onEpoch: () => stop.abort() });
    await expect(first).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const rest = await train({ ...run, output, resume: true });
    expect(await values(rest.model)).toEqual(await values(whole.model));
    for (const { model } of [whole, rest]) model.dispose();
  });
});

describe("dropout of features", () => {
  const gradients = async (imageDropout: number, seed: number, update = false) => {
    using model = await Model.create(small("fnac", { imageDropout }), { seed: 5 });
    using trainer = new Trainer(model, recipe("ez-vsl", { seed, batchNorm: "frozen" }));
    const { losses } = await trainer.step(pairs(6), { update });
    return losses.total as number;
  };

  it("depends on the seed of the run, and is off at 0 and in evaluation", async () => {
    expect(await gradients(0.5, 1)).toBe(await gradients(0.5, 1));
    expect(await gradients(0.5, 1)).not.toBe(await gradients(0.5, 2));
    expect(await gradients(0, 1)).toBe(await gradients(0, 2));
    const maps: number[][] = [];
    for (const imageDropout of [0, 0.9]) {
      using model = await Model.create(small("fnac", { imageDropout }), { seed: 5, precision: "float32" });
      maps.push([...(await model.localize(pairs(1)[0] as never)).heatmap]);
    }
    expect(maps[0]).toEqual(maps[1]);
  });
});

describe("SLAVC's copies", () => {
  const options = small("slavc", { method: { name: "slavc", momentum: 0.75 } });

  it.each([0, 2, 4])(
    "move once a step, in parts of %i too, and not in a step that fails",
    async (microBatchSize) => {
      using model = await Model.create(options, { seed: 4 });
      using trainer = new Trainer(model, recipe("slavc", { learningRate: 1e-2, microBatchSize }));
      const trained = (await model.parameters()).filter(({ trainable }) => trainable).map(({ name }) => name);
      expect(trained.some((name) => name.startsWith("momentum_"))).toBe(false);
      const start = await values(model);
      for (const name of trained) expect(start[`momentum_${name}`], name).toEqual(start[name]);
      for (let i = 0; i < 3; i++) {
        const before = await values(model);
        await trainer.step(pairs(6, i));
        const after = await values(model);
        for (const name of trained) {
          const copy = `momentum_${name}`;
          const moved = before[copy]?.map((value, n) => 0.75 * value + 0.25 * (before[name]?.[n] as number));
          const furthest = Math.max(
            ...(moved ?? []).map((value, n) => Math.abs(value - (after[copy]?.[n] as number))),
          );
          expect(furthest, copy).toBeLessThan(1e-6);
        }
        expect(after["momentum_imgnet.bn1.running_mean"]).not.toEqual(
          before["momentum_imgnet.bn1.running_mean"],
        );
      }
      const before = await values(model);
      const wild = { tensor: new Float32Array(3 * 32 * 32).fill(1e38), shape: [3, 32, 32] };
      const broken = pairs(4).map((each) => ({ ...each, image: wild }));
      await expect(trainer.step(broken as never)).rejects.toMatchObject({ code: "ERR_INTERNAL" });
      expect(await values(model)).toEqual(before);
    },
  );

  it("localize where momentumEvaluation is set", async () => {
    const path = join(folder, "copies.safetensors");
    {
      using model = await Model.create(options, { seed: 4 });
      using trainer = new Trainer(model, recipe("slavc", { learningRate: 5e-2 }));
      for (let i = 0; i < 3; i++) await trainer.step(pairs(6, i));
      await model.save(path);
    }
    const [input] = pairs(1);
    using online = await Model.load(path, { precision: "float32" });
    const method = { name: "slavc", momentum: 0.75, momentumEvaluation: true } as const;
    using copies = await Model.load(path, { config: { ...options, method }, precision: "float32" });
    const swapped = (await online.parameters()).flatMap((each) => {
      const copy = `momentum_${each.name}`;
      return each.name.startsWith("momentum_") ? [] : [{ ...each, copy }];
    });
    const all = new Map((await online.parameters()).map((each) => [each.name, each]));
    const spot = await copies.localize(input as never);
    expect([...spot.heatmap]).not.toEqual([...(await online.localize(input as never)).heatmap]);
    await online.setParameters(swapped.map(({ name, copy }) => ({ ...(all.get(copy) as Parameter), name })));
    const same = await online.localize(input as never);
    expect([...same.heatmap]).toEqual([...spot.heatmap]);
  });
});

/** Bilinear resizing with half-pixel centres, written here. */
function resize(image: number[][], side: number): number[][] {
  const from = image.length;
  const at = (i: number) => {
    const place = Math.max(0, ((i + 0.5) * from) / side - 0.5);
    const low = Math.min(from - 1, Math.floor(place));
    return [low, Math.min(from - 1, low + 1), place - low] as const;
  };
  return Array.from({ length: side }, (_, y) =>
    Array.from({ length: side }, (_, x) => {
      const [y0, y1, v] = at(y);
      const [x0, x1, u] = at(x);
      const pixel = (row: number, column: number) => image[row]?.[column] as number;
      return (
        (1 - v) * ((1 - u) * pixel(y0, x0) + u * pixel(y0, x1)) +
        v * ((1 - u) * pixel(y1, x0) + u * pixel(y1, x1))
      );
    }),
  );
}

describe("SSL-TIE's transform", () => {
  it.each([
    [224, 224, 0, 1, false, 224],
    [224, 224, 17, 1, true, 224],
    [32, 32, -30, 0.5, false, 16],
    [32, 8, 25, 0.5, true, 4],
    [32, 8, -7, 1, false, 8],
  ] as const)(
    "of a frame of %i and an input of %i: %i°, scale %d, flip %s",
    async (frame, size, angle, scale, flip, side) => {
      const data = noise([size * size], angle + 40);
      const given = Array.from({ length: size }, (_, y) => [...data.subarray(y * size, (y + 1) * size)]);
      const whole = resize(given, frame);
      // A pixel of the result at p comes from c + R(−angle)(p − c) / scale; y points down, the angle counter-clockwise.
      const [c, radians] = [frame / 2, (angle * Math.PI) / 180];
      const moved = Array.from({ length: frame }, (_, y) =>
        Array.from({ length: frame }, (_, x) => {
          const [dx, dy] = [(x - c) / scale, (y - c) / scale];
          const fromX = Math.cos(radians) * dx - Math.sin(radians) * dy + c;
          const fromY = Math.sin(radians) * dx + Math.cos(radians) * dy + c;
          let value = 0;
          for (const [row, v] of [
            [Math.floor(fromY), 1 - (fromY - Math.floor(fromY))],
            [Math.floor(fromY) + 1, fromY - Math.floor(fromY)],
          ] as const) {
            for (const [column, u] of [
              [Math.floor(fromX), 1 - (fromX - Math.floor(fromX))],
              [Math.floor(fromX) + 1, fromX - Math.floor(fromX)],
            ] as const) {
              value += u * v * (whole[row]?.[column] ?? 0);
            }
          }
          return value;
        }),
      );
      const wanted = resize(moved, side).map((row) => (flip ? row.reverse() : row));
      const got = await native().transform(
        { data, shape: [1, 1, size, size] },
        { angles: [angle], scale, flip, frame, side },
      );
      expect(got.shape).toEqual([1, 1, side, side]);
      const furthest = Math.max(
        ...wanted.flat().map((value, i) => Math.abs(value - (got.data[i] as number))),
      );
      expect(furthest).toBeLessThan(2e-3);
    },
  );

  it("makes the equivariance term 0 where the map moves with the image, and not where it stays", async () => {
    const map = { data: noise([2 * 49], 3), shape: [2, 1, 7, 7] };
    const moved = await native().transform(map, {
      angles: [20, -10],
      scale: 1,
      flip: true,
      frame: 224,
      side: 7,
    });
    const term = async (own: Float32Array) =>
      (
        await lossTerms({ name: "equivariance" }, {
          mapOfTransformed: { data: own, shape: [2, 49] },
          transformedMap: { data: moved.data, shape: [2, 49] },
        } as never)
      ).terms.equivariance as number;
    expect(await term(moved.data)).toBe(0);
    expect(await term(map.data)).toBeGreaterThan(0.01);
  });
});

describe("Alignment's views", () => {
  it.each([
    ["viewLocalization", "maxSimilarity"],
    ["viewAlignment", "pooled"],
  ] as const)("%s is the sum of its terms one by one", async (name, single) => {
    const [B, N, D] = [4, 5, 6];
    const random = (shape: number[], seed: number) => ({
      data: Float64Array.from(noise(shape, seed)),
      shape,
    });
    const images = ["", "Neighbour", "Augmented"].map((_, i) =>
      random(name === "viewAlignment" ? [B, D] : [B, N, D], i),
    );
    const audio = ["", "Augmented"].map((_, i) =>
      random(name === "viewAlignment" ? [B, D] : [B, 1, D], 10 + i),
    );
    const field = name === "viewAlignment" ? "Vectors" : "";
    const features = Object.fromEntries([
      ...["", "Neighbour", "Augmented"].map((view, i) => [`image${field}${view}`, images[i]]),
      ...["", "Augmented"].map((view, i) => [`audio${field}${view}`, audio[i]]),
    ]);
    const { terms } = await lossTerms({ name, temperature: 0.2 }, features as never);
    let sum = 0;
    const tokens = ({ data, shape }: { data: Float64Array; shape: number[] }) =>
      shape.length === 3 ? { data, shape } : { data, shape: [shape[0] as number, 1, shape[1] as number] };
    for (const image of images) {
      for (const own of audio) {
        const one = await lossTerms(
          { name: single, temperature: 0.2 },
          { image: tokens(image), audio: tokens(own) },
        );
        sum += (one.terms[single] as number) / 2;
      }
    }
    expect(Math.abs((terms[name] as number) / sum - 1)).toBeLessThan(1e-12);
  });

  it("are asked for where a step lacks them", async () => {
    using model = await Model.create(small("alignment"));
    using trainer = new Trainer(model, recipe("alignment"));
    await expect(trainer.step(pairs(4))).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringContaining("views.neighbour"),
    });
  });
});
