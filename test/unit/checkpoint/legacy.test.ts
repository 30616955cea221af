/** Files in the format of torch.save before PyTorch 1.6: read to their values, and rejected where they are damaged. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Model, Objectness, SoundspotError } from "../../../src/index.js";
import { tarEnd, tarEntry } from "../../../src/media/tar.js";
import { native } from "../../../src/native.js";
import { latin1 } from "../../support/archives.mjs";
import { small } from "../../support/comparison.js";
import {
  FORMS,
  type LegacyFile,
  type LegacyStorage,
  type LegacyTensor,
  legacyFile,
  type StorageType,
} from "../../support/legacy-file.js";
import { writeSafetensors } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-legacy-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/legacy/${name}`, import.meta.url));

/** Of the tiny model's image encoder, by the names that torchvision gives them. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "bn1.weight": [4],
  "bn1.bias": [4],
  "bn1.running_mean": [4],
  "bn1.num_batches_tracked": [],
  "layer1.0.conv1.weight": [4, 4, 3, 3],
  "layer1.0.conv2.weight": [4, 4, 3, 3],
  "layer2.0.downsample.0.weight": [8, 4, 1, 1],
};

/** What the image encoder of a new model has of a file, by torchvision's names. */
async function loaded(path: string): Promise<Map<string, number[]>> {
  using model = await Model.create(tiny, { seed: 1 });
  const report = await model.loadImageWeights(path);
  const taken = new Set(report.loaded);
  const parameters = (await model.parameters()).filter(({ name }) => taken.has(name));
  return new Map(parameters.map(({ name, data }) => [name.replace("imgnet.", ""), Array.from(data)]));
}

async function failureOf(bytes: Uint8Array): Promise<SoundspotError> {
  const path = join(folder, "damaged.pth");
  writeFileSync(path, bytes);
  const error: unknown = await native()
    .readCheckpoint(path)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  expect(error).toBeInstanceOf(SoundspotError);
  return error as SoundspotError;
}

