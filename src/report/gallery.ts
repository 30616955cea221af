/** A scored sample as a picture: the heat over it and the truth around it. */
import sharp from "sharp";
import type { Sample } from "../datasets/dataset.js";
import { encodeImage } from "../drawing/encode.js";
import { renderOverlay } from "../drawing/overlay.js";
import { truthOf } from "../evaluation/evaluate.js";

/**
 * The map over the picture with the contour of the truth, on the grid that it is scored on, as PNG.
 * @param map `[height, width]` of the sample's truth, in [0, 1]; of its picture where nothing sounds
 */
export async function renderScored(sample: Sample, map: Float32Array): Promise<Buffer> {
  const { data, width, height } = sample.image;
  const truth = sample.sounding === false ? undefined : truthOf(sample);
  const grid = truth ?? sample.image;
  const pixels = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(grid.width, grid.height, { fit: "fill" })
    .raw()
    .toBuffer();
  const mask = truth && {
    data: Uint8Array.from(truth.data, (value) => (value >= 0.5 ? 1 : 0)),
    width: grid.width,
    height: grid.height,
  };
  const overlay = await renderOverlay(
    {
      data: new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length),
      width: grid.width,
      height: grid.height,
    },
    { data: map, width: grid.width, height: grid.height },
    mask ? { mask } : {},
  );
  return encodeImage(overlay, { format: "png" });
}
