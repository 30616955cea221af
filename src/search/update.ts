/** Brings an index up to date with a folder, and encodes as few files as possible. */
import { join } from "node:path";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { inParallel } from "../core/parallel.js";
import { SAMPLES_AT_A_TIME } from "../core/semaphore.js";
import { hashOf } from "../files/hash.js";
import type { Model } from "../model/model.js";
import { type EncodedFile, encodeFiles } from "./encoder.js";
import { findMedia, type MediaFile, type SkippedFile } from "./media-files.js";
import { type Entry, idOf, kinds, type Row, type SearchKind, type Tables } from "./tables.js";

/** Changes of an update, in files. */
export interface IndexChanges {
  readonly added: number;
  /** Files with changed content. */
  readonly changed: number;
  /** Deleted files. */
  readonly removed: number;
  readonly unchanged: number;
  /** Files and folders that could not be read, and are not in the index. */
  readonly skipped: readonly SkippedFile[];
}

export interface UpdateWork {
  readonly model: Model;
  readonly folder: string;
  readonly labelOf: (path: string) => string | undefined;
  /** Called once media files were found, before anything is written. */
  readonly begin: () => Promise<void>;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((done: number, total: number, skipped: number) => void) | undefined;
}

/** Rows written at a time, and milliseconds after which fewer are written. A killed update loses no more than that. */
const ROWS_AT_A_TIME = 512;
const WRITE_EVERY = 10_000;

type Known = Partial<Record<SearchKind, Entry>>;

/** Entries of both tables by file. */
async function knownFiles(tables: Tables): Promise<Map<string, Known>> {
  const known = new Map<string, Known>();
  for (const kind of kinds) {
    for (const entry of await tables.entries(kind)) {
      known.set(entry.path, { ...known.get(entry.path), [kind]: entry });
    }
  }
  return known;
}

/**
 * Whether the entries match the file's current content. The image of a video is written last: without it the rest may be
 * missing.
 */
async function isUnchanged(file: MediaFile, known: Known, work: UpdateWork): Promise<boolean> {
  const last = file.type === "audio" ? known.audio : known.image;
  if (!last) return false;
  const entries = Object.values(known);
  if (entries.some(({ bytes, hash }) => bytes !== file.bytes || hash !== last.hash)) return false;
  if (entries.every(({ modified }) => modified === file.modified)) return true;
  // An unreadable file is reported when it is decoded.
  const hash = await hashOf(join(work.folder, file.path), work.signal).catch(() => undefined);
  throwIfAborted(work.signal);
  return hash === last.hash;
}

/**
 * Each write is atomic and contains the state of its files. An update may therefore end anywhere: the next one compares
 * the tables with the folder again.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_DATASET when the folder has no media, ERR_FILE_WRITE, ERR_ABORTED.
 */
export async function updateTables(tables: Tables, work: UpdateWork): Promise<IndexChanges> {
  const { folder, signal, labelOf } = work;
  const found = await findMedia(folder, signal);
  const skipped = [...found.skipped];
  if (found.files.length === 0) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${folder} has no images, audio files or videos. Check the path; the index is unchanged.`,
    );
  }
  const known = await knownFiles(tables);
  throwIfAborted(signal);

  await work.begin();
  const there = new Set(found.files.map(({ path }) => path));
  const gone = [...known].filter(([path]) => !there.has(path));
  await deleteEntries(
    tables,
    gone.map(([, entries]) => entries),
  );
  const unreadable = new Set(skipped.map(({ file }) => file));
  const removed = gone.filter(([path]) => !unreadable.has(path)).length;

  const same = await inParallel(found.files, SAMPLES_AT_A_TIME, signal, (file) =>
    isUnchanged(file, known.get(file.path) ?? {}, work),
  );
  const unchanged = found.files.filter((_, i) => same[i]);
  const others = found.files.filter((_, i) => !same[i]);
  await rewriteStale(tables, unchanged, known, labelOf);

  const { onProgress } = work;
  const total = found.files.length;
  let done = unchanged.length;
  let [added, changed, written] = [0, 0, performance.now()];
  const pending = new Pending(tables, known, labelOf);
  onProgress?.(done, total, skipped.length);
  try {
    for await (const files of encodeFiles(work.model, folder, others, signal)) {
      for (const each of files) {
        if ("reason" in each) {
          skipped.push(each);
          pending.drop(each.file);
        } else {
          if (known.has(each.file.path)) changed++;
          else added++;
          pending.add(each);
        }
      }
      if (pending.size >= ROWS_AT_A_TIME || performance.now() - written > WRITE_EVERY) {
        await pending.write();
        written = performance.now();
      }
      done += files.length;
      onProgress?.(done, total, skipped.length);
    }
  } finally {
    // Files encoded before an error or an abort need not be encoded again.
    await pending.write();
  }
  return { added, changed, removed, unchanged: unchanged.length, skipped };
}

async function deleteEntries(tables: Tables, entries: readonly Known[]): Promise<void> {
  for (const kind of kinds) {
    await tables.delete(
      kind,
      entries.flatMap((known) => known[kind]?.id ?? []),
    );
  }
}

/** Updates labels and modification times. */
async function rewriteStale(
  tables: Tables,
  files: readonly MediaFile[],
  known: ReadonlyMap<string, Known>,
  labelOf: UpdateWork["labelOf"],
): Promise<void> {
  // Images last, as in the first write.
  for (const kind of kinds.toReversed()) {
    const stale = files.flatMap(({ path, modified }) => {
      const entry = known.get(path)?.[kind];
      const label = labelOf(path) ?? null;
      if (!entry || (entry.modified === modified && entry.label === label)) return [];
      return [{ ...entry, modified, label }];
    });
    await tables.rewrite(kind, stale);
  }
}

/** Changes to be written. */
class Pending {
  readonly #tables: Tables;
  readonly #known: ReadonlyMap<string, Known>;
  readonly #labelOf: UpdateWork["labelOf"];
  #rows: Record<SearchKind, Row[]> = { image: [], audio: [] };
  #dropped: Known[] = [];

  constructor(tables: Tables, known: ReadonlyMap<string, Known>, labelOf: UpdateWork["labelOf"]) {
    this.#tables = tables;
    this.#known = known;
    this.#labelOf = labelOf;
  }

  get size(): number {
    return this.#rows.image.length + this.#rows.audio.length + this.#dropped.length;
  }

  add({
    file: { path, bytes, modified },
    hash,
    at = null,
    ...vectors
  }: Omit<EncodedFile, "at"> & { readonly at?: number | null }): void {
    const before = this.#known.get(path);
    for (const kind of kinds) {
      const vector = vectors[kind];
      const entry = { path, label: this.#labelOf(path) ?? null, at, hash, bytes, modified };
      if (vector) this.#rows[kind].push({ id: idOf(kind, path), ...entry, vector });
      // A video that no longer has audio.
      else if (before?.[kind]) this.#dropped.push({ [kind]: before[kind] });
    }
  }

  /** A file that can no longer be read. */
  drop(path: string): void {
    const before = this.#known.get(path);
    if (before) this.#dropped.push(before);
  }

  /** A video's image is written last: if it exists, its audio does too. */
  async write(): Promise<void> {
    const [rows, dropped] = [this.#rows, this.#dropped];
    this.#rows = { image: [], audio: [] };
    this.#dropped = [];
    await deleteEntries(this.#tables, dropped);
    await this.#tables.put("audio", rows.audio);
    await this.#tables.put("image", rows.image);
  }
}
