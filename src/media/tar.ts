/** Tar archives: read entry by entry without unpacking, and written entry by entry. */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { checkMediaFile } from "../files/media-file.js";

export interface TarEntry {
  /** As it stands in the archive: never a path to write to. */
  readonly name: string;
  /** "sparse" holds a file with its gaps left out, "link" points to another file, "other" is a device and the like. */
  readonly type: "file" | "directory" | "link" | "sparse" | "other";
  /** Where its headers begin, in bytes: a later reading may start there. */
  readonly start: number;
  /** Bytes of the content. */
  readonly size: number;
  /** The content in pieces. Read it once, before the next entry. */
  readonly content: AsyncIterable<Uint8Array>;
}

const BLOCK = 512;
const PIECE = 2 ** 20; // bytes read at once
/** Bytes read for a header: those after it are mostly read next. */
const AHEAD = 2 ** 14;
/** More than this is no name or attribute, but a damaged size. */
const MAX_ATTRIBUTES = 2 ** 20;
/** Eleven octal digits. */
const MAX_SIZE = 8 ** 11 - 1;

export interface ReadTarOptions {
  /** Of a plain archive: the `start` of an entry to begin with, in bytes. Default 0. */
  readonly from?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A run of bytes that is read forwards, from a file or from elsewhere. */
export interface ArchiveBytes {
  /** What messages call it: a path or an address. */
  readonly name: string;
  /** From the start, in bytes. */
  readonly position: number;
  /** Bytes in all, where that is known before the end. */
  readonly length: number | undefined;
  /** The next bytes, at most `count`; none at the end. */
  read(count: number): Promise<Uint8Array>;
  /** Skips bytes; the next read reports the end. */
  skip(count: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Reads an archive in the formats ustar, pax, GNU and v7, plain or gzipped. Of a plain one, contents
 * that nobody reads are skipped. As `tar` does, it stops at the two blocks
 * of zeros that mark the end.
 *
 * @param source a path, or bytes, which are closed at the end.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE when it is no
 * archive, damaged or cut off, with the place; ERR_ABORTED; what the bytes throw.
 * @example
 * for await (const { name, content } of readTar("clips.tar")) …
 */
export async function* readTar(
  source: string | ArchiveBytes,
  options: ReadTarOptions = {},
): AsyncGenerator<TarEntry, void, void> {
  const { from = 0, signal } = options;
  throwIfAborted(signal);
  const bytes = typeof source === "string" ? await openFile(source) : source;
  try {
    if (from > bytes.position) await bytes.skip(from - bytes.position);
    for await (const entry of entriesOf(bytes)) {
      throwIfAborted(signal);
      yield entry;
    }
  } finally {
    await bytes.close();
  }
}

/** @internal Says that an archive is damaged, and where. */
export function damaged(name: string, what: string, cause?: unknown): SoundspotError {
  return new SoundspotError(
    "ERR_MEDIA_DECODE",
    `The archive ${name} is damaged: ${what}. Copy or download it again.`,
    cause === undefined ? {} : { cause },
  );
}

async function openFile(path: string): Promise<ArchiveBytes> {
  await checkMediaFile(path);
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    const packed = buffer[0] === 0x1f && buffer[1] === 0x8b;
    if (!packed) return new FileBytes(path, file, (await file.stat()).size);
  } catch (cause) {
    await file.close();
    throw damaged(path, `it cannot be read (${(cause as Error).message})`, cause);
  }
  await file.close();
  return new GzipBytes(path, createReadStream(path, { highWaterMark: 2 ** 18 }));
}

/** Names the archive in a failure of the disk or of zlib. */
async function reading<T>(name: string, work: Promise<T>): Promise<T> {
  return work.catch((cause: unknown) => {
    if (isSoundspotError(cause)) throw cause;
    throw damaged(name, `it cannot be read on (${(cause as Error).message})`, cause);
  });
}

class FileBytes implements ArchiveBytes {
  readonly name: string;
  position = 0;
  readonly length: number;
  readonly #file: FileHandle;
  /** Bytes at `position` that were read with those before. */
  #ahead: Uint8Array = new Uint8Array(0);

