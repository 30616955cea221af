/** Samples as loose files: `frames/ID.jpg` and `audio/ID.wav`. */
import { mkdir, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../core/errors.js";
import { replaceFile, writing } from "../files/atomic-writes.js";
import { isWav } from "../media/wav.js";
import type { PreparedSample, SampleStore } from "./sample-store.js";
import type { SampleMedia } from "./video-sample.js";

/** Looked at in one go: more than the threads that look, so that none waits. */
const LOOKS_AT_ONCE = 32;

export class FileStore implements SampleStore {
  readonly #folder: string;
  readonly #partial: string;
  /** Names in `frames`: avoids looking for missing files. */
  readonly #frames: ReadonlySet<string>;

  private constructor(folder: string, partial: string, frames: readonly string[]) {
    this.#folder = folder;
    this.#partial = partial;
    this.#frames = new Set(frames);
  }

  static async open(folder: string, partial: string): Promise<FileStore> {
    const frames = join(folder, "frames");
    await writing(folder, async () => {
      await mkdir(frames, { recursive: true });
      await mkdir(join(folder, "audio"), { recursive: true });
    });
    return new FileStore(folder, partial, await readdir(frames));
  }

  async whole(listed: readonly PreparedSample[], signal: AbortSignal | undefined): Promise<PreparedSample[]> {
    const found: PreparedSample[] = [];
    for (let at = 0; at < listed.length; at += LOOKS_AT_ONCE) {
      throwIfAborted(signal);
      const some = listed.slice(at, at + LOOKS_AT_ONCE);
      const there = await Promise.all(some.map(({ id }) => this.holds(id)));
      found.push(...some.filter((_, i) => there[i]));
    }
    return found;
  }

  async holds(id: string): Promise<boolean> {
    if (!this.#frames.has(`${id}.jpg`)) return false;
    return (await isWholeJpeg(this.#frame(id))) && (await isWholeWav(this.#audio(id)));
  }

  async add(sample: PreparedSample, { jpeg, wav }: SampleMedia): Promise<PreparedSample[]> {
    await replaceFile(this.#frame(sample.id), jpeg, this.#partial);
    await replaceFile(this.#audio(sample.id), wav, this.#partial);
    return [sample];
  }

  async finish(): Promise<PreparedSample[]> {
    return [];
  }

  async list(): Promise<void> {}

  filesOf({ id }: PreparedSample): Record<string, string> {
    return { image: `frames/${id}.jpg`, audio: `audio/${id}.wav` };
  }

  #frame(id: string): string {
    return join(this.#folder, "frames", `${id}.jpg`);
  }

  #audio(id: string): string {
    return join(this.#folder, "audio", `${id}.wav`);
  }
}

/** Whether a file begins and ends as JPEG does. */
async function isWholeJpeg(path: string): Promise<boolean> {
  const ends = await endsOf(path, 2);
  return ends !== undefined && ends.first.toString("hex") === "ffd8" && ends.last.toString("hex") === "ffd9";
}

/** Whether a file is as long as its WAV header states. */
async function isWholeWav(path: string): Promise<boolean> {
  const ends = await endsOf(path, 12);
  return ends !== undefined && isWav(ends.first) && ends.first.readUInt32LE(4) + 8 <= ends.size;
}

/** The first and the last bytes of a file; undefined when it is missing or shorter. */
async function endsOf(
  path: string,
  count: number,
): Promise<{ first: Buffer; last: Buffer; size: number } | undefined> {
  const file = await open(path).catch(() => undefined);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const [first, last] = [Buffer.alloc(count), Buffer.alloc(count)];
    if (size < count) return undefined;
    await file.read(first, 0, count, 0);
    await file.read(last, 0, count, size - count);
    return { first, last, size };
  } finally {
    await file.close();
  }
}
