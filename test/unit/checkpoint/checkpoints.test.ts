/** Checkpoint files that are damaged, or were made to do harm. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, SoundspotError, Trainer } from "../../../src/index.js";
import { native } from "../../../src/native.js";
import {
  integer,
  latin1,
  type PickledTensor,
  pickle,
  safetensors,
  word,
  zip,
} from "../../support/archives.mjs";
import { patience } from "../../support/patience.js";
import { type Parts, partsOf, withParts, withValues } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";

const MB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "soundspot-checkpoints-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);

async function failureOf(path: string): Promise<SoundspotError> {
  const error: unknown = await native()
    .readCheckpoint(path)
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  expect(error, `reading ${path}`).toBeInstanceOf(SoundspotError);
  return error as SoundspotError;
}

/** The file is rejected with its name and what to do, and the size that it claims takes no memory. */
async function expectRejected(bytes: Uint8Array, why: RegExp): Promise<void> {
  const path = file("hostile.bin");
  writeFileSync(path, bytes);
  const before = process.memoryUsage().rss;
  const { code, message } = await failureOf(path);
  expect(code).toBe("ERR_CHECKPOINT_CORRUPT");
  expect(message).toContain(path);
  expect(message).toMatch(why);
  expect(message).toMatch(/Download or save it again/);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MB + 8 * bytes.length);
}

// XXH64 as its specification has it: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
const mask = 2n ** 64n - 1n;
const rotate = (x: bigint, bits: bigint) => ((x << bits) | (x >> (64n - bits))) & mask;
const [p1, p2, p3, p4, p5] = [
  11400714785074694791n,
  14029467366897019727n,
  1609587929392839161n,
  9650029242287828579n,
  2870177450012600261n,
] as readonly bigint[] as readonly [bigint, bigint, bigint, bigint, bigint];
const round = (lane: bigint, input: bigint) => (rotate((lane + input * p2) & mask, 31n) * p1) & mask;

function xxh64(data: Uint8Array): string {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  let hash = p5;
  if (bytes.length >= 32) {
    const lanes = [p1 + p2, p2, 0n, -p1].map((lane) => lane & mask);
    for (; at + 32 <= bytes.length; at += 32) {
      lanes.forEach((lane, i) => {
        lanes[i] = round(lane, bytes.readBigUInt64LE(at + 8 * i));
      });
    }
    hash = lanes.reduce((sum, lane, i) => sum + rotate(lane, [1n, 7n, 12n, 18n][i] as bigint), 0n) & mask;
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * p1 + p4) & mask;
  }
  hash = (hash + BigInt(bytes.length)) & mask;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * p1 + p4) & mask;
  }
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(bytes.readUInt32LE(at)) * p1) & mask), 23n) * p2 + p3) & mask;
    at += 4;
  }
  for (; at < bytes.length; at++)
    hash = (rotate(hash ^ ((BigInt(bytes[at] ?? 0) * p5) & mask), 11n) * p1) & mask;
  hash = ((hash ^ (hash >> 33n)) * p2) & mask;
  hash = ((hash ^ (hash >> 29n)) * p3) & mask;
  return (hash ^ (hash >> 32n)).toString(16).padStart(16, "0");
}

