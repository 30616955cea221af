/** TIFF of every kind of sample, and masks in the forms that annotation tools write. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { manifest } from "../../../src/datasets/manifest.js";
import { decodeImage } from "../../../src/media/image.js";
import { readMask } from "../../../src/media/mask.js";
import { encodeWav } from "../../../src/media/wav.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-masks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/cases/${name}`, import.meta.url));
const marked = ({ data }: { data: Uint8Array }) => data.reduce((sum, value) => sum + value, 0);

/** A TIFF of one strip, as a program would write it. */
function tiff(
  values: ArrayBufferView,
  shape: { width: number; channels: number; bits: number; format: number; photometric: number; alpha?: true },
): Uint8Array {
  const { width, channels, bits, format, photometric } = shape;
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const tags: [tag: number, type: 3 | 4, values: number[]][] = [
    [256, 3, [width]],
    [257, 3, [1]],
    [258, 3, Array(channels).fill(bits)],
    [259, 3, [1]],
    [262, 3, [photometric]],
    [273, 4, [0]],
    [277, 3, [channels]],
    [278, 3, [1]],
    [279, 4, [data.length]],
    ...(shape.alpha ? ([[338, 3, [2]]] as [number, 3, number[]][]) : []),
    [339, 3, Array(channels).fill(format)],
  ];
  const head = Buffer.alloc(8 + 2 + tags.length * 12 + 4);
  const more: Buffer[] = [];
  let end = head.length;
  const place = (bytes: Buffer) => {
    const at = end;
    more.push(bytes);
    end += bytes.length;
    return at;
  };
  head.write("II");
  head.writeUInt16LE(42, 2);
  head.writeUInt32LE(8, 4);
  head.writeUInt16LE(tags.length, 8);
  const lists = tags.map(([, type, list]) => {
    const bytes = Buffer.alloc(Math.max(4, list.length * (type === 3 ? 2 : 4)));
    list.forEach((value, i) => {
      if (type === 3) bytes.writeUInt16LE(value, 2 * i);
      else bytes.writeUInt32LE(value, 4 * i);
    });
    return bytes;
  });
  const places = lists.map((bytes) => (bytes.length > 4 ? place(bytes) : undefined));
  const strip = place(data);
  tags.forEach(([tag, type, list], i) => {
    const at = 10 + i * 12;
    head.writeUInt16LE(tag, at);
    head.writeUInt16LE(type, at + 2);
    head.writeUInt32LE(list.length, at + 4);
    const own = places[i];
    if (tag === 273) head.writeUInt32LE(strip, at + 8);
    else if (own === undefined) lists[i]?.copy(head, at + 8);
    else head.writeUInt32LE(own, at + 8);
  });
  return new Uint8Array(Buffer.concat([head, ...more]));
}

const GREY = 1;
const RGB = 2;
const CIELAB = 8;

