/** A scored sample as an image: the heatmap and the contour of the ground truth. */
import sharp from "sharp";
import type { Sample } from "../datasets/dataset.js";
import { encodeImage } from "../drawing/encode.js";
import { renderOverlay } from "../drawing/overlay.js";
import { groundTruthOf } from "../evaluation/evaluate.js";

/**
 * The map over the image with the contour of the ground truth, on the grid used for scoring, as PNG.
 * @param map `[height, width]` of the sample's ground truth, in [0, 1]; of its image where nothing sounds
 */
export async function renderScored(sample: Sample, map: Float32Array): Promise<Buffer> {
  const { data, width, height } = sample.image;
  const groundTruth = sample.sounding === false ? undefined : groundTruthOf(sample);
  const grid = groundTruth ?? sample.image;
  const pixels = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize(grid.width, grid.height, { fit: "fill" })
    .raw()
    .toBuffer();
  const mask = groundTruth && {
    data: Uint8Array.from(groundTruth.data, (value) => (value >= 0.5 ? 1 : 0)),
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
