/** Files that last as long as a request. */
import { randomUUID } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SoundspotError } from "../core/errors.js";

/** A folder among the system's temporary files, made on first use and removed when the process ends. */
export class TemporaryFolder {
  #made: Promise<string> | undefined;
  #path: string | undefined;

  /** A unique path that nobody can guess; the caller writes and removes the file. */
  async newPath(): Promise<string> {
    if (this.#path !== undefined && !existsSync(this.#path)) this.#forget(); // the system has removed it
    this.#made ??= mkdtemp(join(tmpdir(), "soundspot-serve-")).then((path) => {
      this.#path = path;
      process.once("exit", this.#removeNow);
      return path;
    });
    const made = this.#made;
    try {
      return join(await made, randomUUID());
    } catch (cause) {
      if (this.#made === made) this.#forget(); // the next upload tries again
      throw new SoundspotError(
        "ERR_FILE_WRITE",
        "The folder for temporary files cannot be written. Check that it exists and has free space.",
        { cause },
      );
    }
  }

  /** Removes the folder with its content. */
  async remove(): Promise<void> {
    if (this.#made) await rm(await this.#made, { recursive: true, force: true });
    this.#forget();
  }

  #forget(): void {
    process.off("exit", this.#removeNow);
    this.#made = undefined;
    this.#path = undefined;
  }

  readonly #removeNow = (): void => {
    if (this.#path) rmSync(this.#path, { recursive: true, force: true });
  };
}
