/** Samples in tar archives as WebDataset has them, on the disk or on a web server, read forwards in training. */

import { basename } from "node:path";
import * as z from "zod";
import { parse } from "../../config/parse.js";
import { aFlag, anObject, aPath } from "../../core/arguments.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../../core/errors.js";
import { inParallel } from "../../core/parallel.js";
import { isDamage, replacements } from "../damage.js";
import type { DamagedFile, LoadableSample, Sample, SequenceRequest } from "../dataset.js";
import { type IterableDataset, iterable } from "../samples.js";
import { anIdList, checkSource, noSample } from "../source.js";
import { countShards, SHARDS_AT_ONCE, type ShardCount } from "./count.js";
import { decodeMembers } from "./decode.js";
import { type CountedShard, planEpoch, type ReadSample, readPlan } from "./epoch.js";
import type { HttpBytesOptions } from "./http-bytes.js";
import { isRemote, locateShards } from "./locate.js";
import { type Members, Shard } from "./shard.js";
import { checkIndexedSize, readShardIndex } from "./shard-index.js";

/** Which archives are read, and how. */
export interface ShardsOptions {
  /**
   * Paths and http(s) addresses, with `{000..123}` and `{a,b}`, in paths also `*`, `?` and `[a-z]`. All are scanned
   * at once to count their samples; of archives on a server only the headers are requested.
   */
  readonly urls?: string | readonly string[] | undefined;
  /** In place of `urls`: path or address of a `shardindex.json`, which has the number of samples of each archive. */
  readonly index?: string | undefined;
  /**
   * Archives that training reads from at a time, by all processes: a multiple of their number. Another number is another
   * order. Default 8.
   */
  readonly readers?: number | undefined;
  /** Encoded samples that each of them holds to draw from; 1 keeps the order of the archives. Default 256. */
  readonly buffer?: number | undefined;
  /** Default the name of the first archive or of the index. */
  readonly name?: string | undefined;
  /** Sent with each request to a server, for instance `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Path of ffmpeg; needed only for audio that is not uncompressed WAV. */
  readonly ffmpeg?: string | undefined;
  /** Takes masks that mark nothing; by default such a sample cannot be read. */
  readonly allowEmpty?: boolean | undefined;
  /** Stops looking through the archives. */
  readonly signal?: AbortSignal | undefined;
}

const readingSchema = z.strictObject({
  readers: z.int().min(1).max(1024).default(8),
  buffer: z.int().min(1).max(1_000_000).default(256),
});

/**
 * A dataset of archives in the form of WebDataset: files that share a name up to its first dot, one after the other,
 * are a sample: an image (`jpg`, `png`, …), audio (`wav`, `flac`, `mp3`, …), and optionally `json` with `label` and
 * `boxes` as in a manifest, `cls` with the label as text, `mask.png`. `prepareVideos({ shards: true })` writes them.
 *
 * `train()` reads archives forwards, in an order drawn from the seed for each epoch, and each process its own. A sample
 * that cannot be read is replaced by another in its batch, unless the run is strict, and is listed in `damaged`
 * with its archive. An archive that is cut off counts with the samples before the cut, and is listed there.
 *
 * @throws {SoundspotError} ERR_CONFIG; ERR_DATASET when no archive has a whole sample, or the index is wrong;
 * ERR_FILE_NOT_FOUND, ERR_NETWORK, ERR_ABORTED
 * @example
 * const data = await shards({ urls: "https://example.org/clips/train-{000..123}.tar" });
 */
