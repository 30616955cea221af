/** The folder that a preparation writes: samples, what is done and what failed, and the manifest. */
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { SoundspotError } from "../core/errors.js";
import { replaceFile, writing } from "../files/atomic-writes.js";
import { lockFolder } from "../files/folder-lock.js";
import { JsonlLog, jsonLines, readJsonLines } from "../files/jsonl-log.js";
import { FileStore } from "./file-store.js";
import { isSample, type PreparedSample, type SampleStore } from "./sample-store.js";
import { ShardStore, shardNames } from "./shard-store.js";
import type { SampleMedia, SampleSettings } from "./video-sample.js";

/** What every sample of a folder has in common; kept in `prepare.json`. */
export interface FolderSettings extends SampleSettings {
  readonly layout: "files" | "shards";
}

/** A video that gave no sample: a line of `failed.jsonl`. */
export interface FailedVideo {
  readonly id: string;
  /** Path of the video, for an entry of an archive `ARCHIVE#ENTRY`. */
  readonly file: string;
  readonly code: string;
  readonly message: string;
}

/** Whether a preparation may write or remove a file, by its path within the folder. It replaces no shard. */
export function isPreparedFile(file: string): boolean {
  return (
    /^((manifest|prepared|failed)\.jsonl|prepare\.(json|lock.*)|shardindex\.json)$/.test(file) ||
    /^(frames\/[^/]+\.jpg|audio\/[^/]+\.wav|\.partial(\/.*)?)$/.test(file)
  );
}

export interface OpenFolderOptions {
  readonly settings: FolderSettings;
  /** Samples in a shard. */
  readonly shardSize: number;
  readonly signal?: AbortSignal | undefined;
}

export class PreparedFolder {
  /** Of this folder, for what is not whole yet; emptied when the folder is opened. */
  readonly partial: string;
  readonly #path: string;
  readonly #manifest: string;
  readonly #store: SampleStore;
  readonly #samples = new Map<string, PreparedSample>();
  readonly #failed: Map<string, FailedVideo>;
  readonly #log: JsonlLog;
  readonly #failedLog: JsonlLog;
  readonly #unlock: () => Promise<void>;

  private constructor(
    path: string,
    store: SampleStore,
    samples: readonly PreparedSample[],
    failed: readonly FailedVideo[],
    unlock: () => Promise<void>,
  ) {
    this.partial = join(path, ".partial");
    this.#path = path;
    this.#manifest = join(path, "manifest.jsonl");
    this.#store = store;
    this.#failed = new Map(failed.map((each) => [each.id, each]));
    this.#note(samples);
    this.#log = new JsonlLog(join(path, "prepared.jsonl"));
    this.#failedLog = new JsonlLog(join(path, "failed.jsonl"));
    this.#unlock = unlock;
  }

