/** Boxes and masks of your own data. */
import { z } from "zod";
import { SoundspotError } from "../errors.js";
import { decodeImage } from "../media/image.js";
import { inSlices } from "../media/wav.js";
import type { Box, Mask, RawImage } from "../types.js";

/** A box as lists have it: `[x, y, width, height]`. */
export const boxSchema = z
  .tuple([z.number(), z.number(), z.number().positive(), z.number().positive()], {
    error: "each box must be [x, y, width, height] in pixels",
  })
  .transform(([x, y, width, height]): Box => ({ x, y, width, height }));

/**
 * A picture as a mask: brighter than 127 is what sounds.
 * @param file a path, or an encoded picture that messages call `name`.
 * @throws {SoundspotError} ERR_DATASET when it is not of the size of its picture; those of `decodeImage`.
 */
export async function readMask(
  file: string | Uint8Array,
  image: RawImage,
  {
    name = typeof file === "string" ? file : "The mask",
    signal,
  }: { readonly name?: string; readonly signal?: AbortSignal | undefined } = {},
): Promise<Mask> {
  const { data, width, height } = await decodeImage(file, { signal });
  if (width !== image.width || height !== image.height) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${name} is ${width} × ${height}, its picture ${image.width} × ${image.height}. Make the mask of the picture's size.`,
    );
  }
  const mask = new Uint8Array(width * height);
  await inSlices(mask.length, 32768, signal, (from, to) => {
    for (let i = from; i < to; i++) {
      // The mean of the channels; a grey mask has three equal ones.
      const sum = (data[i * 3] as number) + (data[i * 3 + 1] as number) + (data[i * 3 + 2] as number);
      mask[i] = sum > 3 * 127 ? 1 : 0;
    }
  });
  return { data: mask, width, height };
}

/** @throws {SoundspotError} ERR_DATASET for a box that lies outside its picture. */
export function checkBoxes(boxes: readonly Box[], image: RawImage): void {
  for (const { x, y, width, height } of boxes) {
    if (x >= image.width || y >= image.height || x + width <= 0 || y + height <= 0) {
      throw new SoundspotError(
        "ERR_DATASET",
        `the box [${x}, ${y}, ${width}, ${height}] lies outside the picture of ${image.width} × ${image.height} pixels`,
      );
    }
  }
}