export async function shards(options: ShardsOptions): Promise<IterableDataset> {
  checkSource("shards", options, {}, { urls: anIdList, index: aPath, headers: anObject, allowEmpty: aFlag });
  const { readers, buffer } = parse(
    readingSchema,
    { readers: options.readers, buffer: options.buffer },
    "shards",
  );
  const { urls, index, headers, ffmpeg, allowEmpty, signal } = options;
  if ((urls === undefined) === (index === undefined)) {
    throw new SoundspotError("ERR_CONFIG", "shards: give either urls or index.");
  }
  const http: HttpBytesOptions = headers ? { headers } : {};
  const problems = new Map<string, DamagedFile>();
  const report = (file: string, reason: string) => {
    if (!problems.has(file)) problems.set(file, { file, reason });
  };
  const found =
    index === undefined
      ? await countShards(await locateShards(urls ?? ""), { http, report, signal })
      : await fromIndex(index, http, signal);
  let length = 0;
  const archives: CountedShard[] = found.map(({ shard, samples }) => {
    const first = length;
    length += samples;
    return { shard, samples, first };
  });
  if (length === 0) {
    const reasons = [...problems.values()].map(({ file, reason }) => `${file}: ${reason}`);
    const places = found.slice(0, 3).map(({ shard }) => shard.place);
    const looked = reasons.length > 0 ? reasons.slice(0, 3).join(" ") : `Looked at: ${places.join(", ")}.`;
    throw new SoundspotError(
      "ERR_DATASET",
      `No archive has a whole sample. ${looked} A sample is an image and an audio file of one name, one after the other: make archives with tar --sort=name.`,
    );
  }

  const decode = (place: string, key: string, members: Members, stop: AbortSignal | undefined) =>
    decodeMembers(members, {
      id: `${nameOf(place)}/${key}`,
      place: placeOf(place, key),
      ffmpeg,
      allowEmpty,
      signal: stop,
    });
  const load = async (at: number, stop?: AbortSignal): Promise<Sample> => {
    const { shard, first } = archiveOf(archives, at, length);
    const { key, members } = await shard.sample(at - first, stop);
    return decode(shard.place, key, members as Members, stop);
  };

  /** The sample as it was read, or another one that the seed draws: a batch has its size in every process. */
  const loadable = ({ index: at, found }: ReadSample, request: SequenceRequest): LoadableSample => ({
    index: at,
    load: async (stop) => {
      const { place } = archiveOf(archives, at, length).shard;
      const lost = isSoundspotError(found);
      const own = lost ? found : await decode(place, found.key, found.members, stop).catch(damageIn);
      if (!isSoundspotError(own)) return own;
      report(lost ? place : placeOf(place, found.key), own.message);
      throwIfAborted(stop);
      if (request.unreadable === "throw") throw own;
      for (const drawn of replacements({ ...request, length }, at)) {
        throwIfAborted(stop);
        const other = await load(drawn, stop).catch(damageIn);
        if (!isSoundspotError(other)) return other;
      }
      throw own;
    },
  });

  return iterable({
    name: options.name ?? nameOf(index ?? archives[0]?.shard.place ?? ""),
    length,
    files: [...(index === undefined ? [] : [index]), ...archives.map(({ shard }) => shard.place)].filter(
      (place) => !isRemote(place),
    ),
    get damaged() {
      return [...problems.values()];
    },
    load: (at, { signal: stop } = {}) => load(at, stop),
    sequence: {
      order: `shards in ${readers} readers, buffer ${buffer}`,
      async *batches(request) {
        const { epoch, seed, batchSize, fromBatch, rank, size, signal: stop } = request;
        if (readers % size !== 0) {
          throw new SoundspotError(
            "ERR_CONFIG",
            `${size} processes cannot share ${readers} readers of shards equally. Set readers to a multiple of ${size}.`,
          );
        }
        const plan = planEpoch(archives, { epoch, seed, batchSize, readers, buffer });
        const own = plan
          .slice((rank * readers) / size, ((rank + 1) * readers) / size)
          .filter(({ share }) => share > 0);
        const streams = own.map((each) => readPlan(each, fromBatch * each.share, stop));
        try {
          for (let batch = fromBatch; batch < Math.floor(length / batchSize); batch++) {
            const parts = await Promise.all(streams.map((stream, i) => take(stream, own[i]?.share ?? 0)));
            yield parts.flat().map((read) => loadable(read, request));
          }
        } finally {
          await Promise.all(streams.map((stream) => stream.return()));
        }
      },
    },
  });
}

async function fromIndex(
  index: string,
  http: HttpBytesOptions,
  signal: AbortSignal | undefined,
): Promise<ShardCount[]> {
  const entries = await readShardIndex(index, { ...http, signal });
  return inParallel(entries, SHARDS_AT_ONCE, signal, async (entry) => {
    await checkIndexedSize(entry);
    return { shard: new Shard(entry.place, http), samples: entry.samples };
  });
}

function archiveOf(archives: readonly CountedShard[], index: number, length: number): CountedShard {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw noSample(length, index, "shards");
  }
  // The last that begins at or before it.
  let [low, high] = [0, archives.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((archives[middle] as CountedShard).first <= index) low = middle;
    else high = middle - 1;
  }
  return archives[low] as CountedShard;
}

/** The error when it is about the sample; all others are thrown on. */
function damageIn(error: unknown): SoundspotError {
  if (isDamage(error)) return error;
  throw error;
}

async function take(
  stream: AsyncGenerator<ReadSample, void, void>,
  count: number,
): Promise<readonly ReadSample[]> {
  const taken: ReadSample[] = [];
  while (taken.length < count) {
    const { value, done } = await stream.next();
    if (done) throw new SoundspotError("ERR_INTERNAL", "A reader of shards ended before its epoch.");
    taken.push(value);
  }
  return taken;
}

function placeOf(place: string, key: string): string {
  return `${place}, sample ${key}`;
}

/** `train-000000.tar` → `train-000000`. */
function nameOf(place: string): string {
  return basename(place)
    .replace(/[?#].*$/, "")
    .replace(/(\.(tar|tgz|gz|json))+$/i, "");
}
