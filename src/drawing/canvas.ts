/** What figures are drawn on: panels with titles, side by side and one below the other. */
import sharp from "sharp";
import { inSlices } from "../core/pacer.js";
import type { RawImage } from "../core/types.js";
import { drawGlyphs } from "./text.js";

/** Pixels around a panel, and of the line above it. */
export const MARGIN = 12;
export const TITLE_HEIGHT = 28;
/** One level of grey for all channels, so that a canvas is filled by one call. */
const BACKGROUND = 24;
const INK = [235, 235, 235] as const;
export const FAINT = [150, 150, 155] as const;

/** The image with its longer side of `size` pixels. */
export async function fitImage(image: RawImage, size: number): Promise<RawImage> {
  const scale = size / Math.max(image.width, image.height);
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  const data = await sharp(image.data, {
    raw: { width: image.width, height: image.height, channels: 3 },
    limitInputPixels: false,
  })
    .resize(width, height, { fit: "fill" })
    .raw()
    .toBuffer();
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), width, height };
}

/** An image below its title, with the title's corner at (left, top). */
export async function drawPanel(
  canvas: RawImage,
  image: RawImage,
  left: number,
  top: number,
  title: string,
  signal?: AbortSignal,
): Promise<void> {
  drawText(canvas, left, top, title, image.width);
  await inSlices(image.height, 64, signal, (from, to) => {
    for (let y = from; y < to; y++) {
      const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
      canvas.data.set(row, ((top + TITLE_HEIGHT + y) * canvas.width + left) * 3);
    }
  });
}

export function blankCanvas(width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  data.fill(BACKGROUND);
  return { data, width, height };
}

/** Writes a line at twice the font's size, or at its own when that is too wide; what is left over is cut off. */
export function drawText(canvas: RawImage, x: number, y: number, text: string, width: number): void {
  const scale = text.length * 12 <= width ? 2 : 1;
  drawGlyphs(
    canvas,
    x,
    y + (scale === 2 ? 2 : 8),
    text.slice(0, Math.floor(width / (6 * scale))),
    scale,
    INK,
  );
}
