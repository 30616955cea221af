/** Which pictures are taken: decoders take more from a caller's own files than a stranger may send. */
import { imageKind } from "../media/image.js";
import { HttpError } from "./http-error.js";

/**
 * Pictures of pixels alone: an SVG is a program, which may draw for hours and cannot be stopped.
 * @throws {HttpError} 400
 */
export function checkPicture(bytes: Buffer): void {
  if (bytes.length === 0 || imageKind(bytes) === "pixels") return;
  throw new HttpError(
    400,
    "ERR_MEDIA_DECODE",
    "image cannot be decoded: it is no JPEG, PNG, WebP, AVIF, GIF or TIFF. Convert it to one of them.",
  );
}