describe("TIFF", () => {
  it("takes floating-point samples in [0, 1] as 8-bit ones / 255, grey and RGB", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 12 }),
        fc.constantFrom(1, 3),
        async (levels, channels) => {
          const values = Float32Array.from(levels.flatMap((level) => Array(channels).fill(level / 255)));
          const shape = { width: levels.length, channels, bits: 32, format: 3 };
          const { data } = await decodeImage(
            tiff(values, { ...shape, photometric: channels === 1 ? GREY : RGB }),
          );
          expect([...data]).toEqual(levels.flatMap((level) => [level, level, level]));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("lays floating-point transparency over white", async () => {
    const shape = { width: 1, channels: 4, bits: 32, format: 3, photometric: RGB, alpha: true } as const;
    const { data } = await decodeImage(tiff(Float32Array.of(0, 1, 0.2, 0.6), shape));
    expect([...data]).toEqual([102, 255, 133]);
  });

  it("takes whole numbers up to 255, and all of 32 bits", async () => {
    const shape = { width: 3, channels: 1, bits: 32, photometric: GREY };
    const floats = tiff(Float32Array.of(0, 64, 255), { ...shape, format: 3 });
    expect([...(await decodeImage(floats)).data]).toEqual([0, 0, 0, 64, 64, 64, 255, 255, 255]);
    const wide = tiff(Uint32Array.of(0, 2 ** 31, 2 ** 32 - 1), { ...shape, format: 1 });
    expect([...(await decodeImage(wide)).data]).toEqual([0, 0, 0, 128, 128, 128, 255, 255, 255]);
    const labels = tiff(Int32Array.of(0, 1, 20), { ...shape, format: 2 });
    expect([...(await decodeImage(labels)).data]).toEqual([0, 0, 0, 1, 1, 1, 20, 20, 20]);
  });

  it.each([
    ["in [0, 1]", Float32Array.of(0, 1.5, 300), 32, 3],
    ["in [0, 1]", Float32Array.of(0, -0.5, 1), 32, 3],
    ["sample NaN", Float32Array.of(0, Number.NaN, 1), 32, 3],
    ["floating-point samples of 16 bits", Uint16Array.of(0, 0x3800, 0x3c00), 16, 3],
    ["floating-point samples of 64 bits", Float64Array.of(0, 0.5, 1), 64, 3],
    ["signed samples of 16 bits", Int16Array.of(0, -5, 100), 16, 2],
    ["signed samples of 32 bits", Int32Array.of(0, -5, 100), 32, 2],
  ])("rejects what has no one meaning: %s, %o", async (text, values, bits, format) => {
    const encoded = tiff(values, { width: 3, channels: 1, bits, format, photometric: GREY });
    await expect(decodeImage(encoded)).rejects.toMatchObject({
      code: "ERR_MEDIA_DECODE",
      message: expect.stringContaining(text),
    });
  });

  // Of sRGB's red, green, blue and middle grey in CIELAB with the white point D50.
  const lab = [
    [54.29, 80.81, 69.89],
    [87.82, -79.29, 80.99],
    [29.57, 68.3, -112.03],
    [53.59, 0, 0],
  ];
  it.each([
    [
      "8 bits",
      8,
      1,
      Uint8Array.from(lab.flatMap(([l, a, b]) => [(l ?? 0) * 2.55, (a ?? 0) & 255, (b ?? 0) & 255])),
    ],
    [
      "16 bits",
      16,
      1,
      Uint16Array.from(
        lab.flatMap(([l, a, b]) => [(l ?? 0) * 655.35, ((a ?? 0) * 256) & 65535, ((b ?? 0) * 256) & 65535]),
      ),
    ],
    ["floating point", 32, 3, Float32Array.from(lab.flat())],
  ])("converts CIELAB of %s", async (_, bits, format, values) => {
    const { data } = await decodeImage(
      tiff(values, { width: 4, channels: 3, bits, format, photometric: CIELAB }),
    );
    const right = [255, 0, 0, 0, 255, 0, 0, 0, 255, 128, 128, 128];
    for (const [i, value] of data.entries()) {
      expect(Math.abs(value - (right[i] as number)), `${[...data]}`).toBeLessThan(bits === 8 ? 24 : 4);
    }
  });

  it("converts CMYK with and without a profile", async () => {
    const pixel = Buffer.from([200, 30, 30, 30, 30, 200]);
    const image = () =>
      sharp(pixel, { raw: { width: 2, height: 1, channels: 3 } }).resize(32, 16, { kernel: "nearest" });
    for (const encoded of [
      await image().toColourspace("cmyk").jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer(),
      await image()
        .toColourspace("cmyk")
        .withIccProfile("cmyk")
        .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
        .toBuffer(),
      await image().toColourspace("cmyk").tiff().toBuffer(),
    ]) {
      const { data } = await decodeImage(encoded);
      const [red, , blue] = data;
      expect(red).toBeGreaterThan(150);
      expect(blue).toBeLessThan(80);
      const [lastRed, , lastBlue] = data.subarray(-3);
      expect(lastBlue).toBeGreaterThan(100);
      expect(lastRed).toBeLessThan(100);
    }
  });

  it("reports a JPEG that is cut off as truncated", async () => {
    const noise = Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251));
    const whole = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    for (const share of [0.3, 0.6, 0.9]) {
      await expect(decodeImage(whole.subarray(0, whole.length * share))).rejects.toMatchObject({
        code: "ERR_MEDIA_DECODE",
        message: expect.stringContaining("truncated"),
      });
    }
  });
});

