/** One run at a time on a folder: a lock file that names the process that holds it. */
import { randomUUID } from "node:crypto";
import { link, readdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { SoundspotError } from "../core/errors.js";
import { writing } from "./atomic-writes.js";

interface Owner {
  readonly id: string;
  readonly pid: number;
  readonly host: string;
  /** Distinguishes a process from a later one with the same number, where the system reports it (Linux). */
  readonly started?: string;
}

/** Lock files held by this process. */
const held = new Set<string>();

/**
 * Takes a lock of a folder, a file of this name. One whose process has ended is taken over.
 * @returns what gives it back; never rejects.
 * @throws {SoundspotError} ERR_BUSY when another run holds it; ERR_FILE_WRITE.
 */
export async function lockFolder(folder: string, name = "prepare.lock"): Promise<() => Promise<void>> {
  const place = await writing(folder, () => realpath(folder));
  const path = join(place, name);
  if (held.has(path)) throw busy(path, "another run of this process");
  held.add(path);
  const started = await startOf(process.pid);
  const id = randomUUID();
  const owner = { id, pid: process.pid, host: hostname(), ...(started === undefined ? {} : { started }) };
  try {
    await take(path, owner);
  } catch (error) {
    held.delete(path);
    throw error;
  }
  await removeLeftovers(place, name).catch(() => undefined); // they do no harm
  return async () => {
    const now = await readOwner(path).catch(() => undefined);
    // One that cannot be removed is taken over when this process has ended.
    if (now?.id === id) await rm(path, { force: true }).catch(() => undefined);
    held.delete(path);
  };
}

/**
 * The lock of a dead process is not removed, because another might have taken it over since it was read.
 * It is claimed: the claim has the lock's id, so only one exists, and is then renamed to be the lock. A process that
 * finds a claim whose process died in between claims that claim.
 */
async function take(path: string, owner: Owner): Promise<void> {
  const content = `${JSON.stringify(owner)}\n`;
  while (!(await createWhole(path, content))) {
    const first = await readOwner(path);
    let last = first;
    let claim = "";
    while (last !== undefined) {
      if (await isAtWork(last)) throw busy(path, `process ${last.pid} on ${last.host}`);
      claim = `${path}.${last.id}`;
      if (await createWhole(claim, content)) break;
      last = await readOwner(claim);
    }
    if (first === undefined || last === undefined) continue; // one was given back or taken over meanwhile
    // Claimed too late, if another has taken over and its claim is gone.
    if ((await readOwner(path))?.id === first.id) return writing(path, () => rename(claim, path));
    await rm(claim, { force: true });
  }
}

/** What processes left that were ended while they took the lock, which takes milliseconds. */
async function removeLeftovers(folder: string, lock: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${lock}.`)) continue;
    const path = join(folder, name);
    const owner = await readOwner(path).catch(() => undefined);
    const left = owner ? !(await isAtWork(owner)) : Date.now() - (await stat(path)).mtimeMs > 60_000;
    if (left) await rm(path, { force: true });
  }
}

function busy(path: string, who: string): SoundspotError {
  return new SoundspotError(
    "ERR_BUSY",
    `${path} is held by ${who}: two runs cannot write to one folder. ` +
      "Wait for it or give another output; if no run is at work, delete the file.",
  );
}

/** @internal Creates a file with its content in one step; false when there is one. */
export async function createWhole(path: string, content: string): Promise<boolean> {
  return writing(path, async () => {
    const temporary = `${path}.${randomUUID()}`;
    try {
      await writeFile(temporary, content, { flag: "wx" });
      await link(temporary, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return false;
      // Some file systems have no links.
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS" && code !== "EMLINK") throw error;
      return await createByName(path, content);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

async function createByName(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    await rm(path, { force: true }); // half of a lock would keep everybody out
    throw error;
  }
}

async function readOwner(path: string): Promise<Owner | undefined> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw busy(path, "someone: it cannot be read");
  });
  if (text === undefined) return undefined;
  try {
    const owner = JSON.parse(text) as Partial<Owner>;
    const { id, pid, host } = owner;
    // The id becomes part of a path.
    if (/^[\w-]+$/.test(id ?? "") && typeof pid === "number" && typeof host === "string")
      return owner as Owner;
  } catch {
    // Reported below.
  }
  throw busy(path, "someone: it is not a lock of this program");
}

async function isAtWork({ pid, host, started }: Owner): Promise<boolean> {
  // Processes on other machines cannot be checked.
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it exists, and belongs to another user.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  return started === undefined || (await startOf(pid)) === started;
}

/** When a process began, of which start of the system; undefined where the system does not report it. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    const status = await readFile(`/proc/${pid}/stat`, "utf8");
    // Field 22, counted after the name in parentheses, which may hold anything.
    const fields = status.slice(status.lastIndexOf(")") + 2).split(" ");
    const ended = fields[0] === "Z"; // killed, and its parent has not asked yet
    return ended ? undefined : `${boot} ${fields[19]}`;
  } catch {
    return undefined;
  }
}
