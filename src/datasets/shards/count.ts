/** Scans archives for their samples. */

import { isSoundspotError } from "../../core/errors.js";
import { inParallel } from "../../core/parallel.js";
import type { HttpBytesOptions } from "./http-bytes.js";
import { Shard } from "./shard.js";

/** Archives that are scanned at a time. */
export const SHARDS_AT_ONCE = 8;

export interface ShardCount {
  readonly shard: Shard;
  readonly samples: number;
}

export interface CountShardsOptions {
  readonly http?: HttpBytesOptions;
  /** Called for each archive that is missing, incomplete, or has names that are no samples. */
  readonly report: (place: string, reason: string) => void;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Counts the whole samples of archives by their headers. One that cannot be read has none.
 * @throws {SoundspotError} ERR_NETWORK, ERR_ABORTED
 */
export async function countShards(
  places: readonly string[],
  { http = {}, report, onProgress, signal }: CountShardsOptions,
): Promise<ShardCount[]> {
  let done = 0;
  return inParallel(places, SHARDS_AT_ONCE, signal, async (place) => {
    const shard = new Shard(place, http);
    let counted = 0;
    try {
      const { samples, parts, damage } = await shard.contents(signal);
      if (damage) report(place, `${damage.message} The ${samples} samples before are used.`);
      else if (parts > 0) report(place, `${place} has ${parts} names without an image or without audio.`);
      counted = samples;
    } catch (error) {
      const known = ["ERR_FILE_NOT_FOUND", "ERR_FILE_EMPTY", "ERR_MEDIA_DECODE"] as const;
      if (!isSoundspotError(error) || !known.some((code) => code === error.code)) throw error;
      report(place, error.message);
    }
    onProgress?.(++done, places.length);
    return { shard, samples: counted };
  });
}