describe("masks", () => {
  it.each(["m255.png", "m01.png", "red.png", "white_on_transparent.png"])("reads %s", async (name) => {
    const mask = await readMask(fixture(name));
    expect([mask.width, mask.height, marked(mask)]).toEqual([64, 48, 600]);
  });

  const patterns = fc
    .array(fc.boolean(), { minLength: 64, maxLength: 64 })
    .filter((pattern) => new Set(pattern).size === 2);
  const png = (values: ArrayLike<number>, channels: 1 | 2 | 3 | 4) =>
    sharp(Buffer.from(Uint8Array.from(values)), { raw: { width: 8, height: 8, channels } })
      .png()
      .toBuffer();

  it("finds the object in every form", async () => {
    const forms: Readonly<Record<string, (pattern: boolean[], value: number) => Promise<Buffer>>> = {
      "grey of two values": (pattern, value) =>
        png(
          pattern.map((on) => (on ? value : value - 1)),
          1,
        ),
      alpha: (pattern, value) =>
        png(
          pattern.flatMap((on) => [value, 9, 9, on ? 255 : 0]),
          4,
        ),
      "grey with alpha": (pattern, value) =>
        png(
          pattern.flatMap((on) => [value, on ? 200 : 20]),
          2,
        ),
      "16 bits of 0 and 1": (pattern) =>
        sharp(Uint16Array.from(pattern.map(Number)), { raw: { width: 8, height: 8, channels: 1 } })
          .toColourspace("grey16")
          .png()
          .toBuffer(),
      "a colour on black": (pattern, value) =>
        png(
          pattern.flatMap((on) => (on ? [0, 0, value] : [0, 0, 0])),
          3,
        ),
      "noise on both": (pattern, value) =>
        png(
          pattern.map((on, i) => (on ? 255 - (i % 7) : (value + i) % 9)),
          1,
        ),
      "floating point": async (pattern) =>
        Buffer.from(
          tiff(Float32Array.from(pattern.map(Number)), {
            width: 64,
            channels: 1,
            bits: 32,
            format: 3,
            photometric: GREY,
          }),
        ),
    };
    for (const [name, form] of Object.entries(forms)) {
      await fc.assert(
        fc.asyncProperty(patterns, fc.integer({ min: 1, max: 255 }), async (pattern, value) => {
          const mask = await readMask(await form(pattern, value));
          expect([...mask.data], name).toEqual(pattern.map(Number));
        }),
        { numRuns: 25 },
      );
    }
  });

  it("takes every index of a palette but 0 and 255, whatever the colours", async () => {
    const colours = [0, 0, 0, 255, 255, 255, 90, 0, 0, 0, 0, 128];
    const pixels = Buffer.from(
      Array.from({ length: 64 }, (_, i) => colours.slice((i % 4) * 3, (i % 4) * 3 + 3)).flat(),
    );
    const encoded = await sharp(pixels, { raw: { width: 8, height: 8, channels: 3 } })
      .png({ palette: true, colours: 4, dither: 0 })
      .toBuffer();
    expect(encoded[25]).toBe(3);
    // One of the four colours has the index 0.
    expect(marked(await readMask(encoded))).toBe(48);
  });

  it("rejects an empty mask of a manifest by its file, unless that is permitted, and warns of a full one", async () => {
    writeFileSync(join(folder, "a.png"), await png(Array(192).fill(100), 3));
    writeFileSync(join(folder, "a.wav"), encodeWav({ samples: new Float32Array(800), sampleRate: 8000 }));
    writeFileSync(join(folder, "empty.png"), await png(Array(64).fill(0), 1));
    writeFileSync(join(folder, "full.png"), await png(Array(64).fill(255), 1));
    const list = (mask: string) => {
      const path = join(folder, `${mask}.jsonl`);
      writeFileSync(path, JSON.stringify({ image: "a.png", audio: "a.wav", mask }));
      return path;
    };
    const path = list("empty.png");
    await expect((await manifest({ path })).load(0)).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/field "mask": .*empty\.png is empty/),
    });
    const { mask } = await (await manifest({ path, allowEmpty: true })).load(0);
    expect(marked(mask as { data: Uint8Array })).toBe(0);
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    process.on("warning", note);
    const full = await (await manifest({ path: list("full.png") })).load(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("warning", note);
    expect(marked(full.mask as { data: Uint8Array })).toBe(64);
    expect(warnings).toEqual([expect.stringMatching(/full\.png marks every pixel/)]);
  });
});
