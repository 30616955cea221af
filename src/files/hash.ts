/** Hashes of files. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { throwIfAborted } from "../core/errors.js";
import { unreadable } from "./media-file.js";

/** SHA-256 of a file's content, in hexadecimal. @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_ABORTED. */
export async function hashOf(path: string, signal?: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash, signal ? { signal } : {});
  } catch (cause) {
    throwIfAborted(signal);
    throw unreadable(path, cause);
  }
  return hash.digest("hex");
}