describe("a file of torch.save from before PyTorch 1.6", () => {
  const expected = JSON.parse(readFileSync(fixture("expected.json"), "utf8")) as Record<string, number[]>;

  it.each(["saved.pth", "old.pth"])("%s has the values that torch gave it", async (name) => {
    const values = await loaded(fixture(name));
    const { "fc.bias": _, ...own } = expected;
    expect(Object.fromEntries(values)).toEqual(own);
  });

  it("is found by its content and keeps the order, the shapes and the key of its tensors", async () => {
    const path = join(folder, "saved.bin");
    writeFileSync(path, readFileSync(fixture("saved.pth")));
    const { tensors, metadata } = await native().readCheckpoint(path);
    expect(metadata).toEqual({});
    expect(tensors.map(({ key, name }) => [key, name])).toEqual(
      Object.keys(expected).map((name) => ["model_state_dict", name]),
    );
    expect(
      Object.fromEntries(tensors.map(({ name, shape, type }) => [name, [type, ...shape]])),
    ).toMatchObject({
      "bn1.weight": ["Double", 4],
      "bn1.running_mean": ["BFloat16", 4],
      "bn1.num_batches_tracked": ["Long"],
      "layer1.0.conv1.weight": ["Float", 4, 4, 3, 3],
      "layer1.0.conv2.weight": ["Half", 4, 4, 3, 3],
    });
  });

  it("cut off anywhere is rejected", async () => {
    const whole = readFileSync(fixture("old.pth"));
    for (let end = 1; end < whole.length; end++) {
      const { code, message } = await failureOf(whole.subarray(0, end));
      expect(code, `${end} of ${whole.length} bytes: ${message}`).toBe("ERR_CHECKPOINT_CORRUPT");
      if (end > 40) expect(message).toMatch(/cut off|too early/);
    }
  });

  it("gives an image encoder and an objectness the weights that safetensors give them", async () => {
    using donor = await Model.create(
      { audioStages: 1, audioWidth: 4, dim: 8, audio: { seconds: 0.1 } },
      { seed: 3 },
    );
    const own = (await donor.parameters())
      .filter(({ name }) => /^imgnet\.(?!proj)/.test(name))
      .map(({ name, shape, data }) => ({
        name: name.slice("imgnet.".length),
        shape,
        data: Float32Array.from(data),
      }));
    const [modern, old] = [join(folder, "resnet18.safetensors"), join(folder, "resnet18-5c106cde.pth")];
    writeSafetensors(modern, own);
    const storages = own.map(({ data }, i): LegacyStorage => ({ key: `${i}`, type: "Float", values: data }));
    const tensors = own.map(({ name, shape }, i): LegacyTensor => {
      const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, size) => product * size, 1));
      return { name, storage: i, offset: 0, shape, strides, form: "parameter-v1" };
    });
    writeFileSync(old, legacyFile({ storages, tensors, python2: true }));

    const pixels = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
    const maps: number[][] = [];
    for (const path of [modern, old]) {
      using objectness = await Objectness.load(path);
      maps.push(Array.from((await objectness.maps([{ data: pixels, width: 64, height: 64 }])).data));
      using model = await Model.create(
        { audioStages: 1, audioWidth: 4, dim: 8, audio: { seconds: 0.1 } },
        { seed: 4 },
      );
      const report = await model.loadImageWeights(path);
      expect(report.loaded).toHaveLength(own.length);
    }
    expect(maps[0]).toHaveLength(49);
    expect(new Set(maps[0]).size).toBeGreaterThan(10);
    expect(maps[1]).toEqual(maps[0]);
  });

  it("gives LVS, whose files are of that format, its parameters", async () => {
    const config = small("lvs");
    using donor = await Model.create(config, { seed: 5 });
    const own = await donor.parameters();
    const path = join(folder, "lvs.pth.tar");
    const storages = own.map(({ data }, i): LegacyStorage => ({ key: `${i}`, type: "Float", values: data }));
    const tensors = own.map(({ name, shape }, i): LegacyTensor => {
      const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, size) => product * size, 1));
      return { name: `module.${name}`, storage: i, offset: 0, shape, strides };
    });
    writeFileSync(path, legacyFile({ storages, tensors, key: "model_state_dict" }));
    using read = await Model.load(path, { config });
    expect(read.loaded).toMatchObject({ missing: [], ignored: [], key: "model_state_dict" });
    expect(await read.parameters()).toEqual(own);
  });

  it("may have bytes behind its end", async () => {
    const path = join(folder, "longer.pth");
    writeFileSync(path, Buffer.concat([readFileSync(fixture("old.pth")), Buffer.from("\n")]));
    expect((await loaded(path)).get("bn1.weight")).toEqual(expected["bn1.weight"]);
  });
});

