/** Files that last as long as a request. */
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder in the system's place for temporary files, made on first use and gone when the process ends. */
export class TemporaryFolder {
  #made: Promise<string> | undefined;
  #path: string | undefined;

  /** A path that nobody else has or can guess; the file is for the caller to write and to remove. */
  async newPath(): Promise<string> {
    this.#made ??= mkdtemp(join(tmpdir(), "soundspot-serve-")).then((path) => {
      this.#path = path;
      process.once("exit", this.#removeNow);
      return path;
    });
    return join(await this.#made, randomUUID());
  }

  /** Removes the folder with what is still in it. */
  async remove(): Promise<void> {
    if (this.#made) await rm(await this.#made, { recursive: true, force: true });
    process.off("exit", this.#removeNow);
  }

  readonly #removeNow = (): void => {
    if (this.#path) rmSync(this.#path, { recursive: true, force: true });
  };
}
