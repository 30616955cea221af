/** Pixels to PNG or JPEG. */

import sharp from "sharp";
import { ownBytes, shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { checkRawImage } from "../core/raw-image.js";
import type { RawImage } from "../core/types.js";

export interface EncodeImageOptions {
  readonly format: "png" | "jpeg";
  /** JPEG quality, 1 … 100. Default 90; PNG ignores it. */
  readonly quality?: number | undefined;
}

/**
 * Encodes pixels as PNG or JPEG, off the event loop.
 *
 * @throws {SoundspotError} ERR_INPUT when the pixels do not fit their size or the quality is not in 1 … 100.
 */
export async function encodeImage(image: RawImage, options: EncodeImageOptions): Promise<Buffer> {
  const { format, quality = 90 } = options;
  checkRawImage(image);
  if (format !== "png" && format !== "jpeg") {
    throw new SoundspotError("ERR_INPUT", `format must be "png" or "jpeg", got ${shown(format)}.`);
  }
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new SoundspotError("ERR_INPUT", `quality must be an integer in 1 … 100, got ${shown(quality)}.`);
  }
  const pixels = sharp(ownBytes(image.data), {
    raw: { width: image.width, height: image.height, channels: 3 },
    limitInputPixels: false,
  });
  return format === "png" ? pixels.png().toBuffer() : pixels.jpeg({ quality }).toBuffer();
}
