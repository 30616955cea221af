/** Atomic writes: a file is complete or absent, however the process ends. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isSoundspotError, SoundspotError } from "../core/errors.js";

/**
 * Writes a file under another name on the same disk, then gives it its own. A link of that name is replaced, not
 * followed; when it fails, what was there is as it was.
 * @param partial The folder for incomplete files; default the file's own.
 * @throws {SoundspotError} ERR_FILE_WRITE
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  partial = dirname(path),
  options: { readonly flush?: boolean } = {},
): Promise<void> {
  await checkReplaceable(path);
  await writing(path, async () => {
    const temporary = temporaryIn(partial);
    try {
      const file = await open(temporary, "wx");
      try {
        await file.writeFile(content);
        if (options.flush) await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  });
}

/**
 * Makes the folder that a file is to lie in, and those above it.
 * @returns what removes those that were made, as far as they are empty
 * @throws {SoundspotError} ERR_FILE_WRITE
 */
export async function makeFolderOf(path: string): Promise<() => Promise<void>> {
  const missing: string[] = [];
  let folder = dirname(path);
  while (!(await isFolder(folder)) && dirname(folder) !== folder) {
    missing.push(folder);
    folder = dirname(folder);
  }
  if (missing.length > 0) await writing(path, () => mkdir(dirname(path), { recursive: true }));
  return async () => {
    for (const each of missing) await rmdir(each).catch(() => undefined);
  };
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/**
 * `replaceFile` in a folder that is made where it is missing.
 * @throws {SoundspotError} ERR_FILE_WRITE; then no folder is left either.
 */
export async function writeOutput(path: string, content: string | Uint8Array): Promise<void> {
  const undo = await makeFolderOf(path);
  try {
    await replaceFile(path, content);
  } catch (error) {
    await undo();
    throw error;
  }
}

/** A name in a folder for an incomplete file. */
export function temporaryIn(folder: string, ending = ""): string {
  return join(folder, `.soundspot-${randomUUID()}${ending}`);
}

/** Removes what killed processes left under such names. The caller must have locked the folder. */
export async function removeTemporary(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (/^\.soundspot-[\da-f-]{36}(\.\w+)?$/.test(name)) await rm(join(folder, name), { force: true });
  }
}

/**
 * Renaming a file over a device would replace the device, and over a folder fails only when all is written.
 * @throws {SoundspotError} ERR_FILE_WRITE when something other than a file is there.
 */
export async function checkReplaceable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (!there || there.isFile()) return;
  const what = there.isDirectory() ? "a folder" : "not a regular file";
  throw new SoundspotError(
    "ERR_FILE_WRITE",
    `${path} cannot be written: it is ${what}. Give the path of a file.`,
  );
}

/** @throws {SoundspotError} ERR_FILE_WRITE with the path, whatever the disk reported. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isSoundspotError(cause)) throw cause;
    throw new SoundspotError(
      "ERR_FILE_WRITE",
      `${path} cannot be written: ${(cause as Error).message}. Check that its folder exists, may be written and has free space.`,
      { cause },
    );
  }
}

/** Runs what is given to it one after the other. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Writes files into a folder, each atomically. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  await writing(folder, () => mkdir(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await replaceFile(join(folder, name), content, folder);
  }
}
