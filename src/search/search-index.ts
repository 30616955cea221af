/** Cross-modal search in a folder: images by audio, and audio by an image. */

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { targetsOf } from "../config/methods.js";
import { aFunction, aPath, aSignal, check, checkFields, shown } from "../core/arguments.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import type { RawImage, TensorData } from "../core/types.js";
import { removeTemporary, writing } from "../files/atomic-writes.js";
import { lockFolder } from "../files/folder-lock.js";
import { checkOutputs } from "../files/outputs.js";
import type { AudioSource } from "../media/audio.js";
import { decodeImage, type ImageSource } from "../media/image.js";
import { decodeFrame } from "../media/video.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import type { SpotBox } from "../model/spot.js";
import { type Description, readDescription, writeDescription } from "./description.js";
import { type Decoding, encodeAudio, encodeImage } from "./encoder.js";
import { earlierIdentityOf, identityOf } from "./identity.js";
import { labelsOf, type SearchLabels } from "./labels.js";
import { lance } from "./lance.js";
import { type Entry, isId, kinds, type NearestOptions, type SearchKind, Tables } from "./tables.js";
import { type IndexChanges, updateTables } from "./update.js";

/** Options of {@link SearchIndex.update}. */
export interface UpdateIndexOptions {
  /** The one that made the index. */
  readonly model: Model;
  /** Searched to any depth for images, audio files and videos. An index covers one folder. */
  readonly folder: string;
  /** Default "folder": the name of each file's folder. */
  readonly labels?: SearchLabels;
  /** Tables with at least this many rows are divided into partitions; a search reads the nearest ones. Default 100,000. */
  readonly approximateFrom?: number;
  readonly signal?: AbortSignal | undefined;
  /** In files; those that need not be encoded are done at once. */
  readonly onProgress?: (done: number, total: number, skipped: number) => void;
}

/** Changes of an update, in files, and the size of the index after it, in items. */
export interface IndexUpdate extends IndexChanges {
  readonly images: number;
  readonly audios: number;
}

/** Options of {@link SearchIndex.search}, in addition to the query image or audio. */
export interface SearchIndexOptions {
  /** The one that made the index. Its weights are compared when it is first used, and in every `update`. */
  readonly model: Model;
  /** Results, 1 to 1000. Default 10. */
  readonly k?: number;
  /** Only items of this label, or of one of these. */
  readonly label?: string | readonly string[];
  /** Compare with every item, however many there are. Default false. */
  readonly exact?: boolean;
  /** Localize the sound source in each image found. Default false. */
  readonly localize?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The query and its options. */
type SearchQuery = SearchIndexOptions &
  (
    | { readonly image: ImageSource; readonly audio?: never }
    | { readonly audio: AudioSource; readonly image?: never }
  );

/** An image or an audio clip in an index. */
export interface SearchItem {
  readonly id: string;
  readonly kind: SearchKind;
  /** Of the file, absolute. */
  readonly path: string;
  /** The same relative to the indexed folder, with "/" between names. */
  readonly name: string;
  readonly label?: string;
  /** Of a video: the time of its frame in seconds, the middle of its audio window. */
  readonly at?: number;
}

export interface SearchResult extends SearchItem {
  /** Cosine of the target slots, in [−1, 1]. */
  readonly score: number;
  /** The largest region that makes the sound, in pixels; absent without one, or when the image cannot be read. */
  readonly box?: SpotBox;
}

const APPROXIMATE_FROM = 100_000;
/** Milliseconds that old versions of a table are kept, for searches that read them. */
const KEPT = 3_600_000;
const MOST_RESULTS = 1000;
const LOCK = "index.lock";

/** @internal Whether an index writes or removes a file, by its path within the folder. */
export function isIndexFile(file: string): boolean {
  return /^(index\.(json|lock.*)|\.soundspot-.*|tables\/[^/]+\.lance(\/.*)?)$/.test(file);
}
const TABLES = "tables";

/**
 * An index on disk of the images and audio clips in a folder, as vectors of one model. Needs LanceDB:
 * `npm install @lancedb/lancedb apache-arrow`.
 * @example
 * const index = await SearchIndex.create("pets.index", { model });
 * await index.update({ model, folder: "pets" });
 * const [best] = await index.search({ audio: "bark.wav", model, localize: true });
 */
export class SearchIndex implements Disposable {
  /** Of the index, absolute. */
  readonly folder: string;
  readonly #tables: Tables;
  #description: Description;
  #closed = false;

  private constructor(folder: string, tables: Tables, description: Description) {
    this.folder = folder;
    this.#tables = tables;
    this.#description = description;
  }

