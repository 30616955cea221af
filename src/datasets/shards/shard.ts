/** One archive of samples as WebDataset has them: files of one name up to its first dot, one after the other. */
import { Readable } from "node:stream";
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import { type ArchiveBytes, GzipBytes, readTar, type TarEntry } from "../../media/tar.js";
import { HttpBytes, type HttpBytesOptions } from "./http-bytes.js";
import { isRemote } from "./locate.js";

/** Endings of a member, without the dot and in small letters. */
export const imageEndings: readonly string[] = ["jpg", "jpeg", "png", "webp", "avif", "gif", "tif", "tiff"];
export const audioEndings: readonly string[] = ["wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac"];

/** Files of one sample by their endings, which are what follows the first dot: `jpg`, `wav`, `json`, `mask.png`. */
export type Members = ReadonlyMap<string, Uint8Array>;

export interface ShardSample {
  /** Among the whole samples of the archive, from 0. */
  readonly number: number;
  /** The name that its files share, folders included. */
  readonly key: string;
  /** undefined where they were not requested. */
  readonly members: Members | undefined;
}

export interface ReadShardOptions {
  /** The sample to begin with. Default 0. */
  readonly from?: number;
  /** Whether the files of a sample are read. Default all are. */
  readonly wanted?: (number: number) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What a look at all headers of an archive has found. */
export interface ShardContents {
  /** Whole samples, with an image and audio each. */
  readonly samples: number;
  /** Names without an image or without audio. */
  readonly parts: number;
  /** Why the archive ends early; its samples before that can be used. */
  readonly damage?: SoundspotError;
}

/** Bytes that the files of a sample may have together. No image with some seconds of audio has more. */
const MAX_SAMPLE = 2 ** 28;

/** A name that is no whole sample. */
interface Part {
  readonly part: string;
}

/** A sample whose files are being read. */
interface Open {
  readonly key: string;
  readonly endings: Set<string>;
  readonly members: Map<string, Uint8Array> | undefined;
  /** Of its members so far. */
  bytes: number;
}

export class Shard {
  /** A path or an http(s) address. */
  readonly place: string;
  readonly #http: HttpBytesOptions;
  /** Where samples begin, in bytes, as far as it is known; each is entered by the reading that goes past it. */
  readonly #starts: number[] = [0];
  #contents: Promise<ShardContents> | undefined;

  constructor(place: string, http: HttpBytesOptions = {}) {
    this.place = place;
    this.#http = http;
  }

  /**
   * Whole samples in the order of the archive; names without an image or audio are skipped and not counted.
   * @throws {SoundspotError} after the samples before it: ERR_MEDIA_DECODE where the archive is damaged; ERR_NETWORK,
   * ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED
   */
  async *samples(options: ReadShardOptions = {}): AsyncGenerator<ShardSample, void, void> {
    for await (const found of this.#read(options)) {
      if ("number" in found) yield found;
    }
  }