/** A file of any number of storages, tensors that are views of them, and what each tensor holds. */
const files = fc
  .record({
    types: fc.array(fc.constantFrom<StorageType>("Float", "Double", "Half", "BFloat16", "Long"), {
      minLength: 1,
      maxLength: 4,
    }),
    room: fc.nat(40),
    picks: fc.array(
      fc.record({
        storage: fc.nat(3),
        offset: fc.nat(1000),
        transposed: fc.boolean(),
        form: fc.constantFrom(...FORMS),
        part: fc.option(fc.nat(1000), { nil: undefined }),
      }),
      { minLength: Object.keys(SHAPES).length, maxLength: Object.keys(SHAPES).length },
    ),
    key: fc.constantFrom("", "state_dict", "model"),
    python2: fc.boolean(),
  })
  .map(({ types, room, picks, key, python2 }) => {
    const names = Object.keys(SHAPES);
    const count = 144 + room;
    const storages: LegacyStorage[] = types.map((type, k) => ({
      key: String(94_000_000 + 17 * k),
      type,
      values: Array.from({ length: count }, (_, i) => ((i * 7 + k * 5) % 64) - 32),
    }));
    const values = new Map<string, number[]>();
    const tensors = names.map((name, k): LegacyTensor => {
      const pick = picks[k] as (typeof picks)[number];
      const shape = SHAPES[name] as readonly number[];
      const size = shape.reduce((product, each) => product * each, 1);
      const which = pick.storage % storages.length;
      const { values: data, key: root } = storages[which] as LegacyStorage;
      // Where the part begins, then where the tensor begins in it.
      const begin = pick.part === undefined ? 0 : pick.part % (count - size + 1);
      const offset = pick.offset % (count - size - begin + 1);
      const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, each) => product * each, 1));
      if (pick.transposed && shape.length === 4 && shape[0] === shape[1]) {
        [strides[0], strides[1]] = [strides[1] as number, strides[0] as number];
      }
      const places = Array.from({ length: size }, (_, i) => {
        let [rest, place] = [i, 0];
        for (let d = shape.length - 1; d >= 0; d--) {
          place += (rest % (shape[d] as number)) * (strides[d] as number);
          rest = Math.floor(rest / (shape[d] as number));
        }
        return place;
      });
      values.set(
        name,
        places.map((place) => data[begin + offset + place] as number),
      );
      const part =
        pick.part === undefined ? {} : { part: { key: `${root}-${k}`, offset: begin, count: count - begin } };
      return { name, storage: which, offset, shape, strides, form: pick.form, ...part };
    });
    const used = storages.filter((_, k) => tensors.some(({ storage }) => storage === k));
    const file: LegacyFile = { storages, tensors, key, python2, keys: used.map(({ key }) => key).sort() };
    return { file, values };
  });

describe("generated files of that format", () => {
  it("of shared, strided and partial storages, in all forms, are read to their values", async () => {
    const path = join(folder, "generated.pth");
    await fc.assert(
      fc.asyncProperty(files, async ({ file, values }) => {
        writeFileSync(path, legacyFile(file));
        expect(Object.fromEntries(await loaded(path))).toEqual(Object.fromEntries(values));
      }),
      { numRuns: 150 },
    );
  });
});

