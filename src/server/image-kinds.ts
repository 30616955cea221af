/** Accepted image formats of uploads: fewer than decoders accept from local files. */
import { imageKind } from "../media/image.js";
import { HttpError } from "./http-error.js";

/**
 * Accepts pixel formats only: an SVG is a program, which may draw for hours and cannot be stopped.
 * @throws {HttpError} 400
 */
export function checkImage(bytes: Buffer): void {
  if (bytes.length === 0 || imageKind(bytes) === "pixels") return;
  throw new HttpError(
    400,
    "ERR_MEDIA_DECODE",
    "image cannot be decoded: it is not a JPEG, PNG, WebP, AVIF, GIF or TIFF. Convert it to one of them.",
  );
}
