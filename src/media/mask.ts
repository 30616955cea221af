/** Masks from image files, in the forms that annotation tools write. */
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { inSlices } from "../core/pacer.js";
import type { Mask } from "../core/types.js";
import { type DecodeImageOptions, decodingImage, type EncodedImage, readEncodedImage } from "./image.js";
import { decodeDeepTiff } from "./tiff.js";

/** How a mask is read. */
export interface ReadMaskOptions extends DecodeImageOptions {
  /** What errors call the mask. Default its path. */
  readonly name?: string | undefined;
}

/** Index of the pixels that the annotators of Pascal VOC left open, at the borders of objects. */
const VOC_BORDER = 255;
const PNG_START = "89504e470d0a1a0a";

/**
 * Reads a mask: 1 where the object is, `[height, width]`. What counts, in this order:
 *
 * - an alpha channel that is not opaque everywhere: at least half opaque;
 * - a palette (PNG): every index but 0, the background, and 255, the border in Pascal VOC;
 * - grey of two values: the larger one, as in masks of 0 and 1;
 * - otherwise: brighter than half of the brightest pixel, by the largest of its channels.
 *
 * An image of one value is full, or where that is 0 empty.
 *
 * @param file a path, or an encoded image.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE; ERR_ABORTED
 * @example
 * const { data, width, height } = await readMask("dog.mask.png"); // data[y * width + x] is 0 or 1
 */
export async function readMask(file: string | Uint8Array, options: ReadMaskOptions = {}): Promise<Mask> {
  const { signal } = options;
  const image = await readEncodedImage(file, options, options.name);
  return decodingImage(image, async () => {
    const { values, channels, width, height, opaque } = await decodeValues(image);
    const count = width * height;
    const data = new Uint8Array(count);
    const alpha = channels - 1;
    const half = opaque / 2;
    let isTransparent = false;
    if (channels === 4) {
      await inSlices(count, 32_768, signal, (from, to) => {
        for (let i = from; i < to; i++) {
          const own = values[i * channels + alpha] as number;
          data[i] = own >= half ? 1 : 0;
          isTransparent ||= own < opaque;
        }
      });
      if (isTransparent) return { data, width, height };
    }
    const indices = await paletteIndices(image);
    if (indices) {
      for (let i = 0; i < count; i++) data[i] = indices[i] !== 0 && indices[i] !== VOC_BORDER ? 1 : 0;
      return { data, width, height };
    }
    const { least, most, isTwo } = await rangeOf(values, channels, signal);
    const above = isTwo && least < most ? least : most / 2;
    await inSlices(count, 32_768, signal, (from, to) => {
      for (let i = from; i < to; i++) data[i] = brightness(values, i * channels) > above ? 1 : 0;
    });
    return { data, width, height };
  });
}

type Values = Uint8Array | Uint16Array;

function brightness(values: Values, at: number): number {
  return Math.max(values[at] as number, values[at + 1] as number, values[at + 2] as number);
}

/** Darkest and brightest pixel, and whether all are grey and one of these two. */
async function rangeOf(values: Values, channels: number, signal: AbortSignal | undefined) {
  let [least, most, isTwo] = [Number.POSITIVE_INFINITY, 0, true];
  const pixels = values.length / channels;
  await inSlices(pixels, 32_768, signal, (from, to) => {
    for (let at = from * channels; at < to * channels; at += channels) {
      const value = brightness(values, at);
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  });
  await inSlices(pixels, 32_768, signal, (from, to) => {
    for (let at = from * channels; isTwo && at < to * channels; at += channels) {
      const [red, green, blue] = [values[at], values[at + 1], values[at + 2]];
      isTwo = red === green && green === blue && (red === least || red === most);
    }
  });
  return { least, most, isTwo };
}

/** RGB or RGBA, with the bits that the file has: masks of 0 and 1 may have 16. */
async function decodeValues({ encoded, options, seconds }: EncodedImage) {
  const deep = await decodeDeepTiff(encoded, options, seconds);
  if (deep) return { values: deep.data, channels: 3, width: deep.width, height: deep.height, opaque: 255 };
  const source = sharp(encoded, options);
  const { depth } = await source.metadata();
  const isWide = depth === "ushort";
  const { data, info } = await (isWide ? source.pipelineColourspace("rgb16") : source)
    .toColourspace(isWide ? "rgb16" : "srgb")
    .raw({ depth: isWide ? "ushort" : "uchar" })
    .timeout({ seconds })
    .toBuffer({ resolveWithObject: true });
  const bytes = new Uint8Array(data);
  const values = isWide ? new Uint16Array(bytes.buffer) : bytes;
  const { channels, width, height } = info;
  if (channels !== 3 && channels !== 4) throw new Error(`it decodes to ${channels} channels, not 3 or 4`);
  return { values, channels, width, height, opaque: isWide ? 65_535 : 255 };
}

/** The indices of a PNG with a palette, which libvips replaces by colours: they are read as grey. */
async function paletteIndices({ encoded, options, seconds }: EncodedImage): Promise<Uint8Array | undefined> {
  const file = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  const [bits, kind] = [file[24] as number, file[25]];
  if (file.toString("hex", 0, 8) !== PNG_START || file.toString("latin1", 12, 16) !== "IHDR" || kind !== 3) {
    return undefined;
  }
  const header = Buffer.from(file.subarray(8, 33));
  header.writeUInt8(0, 17); // grey
  header.writeUInt32BE(crc32(header.subarray(4, 21)), 21);
  const parts: Buffer[] = [file.subarray(0, 8), header];
  for (let at = 33; at + 12 <= file.length; ) {
    const end = at + 12 + file.readUInt32BE(at);
    // Chunks about colours would change the indices.
    if (/^(IDAT|IEND|eXIf)$/.test(file.toString("latin1", at + 4, at + 8)))
      parts.push(file.subarray(at, end));
    at = end;
  }
  const { data, info } = await sharp(Buffer.concat(parts), options)
    .toColourspace("b-w")
    .raw({ depth: "uchar" })
    .timeout({ seconds })
    .toBuffer({ resolveWithObject: true });
  const scale = 255 / (2 ** bits - 1);
  const indices = new Uint8Array(info.width * info.height);
  for (let i = 0; i < indices.length; i++) {
    indices[i] = Math.round((data[i * info.channels] as number) / scale);
  }
  return indices;
}
