/** The images, audio files and videos in a folder, and their state on disk. */
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { isSoundspotError, type SoundspotError, throwIfAborted } from "../core/errors.js";
import { unreadable } from "../files/media-file.js";
import { VIDEO } from "../preparation/video-sources.js";

export type MediaType = "image" | "audio" | "video";

export interface FileState {
  readonly bytes: number;
  /** Of its last change, in milliseconds since 1970. */
  readonly modified: number;
}

export interface MediaFile extends FileState {
  /** Relative to the folder, with "/" between names. */
  readonly path: string;
  readonly type: MediaType;
}

/** A file or folder that could not be read, and the reason. */
export interface SkippedFile {
  /** Relative to the folder. */
  readonly file: string;
  readonly code: string;
  readonly reason: string;
}

const IMAGE = /\.(jpe?g|png|webp|avif|gif|tiff?)$/i;
const AUDIO = /\.(wav|mp3|flac|ogg|oga|opus|m4a|aac|wma|aiff?)$/i;

function typeOf(name: string): MediaType | undefined {
  if (IMAGE.test(name)) return "image";
  if (AUDIO.test(name)) return "audio";
  return VIDEO.test(name) ? "video" : undefined;
}

/**
 * Finds media files by the usual extensions, to any depth. Hidden files and folders are skipped, links are followed, and
 * a file that is found twice counts once. The order depends on names alone.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND when the folder itself cannot be read, ERR_ABORTED.
 */
export async function findMedia(
  folder: string,
  signal?: AbortSignal | undefined,
): Promise<{ readonly files: readonly MediaFile[]; readonly skipped: readonly SkippedFile[] }> {
  const files: MediaFile[] = [];
  const skipped: SkippedFile[] = [];
  const met = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    throwIfAborted(signal);
    const here = join(folder, path);
    const real = await realpath(here);
    if (met.has(real)) return;
    met.add(real);
    for (const name of (await readdir(here)).sort()) {
      if (name.startsWith(".")) continue;
      const inside = path === "" ? name : `${path}/${name}`;
      const type = typeOf(name);
      try {
        const info = await stat(join(folder, inside));
        if (info.isDirectory()) await visit(inside);
        if (!info.isFile() || type === undefined) continue;
        const target = await realpath(join(folder, inside));
        if (met.has(target)) continue;
        met.add(target);
        files.push({ path: inside, type, bytes: info.size, modified: info.mtimeMs });
      } catch (error) {
        throwIfAborted(signal);
        // A broken link to another kind of file does not matter.
        if (type === undefined && (error as NodeJS.ErrnoException).code === "ENOENT") continue;
        skipped.push(skippedFile(inside, unreadable(join(folder, inside), error)));
      }
    }
  };
  try {
    await visit("");
  } catch (error) {
    if (isSoundspotError(error)) throw error;
    throw unreadable(folder, error);
  }
  return { files, skipped };
}

export function skippedFile(file: string, { code, message }: SoundspotError): SkippedFile {
  return { file, code, reason: message };
}

export async function stateOf(path: string): Promise<FileState> {
  const info = await stat(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  return { bytes: info.size, modified: info.mtimeMs };
}
