/** Whatever bytes or text a reader is given, it gives a value or a SoundspotError of a fitting code. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readSettings } from "../../../src/cli/settings.js";
import { manifest } from "../../../src/datasets/manifest.js";
import { csvRecords, csvRows } from "../../../src/files/csv.js";
import { parseJsonLines } from "../../../src/files/jsonl-log.js";
import {
  type ErrorCode,
  Model,
  type ModelOptions,
  parseModelConfig,
  parseTrainConfig,
  SoundspotError,
} from "../../../src/index.js";
import { readTar, tarEnd, tarEntry } from "../../../src/media/tar.js";
import { encodeWav, parseWav } from "../../../src/media/wav.js";
import { storedConfig } from "../../../src/model/configuration.js";
import { PreparedFolder } from "../../../src/preparation/prepared-folder.js";
import { storedTraining } from "../../../src/training/progress.js";
import { pickle, zip } from "../../support/archives.mjs";
import { patience } from "../../support/patience.js";
import { writeSafetensors } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-properties-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);

/** Runs `work`, which may fail with these codes alone. @returns whether it gave a value. */
async function givesOr(codes: readonly ErrorCode[], work: () => unknown): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof SoundspotError)) throw error;
    expect(codes, error.message).toContain(error.code);
    expect(error.message.length).toBeGreaterThan(10);
    return false;
  }
}

/** One change to a file. Places are shares of its length. */
const change = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), at: fc.nat(65535), byte: fc.nat(255) }),
  fc.record({ kind: fc.constant("bit" as const), at: fc.nat(65535), byte: fc.nat(7) }),
  fc.record({
    kind: fc.constant("word" as const),
    at: fc.nat(65535),
    byte: fc.constantFrom(0, 1, 127, 128, 255),
  }),
  fc.record({ kind: fc.constant("cut" as const), at: fc.nat(65535), byte: fc.nat(64) }),
  fc.record({ kind: fc.constant("double" as const), at: fc.nat(65535), byte: fc.nat(64) }),
  fc.record({ kind: fc.constant("end" as const), at: fc.nat(65535), byte: fc.constant(0) }),
);
const changes = fc.array(change, { minLength: 1, maxLength: 4 });
type Change = ReturnType<typeof change.generate>["value"];

function changed(bytes: Buffer, list: readonly Change[]): Buffer {
  let result = Buffer.from(bytes);
  for (const { kind, at: share, byte } of list) {
    if (result.length === 0) break;
    const at = Math.floor((share / 65536) * result.length);
    if (kind === "set") result[at] = byte;
    else if (kind === "bit") result[at] = (result[at] as number) ^ (1 << byte);
    else if (kind === "word") result.fill(byte, at, Math.min(at + 4, result.length));
    else if (kind === "end") result = result.subarray(0, at);
    else {
      const rest = result.subarray(kind === "cut" ? at + byte : Math.max(0, at - byte));
      result = Buffer.concat([result.subarray(0, at), rest]);
    }
  }
  return result;
}

