/** Which videos there are: in folders, in tar archives, named by themselves or in a list. */
import { randomUUID } from "node:crypto";
import { createWriteStream, type Stats } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { writing } from "../files/atomic-writes.js";
import { checkMediaFile } from "../files/media-file.js";
import { readText } from "../files/text.js";
import { readTar, type TarEntry } from "../media/tar.js";
import type { NamedVideo } from "./sample-ids.js";

export interface FoundVideo extends NamedVideo {
  /** What messages call it: the path, for an entry of an archive `ARCHIVE#ENTRY`. */
  readonly name: string;
  /** The file, or the archive that it is in. */
  readonly path: string;
  /** Place among the entries of its archive, from 0. */
  readonly entry?: number;
  /** Name of the folder that it lies in. */
  readonly parent?: string;
  /** Why it cannot be read at all. */
  readonly problem?: SoundspotError;
}

/** A video as a file, or why there is none. */
export interface OpenedVideo<V extends FoundVideo> {
  readonly video: V;
  readonly path: string;
  readonly problem?: SoundspotError;
  /** Deletes what was unpacked for it. */
  close(): Promise<void>;
}

/** Names of files that count as videos. */
export const VIDEO = /\.(mp4|m4v|mov|mkv|webm|avi|flv|wmv|mpe?g|m2?ts|mts|3gp|ogv)$/i;
const ARCHIVE = /\.(tar|tar\.gz|tgz)$/i;
/** What a run writes itself. */
const SHARD = /^shard-\d+\.tar$/;

export interface FindOptions {
  /** Real path of a folder in which the archives that a run writes are no input. */
  readonly output: string;
  /** Larger videos are a problem. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds the videos below folders, in archives, and those named by themselves or in a list (`.txt`, one
 * path per line, relative to the list). Folders and archives are searched for the usual endings; hidden
 * files and folders are skipped. The order depends on names alone.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND when an input is missing, ERR_FILE_EMPTY for an empty
 * list, ERR_ABORTED. What is wrong with one video or archive is its `problem`.
 */
export async function findVideos(input: readonly string[], options: FindOptions): Promise<FoundVideo[]> {
  const search = new Search(options);
  for (const path of input) await search.addInput(path);
  return search.found;
}

/** @throws {SoundspotError} ERR_FILE_NOT_FOUND when an input is missing. */
export async function checkInputs(input: readonly string[]): Promise<void> {
  for (const path of input) await infoOf(path);
}

class Search {
  readonly found: FoundVideo[] = [];
  readonly #options: FindOptions;
  /** Files and folders visited, by their real paths: overlapping inputs and links in a circle count once. */
  readonly #met = new Set<string>();

  constructor(options: FindOptions) {
    this.#options = options;
  }

