/** Image input: any file that sharp reads becomes 8-bit sRGB. */

import { open } from "node:fs/promises";
import sharp, { type SharpOptions } from "sharp";
import { isBytes, ownBytes } from "../core/arguments.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { checkRawImage } from "../core/raw-image.js";
import type { RawImage } from "../core/types.js";
import { bytesOf, checkMediaFile, reasonOf, unreadable } from "../files/media-file.js";
import { changing, limitOf } from "./limits.js";
import { decodeDeepTiff } from "./tiff.js";
import { isTruncated } from "./truncation.js";

/** A path, an encoded image (JPEG, PNG, WebP, …), or raw RGB pixels. */
export type ImageSource = string | Uint8Array | RawImage;

/** How an image is decoded. */
export interface DecodeImageOptions {
  readonly signal?: AbortSignal | undefined;
  /** An encoded image of more pixels is rejected. Default 2²⁷, or the value of `SOUNDSPOT_MAX_PIXELS`. */
  readonly maxPixels?: number | undefined;
}

/** Bytes that identify the format of an image; libvips itself reads no more of SVG. */
const HEAD_BYTES = 1000;
/** A file of no more is read at once: every further read would take longer than these bytes. */
const SMALL_BYTES = 2 ** 18;

/** First bytes of JPEG, PNG, TIFF and BigTIFF, the last two in both orders of bytes. */
const STARTS = [
  [0xff, 0xd8, 0xff],
  [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
  [0x49, 0x49, 0x2a, 0x00],
  [0x49, 0x49, 0x2b, 0x00],
  [0x4d, 0x4d, 0x00, 0x2a],
  [0x4d, 0x4d, 0x00, 0x2b],
];

/**
 * Decodes an image to 8-bit sRGB `[height, width, 3]`. EXIF orientation is applied, colour profiles
 * are converted, grey becomes RGB, transparency is laid over white; of an animation the first frame
 * is used. Raw pixels are checked and returned as they are, not copied.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE when it is not a
 * image, is cut off or has more than `maxPixels`; ERR_INPUT when raw pixels do not fit their size;
 * ERR_ABORTED.
 * @example
 * const { data, width, height } = await decodeImage("dog.jpg");
 */
export async function decodeImage(source: ImageSource, options: DecodeImageOptions = {}): Promise<RawImage> {
  const { signal } = options;
  throwIfAborted(signal);
  if (typeof source !== "string" && !isBytes(source)) return checkRawImage(source);
  const encoded = await readEncodedImage(source, options);
  const image = await decodingImage(encoded, () => decodeEncoded(encoded));
  throwIfAborted(signal);
  return image;
}

/** An encoded image, and what its decoding needs. */
export interface EncodedImage {
  /** What errors call it. */
  readonly name: string;
  readonly encoded: Uint8Array;
  readonly options: SharpOptions & { readonly limitInputPixels: number };
  /** That decoding may last. */
  readonly seconds: number;
}

/**
 * Reads an image that begins as one of the supported formats, without decoding it.
 * @throws {SoundspotError} as `decodeImage`
 */
export async function readEncodedImage(
  source: string | Uint8Array,
  { signal, maxPixels = Number.POSITIVE_INFINITY }: DecodeImageOptions,
  called?: string,
): Promise<EncodedImage> {
  const most = Math.min(maxPixels, limitOf("SOUNDSPOT_MAX_PIXELS"));
  const name = called ?? (typeof source === "string" ? `The image ${source}` : "The image buffer");
  const encoded = typeof source === "string" ? await readImage(source, name, signal) : ownBytes(source);
  if (encoded.length === 0) {
    throw new SoundspotError("ERR_FILE_EMPTY", `${name} is empty (0 bytes). Give an encoded image.`);
  }
  checkFormat(encoded, name);
  return {
    name,
    encoded,
    // "warning", sharp's default, rejects sound photographs with odd metadata.
    options: { failOn: "error", limitInputPixels: most, autoOrient: true },
    seconds: Math.min(3600, limitOf("SOUNDSPOT_MAX_DECODE_SECONDS")),
  };
}

/** Reads the beginning first: a large film with the extension of an image is not read into memory. */
async function readImage(path: string, name: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const size = await checkMediaFile(path);
  const file = await open(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const isSmall = size <= SMALL_BYTES;
    // A byte more shows whether the file has grown since.
    const first = new Uint8Array(isSmall ? size + 1 : HEAD_BYTES);
    const { bytesRead } = await file.read(first, 0, first.length, 0);
    const head = first.subarray(0, bytesRead);
    checkFormat(head, name);
    if (isSmall && bytesRead === size) return head;
    // Of 16-bit RGBA, unpacked, with space for metadata.
    const most = 8 * limitOf("SOUNDSPOT_MAX_PIXELS") + 2 ** 20;
    if (size > most) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${name} has ${size} bytes, more than its pixels may take. Scale it down. ${changing("SOUNDSPOT_MAX_PIXELS")}.`,
      );
    }
    return bytesOf(await file.readFile(signal ? { signal } : {}));
  } catch (cause) {
    if (isSoundspotError(cause)) throw cause;
    throwIfAborted(signal);
    throw unreadable(path, cause);
  } finally {
    await file.close();
  }
}

/** The kind of an image by its first bytes: of pixels, or a program that draws; undefined where it is neither. */
export function imageKind(encoded: Uint8Array): "pixels" | "svg" | undefined {
  const head = encoded.subarray(0, HEAD_BYTES);
  const text = Buffer.from(head).toString("latin1");
  if (
    STARTS.some((start) => start.every((byte, i) => head[i] === byte)) ||
    /^(GIF8[79]a|RIFF.{4}WEBP|.{4}ftyp.{0,64}avi[fs])/s.test(text)
  ) {
    return "pixels";
  }
  return /^(ï»¿)?\s*<.*?svg[\s>:]/is.test(text) ? "svg" : undefined;
}

/**
 * Only the promised formats reach libvips, which may have been built with others.
 * @throws {SoundspotError} ERR_MEDIA_DECODE
 */
function checkFormat(encoded: Uint8Array, name: string): void {
  if (imageKind(encoded) !== undefined) return;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} cannot be decoded: it begins as none of the supported formats. ` +
      "Check that it is a whole JPEG, PNG, WebP, AVIF, GIF, TIFF or SVG.",
  );
}

async function decodeEncoded({ encoded, options, seconds }: EncodedImage): Promise<RawImage> {
  const deep = await decodeDeepTiff(encoded, options, seconds);
  if (deep) return deep;
  const { data, info } = await sharp(encoded, options)
    .flatten({ background: "#ffffff" })
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .timeout({ seconds })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) {
    throw new Error(`it decodes to ${info.channels} channels, not 3`);
  }
  return { data: bytesOf(data), width: info.width, height: info.height };
}

