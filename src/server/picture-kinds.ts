/** What a picture is by its first bytes: decoders take more from a caller's own files than a stranger may send. */
import { HttpError } from "./http-error.js";

/** Bytes that are looked at. */
const HEAD = 4096;

/** JPEG, PNG, GIF, TIFF, WebP, AVIF. */
const pictures = /^(\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftyp)/s;

/**
 * Pictures of pixels alone: an SVG is a program, which may draw for hours and cannot be stopped.
 * @throws {HttpError} 400
 */
export function checkPicture(bytes: Buffer): void {
  if (bytes.length === 0 || pictures.test(bytes.toString("latin1", 0, HEAD))) return;
  throw new HttpError(
    400,
    "ERR_MEDIA_DECODE",
    "image cannot be decoded: it is no JPEG, PNG, WebP, AVIF, GIF or TIFF. Convert it to one of them.",
  );
}
