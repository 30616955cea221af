/** Pictures: read from files, made smaller where they are large, written for the service. */
import { blank, contextOf } from "./dom.js";

/** Longest side of a picture on the page, in pixels: enough for the eye, and a map is drawn in a moment. */
export const LONGEST_SIDE = 1024;

/** Width and height with the longest side at most `longest`, never enlarged. */
export function fitted(width: number, height: number, longest: number): { width: number; height: number } {
  const scale = Math.min(1, longest / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/** @throws {Error} in words when the browser cannot read it. */
export async function loadPicture(file: Blob, name: string): Promise<HTMLCanvasElement> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch (cause) {
    throw new Error(`${name} is not a picture that this browser can read. Give PNG, JPEG or WebP.`, {
      cause,
    });
  }
  const picture = copyOf(bitmap, fitted(bitmap.width, bitmap.height, LONGEST_SIDE));
  bitmap.close();
  return picture;
}

/** What a source shows now, at a size. */
export function copyOf(
  source: CanvasImageSource,
  { width, height }: { readonly width: number; readonly height: number },
): HTMLCanvasElement {
  const copy = blank(width, height);
  const context = contextOf(copy);
  context.imageSmoothingQuality = "high";
  // A transparent picture is seen on white, by the reader and by the model.
  context.fillStyle = "rgb(255 255 255)";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return copy;
}

export function encoded(picture: HTMLCanvasElement, type: "image/png" | "image/jpeg"): Promise<Blob> {
  return new Promise((resolve, reject) => {
    picture.toBlob(
      (blob) => {
        if (blob) resolve(blob);
        else reject(new Error("The browser could not encode the picture. Give a smaller one."));
      },
      type,
      0.92,
    );
  });
}
