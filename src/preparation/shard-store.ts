/** Samples in tar archives as WebDataset has them: `ID.jpg`, `ID.wav` and `ID.json`, one after the other. */
import { type FileHandle, open, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { isSoundspotError } from "../core/errors.js";
import { INDEX_NAME, writeShardIndex } from "../datasets/shards/shard-index.js";
import { Queue, writing } from "../files/atomic-writes.js";
import { parseJsonLines } from "../files/jsonl-log.js";
import { readTar, tarEnd, tarEntry } from "../media/tar.js";
import { isSample, type PreparedSample, type SampleStore } from "./sample-store.js";
import type { SampleMedia } from "./video-sample.js";

/** An archive that is being written. */
interface OpenShard {
  readonly name: string;
  readonly temporary: string;
  readonly file: FileHandle;
  readonly samples: PreparedSample[];
  /** Where whole samples end, in bytes. */
  end: number;
}

const NAME = /^shard-(\d{6,})\.tar$/;

export class ShardStore implements SampleStore {
  readonly #folder: string;
  readonly #partial: string;
  readonly #size: number;
  readonly #there: ReadonlySet<string>;
  /** Samples are written one after the other, each whole. */
  readonly #queue = new Queue();
  #number: number;
  #shard: OpenShard | undefined;

  private constructor(folder: string, partial: string, size: number, names: readonly string[]) {
    this.#folder = folder;
    this.#partial = partial;
    this.#size = size;
    this.#there = new Set(names);
    this.#number = Math.max(-1, ...names.map((name) => Number(NAME.exec(name)?.[1]))) + 1;
  }

  static async open(folder: string, partial: string, size: number): Promise<ShardStore> {
    return new ShardStore(folder, partial, size, await shardNames(folder));
  }

  async whole(listed: readonly PreparedSample[], signal: AbortSignal | undefined): Promise<PreparedSample[]> {
    const byShard = new Map<string, PreparedSample[]>();
    for (const sample of listed) {
      const { shard = "" } = sample;
      if (!byShard.get(shard)?.push(sample)) byShard.set(shard, [sample]);
    }
    const found: PreparedSample[] = [];
    for (const shard of [...this.#there].sort()) {
      const samples = byShard.get(shard) ?? [];
      // Its run may have ended between naming it and listing it.
      const complete = samples.length > 0 && samples.length === samples[0]?.shardSamples;
      found.push(...(complete ? samples : await samplesIn(join(this.#folder, shard), shard, signal)));
    }
    return found;
  }

  async holds(): Promise<boolean> {
    return false;
  }

  add(sample: PreparedSample, { jpeg, wav }: SampleMedia): Promise<readonly PreparedSample[]> {
    const { id } = sample;
    const text = Buffer.from(`${JSON.stringify(sample)}\n`);
    const parts = [tarEntry(`${id}.jpg`, jpeg), tarEntry(`${id}.wav`, wav), tarEntry(`${id}.json`, text)];
    return this.#queue.run(async () => {
      const shard = await this.#open();
      await writing(shard.temporary, async () => {
        let at = shard.end;
        for (const part of parts) at = await writeAt(shard.file, part, at);
        shard.end = at;
      });
      shard.samples.push(sample);
      return shard.samples.length < this.#size ? [] : this.#close(shard);
    });
  }

  /** A last shard may be short. */
  finish(): Promise<readonly PreparedSample[]> {
    return this.#queue.run(async () => (this.#shard ? this.#close(this.#shard) : []));
  }

  /** How many samples each archive has, in the form of WebDataset's `wids-index`. */
  async list(samples: readonly PreparedSample[]): Promise<void> {
    const counts = new Map<string, number>();
    for (const { shard = "" } of samples) counts.set(shard, (counts.get(shard) ?? 0) + 1);
    if (counts.size === 0) return;
    const shards = [...counts].sort().map(async ([place, count]) => {
      const { size } = await stat(join(this.#folder, place));
      return { place, samples: count, bytes: size };
    });
    const path = join(this.#folder, INDEX_NAME);
    await writing(path, async () => writeShardIndex(path, await Promise.all(shards), this.#partial));
  }

  filesOf({ id, shard = "" }: PreparedSample): Record<string, string> {
    return { image: `${id}.jpg`, audio: `${id}.wav`, shard };
  }

  async #open(): Promise<OpenShard> {
    if (this.#shard) return this.#shard;
    const name = `shard-${String(this.#number++).padStart(6, "0")}.tar`;
    const temporary = join(this.#partial, name);
    const file = await writing(temporary, () => open(temporary, "w"));
    this.#shard = { name, temporary, file, samples: [], end: 0 };
    return this.#shard;
  }

  async #close(shard: OpenShard): Promise<readonly PreparedSample[]> {
    this.#shard = undefined;
    const { file, temporary, name, samples, end } = shard;
    if (samples.length === 0) {
      await file.close();
      return [];
    }
    await writing(join(this.#folder, name), async () => {
      try {
        // What a failed write left behind the last whole sample goes.
        await file.truncate(end);
        await writeAt(file, tarEnd, end);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, join(this.#folder, name));
    });
    return inShard(samples, name);
  }
}

/** The names of the shards in a folder. */
export async function shardNames(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => NAME.test(name));
}

/** @returns where the bytes end. */
async function writeAt(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  let written = 0;
  while (written < bytes.length) {
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten;
  }
  return at + bytes.length;
}

/** What the archive itself records of its samples; undefined where it is not one of ours. */
async function samplesIn(
  path: string,
  shard: string,
  signal: AbortSignal | undefined,
): Promise<PreparedSample[]> {
  const samples: PreparedSample[] = [];
  try {
    for await (const { name, content } of readTar(path, { signal })) {
      if (!name.endsWith(".json")) continue;
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece);
      samples.push(...parseJsonLines(Buffer.concat(pieces).toString("utf8"), isSample));
    }
  } catch (error) {
    if (!isSoundspotError(error) || error.code === "ERR_ABORTED") throw error;
  }
  return inShard(samples, shard);
}

function inShard(samples: readonly PreparedSample[], shard: string): PreparedSample[] {
  return samples.map((sample) => ({ ...sample, shard, shardSamples: samples.length }));
}
