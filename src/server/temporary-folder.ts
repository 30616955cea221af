/** Files that last as long as a request. */
import { randomUUID } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SoundspotError } from "../core/errors.js";

/** A folder in the system's place for temporary files, made on first use and gone when the process ends. */
export class TemporaryFolder {
  #made: Promise<string> | undefined;
  #path: string | undefined;

  /** A path that nobody else has or can guess; the file is for the caller to write and to remove. */
  async newPath(): Promise<string> {
    if (this.#path !== undefined && !existsSync(this.#path)) this.#forget(); // the system has tidied up
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
        "The folder for temporary files cannot be written. See that it is there and has free space.",
        { cause },
      );
    }
  }

  /** Removes the folder with what is still in it. */
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
