/** The two tables of an index, images and audio, and their queries. */
import { createHash } from "node:crypto";
import { access, mkdir } from "node:fs/promises";
import type { Connection, Table } from "@lancedb/lancedb";
import type { Schema } from "apache-arrow";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { writing } from "../files/atomic-writes.js";
import { lance } from "./lance.js";
import type { FileState } from "./media-files.js";

/** Kind of an item in an index; queries for it are of the other kind. */
export type SearchKind = "image" | "audio";

export const kinds: readonly SearchKind[] = ["image", "audio"];

/** An item without its vector. */
export interface Entry extends FileState {
  readonly id: string;
  /** Relative to the indexed folder. */
  readonly path: string;
  readonly label: string | null;
  /** Of a video: the time of its frame in seconds, the middle of its audio window. */
  readonly at: number | null;
  /** SHA-256 of the file. */
  readonly hash: string;
}

export interface Row extends Entry {
  /** Target slots, each of length 1, one after the other. */
  readonly vector: Float32Array;
}

const columns = ["id", "path", "label", "at", "hash", "bytes", "modified"] as const;
/** Names of the tables on disk. */
const names: Readonly<Record<SearchKind, string>> = { image: "images", audio: "sounds" };
const VECTOR_INDEX = "vector_idx";
/** Ids in one condition. */
const IDS_AT_A_TIME = 500;

export function idOf(kind: SearchKind, path: string): string {
  return createHash("sha256").update(`${kind}\0${path}`).digest("hex").slice(0, 32);
}

/** A text as an SQL literal. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Whether a text has the form of an id. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

function labelIn(labels: readonly string[]): string {
  return `label IN (${labels.map(quoted).join(", ")})`;
}

function idIn(ids: readonly string[]): string {
  return `id IN (${ids.map(quoted).join(", ")})`;
}

function* slices<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

export interface NearestOptions {
  readonly k: number;
  readonly labels: readonly string[] | undefined;
  readonly exact: boolean;
  /** Rows when the table was divided into partitions; undefined where it is not. */
  readonly divided: number | undefined;
}

/** About 1,000 vectors a partition. docs/search.md has the recall that this was measured to give. */
const ROWS_A_PARTITION = 1000;
/**
 * The share of the partitions that a search reads, the nearest ones, and the minimum. Audio vectors lie apart from the
 * image vectors that they retrieve. Those are therefore in more partitions than the neighbours of an image.
 */
const SHARE_READ = 0.1;
const LEAST_READ = 50;

function partitionsOf(rows: number): number {
  return Math.max(1, Math.round(rows / ROWS_A_PARTITION));
}

/** Fewer rows that a label leaves are compared one by one: partitions know nothing of labels. */
const SCANNED_BY_LABEL = 50_000;

export class Tables {
  readonly #folder: string;
  readonly #connection: Connection;
  readonly #tables: Readonly<Record<SearchKind, Table>>;

  private constructor(folder: string, connection: Connection, tables: Readonly<Record<SearchKind, Table>>) {
    this.#folder = folder;
    this.#connection = connection;
    this.#tables = tables;
  }

  /** Makes both tables, empty, and replaces existing ones. @throws {SoundspotError} ERR_FILE_WRITE. */
  static create(folder: string, dimensions: number): Promise<Tables> {
    const { lancedb } = lance();
    return writing(folder, async () => {
      await mkdir(folder, { recursive: true });
      const connection = await lancedb.connect(folder, { readConsistencyInterval: 0 });
      const make = (kind: SearchKind) =>
        connection.createEmptyTable(names[kind], schemaOf(dimensions), { mode: "overwrite" });
      return new Tables(folder, connection, { image: await make("image"), audio: await make("audio") });
    });
  }

  /** @throws {SoundspotError} ERR_INDEX_CORRUPT. */
  static open(folder: string): Promise<Tables> {
    const { lancedb } = lance();
    return reading(folder, async () => {
      await access(folder); // LanceDB would create it
      // Each query sees what another process has written since.
      const connection = await lancedb.connect(folder, { readConsistencyInterval: 0 });
      const open = (kind: SearchKind) => connection.openTable(names[kind]);
      return new Tables(folder, connection, { image: await open("image"), audio: await open("audio") });
    });
  }

  close(): void {
    for (const kind of kinds) this.#tables[kind].close();
    this.#connection.close();
  }

  count(kind: SearchKind): Promise<number> {
    return reading(this.#folder, () => this.#tables[kind].countRows());
  }

  /** Every entry of a kind, in no order. */
  entries(kind: SearchKind): Promise<Entry[]> {
    return reading(this.#folder, async () =>
      (
        await this.#tables[kind]
          .query()
          .select([...columns])
          .toArray()
      ).map(entryOf),
    );
  }

  entry(kind: SearchKind, id: string): Promise<Entry | undefined> {
    return reading(this.#folder, async () => {
      const [found] = await this.#tables[kind]
        .query()
        .where(idIn([id]))
        .select([...columns])
        .limit(1)
        .toArray();
      return found && entryOf(found);
    });
  }

