/** Files of JSON lines: a log that grows by whole lines, and the reader of its complete lines. */
import { appendFile, readFile, rm, stat, truncate } from "node:fs/promises";
import { SoundspotError } from "../core/errors.js";
import { Queue, replaceFile, writing } from "./atomic-writes.js";

export interface JsonlLogOptions {
  /** `cutTo` leaves a file also where it has no lines. Default true. */
  readonly always?: boolean;
  /** A flush ends when the lines are on the disk, not only with the system. Default false. */
  readonly sync?: boolean;
  /** What errors call the file. Default its path. */
  readonly name?: string;
}

/** Between two flushes the file is closed. What cannot be written stays for the next flush, and leaves no torn line. */
export class JsonlLog {
  readonly #path: string;
  readonly #always: boolean;
  readonly #sync: boolean;
  readonly #name: string;
  readonly #queue = new Queue();
  readonly #pending: string[] = [];
  /** Bytes of whole lines in the file before the write that may have failed. */
  #length: number | undefined;
  /** Whether a write failed, and may have left part of its lines. */
  #torn = false;

  constructor(path: string, { always = true, sync = false, name = path }: JsonlLogOptions = {}) {
    this.#path = path;
    this.#always = always;
    this.#sync = sync;
    this.#name = name;
  }

  /**
   * Keeps the entries that `keep` wants; empty and torn lines go.
   * @returns those that stay
   * @throws {SoundspotError} ERR_FILE_WRITE
   */
  async cutTo<T>(keep: (entry: T) => boolean): Promise<T[]> {
    return writing(this.#name, async () => {
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
      return entries;
    });
  }

  /** Adds a line, to be written with the next flush. */
  add(entry: unknown): void {
    this.#pending.push(`${JSON.stringify(entry)}\n`);
  }

  /** Writes what was added. @throws {SoundspotError} ERR_FILE_WRITE */
  flush(): Promise<void> {
    return this.#queue.run(() => this.#write());
  }

  /** Adds lines and writes them. @throws {SoundspotError} ERR_FILE_WRITE */
  append(entries: Iterable<unknown>): Promise<void> {
    for (const entry of entries) this.add(entry);
    return this.flush();
  }

  async #write(): Promise<void> {
    const lines = this.#pending.length;
    const text = this.#pending.join("");
    if (!text) return;
    await writing(this.#name, async () => {
      const size = await sizeOf(this.#path);
      this.#length = this.#torn ? Math.min(size, this.#length ?? size) : size;
      if (size > this.#length) await truncate(this.#path, this.#length);
      this.#torn = true;
      await appendFile(this.#path, text, { flush: this.#sync });
      this.#torn = false;
    });
    this.#pending.splice(0, lines);
  }
}

/** In bytes; 0 for a missing file. */
async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  }
}

/**
 * The values of a file of JSON lines that are of a kind. A last line that a killed process left
 * unfinished is skipped; without a file there are none.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND when it cannot be read.
 */
export async function readJsonLines<T>(path: string, isKind: (value: unknown) => value is T): Promise<T[]> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return "";
    throw new SoundspotError("ERR_FILE_NOT_FOUND", `${path} cannot be read: ${cause.message}.`, { cause });
  });
  return parseJsonLines(text, isKind);
}

export function parseJsonLines<T>(text: string, isKind: (value: unknown) => value is T): T[] {
  const values: T[] = [];
  for (const line of text.split("\n")) {
    try {
      const value: unknown = JSON.parse(line);
      if (isKind(value)) values.push(value);
    } catch {
      // Blank, or torn.
    }
  }
  return values;
}

export function jsonLines(values: Iterable<unknown>): string {
  return Array.from(values, (value) => `${JSON.stringify(value)}\n`).join("");
}
