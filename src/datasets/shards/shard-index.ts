/** How many samples each archive has, in the JSON of WebDataset's `wids-index`: archives are then opened when they are read. */
import { stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import * as z from "zod";
import { SoundspotError } from "../../core/errors.js";
import { replaceFile } from "../../files/atomic-writes.js";
import { checked, parseJson, readText } from "../../files/text.js";
import { HttpBytes, type HttpBytesOptions } from "./http-bytes.js";
import { isRemote } from "./locate.js";

export interface IndexedShard {
  readonly place: string;
  readonly samples: number;
  /** Of the archive, in bytes. */
  readonly bytes?: number | undefined;
}

/** The name that WebDataset's own tool gives it. */
export const INDEX_NAME = "shardindex.json";

const schema = z.object({
  wids_version: z.literal(1),
  base: z.string().optional(),
  shardlist: z
    .array(
      z.object({
        url: z.string().min(1),
        nsamples: z.int().nonnegative(),
        filesize: z.int().nonnegative().optional(),
      }),
    )
    .min(1, "names no shard"),
});

/** More is no list of archives. */
const MAX_BYTES = 2 ** 26;

/**
 * Reads an index; addresses in it are relative to its `base`, or to itself.
 * @throws {SoundspotError} ERR_DATASET when it is not of the form; ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_NETWORK,
 * ERR_ABORTED
 */
export async function readShardIndex(
  place: string,
  http: HttpBytesOptions = {},
): Promise<readonly IndexedShard[]> {
  const text = isRemote(place) ? await download(place, http) : await readText(place, http.signal);
  const { base, shardlist } = checked(schema, parseJson(text, place), place);
  const resolve = (url: string) => {
    if (isRemote(url) || isAbsolute(url)) return url;
    if (base !== undefined && isRemote(base)) return new URL(url, `${base.replace(/\/$/, "")}/`).href;
    if (isRemote(place)) return new URL(join(base ?? "", url), place).href;
    return base !== undefined && isAbsolute(base) ? join(base, url) : join(dirname(place), base ?? "", url);
  };
  return shardlist.map(({ url, nsamples, filesize }) => ({
    place: resolve(url),
    samples: nsamples,
    bytes: filesize,
  }));
}

async function download(url: string, http: HttpBytesOptions): Promise<string> {
  const bytes = new HttpBytes(url, http);
  const pieces: Uint8Array[] = [];
  try {
    for (;;) {
      const piece = await bytes.read(2 ** 20);
      if (piece.length === 0) return Buffer.concat(pieces).toString("utf8");
      if (bytes.position > MAX_BYTES)
        throw new SoundspotError("ERR_DATASET", `${url} is no index of shards.`);
      pieces.push(piece);
    }
  } finally {
    await bytes.close();
  }
}

/**
 * Compares archives on the disk with their index by size. An outdated index is rejected.
 * @throws {SoundspotError} ERR_DATASET
 */
export async function checkIndexedSize({ place, bytes }: IndexedShard): Promise<void> {
  if (bytes === undefined || isRemote(place)) return;
  const { size } = await stat(place).catch(() => ({ size: bytes })); // a missing one is reported when it is read
  if (size === bytes) return;
  throw new SoundspotError(
    "ERR_DATASET",
    `${place} has ${size} bytes, its index says ${bytes}. Write the index again (soundspot index-shards).`,
  );
}

/** Writes an index, whole or not at all. @throws {SoundspotError} ERR_FILE_WRITE */
export async function writeShardIndex(
  path: string,
  shards: readonly IndexedShard[],
  partial = dirname(path),
): Promise<void> {
  const shardlist = shards.map(({ place, samples, bytes }) => ({
    url: place,
    nsamples: samples,
    ...(bytes === undefined ? {} : { filesize: bytes }),
  }));
  const content = { __kind__: "wids-shard-index-v1", wids_version: 1, shardlist };
  await replaceFile(path, `${JSON.stringify(content, null, 2)}\n`, partial);
}