  constructor(path: string, file: FileHandle, length: number) {
    this.name = path;
    this.#file = file;
    this.length = length;
  }

  async read(count: number): Promise<Uint8Array> {
    if (this.#ahead.length === 0) this.#ahead = await this.#readAt(this.position, Math.max(count, AHEAD));
    const piece = this.#ahead.subarray(0, count);
    this.#pass(piece.length);
    return piece;
  }

  async skip(count: number): Promise<void> {
    this.#pass(count);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #pass(count: number): void {
    this.#ahead = this.#ahead.subarray(count);
    this.position += count;
  }

  async #readAt(position: number, count: number): Promise<Uint8Array> {
    const { buffer, bytesRead } = await reading(
      this.name,
      this.#file.read(Buffer.allocUnsafe(count), 0, count, position),
    );
    return buffer.subarray(0, bytesRead);
  }
}

/** Gzipped bytes: skipping needs unpacking. */
export class GzipBytes implements ArchiveBytes {
  readonly name: string;
  position = 0;
  readonly length = undefined;
  readonly #stream = createGunzip({ chunkSize: 2 ** 16 });
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Uint8Array = new Uint8Array(0);

  /** @param packed destroyed with this. */
  constructor(name: string, packed: Readable) {
    this.name = name;
    // Errors of both arrive at the reader of the pieces.
    pipeline(packed, this.#stream, () => undefined);
    this.#pieces = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async read(count: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const { value, done } = await reading(this.name, this.#pieces.next());
      if (done) return this.#rest;
      this.#rest = value;
    }
    const piece = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(piece.length);
    this.position += piece.length;
    return piece;
  }

  skip(count: number): Promise<void> {
    return skipByReading(this, count);
  }

