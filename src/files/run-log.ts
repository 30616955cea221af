/** Files of JSON lines that a run appends to, and that a resumed run cuts back to the place it goes on from. */
import { appendFile, readFile, rm, truncate } from "node:fs/promises";
import { replaceFile, writing } from "./atomic-writes.js";

export class RunLog {
  readonly #path: string;
  readonly #always: boolean;
  #pending: string[] = [];
  /** Bytes of whole lines in the file. */
  #length = 0;
  /** Whether a write failed, and may have left part of its lines. */
  #torn = false;

  /** @param options.always The file is there also where it has no lines. Default true. */
  constructor(path: string, { always = true }: { readonly always?: boolean } = {}) {
    this.#path = path;
    this.#always = always;
  }

  /**
   * Keeps the entries that `keep` wants; empty and torn lines go.
   * @returns those that stay
   * @throws {SoundspotError} ERR_FILE_WRITE
   */
  async cutTo<T>(keep: (entry: T) => boolean): Promise<T[]> {
    return writing(this.#path, async () => {
      const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      const entries: T[] = [];
      const kept = (text ?? "").split("\n").filter((line) => {
        try {
          const entry = JSON.parse(line) as T;
          if (!keep(entry)) return false;
          entries.push(entry);
          return true;
        } catch {
          return false; // an empty or torn line
        }
      });
      const content = kept.map((line) => `${line}\n`).join("");
      if (this.#always || content !== "") await replaceFile(this.#path, content);
      else if (text !== undefined) await rm(this.#path);
      this.#length = Buffer.byteLength(content);
      return entries;
    });
  }

  add(entry: unknown): void {
    this.#pending.push(`${JSON.stringify(entry)}\n`);
  }

  /** Writes what was added; what cannot be written stays for the next time. @throws {SoundspotError} ERR_FILE_WRITE */
  async flush(): Promise<void> {
    const text = this.#pending.join("");
    if (!text) return;
    await writing(this.#path, async () => {
      if (this.#torn) await truncate(this.#path, this.#length);
      this.#torn = true;
      await appendFile(this.#path, text, { flush: true });
      this.#torn = false;
    });
    this.#length += Buffer.byteLength(text);
    this.#pending = [];
  }
}