describe("the checksum of a checkpoint", () => {
  const path = file("model.safetensors");
  let bytes: Buffer;
  let parts: Parts;

  beforeAll(async () => {
    const model = await Model.create(tiny);
    const trainer = new Trainer(model);
    await trainer.save(path, { note: "grüße", "soundspot.checksum": "xxh64:0123456789abcdef" });
    bytes = readFileSync(path);
    parts = partsOf(bytes);
  });

  it("is that of the documentation, whatever a caller has under its key", () => {
    expect(xxh64(Buffer.from(""))).toBe("ef46db3751d8e999");
    expect(xxh64(Buffer.from("abc"))).toBe("44bc2cf5ad770999");
    const { "soundspot.checksum": stored, ...metadata } = parts.metadata;
    const names: Record<string, string> = { F32: "Float", I64: "Long", U8: "Byte" };
    const lines = [
      ...Object.entries(metadata).map(
        ([key, value]) => `text ${JSON.stringify(key)}${JSON.stringify(value)}`,
      ),
      ...Object.entries(parts.entries).map(
        ([name, { dtype, shape, data_offsets }]) =>
          `tensor ${JSON.stringify(name)}${names[dtype]}${shape.map((n) => `,${n}`).join("")}` +
          `:${xxh64(parts.data.subarray(...data_offsets))}`,
      ),
    ];
    const text = lines
      .sort()
      .map((line) => `${line}\n`)
      .join("");
    expect(stored).toBe(`xxh64:${xxh64(Buffer.from(text))}`);
  });

  it("is not among the metadata of a loaded model, and saving it again gives the same bytes", async () => {
    const model = await Model.load(path);
    expect(Object.keys(model.metadata).sort()).toEqual(["format", "note", "soundspot.config"]);
    await model.save(file("one.safetensors"), { metadata: model.metadata });
    await (await Model.load(file("one.safetensors"))).save(file("two.safetensors"), {
      metadata: model.metadata,
    });
    expect(readFileSync(file("two.safetensors"))).toEqual(readFileSync(file("one.safetensors")));
  });

  async function expectFlipRejected(at: number): Promise<void> {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] as number) ^ (1 << (at % 8));
    const flipped = file("flipped.safetensors");
    writeFileSync(flipped, changed);
    const { code, message } = await failureOf(flipped);
    expect(code, `byte ${at}: ${message}`).toBe("ERR_CHECKPOINT_CORRUPT");
    expect(message).toContain(flipped);
    expect(message).toMatch(/Download or save it again/);
  }

  it("shows a flipped bit anywhere in the metadata", async () => {
    const end = bytes.indexOf('"},"') + 2;
    expect(bytes.toString("utf8", 0, end)).toMatch(/soundspot\.checksum.*soundspot\.config.*"}$/s);
    for (let at = 0; at < end; at++) await expectFlipRejected(at);
  });

  it("shows a flipped bit in names, shapes and values", async () => {
    for (let i = 0; i < 400; i++) await expectFlipRejected(Math.floor(((i + 0.5) / 400) * bytes.length));
    await expectFlipRejected(bytes.length - 1);
  });

  it("keeps a damaged file from being loaded, resumed from, and read for its weights", async () => {
    const changed = Buffer.from(bytes);
    changed[bytes.length - 1] = (changed[bytes.length - 1] as number) ^ 64;
    const damaged = file("damaged.safetensors");
    writeFileSync(damaged, changed);
    const model = await Model.create(tiny);
    const trainer = new Trainer(model);
    for (const use of [
      () => Model.load(damaged),
      () => trainer.restore(damaged),
      () => model.loadWeights(damaged),
    ]) {
      await expect(use()).rejects.toMatchObject({
        code: "ERR_CHECKPOINT_CORRUPT",
        message: expect.stringContaining(damaged),
      });
    }
  });

  it("is not asked of other writers", async () => {
    const { "soundspot.checksum": _, ...metadata } = parts.metadata;
    const other = file("other.safetensors");
    writeFileSync(other, withParts({ ...parts, metadata: { ...metadata, hash: "xxh64:0123456789abcdef" } }));
    const model = await Model.load(other);
    expect(model.metadata.hash).toBe("xxh64:0123456789abcdef");
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])(
    "is right, and so is %f among the weights: they are rejected by their name",
    async (value) => {
      const name = "audnet.proj.0.bias";
      const other = file("not-finite.safetensors");
      writeFileSync(
        other,
        withValues(bytes, name, (values) => values.fill(value, -1)),
      );
      using model = await Model.create(tiny);
      const before = await model.parameters();
      for (const work of [() => Model.load(other), () => model.loadWeights(other)]) {
        await expect(work()).rejects.toMatchObject({
          code: "ERR_CHECKPOINT_CORRUPT",
          message: expect.stringMatching(new RegExp(`not-finite.*${name}.*not finite`)),
        });
      }
      expect(await model.parameters()).toEqual(before);
    },
  );

  it("is read by several threads where it is large, and its first fault is reported", async () => {
    const whole = file("large.safetensors");
    using model = await Model.create({ imageWidth: 32, audioWidth: 32, dim: 256 }, { seed: 3 });
    await model.save(whole);
    const bytes = readFileSync(whole);
    expect(bytes.length).toBeGreaterThan(24 * MB); // a thread for every 4 MiB
    using loaded = await Model.load(whole);
    expect(await loaded.parameters()).toEqual(await model.parameters());

    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    const names = Object.keys(partsOf(bytes).entries).filter((name) => /conv\d\.weight$/.test(name));
    expect(names.length).toBeGreaterThan(30);
    const spoiled = names
      .slice(5)
      .reduce<Buffer>((all, name) => withValues(all, name, (values) => values.fill(Number.NaN, -1)), bytes);
    for (const [content, message] of [
      [damaged, /does not match its checksum/],
      [spoiled, new RegExp(`${names[5]} has values that are not finite`)],
    ] as const) {
      writeFileSync(file("large-damaged.safetensors"), content);
      await expect(Model.load(file("large-damaged.safetensors"))).rejects.toMatchObject({
        code: "ERR_CHECKPOINT_CORRUPT",
        message: expect.stringMatching(message),
      });
    }
  });

  it("outlives another order of the same content, not another content", async () => {
    const copy = file("copy.safetensors");
    const entries = Object.fromEntries(Object.entries(parts.entries).reverse());
    writeFileSync(copy, withParts({ ...parts, entries }));
    await Model.load(copy);
    writeFileSync(copy, withParts({ ...parts, metadata: { ...parts.metadata, note: "changed" } }));
    const { code, message } = await failureOf(copy);
    expect(code).toBe("ERR_CHECKPOINT_CORRUPT");
    expect(message).toContain("soundspot.checksum");
  });
});

