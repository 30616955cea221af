/** Boxes and masks of your own data. */
import * as z from "zod";
import { SoundspotError } from "../../core/errors.js";
import type { Box, Mask, RawImage } from "../../core/types.js";
import { readMask } from "../../media/mask.js";

/** A box as lists have it: `[x, y, width, height]`. */
export const boxSchema = z
  .tuple([z.number(), z.number(), z.number().positive(), z.number().positive()], {
    error: "each box must be [x, y, width, height] in pixels",
  })
  .transform(([x, y, width, height]): Box => ({ x, y, width, height }));

/**
 * The mask of a sample, as `readMask` reads it.
 * @param file a path, or an encoded image that messages call `name`.
 * @throws {SoundspotError} ERR_DATASET when its size is not that of the image, or it marks nothing without
 * `allowEmpty`; those of `readMask`.
 */
export async function maskOf(
  file: string | Uint8Array,
  image: RawImage,
  {
    name = typeof file === "string" ? file : "The mask",
    allowEmpty = false,
    signal,
  }: {
    readonly name?: string;
    readonly allowEmpty?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<Mask> {
  const mask = await readMask(file, { name, signal });
  const { data, width, height } = mask;
  if (width !== image.width || height !== image.height) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${name} is ${width} × ${height}, its image ${image.width} × ${image.height}. Give the mask the image's size.`,
    );
  }
  if (!allowEmpty && !data.includes(1)) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${name} is empty: it marks no pixel. Draw the object, leave the mask out, or set allowEmpty.`,
    );
  }
  if (!data.includes(0)) warnFull(name);
  return mask;
}

/** Masks that were reported. */
const full = new Set<string>();

function warnFull(name: string): void {
  if (full.has(name)) return;
  full.add(name);
  process.emitWarning(
    `${name} marks every pixel. Check that it is a mask of the object.`,
    "SoundspotWarning",
  );
}

/** @throws {SoundspotError} ERR_DATASET for a box that lies outside its image. */
export function checkBoxes(boxes: readonly Box[], image: RawImage): void {
  for (const { x, y, width, height } of boxes) {
    if (x >= image.width || y >= image.height || x + width <= 0 || y + height <= 0) {
      throw new SoundspotError(
        "ERR_DATASET",
        `the box [${x}, ${y}, ${width}, ${height}] lies outside the image of ${image.width} × ${image.height} pixels`,
      );
    }
  }
}