  /**
   * Makes an empty index for the vectors of a model.
   * @throws {SoundspotError} ERR_INPUT when the folder has an index, ERR_BUSY, ERR_FILE_WRITE, ERR_LANCEDB_MISSING.
   */
  static async create(folder: string, options: { readonly model: Model }): Promise<SearchIndex> {
    check(folder, aPath, "The folder of an index");
    checkFields(options, {});
    const { model } = options;
    check(model, aModel, "model");
    lance(); // if it is missing, nothing is created
    const path = resolve(folder);
    await writing(path, () => mkdir(path, { recursive: true }));
    const unlock = await lockFolder(path, LOCK);
    try {
      if (await SearchIndex.exists(path)) {
        throw new SoundspotError(
          "ERR_INPUT",
          `${path} has an index already. Open it, or give another folder.`,
        );
      }
      const description: Description = {
        format: "soundspot-search",
        version: 1,
        model: await identityOf(model, true),
        dimensions: targetsOf(model.config) * model.config.dim,
        divided: {},
      };
      const tables = await Tables.create(join(path, TABLES), description.dimensions);
      // Last: without it the folder is not an index.
      await writeDescription(path, description);
      return new SearchIndex(path, tables, description);
    } finally {
      await unlock();
    }
  }

  /** @throws {SoundspotError} ERR_FILE_NOT_FOUND when the folder has no index, ERR_INDEX_CORRUPT, ERR_LANCEDB_MISSING. */
  static async open(folder: string): Promise<SearchIndex> {
    check(folder, aPath, "The folder of an index");
    const path = resolve(folder);
    const description = await readDescription(path);
    return new SearchIndex(path, await Tables.open(join(path, TABLES)), description);
  }

  /** Whether a folder has an index, intact or damaged. */
  static async exists(folder: string): Promise<boolean> {
    try {
      await readDescription(resolve(folder));
      return true;
    } catch (error) {
      return !(isSoundspotError(error) && error.code === "ERR_FILE_NOT_FOUND");
    }
  }

  /** The folder that was indexed last, absolute; undefined before the first update. */
  get media(): string | undefined {
    return this.#description.media;
  }

  /** Number of images and audio clips in the index. */
  async count(): Promise<{ readonly images: number; readonly audios: number }> {
    this.#checkOpen();
    return { images: await this.#tables.count("image"), audios: await this.#tables.count("audio") };
  }

  /**
   * Brings the index up to date with a folder. Only new files and files with changed content are encoded: a file whose
   * size and modification time are the same counts as unchanged; if only the time differs, its content is compared.
   * Deleted files are removed from the index, and files that cannot be read are listed in `skipped`. An aborted or killed
   * update leaves an index that can be searched, and the next one continues from there.
   * @throws {SoundspotError} ERR_INDEX_MISMATCH for another model, ERR_FILE_NOT_FOUND when the folder is missing,
   * ERR_DATASET when it has no media or the CSV is wrong, ERR_BUSY when another update is running, ERR_FILE_WRITE,
   * ERR_FFMPEG_MISSING, ERR_OUTPUT_IS_INPUT when the CSV is a file of the index, ERR_DISPOSED, ERR_ABORTED.
   */
  async update(options: UpdateIndexOptions): Promise<IndexUpdate> {
    this.#checkOpen();
    checkFields(options, { signal: aSignal, onProgress: aFunction });
    check(options.model, aModel, "model");
    check(options.folder, aPath, "folder");
    const { model, signal, approximateFrom = APPROXIMATE_FROM } = options;
    throwIfAborted(signal);
    const folder = resolve(options.folder);
    await checkOutputs({
      inputs: [
        { name: "labels", path: typeof options.labels === "object" ? options.labels?.csv : undefined },
      ],
      folders: [{ name: "the index", path: this.folder, writes: isIndexFile }],
    });
    const unlock = await lockFolder(this.folder, LOCK);
    try {
      await removeTemporary(this.folder).catch(() => undefined); // they are harmless
      this.#description = await readDescription(this.folder);
      await this.checkModel(model, true);
      const labelOf = await labelsOf(options.labels ?? "folder", folder, signal);
      const changes = await updateTables(this.#tables, {
        model,
        folder,
        labelOf,
        // Paths in the index are relative to the folder: from here on to this one.
        begin: async () => {
          if (this.#description.media !== folder) await this.#describe({ media: folder });
        },
        signal,
        onProgress: options.onProgress,
      });
      throwIfAborted(signal);
      for (const kind of kinds) await this.#divide(kind, approximateFrom);
      return { ...changes, ...(await this.count()) };
    } finally {
      await unlock();
    }
  }

  /**
   * The nearest items of the other modality, nearest first: images for audio, audio for an image.
   * @throws {SoundspotError} ERR_INDEX_MISMATCH for another model, ERR_INPUT, ERR_INDEX_CORRUPT, ERR_ABORTED, and those of
   * decoding.
   */
  async search(
    options: SearchIndexOptions &
      (
        | { readonly image: ImageSource; readonly audio?: never }
        | { readonly audio: AudioSource; readonly image?: never }
      ),
  ): Promise<SearchResult[]> {
    return this.searchWithin(options, (work) => work());
  }

  /** @internal The same; `decoding` runs the decoding of the query, and the localization in each image. */
  async searchWithin(options: SearchQuery, decoding: Decoding): Promise<SearchResult[]> {
    this.#checkOpen();
    checkFields(options, { signal: aSignal });
    check(options.model, aModel, "model");
    const { model, image, audio, k = 10, label, exact = false, signal } = options;
    throwIfAborted(signal);
    if ((image === undefined) === (audio === undefined)) {
      throw new SoundspotError("ERR_INPUT", "Give either image or audio to search for.");
    }
    if (!Number.isInteger(k) || k < 1 || k > MOST_RESULTS) {
      throw new SoundspotError("ERR_INPUT", `k must be an integer in 1 … ${MOST_RESULTS}, got ${shown(k)}.`);
    }
    const labels = label === undefined ? undefined : [label].flat();
    if (labels?.some((each) => typeof each !== "string") || labels?.length === 0) {
      throw new SoundspotError("ERR_INPUT", "label must be a text, or a list of at least one.");
    }
    this.#description = await readDescription(this.folder);
    await this.checkModel(model);
    if (image !== undefined) {
      const vector = await encodeImage(model, image, decoding, signal);
      return this.#nearest("audio", vector, { k, labels, exact });
    }
    const { vector, spectrogram } = await encodeAudio(model, audio as AudioSource, decoding, signal);
    const found = await this.#nearest("image", vector, { k, labels, exact });
    throwIfAborted(signal);
    return options.localize ? localized(found, spectrogram, model, decoding, signal) : found;
  }

  /** The item of an id; undefined when the index has none. */
  async item(id: string): Promise<SearchItem | undefined> {
    this.#checkOpen();
    if (!isId(id)) return undefined;
    this.#description = await readDescription(this.folder);
    for (const kind of kinds) {
      const entry = await this.#tables.entry(kind, id);
      if (entry) return this.#itemOf(kind, entry);
    }
    return undefined;
  }

  /** Closes the tables; further use throws ERR_DISPOSED. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tables.close();
  }

  /** `close`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #nearest(
    kind: SearchKind,
    vector: Float32Array,
    options: Omit<NearestOptions, "divided">,
  ): Promise<SearchResult[]> {
    const divided = this.#description.divided[kind];
    const found = await this.#tables.nearest(kind, vector, { ...options, divided });
    return found.map(({ score, ...entry }) => ({ ...this.#itemOf(kind, entry), score }));
  }

  #itemOf(kind: SearchKind, { id, path: name, label, at }: Entry): SearchItem {
    return {
      id,
      kind,
      path: join(this.#description.media ?? "", name),
      name,
      ...(label === null ? {} : { label }),
      ...(at === null ? {} : { at }),
    };
  }

  /** Divides a table that has grown to twice its size, or drops the partitions of one that has shrunk. */
  async #divide(kind: SearchKind, approximateFrom: number): Promise<void> {
    const rows = await this.#tables.count(kind);
    const before = this.#description.divided[kind];
    if (rows >= approximateFrom && (before === undefined || rows >= 2 * before)) {
      await this.#tables.approximate(kind);
      await this.#describe({ divided: { ...this.#description.divided, [kind]: rows } });
    } else if (rows < approximateFrom / 2 && before !== undefined) {
      await this.#tables.dropApproximation(kind);
      await this.#describe({ divided: { ...this.#description.divided, [kind]: undefined } });
    }
    await this.#tables.tidy(kind, new Date(Date.now() - KEPT));
  }

