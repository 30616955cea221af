/** Files that a call reads and files that it writes: no file is both, and no two outputs are one file. */
import type { BigIntStats } from "node:fs";
import { opendir, readdir, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { SoundspotError } from "../core/errors.js";
import { inParallel } from "../core/parallel.js";

/** A path, and what its user calls it, such as `--output` or `weights`. */
export interface NamedPath {
  readonly name: string;
  /** Nothing is checked where there is no path. */
  readonly path: string | undefined;
}

/** A folder in which files are written. */
export interface NamedFolder extends NamedPath {
  /** Whether a file of it, by its path within the folder with "/" between names, is written or removed. */
  readonly writes: (file: string) => boolean;
}

export interface ReadAndWritten {
  readonly inputs: readonly NamedPath[];
  /** Files. */
  readonly outputs?: readonly NamedPath[];
  readonly folders?: readonly NamedFolder[];
}

type Given<T extends NamedPath> = T & { readonly path: string };

/** Where a file is, or would be. */
interface Place {
  /** The path without links. */
  readonly real: string;
  /**
   * Device and inode. For a file that does not exist yet, those of the nearest folder that does, and the rest of the
   * path. Undefined where the file system has no inodes.
   */
  readonly node: string | undefined;
  /** The nearest folder that is there. */
  readonly folder: string;
}

/** As many as Linux follows. */
const MOST_LINKS = 40;
/** Inputs checked at once: more than the threads that check them, so that none is idle. */
const LOOKS_AT_ONCE = 32;
/** Entries of a folder that are read to learn how it compares names. */
const PROBES = 64;

/** For `writes`: a file of one of these names, in whatever case where that makes no difference. */
export function oneOfNames(names: readonly string[]): (file: string) => boolean {
  const known = new Set(names.flatMap((name) => [name, folded(name)]));
  return (file) => known.has(file);
}

const given = <T extends NamedPath>(paths: readonly T[]) =>
  paths.filter((each): each is Given<T> => typeof each.path === "string" && each.path !== "");

/**
 * Compares by real path, and by device and inode: symbolic links, hard links and names that differ in case count as
 * the file that they lead to. Missing inputs are skipped: reading them gives an error of its own. Call it before any
 * work.
 * @throws {SoundspotError} ERR_OUTPUT_IS_INPUT when an output is a file that is read; ERR_CONFIG when two outputs are
 * one file, or one is the folder of another.
 */
export async function checkOutputs({ inputs, outputs = [], folders = [] }: ReadAndWritten): Promise<void> {
  const looked = await inParallel(given(inputs), LOOKS_AT_ONCE, undefined, async (input) => ({
    input,
    place: await placeOfExisting(input.path),
  }));
  const read = looked.flatMap(({ input, place }) => (place ? [{ input, place }] : []));
  const written: { readonly output: Given<NamedPath>; readonly place: Place }[] = [];
  for (const output of given(outputs)) {
    const place = await placeOf(output.path);
    for (const other of read) {
      if (isSame(place, other.place)) throw outputIsInput(output, other.input);
    }
    for (const other of written) {
      if (isSame(place, other.place)) throw sameOutput(other.output, output);
      if (isWithin(place, other.place)) throw outputInOutput(other.output, output);
      if (isWithin(other.place, place)) throw outputInOutput(output, other.output);
    }
    written.push({ output, place });
  }
  for (const folder of given(folders)) {
    const own = await placeOfExisting(folder.path);
    if (!own) continue;
    const fold = await foldIn(own.folder);
    const writes = (file: string) => folder.writes(fold(file));
    // Links of either kind have other paths.
    const files = (await readdir(folder.path).catch(() => [])).filter(writes);
    const places = await Promise.all(files.map((file) => placeOfExisting(join(folder.path, file))));
    for (const { input, place } of read) {
      const within = relative(own.real, place.real).split(sep).join("/");
      const linked = files[places.findIndex((each) => each && isSame(each, place))];
      const file = isWithin(place, own) && writes(within) ? within : linked;
      if (file !== undefined) throw folderHasInput(folder, join(folder.path, file), input);
    }
  }
}

function isSame(one: Place, other: Place): boolean {
  return one.real === other.real || (one.node !== undefined && one.node === other.node);
}

function isWithin(inner: Place, outer: Place): boolean {
  const inside = (path: string | undefined, folder: string | undefined, separator: string) =>
    path !== undefined && folder !== undefined && path.startsWith(folder + separator);
  return (
    inside(inner.real, outer.real.endsWith(sep) ? outer.real.slice(0, -1) : outer.real, sep) ||
    inside(inner.node, outer.node, "/")
  );
}

/** Undefined when there is no such file. */
async function placeOfExisting(path: string): Promise<Place | undefined> {
  try {
    const info = await stat(path, { bigint: true });
    const real = await realpath(path);
    return { real, node: nodeOf(info), folder: info.isDirectory() ? real : dirname(real) };
  } catch {
    return undefined;
  }
}

/** Follows links as far as they lead. */
async function placeOf(path: string, links = MOST_LINKS): Promise<Place> {
  const there = await placeOfExisting(path);
  if (there) return there;
  const parent = dirname(path);
  const target = await readlink(path).catch(() => undefined);
  if (target !== undefined && links > 0) {
    return placeOf(resolve((await placeOf(parent)).real, target), links - 1);
  }
  if (parent === path) return { real: resolve(path), node: undefined, folder: resolve(path) };
  const { real, node, folder } = await placeOf(parent, links);
  const fold = await foldIn(folder);
  const name = fold(basename(path));
  return { real: join(real, name), node: node === undefined ? undefined : `${node}/${name}`, folder };
}

const folded = (name: string) => name.normalize("NFC").toLowerCase();

/** Some file systems have no inodes and report 0. */
function nodeOf({ dev, ino }: BigIntStats): string | undefined {
  return ino === 0n ? undefined : `${dev}:${ino}`;
}

/** Names that differ in case alone, or in how accents are written, are one name on some systems. */
async function foldIn(folder: string): Promise<(name: string) => string> {
  return (await ignoresCase(folder)) ? folded : (name) => name;
}

async function ignoresCase(folder: string): Promise<boolean> {
  let probes = PROBES;
  try {
    for await (const { name } of await opendir(folder)) {
      const other = name === name.toLowerCase() ? name.toUpperCase() : name.toLowerCase();
      if (other !== name) {
        const [own, same] = await Promise.all(
          [name, other].map((each) => stat(join(folder, each), { bigint: true }).catch(() => undefined)),
        );
        if (own) return same !== undefined && own.dev === same.dev && own.ino === same.ino;
      }
      if (--probes === 0) break;
    }
  } catch {
    // It may not be listed.
  }
  return process.platform === "win32" || process.platform === "darwin";
}

function outputIsInput(output: Given<NamedPath>, input: Given<NamedPath>): SoundspotError {
  return new SoundspotError(
    "ERR_OUTPUT_IS_INPUT",
    `${output.name} ${output.path} is the file that is read as ${input.name} ${input.path}: writing it would destroy it. Give another path for ${output.name}.`,
  );
}

function folderHasInput(folder: Given<NamedFolder>, file: string, input: Given<NamedPath>): SoundspotError {
  return new SoundspotError(
    "ERR_OUTPUT_IS_INPUT",
    `${folder.name} ${folder.path} would replace ${file}, which is read as ${input.name} ${input.path}. Give another folder for ${folder.name}, or move the file out of it.`,
  );
}

function sameOutput(one: Given<NamedPath>, other: Given<NamedPath>): SoundspotError {
  return new SoundspotError(
    "ERR_CONFIG",
    `${one.name} ${one.path} and ${other.name} ${other.path} are one file. Give each a path of its own.`,
  );
}

function outputInOutput(outer: Given<NamedPath>, inner: Given<NamedPath>): SoundspotError {
  return new SoundspotError(
    "ERR_CONFIG",
    `${inner.name} ${inner.path} lies below ${outer.name} ${outer.path}, which is a file. Give another path for one of them.`,
  );
}