describe("a hostile safetensors file", () => {
  const claim = (length: bigint) => {
    const bytes = safetensors({}, 100);
    bytes.writeBigUInt64LE(length);
    return bytes;
  };
  const tensor = (dtype: string, shape: readonly (number | bigint)[], from: number, to: number) =>
    `{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${from},${to}]}`;
  const many = (count: number, item: (i: number) => string) =>
    `{${Array.from({ length: count }, (_, i) => item(i)).join(",")}}`;

  it.each([
    ["a header of 2^60 bytes", claim(2n ** 60n), /cut off/],
    ["a header of 2^64 − 1 bytes", claim(2n ** 64n - 1n), /cut off/],
    [
      "100,001 tensors",
      safetensors(
        many(100_001, (i) => `"${i}":${tensor("U8", [0], 0, 0)}`),
        0,
      ),
      /100000 tensors/,
    ],
    [
      "100,001 entries of metadata",
      safetensors(`{"__metadata__":${many(100_001, (i) => `"${i}":""`)}}`, 0),
      /100000 entries/,
    ],
    ["arrays a million deep", safetensors(`{"a":{"shape":${"[".repeat(1e6)}`, 0), /whole number/],
    ["objects a million deep", safetensors(`{"a":`.repeat(1e6), 0), /unknown field/],
    ["65 dimensions", safetensors(`{"a":${tensor("U8", Array(65).fill(1), 0, 1)}}`, 1), /dimensions/],
    ["10,000,000 dimensions", safetensors(`{"a":{"shape":[0${",0".repeat(1e7)}]}}`, 0), /dimensions/],
    ["10,000,000 offsets", safetensors(`{"a":{"data_offsets":[0${",0".repeat(1e7)}]}}`, 0), /two offsets/],
    ["sizes of product 2^64", safetensors(`{"a":${tensor("U8", [2 ** 32, 2 ** 32], 0, 0)}}`, 0), /too large/],
    ["2^62 beside 0", safetensors(`{"a":${tensor("F32", [2n ** 62n, 0], 0, 0)}}`, 0), /too large/],
    ["2^63 as a size", safetensors(`{"a":${tensor("U8", [2n ** 63n], 0, 0)}}`, 0), /too large/],
    ["2^40 elements", safetensors(`{"a":${tensor("U8", [2n ** 40n], 0, 2 ** 40)}}`, 8), /8 bytes of tensors/],
    [
      "1,000 tensors on the same megabyte",
      safetensors(
        many(1000, (i) => `"${i}":${tensor("U8", [MB], 0, MB)}`),
        MB,
      ),
      /overlap/,
    ],
    [
      "a gap between tensors",
      safetensors(`{"a":${tensor("U8", [1], 0, 1)},"b":${tensor("U8", [1], 2, 3)}}`, 3),
      /gap/,
    ],
    ["end before begin", safetensors(`{"a":${tensor("U8", [1], 1, 0)}}`, 1), /offsets/],
    ["offsets below 0", safetensors(`{"a":${tensor("U8", [1], -1, 0)}}`, 1), /whole number/],
    ["a name of 10 MB that is no tensor", safetensors(`{"${"x".repeat(10 * MB)}":1}`, 0), /'{' should/],
  ])("of %s is rejected", async (_, bytes, why) => {
    await expectRejected(bytes, why);
  });
});

