/** Reading of files whole, with errors that state what is wrong with a path. */
import { readFile, stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { isError, SoundspotError, throwIfAborted } from "../core/errors.js";

/**
 * Reads a whole media file.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED
 */
export async function readMediaFile(path: string, signal?: AbortSignal): Promise<Uint8Array> {
  await checkMediaFile(path);
  try {
    return bytesOf(await readFile(path, signal ? { signal } : {}));
  } catch (cause) {
    throwIfAborted(signal);
    throw unreadable(path, cause);
  }
}

/**
 * Checks that a file is there and has content, without reading it.
 * @returns its size in bytes
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY
 */
export async function checkMediaFile(path: string): Promise<number> {
  const info = await stat(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  if (info.isDirectory()) {
    throw new SoundspotError(
      "ERR_FILE_NOT_FOUND",
      `${path} is a folder, not a file. Give the path of a file in it.`,
    );
  }
  if (!info.isFile()) {
    throw new SoundspotError(
      "ERR_FILE_NOT_FOUND",
      `${path} is no plain file, but a device, a pipe or a socket. Copy its content into a file.`,
    );
  }
  if (info.size === 0) {
    throw new SoundspotError(
      "ERR_FILE_EMPTY",
      `The file ${path} is empty (0 bytes). Copy or download it again.`,
    );
  }
  return info.size;
}

/** Why a file cannot be opened or read. */
export function unreadable(path: string, cause: unknown): SoundspotError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const message =
    code === "ENOENT" || code === "ENOTDIR"
      ? `The file ${path} does not exist. Check the path${isAbsolute(path) ? "" : `; relative paths start at ${process.cwd()}`}.`
      : `The file ${path} cannot be read: ${reasonOf(cause)}. Check its permissions.`;
  return new SoundspotError("ERR_FILE_NOT_FOUND", message, { cause });
}

/** The first line of an error's message, without its full stop, to be put into a sentence. */
export function reasonOf(cause: unknown): string {
  const message = isError(cause) ? cause.message : String(cause);
  return (message.trim().split("\n")[0] ?? "").replace(/\.$/, "");
}

/** The same memory as a plain Uint8Array: a Buffer's own `slice` and `toJSON` surprise callers. */
export function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
