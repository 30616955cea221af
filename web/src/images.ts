/** Images: read from files, reduced where they are large, encoded for the service. */
import { blank, contextOf } from "./dom.js";

/** Longest side of an image on the page, in pixels: sharp enough, and a map is drawn in a moment. */
export const LONGEST_SIDE = 1024;

/** Width and height with the longest side at most `longest`, never enlarged. */
export function fitted(width: number, height: number, longest: number): { width: number; height: number } {
  const scale = Math.min(1, longest / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/** @throws {Error} with a message for users when the browser cannot read it. */
export async function loadImage(file: Blob, name: string): Promise<HTMLCanvasElement> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch (cause) {
    throw new Error(`${name} is not an image that this browser can read. Choose PNG, JPEG or WebP.`, {
      cause,
    });
  }
  const image = copyOf(bitmap, fitted(bitmap.width, bitmap.height, LONGEST_SIDE));
  bitmap.close();
  return image;
}

/** A copy of the current content of a source, at a size. */
export function copyOf(
  source: CanvasImageSource,
  { width, height }: { readonly width: number; readonly height: number },
): HTMLCanvasElement {
  const copy = blank(width, height);
  const context = contextOf(copy);
  context.imageSmoothingQuality = "high";
  // A transparent image is drawn on white, for users and for the model.
  context.fillStyle = "rgb(255 255 255)";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return copy;
}

export function encoded(image: HTMLCanvasElement, type: "image/png" | "image/jpeg"): Promise<Blob> {
  return new Promise((resolve, reject) => {
    image.toBlob(
      (blob) => {
        if (blob) resolve(blob);
        else reject(new Error("The browser could not encode the image. Choose a smaller one."));
      },
      type,
      0.92,
    );
  });
}
