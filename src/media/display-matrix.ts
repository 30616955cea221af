/** The display matrix of MP4 and MOV files, read from the file: ffmpeg's log does not show mirroring. */
import { open } from "node:fs/promises";

/** How a coded frame becomes the one that is shown: [a, b, c, d] of x′ = a·x + c·y, y′ = b·x + d·y; entries −1, 0, 1. */
export type Orientation = readonly [number, number, number, number];

export const UPRIGHT: Orientation = [1, 0, 0, 1];

/** Of a turn clockwise, in degrees; a multiple of 90. */
export function turned(degrees: number): Orientation {
  const turns: Readonly<Record<number, Orientation>> = {
    90: [0, 1, -1, 0],
    180: [-1, 0, 0, -1],
    270: [0, -1, 1, 0],
  };
  return turns[degrees] ?? UPRIGHT;
}

/** Whether width and height change places. */
export function isQuarterTurn([a]: Orientation): boolean {
  return a === 0;
}

/** Filters of ffmpeg that show a frame as it is meant. */
export function orientationFilters([a, b, c, d]: Orientation): string[] {
  if (a === 0) {
    // 0 also flips over, 1 is clockwise, 2 counterclockwise, 3 clockwise and flipped.
    const way = b > 0 ? (c < 0 ? 1 : 0) : c > 0 ? 2 : 3;
    return [`transpose=${way}`];
  }
  return [...(a < 0 ? ["hflip"] : []), ...(d < 0 ? ["vflip"] : [])];
}

/** Boxes whose content is searched. */
const CONTAINERS = new Set(["moov", "trak", "mdia"]);
/** Of one box; an index of a day's recording stays far below. */
const MOST_BYTES = 2 ** 28;

interface Track {
  isVideo: boolean;
  matrix?: readonly number[];
}

/**
 * The orientations of a file's video tracks, in their order; nothing where it is no MP4 or MOV.
 * Damaged boxes end the search: matrices found before count.
 */
export async function readOrientations(path: string): Promise<Orientation[] | undefined> {
  const file = await open(path).catch(() => undefined);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const read = async (at: number, length: number) => {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - at)));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
      return bytes.subarray(0, bytesRead);
    };
    for (let at = 0, first = true; at + 8 <= size; first = false) {
      const box = boxAt(await read(at, 16), 0, size - at);
      if (!box) return first ? undefined : [];
      if (first && !/^(ftyp|moov|mdat|free|skip|wide|pnot|styp|sidx|moof|uuid)$/.test(box.type))
        return undefined;
      if (box.type === "moov")
        return box.length > MOST_BYTES ? [] : orientationsIn(await read(at, box.length));
      at += box.length;
    }
    return [];
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

function boxAt(
  bytes: Buffer,
  at: number,
  room: number,
): { type: string; length: number; head: number } | undefined {
  if (at + 8 > bytes.length) return undefined;
  const short = bytes.readUInt32BE(at);
  const type = bytes.toString("latin1", at + 4, at + 8);
  if (short === 1 && at + 16 > bytes.length) return undefined;
  const length = short === 0 ? room : short === 1 ? Number(bytes.readBigUInt64BE(at + 8)) : short;
  const head = short === 1 ? 16 : 8;
  return length < head ? undefined : { type, length, head };
}

function orientationsIn(moov: Buffer): Orientation[] {
  const tracks: Track[] = [];
  let movie: readonly number[] | undefined;
  const visit = (from: number, to: number) => {
    for (let at = from; at < to; ) {
      const box = boxAt(moov, at, to - at);
      if (!box) return;
      const [start, end] = [at + box.head, Math.min(at + box.length, to)];
      const track = tracks.at(-1);
      if (box.type === "trak") tracks.push({ isVideo: false });
      if (CONTAINERS.has(box.type)) visit(start, end);
      // Version 1 has longer times before the matrix.
      if (box.type === "mvhd") movie = matrixAt(moov, start + (moov[start] === 1 ? 48 : 36), end);
      if (box.type === "tkhd" && track) {
        const matrix = matrixAt(moov, start + (moov[start] === 1 ? 52 : 40), end);
        if (matrix) track.matrix = matrix;
      }
      if (box.type === "hdlr" && track && moov.toString("latin1", start + 8, start + 12) === "vide") {
        track.isVideo = true;
      }
      at += box.length;
    }
  };
  visit(0, moov.length);
  return tracks
    .filter(({ isVideo }) => isVideo)
    .map(({ matrix }) => orientationOf(times(matrix ?? UPRIGHT, movie ?? UPRIGHT)));
}

/** [a, b, c, d] of the nine numbers a b u c d v x y w. */
function matrixAt(bytes: Buffer, at: number, end: number): readonly number[] | undefined {
  if (at + 36 > end) return undefined;
  return [0, 4, 12, 16].map((offset) => bytes.readInt32BE(at + offset) / 65536);
}

/** Row vectors: the track's first, then the movie's. */
function times(first: readonly number[], second: readonly number[]): number[] {
  const [a = 1, b = 0, c = 0, d = 1] = first;
  const [e = 1, f = 0, g = 0, h = 1] = second;
  return [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
}

/** The nearest of the eight that turn by quarters and mirror. */
function orientationOf([a = 1, b = 0, c = 0, d = 1]: readonly number[]): Orientation {
  const straight = Math.abs(a) + Math.abs(d);
  const turnedBy = Math.abs(b) + Math.abs(c);
  if (straight === 0 && turnedBy === 0) return UPRIGHT;
  const sign = (value: number) => (value < 0 ? -1 : 1);
  return straight >= turnedBy ? [sign(a), 0, 0, sign(d)] : [0, sign(b), sign(c), 0];
}