describe("a hostile file of that format", () => {
  const storage: LegacyStorage = { key: "1", type: "Float", values: Array.from({ length: 16 }, (_, i) => i) };
  const tensor: LegacyTensor = { name: "t", storage: 0, offset: 0, shape: [4, 4], strides: [4, 1] };
  const file = (change: Partial<LegacyFile> = {}) =>
    legacyFile({ storages: [storage], tensors: [tensor], ...change });
  const part = (key: string, offset: number, count: number, own: Partial<LegacyTensor> = {}) =>
    ({
      ...tensor,
      name: `${key}${offset}`,
      shape: [2],
      strides: [1],
      part: { key, offset, count },
      ...own,
    }) as const;
  const patched = (bytes: Buffer, text: string, to: string) => {
    const at = bytes.indexOf(latin1(text));
    expect(at).toBeGreaterThan(0);
    return Buffer.concat([bytes.subarray(0, at), latin1(to), bytes.subarray(at + text.length)]);
  };
  /** Its data begin with the number of elements. */
  const stated = (count: bigint) => {
    const bytes = file();
    bytes.writeBigInt64LE(count, bytes.length - 72);
    return bytes;
  };
  const object = (code: string) => {
    const head = file().subarray(0, file().indexOf(latin1("ccollections\nOrderedDict\n")));
    return Buffer.concat([head, latin1(`${code}.`), latin1("\x80\x02].")]);
  };
  const [name, item] = ["U\x01t", "](U\x01tK\x01e"];

  it("can be read when it is none", async () => {
    const path = join(folder, "good.pth");
    writeFileSync(path, file());
    expect((await native().readCheckpoint(path)).tensors.map(({ shape }) => shape)).toEqual([[4, 4]]);
  });

  it.each([
    ["a big-endian machine", file({ littleEndian: false }), /saved on a big-endian machine/],
    ["another version", file({ version: 1002 }), /unknown version/],
    ["no description of the machine", patched(file(), "little_endian", "Little_endian"), /of the machine/],
    ["a magic number that is not alone", patched(file(), "\x50\x19.", "\x50\x19\x85."), /magic number/],
    [
      "a tar archive",
      Buffer.concat([tarEntry("pickle", latin1("\x80\x02}.")), tarEnd]),
      /tar archive.*0\.1\.10/,
    ],
    ["no data", file({ keys: [] }), /"1" is missing/],
    ["data of no tensor", file({ keys: ["1", "2"] }), /"2" belongs to no tensor/],
    ["data that come twice", file({ keys: ["1", "1"] }), /"1" comes twice/],
    ["a list of no keys", patched(file(), "](X\x01\0\0\x001e.", "](K\x01e."), /list of data is damaged/],
    ["no list", patched(file(), "](X\x01\0\0\x001e.", "N."), /list of data is damaged/],
    ["15 elements where 16 should be", stated(15n), /another size/],
    ["−1 elements", stated(-1n), /another size/],
    ["2^62 elements", stated(2n ** 62n), /another size/],
    [
      "2^62 elements that its tensors expect",
      patched(stated(2n ** 62n), "K\x10N", "\x8a\x08\0\0\0\0\0\0\0\x40N"),
      /too early/,
    ],
    [
      "two types of one storage",
      legacyFile({
        storages: [storage, { ...storage, type: "Double" }],
        tensors: [tensor, { ...tensor, name: "u", storage: 1 }],
        keys: ["1"],
      }),
      /two types/,
    ],
    ["an unknown type", patched(file(), "torch\nFloatStorage", "torch\nFlootStorage"), /not supported/],
    [
      "a complex tensor",
      patched(Buffer.concat([file(), Buffer.alloc(64)]), "torch\nFloatStorage", "torch\nComplexFloatStorage"),
      /"torch.ComplexFloatStorage", which is not supported/,
    ],
    ["a view beyond its storage", file({ tensors: [{ ...tensor, offset: 1 }] }), /beyond its data/],
    ["a part beyond its storage", file({ tensors: [part("p", 10, 7)] }), /part reaches beyond/],
    ["a part before its storage", file({ tensors: [part("p", -1, 7)] }), /part reaches beyond/],
    ["a part of less than nothing", file({ tensors: [part("p", 1, -1)] }), /part reaches beyond/],
    ["a part of 2^53", file({ tensors: [part("p", 2 ** 53, 2 ** 53)] }), /part reaches beyond/],
    ["a view beyond its part", file({ tensors: [part("p", 4, 4, { offset: 3 })] }), /beyond its data/],
    ["a part in two places", file({ tensors: [part("p", 4, 4), part("p", 8, 4)] }), /"p" has two places/],
    [
      "a part that is no tuple",
      patched(file({ tensors: [part("p", 4, 4)] }), "(X\x01\0\0\0pK\x04K\x04t", "K\x01"),
      /part of its data is damaged/,
    ],
    ["a program", object("cposix\nsystem\n(S'true'\ntR"), /torch.save does not write/],
    [
      "a module",
      object(`(U\x06modulectorchvision.models\nResNet\nNNtQ)\x81}b`),
      /"torchvision.models.ResNet", not a/,
    ],
    ["an OrderedDict of no pairs", object(`ccollections\nOrderedDict\n](${name}e\x85R`), /other than pairs/],
    [
      "100,000 dictionaries of one list of 1,000",
      object(`](${item.repeat(1000)}eq\x010(${"ccollections\nOrderedDict\nh\x01\x85R".repeat(100_000)}t`),
      /too many objects/,
    ],
    ["a text of 4 GB", object("X\xff\xff\xff\xff"), /cut off/],
    ["marks alone", object("(".repeat(2e6)), /too large a stack/],
    ["65 MB of pickle", object(`T\x00\x00\x10\x04${"x".repeat(0x4100000)}`), /64 MiB/],
  ] as const)("of %s is rejected", async (_, bytes, why) => {
    const before = process.memoryUsage().rss;
    const { code, message } = await failureOf(bytes);
    expect(code).toBe("ERR_CHECKPOINT_CORRUPT");
    expect(message).toContain("damaged.pth");
    expect(message).toMatch(why);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 2 ** 20);
  });
});