  /**
   * One sample.
   * @throws {SoundspotError} as `samples`; ERR_MEDIA_DECODE when the archive has fewer.
   */
  async sample(number: number, signal?: AbortSignal): Promise<ShardSample> {
    await this.contents(signal);
    const wanted = (each: number) => each === number;
    for await (const sample of this.samples({ from: number, wanted, signal })) return sample;
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${this.place} has no sample ${number}. Copy or download it again.`,
    );
  }

  /**
   * Looks at all headers, once; contents are skipped.
   * @throws {SoundspotError} ERR_NETWORK, ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_MEDIA_DECODE when it is
   * no archive.
   */
  contents(signal?: AbortSignal): Promise<ShardContents> {
    this.#contents ??= this.#look(signal).catch((error: unknown) => {
      this.#contents = undefined;
      throw error;
    });
    return this.#contents;
  }

  async #look(signal: AbortSignal | undefined): Promise<ShardContents> {
    let [samples, parts] = [0, 0];
    try {
      for await (const found of this.#read({ wanted: () => false, signal })) {
        if ("number" in found) samples++;
        else parts++;
      }
    } catch (error) {
      const within = isSoundspotError(error) && error.code === "ERR_MEDIA_DECODE";
      if (!within || samples + parts === 0) throw error;
      return { samples, parts, damage: error };
    }
    return { samples, parts };
  }

  async *#read({
    from = 0,
    wanted = () => true,
    signal,
  }: ReadShardOptions): AsyncGenerator<ShardSample | Part, void, void> {
    const known = Math.min(from, this.#starts.length - 1);
    let number = known;
    let open: Open | undefined;
    const close = (): ShardSample | Part | undefined => {
      if (!open) return undefined;
      const { key, endings, members } = open;
      open = undefined;
      const has = (some: readonly string[]) => some.some((ending) => endings.has(ending));
      if (!has(imageEndings) || !has(audioEndings)) return { part: key };
      return { number: number++, key, members };
    };
    const archive = this.#archive(signal);
    const start = this.#starts[known] as number;
    let damage: SoundspotError | undefined;
    for await (const entry of untilDamage(readTar(archive, { from: start, signal }))) {
      if (isSoundspotError(entry)) {
        damage = entry;
        break;
      }
      const name = entry.type === "file" ? nameOf(entry.name) : undefined;
      if (!name) continue;
      if (open?.key !== name.key) {
        const sample = close();
        // A part begins here at the earliest, and then the sample after it.
        this.#starts[number] ??= entry.start;
        if (sample && !("number" in sample && sample.number < from)) yield sample;
        const read = number >= from && wanted(number);
        open = {
          key: name.key,
          endings: new Set(),
          members: read ? new Map() : undefined,
          bytes: 0,
        };
      }
      open.endings.add(name.ending);
      open.bytes += entry.size;
      // Also where it is not read: nobody could use the samples after it, and unpacking it takes time.
      checkBytes(open.bytes, entry, this.place);
      open.members?.set(name.ending, await contentOf(entry));
    }
    const last = close();
    if (last && !("number" in last && last.number < from)) yield last;
    if (damage) throw damage;
  }

  #archive(signal: AbortSignal | undefined): string | ArchiveBytes {
    if (!isRemote(this.place)) return this.place;
    const bytes = new HttpBytes(this.place, { ...this.#http, signal });
    const packed = /\.(tgz|gz)$/i.test(new URL(this.place).pathname);
    return packed ? new GzipBytes(this.place, Readable.from(piecesOf(bytes))) : bytes;
  }
}

/** Entries, and at last why there are no more, if that is damage: those before it are whole. */
async function* untilDamage(
  entries: AsyncGenerator<TarEntry, void, void>,
): AsyncGenerator<TarEntry | SoundspotError, void, void> {
  try {
    for (;;) {
      const { value, done } = await entries.next();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (!isSoundspotError(error) || error.code !== "ERR_MEDIA_DECODE") throw error;
    yield error;
  } finally {
    await entries.return();
  }
}

async function* piecesOf(bytes: ArchiveBytes): AsyncGenerator<Uint8Array, void, void> {
  try {
    for (;;) {
      const piece = await bytes.read(2 ** 18);
      if (piece.length === 0) return;
      yield piece;
    }
  } finally {
    await bytes.close();
  }
}

/** Key and ending of an entry; undefined for what belongs to no sample. */
function nameOf(path: string): { readonly key: string; readonly ending: string } | undefined {
  const clean = path.replace(/^(\.\/)+/, "");
  const base = clean.lastIndexOf("/") + 1;
  const dot = clean.indexOf(".", base);
  // Names that begin with a dot or two lines are the archive's own.
  if (dot <= base || dot === clean.length - 1 || clean.startsWith("__", base)) return undefined;
  return { key: clean.slice(0, dot), ending: clean.slice(dot + 1).toLowerCase() };
}

function checkBytes(bytes: number, { name }: TarEntry, place: string): void {
  if (bytes <= MAX_SAMPLE) return;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} in ${place} brings the files of its sample to ${bytes} bytes; they may have ${MAX_SAMPLE}. Cut its audio or scale its image down.`,
  );
}

async function contentOf({ size, content }: TarEntry): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces, size);
}
