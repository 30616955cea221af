/** Configurations in JSON files, given or beside a checkpoint: this package's options, or the arguments of other code. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { translateConfig } from "../../../src/config/foreign.js";
import {
  type ErrorCode,
  Model,
  type ModelConfig,
  type ModelOptions,
  parseModelConfig,
  SoundspotError,
} from "../../../src/index.js";
import { readModelConfig } from "../../../src/model/configuration.js";
import { type Written, writeSafetensors } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";
import { stateDict, torchFile } from "../../support/torch-file.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-foreign-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let tensors: readonly Written[];
beforeAll(async () => {
  using model = await Model.create(tiny, { seed: 4 });
  tensors = (await model.parameters()).map(({ name, shape, data }) => ({
    name,
    shape,
    data: Float32Array.from(data),
  }));
});

/** A folder with a .pth that carries no configuration, for each test its own. */
let folder: string;
let checkpoint: string;
let folders = 0;
beforeEach(() => {
  folder = join(root, String(folders++));
  mkdirSync(folder);
  checkpoint = join(folder, "model.pth");
  writeFileSync(checkpoint, torchFile(stateDict(tensors)));
});
const put = (name: string, value: unknown): string => {
  const path = join(folder, name);
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
  return path;
};

async function expectFailure(
  work: () => Promise<unknown>,
  code: ErrorCode,
  ...parts: readonly (string | RegExp)[]
): Promise<void> {
  const error: unknown = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SoundspotError);
  const { code: found, message } = error as SoundspotError;
  expect(found, message).toBe(code);
  for (const part of parts)
    expect(message).toMatch(typeof part === "string" ? part.replaceAll("\\", "/") : part);
}

/** What the authors' program writes beside a checkpoint. */
const published = {
  aud_length: 3,
  batch_size: 256,
  epochs: 100,
  experiment_name: "jsa",
  gpu: null,
  infer_sharpening: 0.5,
  init_lr: 5e-5,
  iters: 3,
  lam1: 0.1,
  lam2: 0.1,
  lam3: 100,
  mask_ratio: 0.2,
  num_slots: 3,
  out_dim: 64,
  reciprocal_k: 20,
  seed: 10,
  tau: 0.03,
  testset: "vggss",
  trainset: "vggss_144k",
  weight_decay: 0.01,
};

