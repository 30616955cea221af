/** Which tensors of a file become which parameters, for files of any format and origin. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, SoundspotError } from "../../../src/index.js";
import { type Written, writeSafetensors } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";
import { dict, type Saved, stateDict, tensor, torchFile } from "../../support/torch-file.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-bind-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KEYS = ["state_dict", "model_state_dict", "model", "net", "weights"] as const;
const PREFIXES = ["module.", "_orig_mod.", "model."] as const;
const formats = ["safetensors", "pth"] as const;
type Format = (typeof formats)[number];

/** Every parameter of two models, for two different files. */
let own: readonly Written[];
let others: readonly Written[];
const isCounter = (name: string) => name.includes("num_batches_tracked");

async function tensorsOf(seed: number): Promise<Written[]> {
  using model = await Model.create(tiny, { seed });
  return (await model.parameters()).map(({ name, shape, data }) => ({
    name,
    shape,
    data: Float32Array.from(data),
  }));
}
beforeAll(async () => {
  [own, others] = [await tensorsOf(1), await tensorsOf(2)];
});

const one = (name: string, shape: readonly number[] = [1]): Written => ({
  name,
  shape,
  data: new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5),
});

let files = 0;
function write(format: Format, tensors: readonly Written[]): string {
  const path = join(folder, `${files++}.${format}`);
  if (format === "safetensors") writeSafetensors(path, tensors);
  else writeFileSync(path, torchFile(stateDict(tensors)));
  return path;
}
function save(value: Saved): string {
  const path = join(folder, `${files++}.pth`);
  writeFileSync(path, torchFile(value));
  return path;
}

const load = (path: string) => Model.load(path, { config: tiny });

async function failure(work: () => Promise<unknown>): Promise<SoundspotError> {
  const error: unknown = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SoundspotError);
  return error as SoundspotError;
}

/** Loads a file whose weights must be `tensors`, and gives its report. */
async function expectLoads(path: string, tensors: readonly Written[] = own) {
  using model = await load(path);
  const values = new Map((await model.parameters()).map(({ name, data }) => [name, [...data]]));
  for (const { name, data } of tensors) expect(values.get(name), name).toEqual([...data]);
  return model.loaded;
}

async function expectMismatch(path: string, ...parts: readonly string[]): Promise<void> {
  const { code, message } = await failure(() => load(path));
  expect(code, message).toBe("ERR_CHECKPOINT_MISMATCH");
  for (const part of [path, ...parts]) expect(message).toContain(part);
}

const combinations = (() => {
  const some: string[] = [""];
  for (const a of PREFIXES) {
    some.push(a, a + a);
    for (const b of PREFIXES) {
      if (a === b) continue;
      some.push(a + b);
      for (const c of PREFIXES) if (c !== a && c !== b) some.push(a + b + c);
    }
  }
  return some;
})();

