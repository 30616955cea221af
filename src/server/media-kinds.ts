/** What an upload is by its first bytes: what decoders take from a caller's own files is more than a stranger may send. */
import { open } from "node:fs/promises";
import { HttpError } from "./http-error.js";

/** Bytes that are looked at. */
const HEAD = 4096;

/** JPEG, PNG, GIF, TIFF, WebP, AVIF. */
const pictures = /^(\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftyp)/s;

/** HLS, ffconcat, VobSub; DASH and IMF. AMR begins with "#" too. */
const playlists = /^(#(?!!AMR)|ffconcat)|<\w*:?(MPD|AssetMap|CompositionPlaylist)\b/i;

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

/**
 * A playlist would have the decoder open other files, which are not the client's.
 * @throws {HttpError} 400
 */
export function checkSound(bytes: Buffer): void {
  checkNoPlaylist("audio", bytes.subarray(afterTags(bytes)));
}

/** The same for a file. @throws {HttpError} 400 */
export async function checkVideo(path: string): Promise<void> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0);
    const head = buffer.subarray(0, bytesRead);
    // Of sounds alone.
    if (head.toString("latin1", 0, 3) === "ID3") throw noVideo();
    checkNoPlaylist("video", head);
  } finally {
    await file.close();
  }
}

function noVideo(): HttpError {
  return new HttpError(
    400,
    "ERR_MEDIA_DECODE",
    "video cannot be decoded as video: it is a sound. Send it as audio, with an image.",
  );
}

function checkNoPlaylist(name: "audio" | "video", bytes: Buffer): void {
  // Probes for text end at the first zero.
  const [text = ""] = bytes.toString("latin1", 0, HEAD).split("\0", 1);
  if (!playlists.test(text)) return;
  throw new HttpError(
    400,
    "ERR_MEDIA_DECODE",
    `${name} cannot be decoded: it is a list of other files. Send the ${name === "audio" ? "sound" : "video"} itself.`,
  );
}

/** Where ID3v2 tags end, which decoders skip: 10 bytes, the last 4 of them the size of the rest in 7 bits each. */
function afterTags(bytes: Buffer): number {
  let at = 0;
  while (bytes.toString("latin1", at, at + 3) === "ID3" && at + 10 <= bytes.length) {
    const size = [6, 7, 8, 9].reduce((sum, i) => sum * 128 + ((bytes[at + i] as number) & 0x7f), 0);
    const footer = (bytes[at + 5] as number) & 0x10 ? 10 : 0;
    at += 10 + size + footer;
  }
  return at;
}