describe("arguments of the authors' program", () => {
  it("become the options that mean the same", () => {
    const { options, ignored } = translateConfig(published, "configs.json");
    expect(parseModelConfig(options)).toEqual(
      parseModelConfig({
        dim: 64,
        audio: { seconds: 3 },
        method: {
          name: "joint-slot-attention",
          targetSlots: 1,
          offTargetSlots: 2,
          iterations: 3,
          maskProbability: 0.2,
          inferenceSharpening: 0.5,
        },
      }),
    );
    expect(ignored).toEqual(["experiment_name", "gpu", "seed"]);
  });

  it("leave the paper's values where they are absent", () => {
    const { options } = translateConfig({ num_slots: 2, iters: 5, out_dim: 512 }, "configs.json");
    expect(parseModelConfig(options)).toEqual(parseModelConfig());
  });

  const names = {
    out_dim: (config: ModelConfig) => config.dim,
    aud_length: (config: ModelConfig) => config.audio.seconds,
    num_slots: (config: ModelConfig) =>
      "targetSlots" in config.method ? config.method.targetSlots + config.method.offTargetSlots : undefined,
    iters: (config: ModelConfig) => ("iterations" in config.method ? config.method.iterations : undefined),
    mask_ratio: (config: ModelConfig) =>
      "maskProbability" in config.method ? config.method.maskProbability : undefined,
    infer_sharpening: (config: ModelConfig) =>
      "inferenceSharpening" in config.method ? config.method.inferenceSharpening : undefined,
  };

  it("of any values are taken as they are or rejected by file and name", () => {
    const value = fc.oneof(
      fc.integer({ min: -2, max: 40 }),
      fc.double({ min: 0, max: 2, noNaN: true }),
      fc.constantFrom(...["3", true, null, [], [2], {}, "", 1e30, 512]),
    );
    const met = { taken: 0, rejected: 0 };
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...Object.keys(names), "tau", "gpu"), value, {
          minKeys: 1,
          maxKeys: 3,
        }),
        (fields) => {
          let config: ModelConfig;
          try {
            config = parseModelConfig(translateConfig(fields, "some/configs.json").options);
          } catch (error) {
            const { code, message } = error as SoundspotError;
            expect(code).toBe("ERR_CONFIG");
            const name = /^some\/configs\.json: (\w+) /.exec(message)?.[1] ?? message;
            expect(Object.keys(names)).toContain(name);
            expect(fields).toHaveProperty(name);
            met.rejected++;
            return;
          }
          for (const [name, of] of Object.entries(names)) {
            if (name in fields) expect(of(config), name).toBe(fields[name]);
            else expect(of(config), name).toBe(of(parseModelConfig()));
          }
          met.taken++;
        },
      ),
      { numRuns: 1000 },
    );
    expect(Math.min(met.taken, met.rejected)).toBeGreaterThan(50);
  });

  it.each([
    ["out_dim", "512"],
    ["out_dim", 7],
    ["num_slots", 0],
    ["num_slots", 2.5],
    ["num_slots", 18],
    ["num_slots", [2]],
    ["iters", null],
    ["iters", true],
    ["aud_length", -1],
    ["mask_ratio", 1.5],
    ["infer_sharpening", { value: 1 }],
  ])("are rejected with %s %j, by file and field", async (name, value) => {
    const path = put("configs.json", { ...published, [name]: value });
    for (const options of [{}, { config: path }]) {
      await expectFailure(() => Model.load(checkpoint, options), "ERR_CONFIG", path, `: ${name} `);
    }
  });
});

describe("a configuration in a file", () => {
  it("loads a checkpoint that carries none, as the same options in an object do", async () => {
    const path = put("tiny.json", tiny);
    for (const config of [path, relative(process.cwd(), path)]) {
      using model = await Model.load(checkpoint, { config });
      expect(model.config).toEqual(parseModelConfig(tiny));
      expect(model.loaded).toMatchObject({ config: path, ignored: [] });
      expect(model.loaded).not.toHaveProperty("ignoredConfig");
    }
    using model = await Model.load(checkpoint, { config: tiny });
    expect(model.loaded).not.toHaveProperty("config");
  });

  it("may have the form of earlier versions, and begin with a byte order mark", async () => {
    const earlier = { ...tiny, method: undefined, iterations: 2, inferenceSharpening: 0.5 };
    using model = await Model.load(checkpoint, { config: put("a.json", `\ufeff${JSON.stringify(earlier)}`) });
    expect(model.config.method).toMatchObject({ name: "joint-slot-attention", inferenceSharpening: 0.5 });
  });

  it.each([
    ["no JSON", "{", "ERR_CONFIG", /not JSON/],
    ["nothing", "", "ERR_FILE_EMPTY", /empty/],
    ["a list", [tiny], "ERR_CONFIG", /a list/],
    ["a text", '"paper"', "ERR_CONFIG", /string/],
    ["null", "null", "ERR_CONFIG", /null/],
    ["an unknown field", { ...tiny, slots: 2 }, "ERR_CONFIG", /slots/],
    ["a value of a wrong type", { ...tiny, dim: "16" }, "ERR_CONFIG", /model\.dim/],
    ["settings of training", { model: tiny }, "ERR_CONFIG", /below it/],
    ["options beside arguments of other code", { dim: 16, iters: 2 }, "ERR_CONFIG", /dim/],
    ["a megabyte of spaces", " ".repeat(2 ** 20 + 1), "ERR_CONFIG", /bytes/],
  ] as const)("is rejected by its name where it holds %s", async (_, value, code, why) => {
    const path = put("given.json", value);
    await expectFailure(() => Model.load(checkpoint, { config: path }), code, path, why);
    await expectFailure(() => readModelConfig(path), code, path, why);
  });

  it("is rejected where it is not there, or is a folder", async () => {
    for (const path of [join(folder, "none.json"), folder]) {
      await expectFailure(() => Model.load(checkpoint, { config: path }), "ERR_FILE_NOT_FOUND", path);
    }
    await expectFailure(() => Model.load(checkpoint, { config: "a\0b" }), "ERR_CONFIG", /path/);
  });
});