describe("a hostile .pth file", () => {
  const view: PickledTensor = ["Float", "0", 16, 0, [4, 4], [4, 1]];
  const archive = (pickled: Uint8Array, data: Uint8Array = Buffer.alloc(64, 1)) =>
    zip([
      ["a/data.pkl", pickled],
      ["a/data/0", data],
    ]);
  const views = (count: number, ...tensor: PickledTensor) =>
    archive(pickle(Array.from({ length: count }, () => tensor)));
  /** With another number in the directory's record of the last entry. */
  const patched = (bytes: Buffer, at: number, value: number) => {
    bytes.writeUInt32LE(value, bytes.lastIndexOf("PK\x01\x02") + at);
    return bytes;
  };

  it("can be read when it is none", async () => {
    const path = file("good.pth");
    writeFileSync(path, archive(pickle([view, ["Float", "0", 16, 3, [2, 2], [4, 2]]])));
    const { tensors } = await native().readCheckpoint(path);
    expect(tensors.map(({ name, shape }) => [name, shape])).toEqual([
      ["t0", [4, 4]],
      ["t1", [2, 2]],
    ]);
  });

  it.each([
    ["strides of 2^62", views(1, "Float", "0", 16, 0, [2, 2], [2n ** 62n, 1]), /beyond its data/],
    ["strides whose sum overflows", views(1, "Float", "0", 16, 0, [3, 3], [2n ** 62n, 2n ** 62n]), /beyond/],
    ["strides below 0", views(1, "Float", "0", 16, 15, [2, 2], [-1, -2]), /beyond/],
    ["an offset of 2^63 − 1", views(1, "Float", "0", 16, 2n ** 63n - 1n, [2], [1]), /beyond/],
    ["an offset below 0", views(1, "Float", "0", 16, -1, [2], [1]), /strides/],
    ["strides of 0 and 2^40 elements", views(1, "Float", "0", 16, 0, [2n ** 40n], [0]), /far larger/],
    ["sizes of product 2^64", views(1, "Float", "0", 16, 0, [2n ** 32n, 2n ** 32n], [0, 0]), /too large/],
    ["2^62 beside 0", views(1, "Float", "0", 16, 0, [2n ** 62n, 0], [1, 1]), /too large/],
    ["65 dimensions", views(1, "Float", "0", 16, 0, Array(65).fill(1), Array(65).fill(1)), /dimensions/],
    ["a storage of 2^62 elements", views(1, "Float", "0", 2n ** 62n, 0, [2], [1]), /another size/],
    ["a storage of two types", archive(pickle([view, ["Int", "0", 16, 0, [1], [1]]])), /two types/],
    ["an entry of 4 GB", patched(views(1, ...view), 24, 0xfffffffe), /two sizes/],
    ["an entry outside", patched(views(1, ...view), 42, 0x7fffffff), /outside/],
    [
      "100,001 views",
      (() => {
        const one = `(${word("storage")}ctorch\nFloatStorage\n${word("0")}${word("cpu")}${integer(16)}tQ`;
        const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${one}K\0)))tRq\0`;
        const names = Array.from({ length: 100_001 }, (_, i) => `${word(String(i))}h\0`).join("");
        return archive(latin1(`\x80\x02${tensor}0}(${names}u.`));
      })(),
      /too many tensors/,
    ],
    [
      "200 storages on the same megabyte",
      (() => {
        const storages = Array.from({ length: 200 }, (_, i): [string, Uint8Array] => [
          `a/data/${i}`,
          Buffer.alloc(0),
        ]);
        const tensors = storages.map((_, i): PickledTensor => ["Byte", String(i), MB, 0, [1], [1]]);
        const bytes = zip([
          ["a/data.pkl", pickle(tensors)],
          ...storages,
          ["a/data/x", Buffer.alloc(2 * MB, 80)],
        ]);
        for (
          let i = 0, at = bytes.indexOf("PK\x01\x02");
          i <= 200;
          i++, at = bytes.indexOf("PK\x01\x02", at + 1)
        ) {
          if (i === 0) continue;
          bytes.writeUInt32LE(MB, at + 20);
          bytes.writeUInt32LE(MB, at + 24);
        }
        return bytes;
      })(),
      /more bytes than the file has/,
    ],
    ["tuples a million deep", archive(latin1(`\x80\x02)${"\x85".repeat(1e6)}.`)), /no state dict/],
    ["a dictionary in itself", archive(latin1(`\x80\x02}q\0(${word("model")}h\0u.`)), /no tensors/],
    ["marks alone", archive(latin1(`\x80\x02${"(".repeat(2e6)}.`)), /too large a stack/],
    ["a stack of doubles", archive(latin1(`\x80\x02N${"2".repeat(2e6)}.`)), /too large a stack/],
    ["a text of 4 GB", archive(latin1("\x80\x02X\xff\xff\xff\xff.")), /cut off/],
    ["a text of 2^63 bytes", archive(latin1(`\x80\x04\x8d${"\0".repeat(7)}\x80.`)), /cut off/],
  ] as const)("of %s is rejected", async (_, bytes, why) => {
    await expectRejected(bytes, why);
  });

  it("takes no more than its limit for 10,000,000 objects", async () => {
    const path = file("objects.pth");
    writeFileSync(path, archive(latin1(`\x80\x02${"N0".repeat(1e7)}N.`)));
    const before = process.memoryUsage().rss;
    expect((await failureOf(path)).message).toMatch(/too many objects/);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * MB);
  });

  it("looks for no memo number through all that are chosen to collide in a hash table", {
    timeout: patience(60),
  }, async () => {
    const step = 85_229; // buckets of libstdc++'s table for 42,044 … 85,229 numbers
    const memo = Array.from({ length: 50_000 }, (_, i) => {
      const bytes = Buffer.alloc(5, "r");
      bytes.writeUInt32LE(i * step, 1);
      return bytes;
    });
    const recalls = Array.from({ length: 1_000_000 }, () => latin1("j\0\0\0\x000"));
    const path = file("memo.pth");
    writeFileSync(path, archive(Buffer.concat([latin1("\x80\x02N"), ...memo, ...recalls, latin1(".")])));
    expect((await failureOf(path)).message).toMatch(/no state dict/);
  });
});
