/** Images and audio whose end is missing are named as truncated, in every format and wherever they are cut. */
import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { decodeAudio } from "../../../src/media/audio.js";
import { decodeImage } from "../../../src/media/image.js";
import { isTruncated } from "../../../src/media/truncation.js";
import { encodeWav } from "../../../src/media/wav.js";

const [width, height] = [90, 70];
const pixels = Uint8Array.from(
  { length: width * height * 3 },
  (_, i) => ((i * 37 + (i >> 5) * 11) % 251) / 2,
);
const image = () => sharp(pixels, { raw: { width, height, channels: 3 } });
const thumbnail = await image().jpeg().toBuffer();
/** A JPEG whose application data holds a whole JPEG, end-of-image marker and all. */
const nested = (outer: Buffer) => {
  const segment = Buffer.alloc(4);
  segment.writeUInt16BE(0xffe5, 0);
  segment.writeUInt16BE(thumbnail.length + 2, 2);
  return Buffer.concat([outer.subarray(0, 2), segment, thumbnail, outer.subarray(2)]);
};

/** Encoded images, and the bytes from their end on without which they still decode. */
const encoded: Readonly<Record<string, readonly [Buffer, needless: number]>> = {
  jpeg: [await image().jpeg().toBuffer(), 0],
  "progressive jpeg": [await image().jpeg({ progressive: true }).toBuffer(), 0],
  "jpeg with a thumbnail": [nested(await image().jpeg().toBuffer()), 0],
  png: [await image().png().toBuffer(), 4],
  "interlaced png": [await image().png({ progressive: true }).toBuffer(), 4],
  "webp, lossy": [await image().webp().toBuffer(), 0],
  "webp, lossless": [await image().webp({ lossless: true }).toBuffer(), 0],
  gif: [await image().gif({ effort: 1 }).toBuffer(), 0],
  "tiff, jpeg": [await image().tiff().toBuffer(), 0],
  "tiff, lzw": [await image().tiff({ compression: "lzw" }).toBuffer(), 0],
  avif: [await image().avif({ effort: 0 }).toBuffer(), 0],
};

/** Cuts of which the format can still be recognized. */
const LEAST = 40;

describe.each(Object.entries(encoded))("%s", (_, [whole, needless]) => {
  it("that is whole decodes and is not taken for truncated", async () => {
    expect(isTruncated(whole)).toBe(false);
    expect(await decodeImage(whole)).toMatchObject({ width, height });
  });

  it("that is cut anywhere says so", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: LEAST, max: whole.length - 1 - needless }), async (length) => {
        const cut = whole.subarray(0, length);
        const message = await decodeImage(cut).then(
          () => undefined,
          (error: { readonly code: string; readonly message: string }) => `${error.code} ${error.message}`,
        );
        // Decoders may do without the last bytes, never with other values.
        if (message === undefined) expect(await decodeImage(cut)).toEqual(await decodeImage(whole));
        else expect(message).toMatch(new RegExp(`^ERR_MEDIA_DECODE .* truncated, .* after ${length} bytes`));
      }),
      { numRuns: 40 },
    );
  });
});

it("damage of another kind is not called truncated", async () => {
  for (const [name, [whole]] of Object.entries(encoded)) {
    const spoilt = Buffer.from(whole);
    spoilt.fill(0x55, Math.floor(whole.length / 2), Math.floor(whole.length / 2) + 8);
    const message = await decodeImage(spoilt).then(
      () => "",
      (error: Error) => error.message,
    );
    if (!/gif|tiff/.test(name)) expect(message, name).not.toContain("truncated");
  }
});

it("a WAV that is cut in its header says so, and one that is cut later has what is left", async () => {
  const samples = Float32Array.from({ length: 500 }, (_, i) => Math.sin(i / 7));
  const whole = encodeWav({ samples, sampleRate: 16_000 });
  const header = Buffer.from(whole).indexOf("data") + 8;
  const all = await decodeAudio(whole);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 12, max: whole.length - 1 }), async (length) => {
      const decoded = decodeAudio(whole.subarray(0, length));
      if (length < header) {
        await expect(decoded).rejects.toMatchObject({
          code: "ERR_MEDIA_DECODE",
          message: expect.stringContaining("truncated"),
        });
        return;
      }
      // A recorder that was stopped leaves sizes that lie past the end: they mean to the end.
      const left = Math.floor((length - header) / Math.round((whole.length - header) / samples.length));
      if (left === 0) await expect(decoded).rejects.toMatchObject({ code: "ERR_AUDIO_EMPTY" });
      else expect((await decoded).samples).toEqual(all.samples.subarray(0, left));
    }),
    { numRuns: 60 },
  );
});
