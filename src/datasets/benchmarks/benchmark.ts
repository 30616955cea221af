/** Shared by the benchmarks: the check for missing files, and the loading. */

import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { SoundspotError } from "../../core/errors.js";
import { inParallel } from "../../core/parallel.js";
import type { GroundTruthMap, RawAudio } from "../../core/types.js";
import { decodeAudio } from "../../media/audio.js";
import { decodeImage } from "../../media/image.js";
import type { LoadOptions, MissingSample } from "../dataset.js";
import { type IterableDataset, iterable } from "../samples.js";
import { naming, rowAt } from "../source.js";
import type { Entry, Place } from "./entry.js";
import type { IdList } from "./lists.js";

/** What every benchmark takes. */
export interface BenchmarkOptions {
  /** Folder of images and audio. */
  readonly root: string;
  /** Default the benchmark's. */
  readonly name?: string | undefined;
  /** Path of ffmpeg, for compressed WAV; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  /** Stops reading lists and looking for files. */
  readonly signal?: AbortSignal | undefined;
}

export interface EntryFiles<E extends Entry> extends Pick<BenchmarkOptions, "root" | "ffmpeg" | "signal"> {
  readonly name: string;
  readonly entries: readonly E[];
  /** Files that the entries were read from; lists in memory and absent ones are ignored. */
  readonly files: readonly (IdList | undefined)[];
  /** Ground truth of an entry; `annotation` is the path of its file, where there is one. */
  readonly groundTruth?: (
    entry: E,
    annotation: string | undefined,
    signal: AbortSignal | undefined,
  ) => Promise<GroundTruthMap | undefined>;
  /** Default `decodeAudio`. */
  readonly decode?: (path: string, signal: AbortSignal | undefined) => Promise<RawAudio>;
}

/** Files checked at once: more than the threads that check them, so that none is idle. */
const LOOKS_AT_ONCE = 32;

/**
 * The samples whose files are there; the others are listed in `missing`.
 * @throws {SoundspotError} ERR_DATASET when no sample is whole, ERR_ABORTED. `load()` throws
 * ERR_DATASET that names sample and file; `cause` has the reason's own code.
 */
export async function datasetOf<E extends Entry>(source: EntryFiles<E>): Promise<IterableDataset> {
  const { name, root, entries, ffmpeg } = source;
  const found: Found<E>[] = [];
  const missing: MissingSample[] = [];
  for (const looked of await inParallel(entries, LOOKS_AT_ONCE, source.signal, (entry) =>
    find(root, entry),
  )) {
    if ("files" in looked) missing.push(looked);
    else found.push(looked);
  }
  if (found.length === 0) throw nothingThere(root, missing);
  const classes = [...new Set(entries.flatMap(({ label }) => label ?? []))].sort();
  const decode = source.decode ?? ((path, signal) => decodeAudio(path, { signal, ffmpeg }));
  return iterable({
    name,
    length: found.length,
    missing,
    files: source.files.filter((file) => typeof file === "string"),
    ...(classes.length > 0 ? { classes } : {}),
    idOf: (index) => found[index]?.entry.id,
    variant: resolve(root),
    load: async (index, { signal }: LoadOptions = {}) => {
      const { entry, image, audio, annotation } = rowAt(found, index, name);
      const { id, label, imageId, sources, clip, sounding } = entry;
      const read = async () => {
        const [pixels, samples, groundTruth] = await Promise.all([
          decodeImage(resolve(root, image), { signal }),
          decode(resolve(root, audio), signal),
          source.groundTruth?.(
            entry,
            annotation === undefined ? undefined : resolve(root, annotation),
            signal,
          ),
        ]);
        return {
          id,
          image: pixels,
          audio: samples,
          ...(groundTruth === undefined ? {} : { groundTruth }),
          ...(label === undefined ? {} : { label }),
          ...(imageId === undefined ? {} : { imageId }),
          ...(sources === undefined ? {} : { sources }),
          ...(clip === undefined ? {} : { clip }),
          ...(sounding === undefined ? {} : { sounding }),
        };
      };
      return naming(`${name}, sample ${id}`, read, root);
    },
  });
}

interface Found<E extends Entry> {
  readonly entry: E;
  readonly image: string;
  readonly audio: string;
  readonly annotation: string | undefined;
}

async function find<E extends Entry>(root: string, entry: E): Promise<Found<E> | MissingSample> {
  const { annotation: wanted = [], annotationOptional = false } = entry;
  const needless = annotationOptional || wanted.length === 0;
  const image = await firstThere(root, entry.image);
  const audio = await firstThere(root, entry.audio);
  const annotation = await firstThere(root, wanted);
  if (image !== undefined && audio !== undefined && (needless || annotation !== undefined)) {
    return { entry, image, audio, annotation };
  }
  const absent = [
    ...(image === undefined ? [entry.image] : []),
    ...(audio === undefined ? [entry.audio] : []),
    ...(annotation === undefined && !needless ? [wanted] : []),
  ];
  return { id: entry.id, files: absent.map((place) => resolve(root, [place].flat()[0] ?? "")) };
}

async function firstThere(root: string, place: Place): Promise<string | undefined> {
  for (const file of [place].flat()) {
    if (await isFile(resolve(root, file))) return file;
  }
  return undefined;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} cannot be accessed: ${message}. Check the permissions of its folder.`,
      { cause },
    );
  }
}

function nothingThere(root: string, missing: readonly MissingSample[]): SoundspotError {
  const { id = "", files = [] } = missing[0] ?? {};
  return new SoundspotError(
    "ERR_DATASET",
    `None of the ${missing.length} samples is whole below ${root}. For the first, ${id}, there is no ` +
      `${files.join(" and no ")}. Give the folder that holds them as root.`,
  );
}