describe("checkpoints", () => {
  const fixture = fileURLToPath(new URL("../../fixtures/tiny.pth", import.meta.url));
  const codes = ["ERR_CHECKPOINT_CORRUPT", "ERR_CHECKPOINT_MISMATCH", "ERR_FILE_EMPTY"] as const;
  let saved: Buffer;

  beforeAll(async () => {
    const model = await Model.create(tiny);
    const tensors = (await model.parameters()).map(({ name, shape, data }) => ({
      name,
      shape,
      data: Float32Array.from(data),
    }));
    // Without a checksum: changes reach the code behind it.
    writeSafetensors(file("base.safetensors"), tensors, { "soundspot.config": JSON.stringify(model.config) });
    saved = readFileSync(file("base.safetensors"));
    await Model.load(file("base.safetensors"));
  });

  it("of safetensors, changed in a few places of its header or anywhere", async () => {
    const path = file("changed.safetensors");
    const header = 8 + Number(saved.readBigUInt64LE(0));
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (list, inHeader) => {
        const bytes = inHeader
          ? Buffer.concat([changed(saved.subarray(0, header), list), saved.subarray(header)])
          : changed(saved, list);
        writeFileSync(path, bytes);
        await givesOr(codes, async () => (await Model.load(path)).dispose());
      }),
      { numRuns: 400 },
    );
  });

  it("of .pth, changed in a few places", async () => {
    const path = file("changed.pth");
    const { config } = JSON.parse(readFileSync(fixture.replace(".pth", ".json"), "utf8")) as {
      config: ModelOptions;
    };
    const whole = readFileSync(fixture);
    const small = zip([
      ["a/data.pkl", pickle([["Float", "0", 16, 0, [4, 4], [4, 1]]], "model")],
      ["a/data/0", Buffer.alloc(64, 1)],
    ]);
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (list, isSmall) => {
        writeFileSync(path, changed(isSmall ? small : whole, list));
        await givesOr(codes, async () => (await Model.load(path, { config })).dispose());
      }),
      { numRuns: 400 },
    );
  });

  it("of .pth from before PyTorch 1.6, changed in a few places", async () => {
    const path = file("changed-legacy.pth");
    const folder = fixture.replace("tiny.pth", "legacy");
    const wholes = ["saved", "old"].map((name) => readFileSync(join(folder, `${name}.pth`)));
    using model = await Model.create(tiny);
    let read = 0;
    await fc.assert(
      fc.asyncProperty(changes, fc.nat(1), async (list, which) => {
        writeFileSync(path, changed(wholes[which] as Buffer, list));
        if (await givesOr(codes, () => model.loadImageWeights(path))) read++;
      }),
      { numRuns: 1000 },
    );
    expect(read).toBeGreaterThan(50);
    const finite = (await model.parameters()).every(({ data }) => data.every(Number.isFinite));
    expect(finite).toBe(true);
  });

  it("of bytes that are anything", async () => {
    const path = file("bytes.bin");
    const head = fc.constantFrom(
      "",
      "PK\x03\x04",
      "\x80\x02",
      "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
      "\x10\0\0\0\0\0\0\0{",
    );
    await fc.assert(
      fc.asyncProperty(head, fc.uint8Array({ maxLength: 300 }), async (first, rest) => {
        writeFileSync(path, Buffer.concat([Buffer.from(first, "latin1"), rest]));
        expect(await givesOr(codes, async () => (await Model.load(path)).dispose())).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("with metadata that are anything", async () => {
    const path = file("metadata.safetensors");
    const value = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .dictionary(fc.constantFrom(...Object.keys(parseModelConfig())), fc.jsonValue())
        .map((each) => JSON.stringify(each)),
    );
    await fc.assert(
      fc.asyncProperty(value, value, async (config, training) => {
        writeSafetensors(path, [], { "soundspot.config": config, "soundspot.training": training });
        expect(await givesOr(codes, () => Model.load(path))).toBe(false);
        // What `soundspot info` reads.
        await givesOr(["ERR_CHECKPOINT_CORRUPT"], () => storedConfig({ "soundspot.config": config }, path));
        await givesOr(["ERR_CHECKPOINT_CORRUPT"], () =>
          storedTraining({ "soundspot.training": training }, path),
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe("WAV", () => {
  const samples = fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 200 });

  it("is read as it was written", async () => {
    await fc.assert(
      fc.asyncProperty(samples, fc.integer({ min: 1, max: 192_000 }), async (values, sampleRate) => {
        const read = await parseWav(encodeWav({ samples: Float32Array.from(values), sampleRate }));
        expect(read).toMatchObject({ sampleRate, channels: 1 });
        expect(read.samples).toHaveLength(values.length);
        read.samples.forEach((sample, i) => {
          expect(Math.abs(sample - (values[i] as number))).toBeLessThan(1 / 32_000);
        });
      }),
    );
  });

  it("changed in a few places", async () => {
    const base = Buffer.from(encodeWav({ samples: new Float32Array(300), sampleRate: 8000, channels: 2 }));
    const list = Buffer.concat([
      base.subarray(0, 36),
      Buffer.from("LIST\x05\0\0\0abcde\0"),
      base.subarray(36),
    ]);
    list.writeUInt32LE(list.length - 8, 4);
    await parseWav(list);
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (each, headerOnly) => {
        const bytes = headerOnly
          ? Buffer.concat([changed(list.subarray(0, 64), each), list.subarray(64)])
          : changed(list, each);
        await givesOr(["ERR_MEDIA_DECODE"], () => parseWav(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it("of millions of empty chunks is rejected", async () => {
    const empty = Buffer.alloc(8 * 2 ** 22, "abcd\0\0\0\0");
    const bytes = Buffer.concat([Buffer.from("RIFF\0\0\0\0WAVE"), empty]);
    await expect(parseWav(bytes)).rejects.toMatchObject({ code: "ERR_MEDIA_DECODE" });
  });
});

describe("tar", () => {
  const name = fc
    .string({ minLength: 1, maxLength: 150, unit: "binary" })
    .filter((text) => !text.includes("\0") && !text.endsWith("/"));

  async function read(bytes: Uint8Array): Promise<{ name: string; content: Buffer }[]> {
    const path = file("archive.tar");
    writeFileSync(path, bytes);
    const entries: { name: string; content: Buffer }[] = [];
    for await (const entry of readTar(path)) {
      const pieces: Uint8Array[] = [];
      for await (const piece of entry.content) pieces.push(piece);
      entries.push({ name: entry.name, content: Buffer.concat(pieces) });
    }
    return entries;
  }

  it("is read as it was written", async () => {
    const entry = fc.record({ name, content: fc.uint8Array({ maxLength: 1500 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 4 }), async (entries) => {
        const parts = entries.map(({ name, content }) => tarEntry(name, content));
        const found = await read(Buffer.concat([...parts, tarEnd]));
        expect(found).toEqual(entries.map(({ name, content }) => ({ name, content: Buffer.from(content) })));
      }),
    );
  });

  it("changed in a few places, with headers whose checksums are right again", async () => {
    const base = Buffer.concat([
      tarEntry("a.jpg", Buffer.alloc(700, 1)),
      tarEntry(`${"long/".repeat(30)}é.wav`, Buffer.alloc(10, 2)),
      tarEntry("b.json", Buffer.from("{}")),
      tarEnd,
    ]);
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (list, fixed) => {
        const bytes = changed(base, list);
        for (let at = 0; fixed && at + 512 <= bytes.length; at += 512) {
          const header = bytes.subarray(at, at + 512);
          if (header.toString("latin1", 257, 262) !== "ustar") continue;
          header.fill(0x20, 148, 156);
          const sum = header.reduce((total, byte) => total + byte, 0);
          header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
        }
        await givesOr(["ERR_MEDIA_DECODE", "ERR_FILE_EMPTY"], () => read(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  it("with attributes for all entries is read without going through them at each entry", {
    timeout: patience(60),
  }, async () => {
    const records = Array.from({ length: 60_000 }, (_, i) => `13 k${String(i).padStart(6, "0")}=v\n`).join(
      "",
    );
    const attributes = Buffer.from(tarEntry("x", Buffer.from(records)));
    attributes.write("g", 156);
    attributes.fill(0x20, 148, 156);
    const sum = attributes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    attributes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    const entry = tarEntry("a.txt", Buffer.alloc(0));
    expect(await read(Buffer.concat([attributes, ...Array(2000).fill(entry), tarEnd]))).toHaveLength(2000);
  });
});

describe("lists", () => {
  it("of CSV are read as they were written", () => {
    const cell = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r", " ", "é") });
    const rows = fc.array(fc.array(cell, { minLength: 2, maxLength: 3 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rows, (table) => {
        const text = table
          .map((row) => row.map((each) => `"${each.replaceAll('"', '""')}"`).join(","))
          .join("\r\n");
        expect([...csvRecords(text, "x.csv")].map(({ cells }) => cells)).toEqual(table);
      }),
    );
  });

  it("of CSV that are anything", async () => {
    const text = fc.string({
      unit: fc.constantFrom("a", '"', ",", "\n", "\r", " ", "é", "__proto__"),
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(text, async (each) => {
        await givesOr(["ERR_DATASET"], () => [...csvRows(each, "x.csv")]);
      }),
      { numRuns: 2000 },
    );
  });

  it("of CSV with a cell of millions of letters or quotes", async () => {
    const quotes = '"'.repeat(2 ** 23);
    expect([...csvRecords(quotes, "x.csv")]).toHaveLength(1);
    expect(await givesOr(["ERR_DATASET"], () => [...csvRecords(`${quotes}"`, "x.csv")])).toBe(false);
    expect([...csvRecords("a".repeat(2 ** 25), "x.csv")]).toHaveLength(1);
  });

  it("of samples, as JSON lines and as CSV", async () => {
    const field = fc.constantFrom(
      "id",
      "image",
      "audio",
      "video",
      "start",
      "label",
      "boxes",
      "mask",
      "__proto__",
    );
    const row = fc.oneof(
      fc.json(),
      fc.string(),
      fc.dictionary(field, fc.jsonValue()).map((each) => JSON.stringify(each)),
    );
    const codes = ["ERR_DATASET", "ERR_FILE_EMPTY"] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 4 }),
        fc.constantFrom("jsonl", "csv"),
        async (rows, kind) => {
          const path = file(`list.${kind}`);
          writeFileSync(path, rows.join("\n"));
          await givesOr(codes, () => manifest({ path }));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("of samples that are right are read whole", async () => {
    const row = fc.record({
      image: fc.stringMatching(/^[a-z]{1,5}\.jpg$/),
      audio: fc.stringMatching(/^[a-z]{1,5}\.wav$/),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 5 }), async (rows) => {
        const path = file("right.jsonl");
        writeFileSync(path, rows.map((each) => JSON.stringify(each)).join("\n"));
        expect((await manifest({ path })).length).toBe(rows.length);
      }),
      { numRuns: 50 },
    );
  });

  it("of a prepared folder, torn anywhere", () => {
    const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
    const values = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 5 });
    fc.assert(
      fc.property(values, fc.nat(100), fc.string(), (list, share, rubbish) => {
        const lines = list.map((each) => `${JSON.stringify(each)}\n`);
        const text = lines.join("");
        expect(parseJsonLines(text, isObject)).toEqual(list.map((each) => JSON.parse(JSON.stringify(each))));
        const cut = text.slice(0, Math.floor((share / 100) * text.length));
        expect(parseJsonLines(cut, isObject).length).toBeGreaterThanOrEqual(cut.split("\n").length - 1);
        parseJsonLines(cut + rubbish, isObject);
      }),
    );
  });

  it("of a prepared folder whose settings are anything", async () => {
    const settings = { layout: "files" } as Parameters<typeof PreparedFolder.open>[1]["settings"];
    const codes = ["ERR_CONFIG"] as const;
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string(), fc.constant("null")), async (text) => {
        const output = mkdtempSync(file("prepared-"));
        writeFileSync(join(output, "prepare.json"), text);
        mkdirSync(join(output, "frames"));
        writeFileSync(join(output, "prepared.jsonl"), '{"id":"a","source":"a.mp4","bytes":1}\n');
        await givesOr(codes, async () => {
          const opened = await PreparedFolder.open(output, { settings, shardSize: 1000, signal: undefined });
          await opened.close();
        });
      }),
      { numRuns: 60 },
    );
  });
});

describe("settings", () => {
  // YAML warns of tags that it does not know.
  beforeAll(() => void vi.spyOn(process, "emitWarning").mockReturnValue());
  afterAll(() => void vi.restoreAllMocks());

  const use = async (text: string) => {
    const path = file("settings.yaml");
    writeFileSync(path, text);
    const settings = await readSettings(path);
    expect([undefined, "paper", "scratch"]).toContain(settings.preset);
    parseModelConfig(settings.model);
    parseTrainConfig(settings.train);
  };

  it("that are any text", async () => {
    const unit = fc.constantFrom(
      ..."ab01:-[]{}&*!|>%@\"'#,? \n\t\\é",
      "preset",
      "model",
      "train",
      "<<",
      "~",
      ".nan",
      ".inf",
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit, maxLength: 30 }), async (text) => {
        await givesOr(["ERR_CONFIG"], () => use(text));
      }),
      { numRuns: 1500 },
    );
  });

  it("that are any values", async () => {
    const part = (names: readonly string[]) =>
      fc.oneof(
        fc.jsonValue(),
        fc.dictionary(fc.constantFrom(...names, "__proto__"), fc.jsonValue(), { maxKeys: 3 }),
      );
    const value = fc.record(
      {
        preset: fc.oneof(fc.constantFrom("paper", "scratch"), fc.jsonValue()),
        model: part(Object.keys(parseModelConfig())),
        train: part(Object.keys(parseTrainConfig())),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(value, async (each) => {
        await givesOr(["ERR_CONFIG"], () => use(JSON.stringify(each)));
      }),
      { numRuns: 700 },
    );
  });

  it.each([
    ["a preset that is no text", "preset: [paper]"],
    ["a preset that cannot become text", "preset: { toString: 1, valueOf: 1 }"],
    [
      "aliases that multiply",
      `a: &a [1]\n${[..."bcdefghi"].map((to, i) => `${to}: &${to} [${`*${"abcdefgh"[i]},`.repeat(9)}]`).join("\n")}\n`,
    ],
    ["lists ten thousand deep", `model: ${"[".repeat(1e4)}`],
    ["itself", "model: &a { train: *a }"],
  ])("with %s are rejected", async (_, text) => {
    expect(await givesOr(["ERR_CONFIG"], () => use(text))).toBe(false);
  });
});