describe("a configuration beside a checkpoint", () => {
  const foreign = { out_dim: 16, aud_length: 0.5, num_slots: 2, iters: 2 };

  it.each(["configs.json", "config.json"])("named %s is found, and reported", async (name) => {
    const path = put(name, { ...tiny, dim: 16 });
    using model = await Model.load(checkpoint);
    expect(model.config).toEqual(parseModelConfig(tiny));
    expect(model.loaded?.config).toBe(path);
  });

  it("of the authors' program is found; fields that are not known are listed", async () => {
    const path = put("configs.json", { ...foreign, gpu: 0, tau: 0.03 });
    // Their encoders are of one size, which the tiny file does not have.
    await expectFailure(() => Model.load(checkpoint), "ERR_CHECKPOINT_MISMATCH", checkpoint);
    expect(await readModelConfig(path)).toEqual({
      config: parseModelConfig({
        dim: 16,
        audio: { seconds: 0.5 },
        method: { name: "joint-slot-attention", iterations: 2 },
      }),
      file: path,
      ignored: ["gpu"],
    });
  });

  it("named configs.json goes before config.json, and of another program it is passed over", async () => {
    const second = put("config.json", tiny);
    put("configs.json", { model_type: "resnet", hidden_size: 768 });
    using model = await Model.load(checkpoint);
    expect(model.loaded?.config).toBe(second);
    const first = put("configs.json", tiny);
    using again = await Model.load(checkpoint);
    expect(again.loaded?.config).toBe(first);
  });

  it("is passed over where it is a list or a folder", async () => {
    put("configs.json", "[1]");
    mkdirSync(join(folder, "config.json"));
    await expectFailure(() => Model.load(checkpoint), "ERR_CHECKPOINT_MISMATCH", checkpoint);
  });

  it("is not read where a configuration is given, or carried by the file", async () => {
    put("configs.json", "{");
    using given = await Model.load(checkpoint, { config: tiny });
    expect(given.loaded).not.toHaveProperty("config");
    const own = join(folder, "own.safetensors");
    await given.save(own);
    using carried = await Model.load(own);
    expect(carried.loaded).not.toHaveProperty("config");
    await expectFailure(() => Model.load(checkpoint), "ERR_CONFIG", /configs\.json/, /not JSON/, /--config/);
  });

  it("is read for a safetensors file that carries none", async () => {
    const path = put("config.json", tiny);
    const file = join(folder, "foreign.safetensors");
    writeSafetensors(file, tensors);
    using model = await Model.load(file);
    expect(model.loaded?.config).toBe(path);
  });

  it("goes behind the one that is given, which goes before what the file carries", async () => {
    using model = await Model.load(checkpoint, { config: tiny });
    const own = join(folder, "own.safetensors");
    await model.save(own);
    const sharper: ModelOptions = {
      ...tiny,
      method: {
        name: "joint-slot-attention",
        ...tiny.method,
        inferenceSharpening: 1,
      } as ModelOptions["method"],
    };
    const path = put("sharper.json", sharper);
    using again = await Model.load(own, { config: path });
    expect(again.config).toEqual(parseModelConfig(sharper));
    await expectFailure(
      () => Model.load(own, { config: put("wide.json", { ...tiny, dim: 32 }) }),
      "ERR_CHECKPOINT_MISMATCH",
      own,
    );
  });

  it("serves loadWeights as well", async () => {
    const path = put("configs.json", tiny);
    using model = await Model.create(tiny, { seed: 1 });
    const report = await model.loadWeights(checkpoint);
    expect(report).toMatchObject({ config: path, missing: [], ignored: [] });
  });
});