  /** The nearest by cosine, nearest first. */
  nearest(
    kind: SearchKind,
    vector: Float32Array,
    { k, labels, exact, divided }: NearestOptions,
  ): Promise<(Entry & { readonly score: number })[]> {
    const table = this.#tables[kind];
    return reading(this.#folder, async () => {
      let query = table
        .vectorSearch(vector)
        .distanceType("cosine")
        .select([...columns, "_distance"])
        .limit(k);
      let scan = exact || divided === undefined;
      if (labels) {
        query = query.where(labelIn(labels));
        scan ||= (await table.countRows(labelIn(labels))) <= SCANNED_BY_LABEL;
      }
      if (scan) query = query.bypassVectorIndex();
      else query = query.nprobes(Math.max(LEAST_READ, Math.ceil(SHARE_READ * partitionsOf(divided ?? 0))));
      return (await query.toArray()).map((row) => ({ ...entryOf(row), score: 1 - row._distance }));
    });
  }

  /** Replaces rows with the same ids and inserts new ones: all or none. */
  async put(kind: SearchKind, rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    await writing(this.#folder, () =>
      this.#tables[kind]
        .mergeInsert("id")
        .whenMatchedUpdateAll()
        .whenNotMatchedInsertAll()
        .execute(rows as unknown as Record<string, unknown>[]),
    );
  }

  async delete(kind: SearchKind, ids: readonly string[]): Promise<void> {
    for (const some of slices(ids, IDS_AT_A_TIME)) {
      await writing(this.#folder, () => this.#tables[kind].delete(idIn(some)));
    }
  }

  /** Updates the entries of files with unchanged content; their vectors stay. */
  async rewrite(kind: SearchKind, entries: readonly Entry[]): Promise<void> {
    for (const some of slices(entries, IDS_AT_A_TIME)) {
      const vectors = await reading(this.#folder, () =>
        this.#tables[kind]
          .query()
          .where(idIn(some.map(({ id }) => id)))
          .select(["id", "vector"])
          .toArray(),
      );
      const byId = new Map(vectors.map(({ id, vector }) => [id as string, Float32Array.from(vector)]));
      await this.put(
        kind,
        some.flatMap((entry) => {
          const vector = byId.get(entry.id);
          return vector ? [{ ...entry, vector }] : [];
        }),
      );
    }
  }

  /** Divides the vectors of a kind into partitions: a search then reads only some of them. */
  async approximate(kind: SearchKind): Promise<void> {
    const { lancedb } = lance();
    const config = lancedb.Index.ivfFlat({
      distanceType: "cosine",
      numPartitions: partitionsOf(await this.count(kind)),
      // Lower than the defaults, and sufficient for the measured recall.
      sampleRate: 64,
      maxIterations: 15,
    });
    await writing(this.#folder, () => this.#tables[kind].createIndex("vector", { config, replace: true }));
  }

  async dropApproximation(kind: SearchKind): Promise<void> {
    await writing(this.#folder, async () => {
      const indices = await this.#tables[kind].listIndices();
      if (indices.some(({ name }) => name === VECTOR_INDEX)) await this.#tables[kind].dropIndex(VECTOR_INDEX);
    });
  }

  /** Adds newer rows to the partitions, joins small files, and removes versions older than `before`. */
  async tidy(kind: SearchKind, before: Date): Promise<void> {
    await writing(this.#folder, () => this.#tables[kind].optimize({ cleanupOlderThan: before }));
  }
}

/** Copies a row: as a view it would keep the whole answer in memory. */
function entryOf({ id, path, label, at, hash, bytes, modified }: Entry): Entry {
  return { id, path, label, at, hash, bytes, modified };
}

function schemaOf(dimensions: number): Schema {
  const { arrow } = lance();
  const text = (name: string, nullable = false) => new arrow.Field(name, new arrow.Utf8(), nullable);
  const number = (name: string, nullable = false) => new arrow.Field(name, new arrow.Float64(), nullable);
  const component = new arrow.Field("item", new arrow.Float32(), true);
  return new arrow.Schema([
    text("id"),
    text("path"),
    text("label", true),
    number("at", true),
    text("hash"),
    number("bytes"),
    number("modified"),
    new arrow.Field("vector", new arrow.FixedSizeList(dimensions, component), false),
  ]);
}

/** @throws {SoundspotError} ERR_INDEX_CORRUPT for any error of LanceDB. */
async function reading<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isSoundspotError(cause)) throw cause;
    const [reason] = (cause as Error).message.split("\n");
    throw new SoundspotError(
      "ERR_INDEX_CORRUPT",
      `The index in ${folder} cannot be read: ${reason}. Delete it and make it again.`,
      { cause },
    );
  }
}
