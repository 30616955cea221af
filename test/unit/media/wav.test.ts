/** WAV headers as programs write them: contradictions, placeholders, and every form of the header. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeAudio } from "../../../src/media/audio.js";
import { parseWav } from "../../../src/media/wav.js";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/cases/${name}`, import.meta.url));

interface Shape {
  readonly form: "RIFF" | "RF64" | "BW64";
  readonly tag: 1 | 3;
  readonly bytes: number;
  readonly channels: number;
  readonly rate: number;
  readonly extensible: boolean;
  readonly frames: number;
  /** Sizes of chunks ahead of the samples. */
  readonly before: readonly number[];
  readonly after: boolean;
  readonly size: "right" | "past the end" | "unknown" | "never filled in";
}

interface Fields {
  channels: number;
  sampleRate: number;
  byteRate: number;
  blockAlign: number;
  bits: number;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function chunk(id: string, body: Buffer, size = body.length): Buffer {
  return Buffer.concat([Buffer.from(id), u32(size), body, Buffer.alloc(body.length % 2)]);
}

function formatChunk({ tag, extensible }: Shape, fields: Fields): Buffer {
  const plain = Buffer.alloc(16);
  plain.writeUInt16LE(extensible ? 0xfffe : tag, 0);
  plain.writeUInt16LE(fields.channels, 2);
  plain.writeUInt32LE(fields.sampleRate, 4);
  plain.writeUInt32LE(fields.byteRate, 8);
  plain.writeUInt16LE(fields.blockAlign, 12);
  plain.writeUInt16LE(fields.bits, 14);
  if (!extensible) return chunk("fmt ", plain);
  const more = Buffer.from(`1600${"100000000000"}0${tag}00000000001000800000aa00389b71`, "hex");
  return chunk("fmt ", Buffer.concat([plain, more]));
}

/** The k-th sample as it is stored and as it is read. */
function sample({ tag, bytes }: Shape, k: number): readonly [stored: Buffer, read: number] {
  const value = ((k * 37) % 101) / 128 - 0.4;
  const stored = Buffer.alloc(bytes);
  if (tag === 3) {
    if (bytes === 4) stored.writeFloatLE(value);
    else stored.writeDoubleLE(value);
    return [stored, Math.fround(value)];
  }
  const half = 2 ** (8 * bytes - 1);
  const integer = Math.round(value * half) + 0; // no −0
  if (bytes === 1) stored.writeUInt8(integer + 128);
  else stored.writeIntLE(integer, 0, bytes);
  return [stored, Math.fround(integer / half) + 0];
}

function fieldsOf({ channels, rate, bytes }: Shape): Fields {
  const blockAlign = channels * bytes;
  return { channels, sampleRate: rate, blockAlign, byteRate: rate * blockAlign, bits: bytes * 8 };
}

/** A file of a shape, with these fields, and the planar samples that are right. */
function wav(shape: Shape, fields = fieldsOf(shape)): { file: Uint8Array; samples: number[] } {
  const { form, channels, frames, size } = shape;
  const all = Array.from({ length: channels * frames }, (_, k) => sample(shape, k));
  const data = Buffer.concat(all.map(([stored]) => stored));
  const samples = Array.from({ length: channels }, (_, c) =>
    Array.from({ length: frames }, (_, f) => all[f * channels + c]?.[1] as number),
  ).flat();
  const long = form !== "RIFF";
  const stated = {
    right: data.length,
    "past the end": data.length + 1_999_999_000,
    unknown: 0xffffffff,
    "never filled in": 0,
  }[size];
  const head = [
    Buffer.from("WAVE"),
    ...(long
      ? [chunk("ds64", Buffer.concat([u64(0), u64(size === "unknown" ? 0 : stated), u64(0), u32(0)]))]
      : []),
    ...shape.before.map((length, i) =>
      chunk(["LIST", "bext", "junk"][i % 3] ?? "", Buffer.alloc(length, 65)),
    ),
    formatChunk(shape, fields),
    chunk("data", data, long ? 0xffffffff : stated),
  ];
  const after = shape.after && size === "right" ? [chunk("LIST", Buffer.alloc(300, 7))] : [];
  // Only what is whole is padded.
  const body = Buffer.concat([...head, ...after]);
  const padded = after.length === 0 && data.length % 2 === 1 ? body.subarray(0, -1) : body;
  return {
    file: new Uint8Array(Buffer.concat([Buffer.from(form), u32(long ? 0xffffffff : 0), padded])),
    samples,
  };
}

const KINDS: readonly (readonly [tag: 1 | 3, bytes: number])[] = [
  [1, 1],
  [1, 2],
  [1, 3],
  [1, 4],
  [3, 4],
  [3, 8],
];

const shapes: fc.Arbitrary<Shape> = fc
  .record({
    form: fc.constantFrom("RIFF" as const, "RF64" as const, "BW64" as const),
    kind: fc.constantFrom(...KINDS),
    channels: fc.integer({ min: 1, max: 6 }),
    rate: fc.constantFrom(8000, 16_000, 22_050, 44_100, 48_000, 192_000),
    extensible: fc.boolean(),
    frames: fc.integer({ min: 1, max: 40 }),
    before: fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 4 }),
    after: fc.boolean(),
    size: fc.constantFrom(
      "right" as const,
      "past the end" as const,
      "unknown" as const,
      "never filled in" as const,
    ),
  })
  .map(({ kind: [tag, bytes], ...shape }) => ({ ...shape, tag, bytes }));

