/** Which archives a line of text means: brace ranges as WebDataset writes them, and wildcards for those on the disk. */
import { isAbsolute } from "node:path";
import { EXPANSION_MAX, expand } from "brace-expansion";
import { glob } from "tinyglobby";
import { SoundspotError } from "../../core/errors.js";

/** Whether it is an address, not a path. */
export function isRemote(place: string): boolean {
  return /^https?:\/\//i.test(place);
}

/**
 * Paths and addresses, in order and each once. `{000..123}` and `{a,b}` are expanded, `*`, `?` and `[a-z]` in paths are
 * looked up; files that a brace names need not exist.
 * @throws {SoundspotError} ERR_CONFIG when there are none, or a scheme is not http or https; ERR_FILE_NOT_FOUND when a
 * wildcard finds none.
 */
export async function locateShards(patterns: string | readonly string[]): Promise<string[]> {
  const places = new Set<string>();
  for (const pattern of [patterns].flat()) {
    const expanded = expand(pattern, { max: EXPANSION_MAX });
    if (expanded.length >= EXPANSION_MAX) {
      throw new SoundspotError("ERR_CONFIG", `${pattern} names ${EXPANSION_MAX} shards or more.`);
    }
    for (const place of expanded) {
      for (const each of await found(place)) places.add(each);
    }
  }
  if (places.size > 0) return [...places];
  throw new SoundspotError("ERR_CONFIG", "Name at least one shard, such as data/train-{000..123}.tar.");
}

async function found(place: string): Promise<readonly string[]> {
  if (isRemote(place)) return [place];
  const [, scheme] = /^([a-z][a-z0-9+.-]+):/i.exec(place) ?? [];
  if (scheme !== undefined) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${place}: shards are paths or http(s) addresses, not ${scheme}. Copy them, or give the address that their store serves them at.`,
    );
  }
  if (!/[*?[]/.test(place)) return place === "" ? [] : [place];
  const files = await glob(place, { absolute: isAbsolute(place), expandDirectories: false, onlyFiles: true });
  if (files.length > 0) return files.sort();
  throw new SoundspotError("ERR_FILE_NOT_FOUND", `No file matches ${place}. Check the path.`);
}