/** Loads sharp where that is left to its first use: a failure is that of the installation, not of an image. */
const loadSharp = () => sharp.versions;

/** @throws {SoundspotError} ERR_MEDIA_DECODE for whatever libvips reports. */
export async function decodingImage<T>(
  { name, encoded, options }: EncodedImage,
  work: () => Promise<T>,
): Promise<T> {
  loadSharp();
  try {
    return await work();
  } catch (cause) {
    if (isSoundspotError(cause)) throw cause;
    if (isTruncated(encoded)) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${name} cannot be decoded: it is truncated, its end is missing after ${encoded.length} bytes. Copy or download it again.`,
        { cause },
      );
    }
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} cannot be decoded: ${decodeReason(cause)}. ` +
        `Check that it is a whole JPEG, PNG, WebP, AVIF, GIF, TIFF or SVG of at most ${options.limitInputPixels} pixels ` +
        "(SOUNDSPOT_MAX_PIXELS).",
      { cause },
    );
  }
}

/** libvips reports no more for a JPEG that ends too early. */
function decodeReason(cause: unknown): string {
  const reason = reasonOf(cause);
  if (/^unknown error$/i.test(reason)) return "it is damaged";
  return /premature end|unexpected end|ended prematurely|not enough data/i.test(reason)
    ? `it is truncated (${reason})`
    : reason;
}