describe("WAV headers", () => {
  it("gives the samples of every form, format and size", async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async (shape) => {
        const { file, samples } = wav(shape);
        const audio = await parseWav(file);
        expect([...audio.samples]).toEqual(samples);
        expect(audio).toMatchObject({ sampleRate: shape.rate, channels: shape.channels });
      }),
      { numRuns: 300 },
    );
  });

  it("reads a header with one wrong field as it is meant, or names the fields", async () => {
    const field = fc.constantFrom(
      "channels" as const,
      "bits" as const,
      "blockAlign" as const,
      "byteRate" as const,
    );
    const outcomes = { read: 0, rejected: 0 };
    await fc.assert(
      fc.asyncProperty(shapes, field, fc.integer({ min: 0, max: 70 }), async (shape, name, value) => {
        const fields = fieldsOf(shape);
        fc.pre(value !== fields[name] && Math.ceil(value / 8) !== shape.bytes);
        const { file, samples } = wav(shape, { ...fields, [name]: value });
        const result = await parseWav(file, { name: "a.wav" }).catch((error: Error) => error);
        if (result instanceof Error) {
          outcomes.rejected++;
          expect(result).toMatchObject({ code: "ERR_MEDIA_DECODE" });
          expect(result.message).toMatch(
            /a\.wav has a damaged WAV header: .*(channels|bitsPerSample|blockAlign)/,
          );
          expect(["channels", "bits"]).toContain(name);
        } else {
          outcomes.read++;
          expect([...result.samples]).toEqual(samples);
        }
      }),
      { numRuns: 400 },
    );
    expect(outcomes.read).toBeGreaterThan(50);
    expect(outcomes.rejected).toBeGreaterThan(50);
  });

  it("rejects two formats in one file, a rate of 0 and no channels by name", async () => {
    const shape: Shape = {
      ...{ form: "RIFF", tag: 1, bytes: 2, channels: 1, rate: 8000, extensible: false, frames: 4 },
      ...{ before: [], after: false, size: "right" },
    };
    for (const [name, text] of [
      ["sampleRate", "sampleRate is 0"],
      ["channels", "channels is 0"],
    ] as const) {
      const { file } = wav(shape, { ...fieldsOf(shape), [name]: 0 });
      await expect(parseWav(file)).rejects.toMatchObject({
        code: "ERR_MEDIA_DECODE",
        message: expect.stringContaining(text),
      });
    }
    const { file } = wav(shape);
    const other = formatChunk(shape, { ...fieldsOf(shape), sampleRate: 44_100 });
    const both = Buffer.concat([file.subarray(0, 12), other, file.subarray(12)]);
    await expect(parseWav(new Uint8Array(both))).rejects.toMatchObject({
      message: expect.stringContaining("two fmt chunks"),
    });
  });

  it("reads a wider container that blockAlign and byteRate agree on", async () => {
    const shape: Shape = {
      ...{ form: "RIFF", tag: 1, bytes: 4, channels: 2, rate: 8000, extensible: false, frames: 4 },
      ...{ before: [], after: false, size: "right" },
    };
    const { file, samples } = wav(shape, { ...fieldsOf(shape), bits: 24 });
    expect([...(await parseWav(file)).samples]).toEqual(samples);
  });

  it("reads what programs wrote to pipes to its end", async () => {
    const reference = await decodeAudio(fixture("stream_reference.wav"));
    expect(reference.samples.length).toBe(64_000);
    for (const name of ["stream_pocket.wav", "stream_eleven.wav"]) {
      expect((await decodeAudio(fixture(name))).samples).toEqual(reference.samples);
    }
    const sox = await decodeAudio(fixture("stream_soxreal.wav"));
    expect(sox.samples).toEqual(reference.samples.subarray(2));
  });

  it("reads the plain tone where blockAlign is wrong", async () => {
    const { samples, sampleRate } = await decodeAudio(fixture("align_one.wav"));
    expect([samples.length, sampleRate]).toEqual([16_000, 16_000]);
    const file = readFileSync(fixture("align_one.wav"));
    expect(samples[1]).toBe(file.readInt16LE(46) / 32768);
    // A tone changes its sign as often as its frequency says; noise would change it every other sample.
    const crossings = samples.reduce(
      (sum, value, i) => sum + (value >= 0 !== (samples[i - 1] ?? 0) >= 0 ? 1 : 0),
      0,
    );
    expect(crossings).toBeLessThan(2000);
  });
});