describe.each(formats)("weights in %s", (format) => {
  it.each(combinations)("are found behind the prefix %j", async (prefix) => {
    const path = write(
      format,
      own.map((each) => ({ ...each, name: prefix + each.name })),
    );
    const report = await expectLoads(path);
    expect(report).toEqual({ loaded: own.map(({ name }) => name), ignored: [], missing: [] });
  });

  it("are found where names have different prefixes", async () => {
    const path = write(
      format,
      own.map((each, i) => ({ ...each, name: combinations[i % combinations.length] + each.name })),
    );
    expect(await expectLoads(path)).toMatchObject({ ignored: [], missing: [] });
  });

  it("are loaded without tensors of no part of the model, which are listed by their names in the file", async () => {
    const extra = [
      "head.weight",
      "module.fc.bias",
      "loss",
      "imgnet_copy.conv1.weight",
      "encoder.imgnet.conv1.weight",
    ];
    const path = write(format, [one(extra[0] as string), ...own, ...extra.slice(1).map((name) => one(name))]);
    const report = await expectLoads(path);
    expect(report?.ignored).toEqual(extra);
    expect(report?.loaded).toHaveLength(own.length);
  });

  it.each([
    ["imgnet.layer3.0.conv1.weight"],
    ["module.audnet.fc.weight"],
    ["_orig_mod.model.slot_attn.img_slots"],
    ["img_decoder.mlp.8.bias"],
    ["aud_decoder"],
  ])("are rejected beside %s, which a model of another configuration has", async (name) => {
    await expectMismatch(
      write(format, [...own, one("head.weight"), one(name)]),
      name,
      "configuration",
      "stages",
    );
  });

  it("are rejected by at most five names", async () => {
    const many = Array.from({ length: 8 }, (_, i) => one(`slot_attn.extra${i}`));
    const { message } = await failure(() => load(write(format, [...own, ...many])));
    expect(message).toContain('"slot_attn.extra4" and 3 more');
    expect(message).not.toContain("extra5");
  });

  it("may lack the counters of batch norm, which are listed, and nothing else", async () => {
    const counters = own.map(({ name }) => name).filter(isCounter);
    const report = await expectLoads(
      write(
        format,
        own.filter(({ name }) => !isCounter(name)),
      ),
      own.filter(({ name }) => !isCounter(name)),
    );
    expect(report?.missing).toEqual(counters);
    expect(counters.length).toBeGreaterThan(5);
    for (const { name } of own.filter((each, i) => !isCounter(each.name) && i % 7 === 0)) {
      const path = write(
        format,
        own.filter((each) => each.name !== name),
      );
      await expectMismatch(path, name, "no tensor");
    }
  });

  it("are rejected where none of them is there", async () => {
    await expectMismatch(write(format, [one("fc.weight")]), "none of the model's tensors");
  });

  it("are rejected in another shape, with both shapes and the parameter", async () => {
    for (const prefix of ["", "module."]) {
      const path = write(
        format,
        own.map(({ name, ...rest }) =>
          name === "slot_attn.slots" ? one(prefix + name, [1, 3, 16]) : { name, ...rest },
        ),
      );
      await expectMismatch(path, "slot_attn.slots has shape [1, 3, 16]", "needs [1, 2, 16]");
    }
  });

  it("are rejected where two tensors are one parameter, by the names of both", async () => {
    const [first] = own as [Written];
    for (const [a, b] of [
      ["", "module."],
      ["module.", "model."],
      ["module.model.", "model.module."],
    ] as const) {
      const path = write(format, [
        { ...first, name: a + first.name },
        ...own.slice(1),
        { ...first, name: b + first.name },
      ]);
      await expectMismatch(path, `"${a}${first.name}"`, `"${b}${first.name}"`, "both");
    }
  });

  it("are found in a name of many prefixes, and sought in one of millions without end", async () => {
    const [first, ...rest] = own as [Written, ...Written[]];
    const deep = write(format, [{ ...first, name: "module.".repeat(1000) + first.name }, ...rest]);
    expect(await expectLoads(deep)).toMatchObject({ ignored: [] });
    const name = "module.".repeat(1_000_000);
    const start = performance.now();
    expect((await expectLoads(write(format, [...own, one(name)])))?.ignored).toEqual([name]);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe("a .pth with more than a state dict", () => {
  const beside = (): Record<string, Saved> => ({
    epoch: 7,
    loss: 0.25,
    note: "text",
    best: null,
    optimizer: {
      dict: [
        ["state", { dict: [[0, dict({ exp_avg: tensor([1], new Float32Array(1)) })]] }],
        ["param_groups", { dict: [] }],
      ],
    },
    args: { object: "argparse.Namespace" },
  });

  it.each(KEYS)("is read below %s", async (key) => {
    expect(await expectLoads(save(dict({ ...beside(), [key]: stateDict(own) })))).toEqual({
      loaded: own.map(({ name }) => name),
      ignored: [],
      missing: [],
      key,
    });
  });

  it.each(KEYS.flatMap((outer) => KEYS.map((inner) => [outer, inner] as const)))(
    "is read below %s.%s",
    async (outer, inner) => {
      const value = dict({ ...beside(), [outer]: dict({ ...beside(), [inner]: stateDict(own) }) });
      expect(await expectLoads(save(value))).toMatchObject({ key: `${outer}.${inner}`, ignored: [] });
    },
  );

  it("has no key at its top", async () => {
    const report = await expectLoads(save(stateDict(own)));
    expect(report).not.toHaveProperty("key");
    expect(report).not.toHaveProperty("otherKeys");
  });

  it.each(KEYS.flatMap((a, i) => KEYS.slice(i + 1).map((b) => [a, b] as const)))(
    "is read below %s where %s has weights too, which are listed",
    async (first, second) => {
      for (const order of [
        [first, second],
        [second, first],
      ] as const) {
        const value = dict(
          Object.fromEntries(order.map((key) => [key, stateDict(key === first ? own : others)])),
        );
        const report = await expectLoads(save(value), own);
        expect(report).toMatchObject({ key: first, otherKeys: [second] });
        expect(report?.ignored).toEqual(others.map(({ name }) => `${second}/${name}`));
      }
    },
  );

  it("is read where the model's tensors are, below a later key or at the top", async () => {
    const foreign = stateDict([one("fc.weight")]);
    const later = await expectLoads(save(dict({ state_dict: foreign, weights: stateDict(own) })));
    expect(later).toMatchObject({
      key: "weights",
      otherKeys: ["state_dict"],
      ignored: ["state_dict/fc.weight"],
    });
    const top = { dict: [...(stateDict(own) as { dict: [] }).dict, ["net", foreign]] } as Saved;
    const report = await expectLoads(save(top));
    expect(report).toMatchObject({ otherKeys: ["net"], ignored: ["net/fc.weight"] });
    expect(report).not.toHaveProperty("key");
  });

  it("is read past dictionaries of other objects", async () => {
    const report = await expectLoads(
      save(
        dict({
          state_dict: dict({ epoch: 1 }),
          model: stateDict(own),
          net: { dict: [[0, tensor([1], new Float32Array(1))]] },
          weights: tensor([2], new Float32Array(2)),
        }),
      ),
    );
    expect(report).toMatchObject({ key: "model", ignored: ["weights"] });
  });

  it("is rejected where the state dict that would be taken holds an object, with its name", async () => {
    const flawed = {
      dict: [...(stateDict(own) as { dict: [] }).dict, ["value", { object: "numpy.ndarray" }]],
    } as Saved;
    for (const value of [flawed, dict({ model: flawed }), dict({ model: flawed, weights: stateDict(own) })]) {
      const path = save(value);
      const { code, message } = await failure(() => load(path));
      expect(code).toBe("ERR_CHECKPOINT_CORRUPT");
      expect(message).toContain(path);
      expect(message).toContain('"value" is an object of "numpy.ndarray"');
    }
    await expectLoads(save(dict({ model: stateDict(own), weights: flawed })));
  });

  it("is rejected where it holds a whole model, with what to save", async () => {
    for (const value of [{ object: "jsa.Model" }, dict({ model: { object: "jsa.Model" } })]) {
      const { code, message } = await failure(() => load(save(value)));
      expect(code).toBe("ERR_CHECKPOINT_CORRUPT");
      expect(message).toMatch(/object of "jsa\.Model".*state_dict\(\)/);
    }
  });

  it("is rejected where nothing holds tensors, with the keys that were looked at", async () => {
    const { message } = await failure(() => load(save(dict({ epoch: 1, model: dict({}) }))));
    for (const key of KEYS) expect(message).toContain(`"${key}"`);
  });
});

describe("a file of random content", () => {
  /** The rule once more, plainly: every rest of a name behind its prefixes may be declared. */
  function rests(name: string): string[] {
    const list = [name];
    for (let rest = name; ; list.push(rest)) {
      const prefix = PREFIXES.find((each) => rest.startsWith(each));
      if (prefix === undefined) return list;
      rest = rest.slice(prefix.length);
    }
  }
  const parts = ["imgnet", "audnet", "slot_attn", "img_decoder", "aud_decoder"];

  type Outcome =
    | { readonly error: "ambiguous" | "shape" | "foreign" | "missing" }
    | { readonly ignored: string[] };
  function expected(tensors: readonly Written[]): Outcome {
    const shapes = new Map(own.map(({ name, shape }) => [name, String(shape)]));
    const given = new Map<string, string>();
    const ignored: string[] = [];
    for (const { name, shape } of tensors) {
      const found = rests(name).find((rest) => shapes.has(rest));
      if (found === undefined) ignored.push(name);
      else if (given.has(found)) return { error: "ambiguous" };
      else given.set(found, String(shape));
    }
    if ([...given].some(([name, shape]) => shapes.get(name) !== shape)) return { error: "shape" };
    if (ignored.some((name) => rests(name).some((rest) => parts.includes(rest.split(".")[0] as string)))) {
      return { error: "foreign" };
    }
    if (own.some(({ name }) => !isCounter(name) && !given.has(name))) return { error: "missing" };
    return { ignored };
  }
  const messages = { ambiguous: /both/, shape: /has shape/, foreign: /no place/, missing: /There is no/ };

  const prefix = fc.array(fc.constantFrom(...PREFIXES), { maxLength: 3 }).map((list) => list.join(""));
  const change = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("prefix" as const), at: fc.nat(999), prefix }) },
    fc.record({ kind: fc.constant("all" as const), at: fc.constant(0), prefix }),
    fc.record({ kind: fc.constant("remove" as const), at: fc.nat(999), prefix }),
    fc.record({ kind: fc.constant("counters" as const), at: fc.constant(0), prefix }),
    fc.record({ kind: fc.constant("shape" as const), at: fc.nat(999), prefix }),
    fc.record({ kind: fc.constant("double" as const), at: fc.nat(999), prefix }),
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("extra" as const), at: fc.nat(999), prefix }) },
    fc.record({ kind: fc.constant("foreign" as const), at: fc.nat(999), prefix }),
  );
  function changed(list: readonly { kind: string; at: number; prefix: string }[]): Written[] {
    let tensors = [...own];
    for (const { kind, at, prefix: before } of list) {
      const i = at % Math.max(1, tensors.length);
      const each = tensors[i];
      if (!each) continue;
      if (kind === "prefix") tensors[i] = { ...each, name: before + each.name };
      else if (kind === "all") tensors = tensors.map((one) => ({ ...one, name: before + one.name }));
      else if (kind === "remove") tensors.splice(i, 1);
      else if (kind === "counters") tensors = tensors.filter(({ name }) => !isCounter(name));
      else if (kind === "shape") tensors[i] = one(each.name, [...each.shape, 2]);
      else if (kind === "double") tensors.splice(at % 7, 0, { ...each, name: before + each.name });
      else if (kind === "extra") tensors.splice(i, 0, one(`${before}head${at}.weight`));
      else tensors.splice(i, 0, one(`${before}${parts[at % parts.length]}.new${at}`));
    }
    // A dictionary has each name once.
    return [...new Map(tensors.map((each) => [each.name, each])).values()];
  }

  it("gives the same in both formats and below any keys, as the rule has it", async () => {
    const met = { ambiguous: 0, shape: 0, foreign: 0, missing: 0, loaded: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 3 }),
        fc.array(fc.constantFrom(...KEYS), { maxLength: 3 }),
        async (list, keys) => {
          const tensors = changed(list);
          const outcome = expected(tensors);
          const wrapped = keys.reduceRight<Saved>((inner, key) => dict({ [key]: inner }), stateDict(tensors));
          const nothing = tensors.length === 0;
          for (const path of [write("safetensors", tensors), ...(nothing ? [] : [save(wrapped)])]) {
            if ("error" in outcome) {
              const { code, message } = await failure(() => load(path));
              expect(code, message).toBe("ERR_CHECKPOINT_MISMATCH");
              expect(message).toMatch(messages[outcome.error]);
            } else {
              using model = await load(path);
              const stripped = tensors.filter(({ name }) => !outcome.ignored.includes(name));
              expect(model.loaded?.ignored).toEqual(outcome.ignored);
              expect(model.loaded?.loaded).toHaveLength(stripped.length);
              expect(model.loaded?.key).toBe(
                path.endsWith(".pth") && keys.length ? keys.join(".") : undefined,
              );
              const values = new Map((await model.parameters()).map(({ name, data }) => [name, [...data]]));
              for (const { name, data } of own) {
                if (model.loaded?.missing.includes(name)) continue;
                expect(values.get(name), name).toEqual([...data]);
              }
            }
            rmSync(path);
          }
          met["error" in outcome ? outcome.error : "loaded"]++;
        },
      ),
      { numRuns: 250 },
    );
    for (const [kind, count] of Object.entries(met)) expect(count, kind).toBeGreaterThan(5);
  });
});

