/**
 * Whether the end of an encoded image is missing, by the length that its format states. Decoders often do not report
 * it: libvips has one message buffer for all threads, and for some formats no message at all.
 */

import { isError } from "../core/errors.js";

const text = (bytes: Uint8Array, from: number, to: number) =>
  String.fromCharCode(...bytes.subarray(from, to));

/** true where the bytes begin as a JPEG, PNG, WebP, AVIF, GIF or TIFF does and end before the image does. */
export function isTruncated(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return isTruncatedJpeg(view);
    if (bytes[0] === 0x89 && text(bytes, 1, 4) === "PNG") return isTruncatedPng(view);
    if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP")
      return 8 + view.getUint32(4, true) > bytes.length;
    if (text(bytes, 0, 4) === "GIF8") return isTruncatedGif(view);
    if (text(bytes, 4, 8) === "ftyp") return isTruncatedBoxes(view);
    const order = text(bytes, 0, 2);
    if (order === "II" || order === "MM") return isTruncatedTiff(view, order === "II");
  } catch (error) {
    if (isError(error) && error.name === "RangeError") return true; // a field that the format promises lies past the end
    throw error;
  }
  return false;
}

/** Segments up to the end-of-image marker; those in the application data of a thumbnail are skipped. */
function isTruncatedJpeg(view: DataView): boolean {
  const isEnd = (marker: number) => marker === 0xd9;
  /** Markers without a length: fill bytes, restarts and TEM. */
  const isBare = (marker: number) => marker === 0xff || marker === 1 || (marker >= 0xd0 && marker <= 0xd7);
  let at = 2;
  for (;;) {
    // Also the entropy-coded data after a scan's header, in which FF 00 stands for FF.
    while (view.getUint8(at) !== 0xff || view.getUint8(at + 1) === 0) at++;
    const marker = view.getUint8(at + 1);
    if (isEnd(marker)) return false;
    if (isBare(marker)) at += marker === 0xff ? 1 : 2;
    else at += 2 + Math.max(2, view.getUint16(at + 2));
  }
}

function isTruncatedPng(view: DataView): boolean {
  let at = 8;
  for (;;) {
    const [length, type] = [view.getUint32(at), view.getUint32(at + 4)];
    view.getUint32(at + 8 + length); // the checksum
    if (type === 0x49454e44 /* IEND */) return false;
    at += 12 + length;
  }
}

function isTruncatedGif(view: DataView): boolean {
  const table = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  const afterBlocks = (from: number) => {
    let at = from;
    for (let size = view.getUint8(at); size > 0; size = view.getUint8(at)) at += 1 + size;
    return at + 1;
  };
  let at = 13 + table(view.getUint8(10));
  for (;;) {
    const kind = view.getUint8(at);
    if (kind === 0x21) at = afterBlocks(at + 2);
    else if (kind === 0x2c) at = afterBlocks(at + 11 + table(view.getUint8(at + 9)));
    else return false; // the trailer, or damage of another kind
  }
}

/** Boxes of ISO media files, one after the other to the end. */
function isTruncatedBoxes(view: DataView): boolean {
  let at = 0;
  let hasData = false;
  while (at < view.byteLength) {
    const [size, type] = [view.getUint32(at), view.getUint32(at + 4)];
    const length = size === 1 ? Number(view.getBigUint64(at + 8)) : size;
    hasData ||= type === 0x6d646174; /* mdat */
    if (length === 0) return false; // to the end
    if (length < 8) return false; // damage of another kind
    at += length;
  }
  return at > view.byteLength || !hasData;
}

/** Bytes of a value by its type. */
const TIFF_SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

/** Values of the first directory, and the strips or tiles that it names. BigTIFF is not checked. */
function isTruncatedTiff(view: DataView, little: boolean): boolean {
  if (view.getUint16(2, little) !== 42) return false;
  const directory = view.getUint32(4, little);
  const places: { offsets?: number[]; counts?: number[] } = {};
  for (let i = 0; i < view.getUint16(directory, little); i++) {
    const entry = directory + 2 + 12 * i;
    const [tag, type, count] = [
      view.getUint16(entry, little),
      view.getUint16(entry + 2, little),
      view.getUint32(entry + 4, little),
    ];
    const size = TIFF_SIZES[type] ?? 0;
    const from = size * count > 4 ? view.getUint32(entry + 8, little) : entry + 8;
    if (from + size * count > view.byteLength) return true;
    const values = () =>
      Array.from({ length: count }, (_, each) =>
        size === 2 ? view.getUint16(from + 2 * each, little) : view.getUint32(from + 4 * each, little),
      );
    if (tag === 273 || tag === 324) places.offsets = values();
    if (tag === 279 || tag === 325) places.counts = values();
  }
  const { offsets = [], counts = [] } = places;
  return offsets.some((offset, i) => offset + (counts[i] ?? 0) > view.byteLength);
}
