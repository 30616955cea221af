/** The check of raw pixels. */

import { isBytes, kindOf, shown } from "./arguments.js";
import { SoundspotError } from "./errors.js";
import type { RawImage } from "./types.js";

/**
 * Returns the image itself when its length fits its size.
 * @throws {SoundspotError} ERR_INPUT
 */
export function checkRawImage(image: RawImage): RawImage {
  if (typeof image !== "object" || image === null) {
    throw new SoundspotError(
      "ERR_INPUT",
      `An image must be a path, an encoded buffer or { data, width, height }, got ${kindOf(image)}.`,
    );
  }
  const { data, width, height } = image;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw image: width and height must be positive integers, got ${shown(width)} × ${shown(height)}.`,
    );
  }
  if (!isBytes(data)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw image: data must be a Uint8Array of interleaved RGB, got ${kindOf(data)}.`,
    );
  }
  if (data.length !== width * height * 3) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw image: ${width} × ${height} in RGB needs ${width * height * 3} bytes, data has ${data.length}. ` +
        "Drop the alpha channel or expand grey to RGB first.",
    );
  }
  return image;
}