describe("weights of an image encoder", () => {
  const image = () =>
    own
      .filter(({ name }) => /^imgnet\.(?!proj)/.test(name))
      .map((each) => ({ ...each, name: each.name.slice("imgnet.".length) }));

  it.each([
    ["safetensors", ""],
    ["safetensors", "module."],
    ["pth", ""],
    ["pth", "model._orig_mod."],
  ] as const)("are taken from %s behind the prefix %j, without fc", async (format, prefix) => {
    using model = await Model.create(tiny, { seed: 3 });
    const named = [...image(), one("fc.weight")].map((each) => ({ ...each, name: prefix + each.name }));
    const report = await model.loadImageWeights(write(format, named));
    expect(report).toEqual({
      loaded: image().map(({ name }) => `imgnet.${name}`),
      ignored: [`${prefix}fc.weight`],
      missing: ["imgnet.proj.weight", "imgnet.proj.bias"],
    });
    const values = new Map((await model.parameters()).map(({ name, data }) => [name, [...data]]));
    for (const { name, data } of image()) expect(values.get(`imgnet.${name}`), name).toEqual([...data]);
  });

  it("are taken below a key, which is reported", async () => {
    using model = await Model.create(tiny, { seed: 3 });
    const report = await model.loadImageWeights(save(dict({ state_dict: stateDict(image()) })));
    expect(report).toMatchObject({ key: "state_dict", ignored: [] });
  });

  it("are rejected where two tensors are one parameter, and nothing changes", async () => {
    using model = await Model.create(tiny, { seed: 3 });
    const before = await model.parameters();
    const [first] = image() as [Written];
    const path = write("pth", [...image(), { ...first, name: `module.${first.name}` }]);
    const { code, message } = await failure(() => model.loadImageWeights(path));
    expect([code, message.includes(`"module.${first.name}"`)]).toEqual(["ERR_CHECKPOINT_MISMATCH", true]);
    expect(await model.parameters()).toEqual(before);
  });
});

describe("weights of another model", () => {
  it("are taken from a foreign file with what was skipped there", async () => {
    using model = await Model.create({ ...tiny, imageStride: 4 }, { seed: 3 });
    const path = save(dict({ net: stateDict([...own, one("head.weight")]) }));
    const report = await model.loadWeights(path, { config: tiny });
    expect(report.key).toBe("net");
    expect(report.ignored).toEqual([...report.missing, "head.weight"]);
    expect(report.missing.length).toBeGreaterThan(0);
    expect(report.missing.every((name) => name.startsWith("img_decoder.pos_emb"))).toBe(true);
  });
});

describe("a file of this package", () => {
  it("loads without anything skipped, a training state included", async () => {
    const { Trainer } = await import("../../../src/index.js");
    using model = await Model.create(tiny);
    const path = join(folder, "last.safetensors");
    await new Trainer(model).save(path);
    using again = await Model.load(path);
    expect(again.loaded).toEqual({ loaded: own.map(({ name }) => name), ignored: [], missing: [] });
    expect(model.loaded).toBeUndefined();
  });
});
