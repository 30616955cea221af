/**
 * One installation at a time in a folder: a lock file, which its holder touches as long as it works. One whose holder
 * has ended is taken over: at once where its process is seen to be gone, else when nobody has touched it for a while.
 */
import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const TOUCH = 5_000;
const STALE = 60_000;
const LOOK = 250;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Waits for the lock, and holds it while `work` runs.
 *
 * @template T
 * @param {string} path The lock's file. Its folder is created.
 * @param {() => Promise<T>} work
 * @param {object} [options]
 * @param {() => void} [options.waits] Called once, where another process holds the lock.
 * @returns {Promise<T>}
 */
export async function withLock(path, work, { waits = () => undefined } = {}) {
  await mkdir(dirname(path), { recursive: true });
  const id = await take(path, waits);
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH);
  timer.unref();
  const giveBack = () => {
    if (ownerAt(path)?.id === id) rmSync(path, { force: true });
  };
  try {
    return await cleaningUp(giveBack, work);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Runs `work` and then `clean`; where a signal ends the process, `clean` alone.
 *
 * @template T
 * @param {() => void} clean Synchronous.
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function cleaningUp(clean, work) {
  const end = (signal) => {
    clean();
    for (const each of SIGNALS) process.removeListener(each, end);
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    return await work();
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, end);
    clean();
  }
}

async function take(path, waits) {
  const id = randomUUID();
  const owner = JSON.stringify({ id, pid: process.pid, host: hostname() });
  let told = false;
  for (;;) {
    try {
      await writeFile(path, owner, { flag: "wx" });
      return id;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const stale = await staleContent(path);
    if (stale !== undefined) {
      await takeAway(path, stale);
      continue;
    }
    if (!told) waits();
    told = true;
    await sleep(LOOK);
  }
}

/** The content of a lock that nobody holds any more; undefined where somebody does, or has just given it back. */
async function staleContent(path) {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    if (Date.now() - mtimeMs > STALE) return text;
    const { pid, host } = JSON.parse(text);
    return host === hostname() && !isAlive(pid) ? text : undefined;
  } catch {
    return undefined; // gone, or written just now
  }
}

/** Another process may have taken the lock over since it was read: then it gets it back. */
async function takeAway(path, content) {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== content) await rename(aside, path);
  } catch {
    // Somebody else was faster.
  } finally {
    await rm(aside, { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM"; // of another user
  }
}

function ownerAt(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}
