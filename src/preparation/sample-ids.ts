/** Ids of samples: unique, the same in every run, and safe as names of files. */
import { extname } from "node:path";

/** A video as far as its id is concerned. */
export interface NamedVideo {
  /** Folders it lies in, the nearest last; of an archive, its name and the folders within. */
  readonly folders: readonly string[];
  /** Name of the file, with its ending. */
  readonly file: string;
  /** Folder given, path below it: the same wherever the folder is. */
  readonly source: string;
  readonly bytes: number;
}

/** A video that has its id from an earlier run. */
export interface KnownVideo {
  readonly id: string;
  readonly source: string;
  readonly bytes: number;
}

/** Leaves room for an ending and a temporary name below the 255 bytes that file systems take. */
const MAX_BYTES = 180;

/** What names may not hold: controls, what Windows rejects, line ends, and marks that turn the direction of writing. */
const UNSAFE = /[\p{Cc}\p{Cs}<>:"/\\|?*\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** The name of a file without its ending. */
export function stemOf(file: string): string {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return name.slice(0, name.length - extname(name).length);
}

/**
 * A name that is one file on every system: no separators, no characters that Windows rejects, no
 * dots or spaces at the ends.
 * @param dots false puts "_" for dots, which part the name from the ending in shards.
 */
export function safeName(text: string, dots: boolean): string {
  let name = text.normalize("NFC").replace(UNSAFE, "_");
  if (!dots) name = name.replaceAll(".", "_");
  name = name.replace(/^[.\s]+|[.\s]+$/g, (run) => "_".repeat(run.length));
  while (Buffer.byteLength(name) > MAX_BYTES) name = Array.from(name).slice(0, -1).join("");
  return /^(|con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])(\.|$)/i.test(name) ? `_${name}` : name;
}

/**
 * Gives every video its id: the name of its file without the ending. Where several would have the
 * same, each has the names of as many folders before it as distinguish them, then the ending, then a
 * number. Case does not distinguish ids, because some file systems ignore it.
 *
 * A video keeps the id that an earlier run gave it. It is known by its source and size, or, when it
 * was moved, by its name and size.
 */
export function assignIds(
  videos: readonly NamedVideo[],
  known: readonly KnownVideo[],
  options: { readonly dots: boolean },
): string[] {
  const { dots } = options;
  const ids = keptIds(videos, known);
  const used = new Set(known.map(({ id }) => id.toLowerCase()));
  const groups = new Map<string, number[]>();
  for (const [index, { file }] of videos.entries()) {
    if (ids[index] !== undefined) continue;
    const key = safeName(stemOf(file), dots).toLowerCase();
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  }
  const give = (index: number, id: string) => {
    ids[index] = id;
    used.add(id.toLowerCase());
  };
  const clashing: [string, number[]][] = [];
  for (const [key, members] of groups) {
    const [only] = members;
    if (members.length > 1 || only === undefined || used.has(key)) clashing.push([key, members]);
    else give(only, safeName(stemOf(videos[only]?.file ?? ""), dots));
  }
  clashing.sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [, members] of clashing) {
    const named = members.map((index) => ({ index, video: videos[index] as NamedVideo }));
    named.sort((a, b) => (a.video.source < b.video.source ? -1 : a.video.source > b.video.source ? 1 : 0));
    const candidates = apart(
      named.map(({ video }) => video),
      used,
      dots,
    );
    for (const [i, { index }] of named.entries()) give(index, candidates[i] as string);
  }
  return ids as string[];
}

function keptIds(videos: readonly NamedVideo[], known: readonly KnownVideo[]): (string | undefined)[] {
  const ids: (string | undefined)[] = new Array(videos.length).fill(undefined);
  const left = new Set(known);
  // Its place, or where it was moved the end of it, or where it was sorted anew its name alone.
  const marks = [
    (source: string) => source,
    (source: string) => source.split("/").slice(-2).join("/"),
    (source: string) => stemOf(source),
  ];
  for (const markOf of marks) {
    const keyOf = ({ source, bytes }: Pick<KnownVideo, "source" | "bytes">) => `${bytes} ${markOf(source)}`;
    const byKey = new Map<string, KnownVideo>();
    for (const each of left) if (!byKey.has(keyOf(each))) byKey.set(keyOf(each), each);
    for (const [index, video] of videos.entries()) {
      const match = ids[index] === undefined ? byKey.get(keyOf(video)) : undefined;
      if (!match || !left.delete(match)) continue;
      ids[index] = match.id;
    }
  }
  return ids;
}

/** Ids for videos whose plain ones clash, in their order. */
function apart(videos: readonly NamedVideo[], used: ReadonlySet<string>, dots: boolean): string[] {
  const deepest = Math.max(...videos.map(({ folders }) => folders.length));
  const withFolders = (video: NamedVideo, depth: number, ending: string) =>
    safeName([...video.folders.slice(-depth), stemOf(video.file)].join("_") + ending, dots);
  for (let depth = 1; depth <= deepest; depth++) {
    const ids = videos.map((video) => withFolders(video, depth, ""));
    if (allNew(ids, used)) return ids;
  }
  const ids = videos.map((video) => withFolders(video, 1, `-${extname(video.file).slice(1)}`));
  if (allNew(ids, used)) return ids;
  const taken = new Set(used);
  return ids.map((id) => {
    let free = id;
    for (let n = 2; taken.has(free.toLowerCase()); n++) free = `${id}-${n}`;
    taken.add(free.toLowerCase());
    return free;
  });
}

function allNew(ids: readonly string[], used: ReadonlySet<string>): boolean {
  const lower = ids.map((id) => id.toLowerCase());
  return new Set(lower).size === lower.length && !lower.some((id) => used.has(id));
}