  async close(): Promise<void> {
    this.#stream.destroy();
  }
}

/** Passes over bytes that have to be read for it. */
export async function skipByReading(bytes: ArchiveBytes, count: number): Promise<void> {
  for (let left = count; left > 0; ) {
    const { length } = await bytes.read(left);
    if (length === 0) return;
    left -= length;
  }
}

/** Attributes of the next entry ahead of its header. */
type Attributes = Readonly<Record<string, string>>;

async function* entriesOf(bytes: ArchiveBytes): AsyncGenerator<TarEntry, void, void> {
  const { name: path } = bytes;
  let forAll: Attributes = {};
  let forNext: Attributes = {};
  let begin: number | undefined; // of the entry whose headers are read
  for (;;) {
    const start = bytes.position;
    begin ??= start;
    const header = await readWhole(bytes, BLOCK);
    if (header.length === 0) return;
    if (header.length < BLOCK && start > 0) {
      throw damaged(path, `it ends within the header at byte ${start}`);
    }
    if (header.length === BLOCK && header.every((byte) => byte === 0)) {
      const next = await readWhole(bytes, BLOCK);
      if (next.every((byte) => byte === 0)) return;
      throw damaged(path, `there is a block of zeros at byte ${start}, before the end`);
    }
    if (!hasItsChecksum(header)) {
      if (start > 0) throw damaged(path, `there is no header at byte ${start}`);
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${path} is not a tar archive, plain or gzipped. Give a .tar, .tar.gz or .tgz file.`,
      );
    }
    const kind = String.fromCharCode(header[156] || 0x30);
    const stated = numberIn(header, 124, 12);
    if ("xgLK".includes(kind)) {
      const content = await readAttributes(bytes, stated, path);
      if (kind === "x") forNext = { ...forNext, ...paxRecords(content, path, start) };
      if (kind === "g") forAll = { ...forAll, ...paxRecords(content, path, start) };
      if (kind === "L") forNext = { ...forNext, path: textIn(content, 0, content.length) };
      continue;
    }
    const attributes = { ...forAll, ...forNext };
    forNext = {};
    const entryStart = begin;
    begin = undefined;
    const name = attributes["GNU.sparse.name"] ?? attributes.path ?? nameIn(header);
    const type = typeOf(kind, name, attributes);
    // Whatever a header states, these have no content.
    const size = /[1-6]/.test(kind) ? 0 : attributes.size === undefined ? stated : Number(attributes.size);
    if (!(Number.isSafeInteger(size) && size >= 0)) {
      throw damaged(path, `the header at byte ${start} states no size`);
    }
    if (kind === "S") await skipSparseMap(header, bytes);
    const end = bytes.position + size;
    if (bytes.length !== undefined && end > bytes.length) throw cutOff(path, name);
    yield { name, type, start: entryStart, size, content: contentOf(bytes, end, path, name) };
    await bytes.skip(end - bytes.position);
    if (bytes.position < end) throw cutOff(path, name);
    await bytes.skip(paddingOf(size));
  }
}

function cutOff(path: string, name: string): SoundspotError {
  return damaged(path, `it ends within ${name}`);
}

async function* contentOf(
  bytes: ArchiveBytes,
  end: number,
  path: string,
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  while (bytes.position < end) {
    const piece = await bytes.read(Math.min(PIECE, end - bytes.position));
    if (piece.length === 0) throw cutOff(path, name);
    yield piece;
  }
}

/** As many bytes as requested, or those that are left. */
async function readWhole(bytes: ArchiveBytes, count: number): Promise<Uint8Array> {
  const first = await bytes.read(count);
  if (first.length === count || first.length === 0) return first;
  const whole = new Uint8Array(count);
  whole.set(first);
  let filled = first.length;
  while (filled < count) {
    const piece = await bytes.read(count - filled);
    if (piece.length === 0) break;
    whole.set(piece, filled);
    filled += piece.length;
  }
  return whole.subarray(0, filled);
}

async function readAttributes(bytes: ArchiveBytes, size: number, path: string): Promise<Uint8Array> {
  const start = bytes.position;
  if (!(size >= 0 && size <= MAX_ATTRIBUTES)) {
    throw damaged(path, `the attributes at byte ${start} take ${size} bytes`);
  }
  const content = await readWhole(bytes, size);
  if (content.length < size) throw damaged(path, `it ends within the attributes at byte ${start}`);
  await bytes.skip(paddingOf(size));
  return content;
}

/**
 * Records are `LENGTH KEY=VALUE\n`, the length in bytes and of all of it. Only those that are used are kept, as they may
 * be for every entry that follows.
 */
function paxRecords(content: Uint8Array, path: string, start: number): Attributes {
  const records: Record<string, string> = {};
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  for (let at = 0; at < bytes.length; ) {
    const head = /^(\d{1,7}) ([^=]+)=/.exec(bytes.toString("latin1", at, at + 512));
    const end = at + Number(head?.[1] ?? 0);
    if (!head || end > bytes.length || bytes[end - 1] !== 0x0a) {
      throw damaged(path, `the attributes at byte ${start} do not fit their lengths`);
    }
    const key = head[2] as string;
    // Other attributes are not kept: an archive may have any number of them.
    if (["path", "size", "GNU.sparse.name"].includes(key)) {
      records[key] = bytes.toString("utf8", at + head[0].length, end - 1);
    } else if (key.startsWith("GNU.sparse.")) {
      records["GNU.sparse."] = "";
    }
    at = end;
  }
  return records;
}

/** The old GNU form of a sparse file: its map goes on in blocks of its own, each marked whether it is the last. */
async function skipSparseMap(header: Uint8Array, bytes: ArchiveBytes): Promise<void> {
  let goesOn = header[482] === 1;
  while (goesOn) goesOn = (await readWhole(bytes, BLOCK))[504] === 1;
}

function typeOf(kind: string, name: string, attributes: Attributes): TarEntry["type"] {
  if (Object.keys(attributes).some((key) => key.startsWith("GNU.sparse."))) return "sparse";
  // v7 knows a directory by its name alone.
  if (kind === "0") return name.endsWith("/") ? "directory" : "file";
  const types: Readonly<Record<string, TarEntry["type"]>> = {
    "7": "file",
    "5": "directory",
    "1": "link",
    "2": "link",
    S: "sparse",
  };
  return types[kind] ?? "other";
}

function nameIn(header: Uint8Array): string {
  const name = textIn(header, 0, 100);
  // GNU's own format ends its mark with a space and keeps times where ustar has the prefix.
  const prefix = textIn(header, 257, 263) === "ustar" ? textIn(header, 345, 500) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Some old writers summed signed bytes. */
function hasItsChecksum(header: Uint8Array): boolean {
  if (header.length < BLOCK) return false;
  const stated = numberIn(header, 148, 8);
  const signed = new Int8Array(header.buffer, header.byteOffset, BLOCK);
  return stated === checksumOf(header) || stated === checksumOf(signed);
}

/** The checksum's own field counts as spaces. */
function checksumOf(header: Uint8Array | Int8Array): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i] as number;
  return sum;
}

/** Octal digits, or big-endian bytes when the first bit is set. NaN when it is neither. */
function numberIn(header: Uint8Array, at: number, length: number): number {
  const field = header.subarray(at, at + length);
  if ((field[0] ?? 0) & 0x80) {
    return field.subarray(1).reduce((value, byte) => value * 256 + byte, (field[0] as number) & 0x7f);
  }
  const digits = textIn(header, at, at + length).trim();
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || "0", 8) : Number.NaN;
}

/** UTF-8 up to the first zero. */
function textIn(bytes: Uint8Array, from: number, to: number): string {
  const field = bytes.subarray(from, to);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end)).toString("utf8");
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** What ends an archive. */
export const tarEnd: Uint8Array = new Uint8Array(2 * BLOCK);

/**
 * A file as an entry of an archive: header, content and padding, in ustar; a name that ustar cannot
 * hold goes ahead in a pax header. An archive is its entries one after the other, then {@link tarEnd}.
 *
 * @throws {SoundspotError} ERR_INPUT when the content is 8 GiB or more, or there is no name.
 */
export function tarEntry(name: string, content: Uint8Array, modified: Date = new Date()): Uint8Array {
  if (name === "" || content.length > MAX_SIZE) {
    throw new SoundspotError("ERR_INPUT", `The entry "${name}" needs a name and less than 8 GiB of content.`);
  }
  const seconds = Math.max(0, Math.floor(modified.getTime() / 1000));
  const fits = name.length <= 100 && /^[\x20-\x7e]+$/.test(name);
  const short = fits ? name : name.replace(/[^\x20-\x7e]/g, "_").slice(-100);
  const record = fits ? new Uint8Array(0) : paxRecord("path", name);
  const parts = [
    ...(fits ? [] : [headerOf(short.slice(-96), record.length, "x", seconds), padded(record)]),
    headerOf(short, content.length, "0", seconds),
    padded(content),
  ];
  return Buffer.concat(parts.flat());
}

function padded(content: Uint8Array): Uint8Array[] {
  return [content, new Uint8Array(paddingOf(content.length))];
}

function paxRecord(key: string, value: string): Uint8Array {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  // The length counts its own digits.
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

function headerOf(name: string, size: number, kind: "0" | "x", seconds: number): Uint8Array {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    header.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
  header.write(name, 0, "latin1");
  octal(0o644, 100, 8);
  octal(0, 108, 8); // user
  octal(0, 116, 8); // group
  octal(size, 124, 12);
  octal(seconds, 136, 12);
  header.write(kind, 156, "latin1");
  header.write("ustar\0" + "00", 257, "latin1");
  header.write(`${checksumOf(header).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