  async #describe(change: Partial<Description>): Promise<void> {
    const description = { ...this.#description, ...change };
    await writeDescription(this.folder, description);
    this.#description = description;
  }

  /** @internal @throws {SoundspotError} ERR_INDEX_MISMATCH when another model made the index. */
  async checkModel(model: Model, again = false): Promise<void> {
    const [own, given] = [this.#description.model, await identityOf(model, again)];
    if (own === given || own === (await earlierIdentityOf(model, again))) return;
    throw new SoundspotError(
      "ERR_INDEX_MISMATCH",
      `The index ${this.folder} was made with another model (${own.slice(0, 12)}, not ${given.slice(0, 12)}): their vectors cannot be compared. Give the checkpoint that it was made with, or make an index of this model in another folder.`,
    );
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new SoundspotError("ERR_DISPOSED", "The index was closed. Open it again.");
  }
}

/** @internal The image of an item: the file, or of a video its frame. */
export function imageOf({ path, at }: SearchItem, signal?: AbortSignal | undefined): Promise<RawImage> {
  return at === undefined ? decodeImage(path, { signal }) : decodeFrame(path, at, { signal });
}

/** Adds to each image found the box of the sound source. */
async function localized(
  found: readonly SearchResult[],
  { data: spectrogram, shape }: TensorData,
  model: Model,
  decoding: Decoding,
  signal: AbortSignal | undefined,
): Promise<SearchResult[]> {
  const results: SearchResult[] = [];
  for (const result of found) {
    const box = await decoding(async () => {
      const image = await imageOf(result, signal).catch((error: unknown) => {
        throwIfAborted(signal);
        // It may have been deleted since it was indexed.
        if (isSoundspotError(error) && error.code !== "ERR_FFMPEG_MISSING") return undefined;
        throw error;
      });
      if (!image) return undefined;
      const input = { image, audio: { spectrogram, shape } };
      return (await model.localize(input, signal ? { signal } : {})).boxes[0];
    });
    results.push(box ? { ...result, box } : result);
  }
  return results;
}