  /**
   * Opens a folder for one run, creating it where it is missing, and finds what is done.
   * @throws {SoundspotError} ERR_FILE_WRITE when it cannot be written or another run is at work there;
   * ERR_CONFIG when it holds samples of other settings, or a manifest that is not of this making;
   * ERR_ABORTED.
   */
  static async open(path: string, options: OpenFolderOptions): Promise<PreparedFolder> {
    await writing(path, () => mkdir(path, { recursive: true }));
    const unlock = await lockFolder(path);
    try {
      const { settings, shardSize, signal } = options;
      const partial = join(path, ".partial");
      const listed = await readJsonLines(join(path, "prepared.jsonl"), isSample);
      await checkSettings(path, settings, listed.length > 0);
      await writing(partial, async () => {
        await rm(partial, { recursive: true, force: true });
        await mkdir(partial);
      });
      await replaceFile(join(path, "prepare.json"), `${JSON.stringify(settings, null, 2)}\n`, partial);
      const store =
        settings.layout === "shards"
          ? await ShardStore.open(path, partial, shardSize)
          : await FileStore.open(path, partial);
      const failed = await readJsonLines(join(path, "failed.jsonl"), isFailure);
      const folder = new PreparedFolder(path, store, await store.whole(listed, signal), failed, unlock);
      await folder.#save();
      return folder;
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** What is done and on the disk; not the samples of a shard that is still open. */
  get samples(): ReadonlyMap<string, PreparedSample> {
    return this.#samples;
  }

  /**
   * Takes over a sample whose files are there but not listed: another program's, or a run's that was
   * ended between the two.
   * @returns whether there is one.
   */
  async adopt(sample: PreparedSample): Promise<boolean> {
    if (!(await this.#store.holds(sample.id))) return false;
    await this.#list([sample]);
    return true;
  }

  /** @throws {SoundspotError} ERR_FILE_WRITE */
  async add(sample: PreparedSample, media: SampleMedia): Promise<void> {
    await this.#list(await this.#store.add(sample, media));
  }

  /** @throws {SoundspotError} ERR_FILE_WRITE */
  async fail(failure: FailedVideo): Promise<void> {
    this.#failed.set(failure.id, failure);
    await this.#failedLog.append([failure]);
  }

  /** Gives a sample that is done another label. */
  relabel(id: string, label: string): void {
    const sample = this.#samples.get(id);
    if (sample) this.#samples.set(id, { ...sample, label });
  }

  /**
   * Finishes a shard begun, writes the manifest and releases the folder.
   * @returns the manifest's path.
   * @throws {SoundspotError} ERR_FILE_WRITE
   */
  async close(): Promise<string> {
    try {
      this.#note(await this.#store.finish());
    } finally {
      await this.#letGo();
    }
    return this.#manifest;
  }

  async #letGo(): Promise<void> {
    try {
      // What they could not write is in the lists that follow.
      await Promise.allSettled([this.#log.flush(), this.#failedLog.flush()]);
      await this.#save();
    } finally {
      await rm(this.partial, { recursive: true, force: true }).catch(() => undefined);
      await this.#unlock();
    }
  }

  async #list(onDisk: readonly PreparedSample[]): Promise<void> {
    this.#note(onDisk);
    if (onDisk.length > 0) await this.#log.append(onDisk);
  }

  #note(samples: readonly PreparedSample[]): void {
    for (const sample of samples) {
      this.#samples.set(sample.id, sample);
      this.#failed.delete(sample.id);
    }
  }

  /** Rewrites the lists, sorted by id. */
  async #save(): Promise<void> {
    const onDisk = sorted(this.#samples.values());
    const rows = onDisk.map((sample) => ({
      id: sample.id,
      ...this.#store.filesOf(sample),
      ...(sample.label === undefined ? {} : { label: sample.label }),
    }));
    const files: [string, readonly unknown[]][] = [
      [join(this.#path, "prepared.jsonl"), onDisk],
      [this.#manifest, rows],
    ];
    for (const [path, values] of files) {
      await replaceFile(path, jsonLines(values), this.partial, { flush: true });
    }
    await this.#store.list(onDisk);
    const failures = join(this.#path, "failed.jsonl");
    if (this.#failed.size === 0) await rm(failures, { force: true });
    else await replaceFile(failures, jsonLines(sorted(this.#failed.values())), this.partial);
  }
}

function isFailure(value: unknown): value is FailedVideo {
  const { id, file } = (value ?? {}) as Partial<FailedVideo>;
  return typeof id === "string" && typeof file === "string";
}

function sorted<T extends { readonly id: string }>(values: Iterable<T>): T[] {
  return [...values].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** A folder holds samples of one kind. */
async function checkSettings(path: string, settings: FolderSettings, listed: boolean): Promise<void> {
  const [before] = await readSettings(path);
  if (before === undefined) {
    const manifest = join(path, "manifest.jsonl");
    if (!(await isThere(manifest))) return;
    throw new SoundspotError(
      "ERR_CONFIG",
      `${manifest} was not written by a preparation and would be replaced. Give another output.`,
    );
  }
  if (!listed && (await shardNames(path)).length === 0) return;
  for (const [name, value] of Object.entries(settings)) {
    const other: unknown = before[name as keyof FolderSettings];
    if (other === value) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `${path} holds samples made with ${name} ${JSON.stringify(other)}, not ${JSON.stringify(value)}. ` +
        "Give the same settings or another output.",
    );
  }
}

async function readSettings(path: string): Promise<Partial<FolderSettings>[]> {
  const file = join(path, "prepare.json");
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return [];
  try {
    return [z.record(z.string(), z.unknown()).parse(JSON.parse(text)) as Partial<FolderSettings>];
  } catch (cause) {
    throw new SoundspotError("ERR_CONFIG", `${file} is damaged. Delete it, or give another output.`, {
      cause,
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