  async addInput(path: string): Promise<void> {
    throwIfAborted(this.#options.signal);
    const info = await infoOf(path);
    if (info.isDirectory()) await this.#addFolder(path, basename(resolve(path)));
    else if (/\.txt$/i.test(path)) await this.#addList(path);
    else await this.#addFile(path, join(basename(dirname(resolve(path))), basename(path)), info.size);
  }

  async #addList(path: string): Promise<void> {
    if (!(await this.#isNew(path))) return;
    const lines = (await readText(path, this.#options.signal)).split(/\r?\n/).filter((line) => line.trim());
    for (const line of lines) {
      const listed = resolve(dirname(path), line.trim());
      try {
        await this.addInput(listed);
      } catch (error) {
        this.#addProblem(described(listed, basename(listed), 0), error);
      }
    }
  }

  async #addFolder(folder: string, source: string): Promise<void> {
    throwIfAborted(this.#options.signal);
    if (!(await this.#isNew(folder))) return;
    const isOutput = (await realpath(folder)) === this.#options.output;
    for (const name of await namesIn(folder)) {
      if (name.startsWith(".") || (isOutput && SHARD.test(name))) continue;
      const path = join(folder, name);
      const problemOf = (error: unknown) => this.#addProblem(described(path, `${source}/${name}`, 0), error);
      const info = await infoOf(path).catch((error: unknown) => {
        // Other broken links are ignored.
        if (isInput(name)) problemOf(error);
      });
      if (info?.isDirectory()) await this.#addFolder(path, `${source}/${name}`).catch(problemOf);
      else if (info?.isFile() && isInput(name)) await this.#addFile(path, `${source}/${name}`, info.size);
    }
  }

  async #addFile(path: string, source: string, bytes: number): Promise<void> {
    if (!(await this.#isNew(path))) return;
    if (ARCHIVE.test(path)) await this.#addArchive(path);
    else this.#add(described(path, source.split(sep).join("/"), bytes));
  }

  /** Lists an archive, passing over the contents. */
  async #addArchive(path: string): Promise<void> {
    const { signal } = this.#options;
    const archive = described(path, basename(path), 0);
    try {
      let entry = 0;
      for await (const content of readTar(path, { signal })) {
        const video = entryOf(archive, content, entry++);
        if (video) this.#add(video);
      }
    } catch (error) {
      this.#addProblem(archive, error);
    }
  }

  /** What is wrong with one file does not end the search. */
  #addProblem(video: FoundVideo, problem: unknown): void {
    if (!isDamage(problem)) throw problem;
    this.found.push({ ...video, problem });
  }

  #add(video: FoundVideo): void {
    const { maxBytes } = this.#options;
    if (video.bytes <= maxBytes) {
      this.found.push(video);
      return;
    }
    const problem = new SoundspotError(
      "ERR_INPUT",
      `${video.name} has ${video.bytes} bytes, more than the ${maxBytes} allowed. Raise maxBytes, or cut it.`,
    );
    this.found.push({ ...video, problem });
  }

  async #isNew(path: string): Promise<boolean> {
    const real = await realpath(path);
    if (this.#met.has(real)) return false;
    this.#met.add(real);
    return true;
  }
}

function isInput(name: string): boolean {
  return VIDEO.test(name) || ARCHIVE.test(name);
}

async function infoOf(path: string): Promise<Stats> {
  return stat(path).catch(async (cause: unknown) => {
    // Reports what is wrong with a path.
    await checkMediaFile(path);
    throw cause;
  });
}

/** In an order that does not depend on the file system. */
async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: Error) => {
    throw new SoundspotError(
      "ERR_FILE_NOT_FOUND",
      `The folder ${folder} cannot be read: ${cause.message}. Check its permissions.`,
      { cause },
    );
  });
  return names.sort();
}

function described(path: string, source: string, bytes: number): FoundVideo {
  const folders = dirname(resolve(path)).split(sep).filter(Boolean);
  const parent = folders.at(-1);
  const file = basename(path);
  return { name: path, path, file, source, bytes, folders, ...(parent === undefined ? {} : { parent }) };
}

/** A video in an archive, or nothing. Its name is taken apart and never used as a path. */
function entryOf(archive: FoundVideo, { name, type, size }: TarEntry, entry: number): FoundVideo | undefined {
  const parts = name.split(/[\\/]/).filter((part) => part !== "" && part !== "." && part !== "..");
  const file = parts.pop() ?? "";
  if (type === "directory" || file.startsWith(".") || !VIDEO.test(file)) return undefined;
  const parent = parts.at(-1);
  const video: FoundVideo = {
    name: `${archive.name}#${name}`,
    path: archive.path,
    entry,
    file,
    source: [archive.file, ...parts, file].join("/"),
    bytes: size,
    folders: [...archive.folders, archive.file.replace(ARCHIVE, ""), ...parts],
    ...(parent === undefined ? {} : { parent }),
  };
  if (type === "file") return video;
  const message = `${video.name} is no plain file in its archive, but a ${type === "other" ? "device" : `${type} file`}. Archive the file itself.`;
  return { ...video, problem: new SoundspotError("ERR_MEDIA_DECODE", message) };
}

/**
 * Gives the videos one after the other as files. Those of an archive are unpacked into `partial`, each
 * when it is requested, and deleted when closed.
 *
 * @throws {SoundspotError} ERR_FILE_WRITE when there is no space to unpack, ERR_ABORTED.
 */
export async function* openVideos<V extends FoundVideo>(
  videos: readonly V[],
  partial: string,
  signal?: AbortSignal,
): AsyncGenerator<OpenedVideo<V>, void, void> {
  const archives = new Map<string, V[]>();
  for (const video of videos) {
    const { path, problem } = video;
    if (problem) yield { video, path, problem, close: nothing };
    else if (video.entry === undefined) yield { video, path, close: nothing };
    else if (!archives.get(video.path)?.push(video)) archives.set(video.path, [video]);
  }
  for (const [archive, members] of archives) yield* unpackVideos(archive, members, partial, signal);
}

async function* unpackVideos<V extends FoundVideo>(
  archive: string,
  videos: readonly V[],
  partial: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<OpenedVideo<V>, void, void> {
  const wanted = new Map(videos.map((video) => [video.entry, video]));
  let problem = new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${archive} was changed while it was read. Run again.`,
  );
  try {
    let at = 0;
    for await (const entry of readTar(archive, { signal })) {
      const video = wanted.get(at++);
      if (!video) continue;
      if (video.name !== `${archive}#${entry.name}`) break;
      const path = join(partial, `${randomUUID()}${extname(video.file)}`);
      const close = () => rm(path, { force: true });
      await unpack(entry, path, signal);
      wanted.delete(video.entry);
      yield { video, path, close };
      if (wanted.size === 0) return;
    }
  } catch (error) {
    if (!isDamage(error)) throw error;
    problem = error;
  }
  for (const video of wanted.values()) {
    yield { video, path: archive, problem, close: nothing };
  }
}

async function nothing(): Promise<void> {}

/** Whether an error is about an archive, so that the others can still be read. */
function isDamage(error: unknown): error is SoundspotError {
  return (
    isSoundspotError(error) &&
    ["ERR_MEDIA_DECODE", "ERR_FILE_NOT_FOUND", "ERR_FILE_EMPTY"].includes(error.code)
  );
}

/** Through a file, not a pipe: MP4 keeps its index at the end, which a pipe cannot reach. */
async function unpack(entry: TarEntry, path: string, signal: AbortSignal | undefined): Promise<void> {
  await writing(path, async () => {
    try {
      await pipeline(entry.content, createWriteStream(path), signal ? { signal } : {});
    } catch (cause) {
      await rm(path, { force: true });
      throwIfAborted(signal);
      throw cause;
    }
  });
}
