#!/usr/bin/env node
/**
 * Finds LibTorch (scripts/locate.mjs says where), or gets it once: from PyTorch's own download, or from the wheel of
 * `torch` through pip, of which only the C++ part is kept. The variant cuda comes as wheels, with those of NVIDIA's
 * libraries: their headers are in no other archive.
 *
 *   node scripts/libtorch.mjs [--no-include]     --no-include leaves out the headers, which only a compiler needs
 *
 *   SOUNDSPOT_VARIANT=cuda   the LibTorch for NVIDIA GPUs
 *   SOUNDSPOT_HOME=…         the folder to keep it in
 *   LIBTORCH=…               an unpacked LibTorch, which is used in place
 *   LIBTORCH_URL=…           an archive to take in place of PyTorch's
 *   LIBTORCH_SHA256=…        take only an archive with this SHA-256
 *   HTTPS_PROXY=… and others the proxy to download through: scripts/proxy.mjs
 */
import { createWriteStream, existsSync, realpathSync, rmSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { verifyArchive } from "./checksums.mjs";
import {
  describeLibTorch,
  findLibTorch,
  installPlace,
  isVersion,
  missingFrom,
  VERSIONS,
  variantOf,
  versionOf,
} from "./locate.mjs";
import { cleaningUp, withLock } from "./lock.mjs";
import { downloadWheels } from "./pip.mjs";
import { Progress } from "./progress.mjs";
import { fetchThroughProxy } from "./proxy.mjs";
import { readMetadata, unpackLibTorch, unpackNvidia } from "./unpack.mjs";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Prefix of the folders that installations work in, each in its own. */
const PARTIAL = "partial-";

const CONNECT_TIMEOUT = 10_000;
const STALL_TIMEOUT = 60_000;

/** PyTorch has no LibTorch for Linux on arm64: there the wheel is the only source. */
const ARCHIVES = {
  "darwin-arm64": `libtorch-macos-arm64-${VERSIONS.cpu}.zip`,
  "linux-x64": `libtorch-shared-with-deps-${VERSIONS.cpu}%2Bcpu.zip`,
  "win32-x64": `libtorch-win-shared-with-deps-${VERSIONS.cpu}%2Bcpu.zip`,
};
const PYTORCH = "https://download.pytorch.org";
const INDEX = { cpu: `${PYTORCH}/whl/cpu`, cuda: `${PYTORCH}/whl/cu130` };

/**
 * Makes sure that there is a usable LibTorch.
 *
 * @param {object} [options]
 * @param {"cpu" | "cuda"} [options.variant] Default that of SOUNDSPOT_VARIANT, or cpu.
 * @param {(line: string) => void} [options.log]
 * @param {boolean} [options.include] Also ask for the headers, to compile against. Default true.
 * @param {Progress} [options.progress] Shows the steps. Default one of its own, which ends with the call.
 * @returns {Promise<{ folder: string, version: string | undefined, source: string }>}
 * @throws {Error} with the reason of every source that failed.
 */
export async function ensureLibTorch({
  variant = variantOf() ?? "cpu",
  log = console.error,
  include = true,
  progress,
} = {}) {
  const shown = progress ?? new Progress();
  const say = (line) => {
    shown.clear();
    log(line);
  };
  try {
    return await ensure({ variant, log: say, include, progress: shown });
  } finally {
    if (!progress) shown.end();
  }
}

async function ensure({ variant, log, include, progress }) {
  if (variant === "cuda" && process.platform === "darwin") {
    throw new Error("There is no CUDA on macOS: use the variant cpu.");
  }
  const { base, folder } = installPlace({ root: PACKAGE, variant });
  if (process.env.LIBTORCH) return useOwn(resolve(process.env.LIBTORCH), { variant, log, include });

  const find = () => {
    const found = findLibTorch({ root: PACKAGE, variant, include });
    return found && { folder: found.path, version: found.version, source: found.source };
  };
  const own = variant === "cpu" && basename(dirname(folder)) === "vendor";
  if (own) await restoreAside(folder);
  const present = find();
  if (present) return leadTo(present);

  const waits = () => log(`Another installation is at work in ${base}: waiting for it.`);
  return withLock(
    join(base, "setup.lock"),
    async () => leadTo(find() ?? (await get({ variant, base, folder, log, include, progress }))),
    { waits },
  );
}

/**
 * On macOS the addon looks for LibTorch in vendor/ of its package, whatever is open: that leads to it, if it can.
 *
 * @template {{ folder: string }} T
 * @param {T} found
 * @param {string} [root] Of the package that has the addon.
 * @returns {Promise<T>}
 */
export async function leadTo(found, root = PACKAGE) {
  const vendor = join(root, "vendor", "libtorch");
  if (process.platform !== "darwin" || samePlace(vendor, found.folder)) return found;
  try {
    const old = await lstat(vendor).catch(() => undefined);
    if (old?.isSymbolicLink()) await rm(vendor);
    if (old === undefined || old.isSymbolicLink()) {
      await mkdir(dirname(vendor), { recursive: true });
      await symlink(realpathSync(found.folder), vendor);
    }
  } catch {
    // A package that cannot be written to.
  }
  return found;
}

async function get({ variant, base, folder, log, include, progress }) {
  const old = describeLibTorch(folder, variant);
  if (old?.version && !isVersion(old.version, VERSIONS[variant])) {
    log(`${folder} is ${old.version}, ${VERSIONS[variant]} is needed: getting that.`);
  }
  await removeLeftovers(base);
  const work = await mkdtemp(join(base, PARTIAL));
  return cleaningUp(
    () => rmSync(work, { recursive: true, force: true }),
    async () => {
      const failures = [];
      for (const { source, fetchArchives } of sourcesOf(variant)) {
        const unpacked = join(work, "unpacked");
        try {
          const archives = await fetchArchives(work, { variant, log, progress });
          await rm(unpacked, { recursive: true, force: true });
          await unpackAll(archives, unpacked, { variant, include, log, progress });
          await moveIntoPlace({ unpacked, base, folder, variant, include });
          const { version } = describeLibTorch(folder, variant) ?? {};
          log(`LibTorch ${version ?? ""} is in ${folder} (from ${source}).`);
          return { folder, version, source };
        } catch (error) {
          failures.push(`${source}: ${error.message}`);
          log(`LibTorch from ${source}: ${firstLine(error.message)}`);
        }
      }
      const kind = variant === "cpu" ? "CPU" : "CUDA 13.0";
      throw new Error(
        `LibTorch ${VERSIONS[variant]} could not be obtained.\n${failures.map((line) => `  - ${line}`).join("\n")}\n` +
          `Unpack it yourself (https://pytorch.org/get-started/locally, package LibTorch, C++, ${kind}) and set ` +
          "LIBTORCH to its folder, or make `python3 -m pip download torch` work.",
      );
    },
  );
}

/** In this order, until one gives archives: LibTorch's first, then NVIDIA's. */
function sourcesOf(variant) {
  const pip = { source: "pip", fetchArchives: variant === "cuda" ? cudaWheels : torchWheel };
  if (process.env.LIBTORCH_URL) return [{ source: "LIBTORCH_URL", fetchArchives: downloadArchive }, pip];
  return variant === "cuda" ? [pip] : [{ source: "PyTorch", fetchArchives: downloadArchive }, pip];
}

async function unpackAll([archive, ...wheels], unpacked, { variant, include, log, progress }) {
  const libtorch = join(unpacked, "libtorch");
  const sums = [];
  const verified = async (file, given) => {
    progress.start(`verifying ${basename(file)}`);
    sums.push(`${await verifyArchive(file, log, given)}  ${basename(file)}\n`);
    log(`Unpacking ${basename(file)}`);
  };
  await verified(archive);
  await unpackLibTorch(archive, libtorch, { include, variant, progress });
  for (const wheel of wheels) {
    await verified(wheel, ""); // LIBTORCH_SHA256 is that of LibTorch's
    await unpackNvidia(wheel, join(unpacked, "nvidia"), { include, progress });
    await rm(wheel); // the disk need not hold all of it twice
  }
  const missing = missingFrom(libtorch, variant, include);
  if (missing.length > 0) throw new Error(`the archive lacks ${missing.join(", ")}`);
  await writeFile(join(libtorch, "archive-sha256"), sums.join(""));
}

/** A LibTorch elsewhere is linked from where one is installed, so that it is found without LIBTORCH. */
async function useOwn(own, { variant, log, include }) {
  const missing = missingFrom(own, variant, include);
  if (missing.length > 0) {
    throw new Error(
      `LIBTORCH is ${own}, which lacks ${missing.join(", ")}. Set it to the folder that holds \`lib\`` +
        `${variant === "cuda" ? " of a LibTorch with CUDA" : ""}.`,
    );
  }
  const version = versionOf(own);
  if (version && !isVersion(version, VERSIONS[variant])) {
    log(
      `LIBTORCH is ${version}; soundspot is tested with ${VERSIONS[variant]} and has to be compiled for yours.`,
    );
  }
  const { folder } = installPlace({ root: PACKAGE, variant, version });
  const result = { folder, version, source: "LIBTORCH" };
  if (samePlace(folder, own)) return result;
  try {
    await mkdir(dirname(folder), { recursive: true });
    const old = await lstat(folder).catch(() => undefined);
    if (old?.isSymbolicLink()) await rm(folder);
    else if (old) {
      await rm(aside(folder), { recursive: true, force: true });
      await rename(folder, aside(folder));
    }
    await symlink(realpathSync(own), folder, "junction");
    log(`${folder} leads to ${own} (LIBTORCH).`);
    return result;
  } catch (error) {
    log(`${folder} cannot lead to it (${error.message}): set LIBTORCH also when soundspot runs.`);
    return { ...result, folder: own };
  }
}

/** Holds a downloaded LibTorch while $LIBTORCH replaces it. */
const aside = (folder) => `${folder}.own`;

/** Restores the downloaded LibTorch when the folder that replaced it is gone. */
async function restoreAside(folder) {
  const link = await lstat(folder).catch(() => undefined);
  if (link?.isSymbolicLink() && !existsSync(folder)) await rm(folder);
  if (!existsSync(folder) && existsSync(aside(folder))) await rename(aside(folder), folder);
}

function samePlace(a, b) {
  return existsSync(a) && existsSync(b) && realpathSync(a) === realpathSync(b);
}

/** Removes the folders of installations that were killed: the lock is held, so no other is at work. */
async function removeLeftovers(base) {
  for (const name of await readdir(base)) {
    if (name.startsWith(PARTIAL)) await rm(join(base, name), { recursive: true, force: true });
  }
}

async function downloadArchive(work, { log, progress }) {
  const name = ARCHIVES[`${process.platform}-${process.arch}`];
  if (!name && !process.env.LIBTORCH_URL) {
    throw new Error(`PyTorch offers no LibTorch for ${process.platform}-${process.arch}`);
  }
  const url = process.env.LIBTORCH_URL || `${PYTORCH}/libtorch/cpu/${name}`;
  log(`Downloading ${url}`);
  progress.start("connecting");

  const abort = new AbortController();
  const give = (milliseconds, reason) => setTimeout(() => abort.abort(new Error(reason)), milliseconds);
  let timer = give(CONNECT_TIMEOUT, `no answer within ${CONNECT_TIMEOUT / 1000} s`);
  try {
    const response = await fetchThroughProxy(url, { signal: abort.signal });
    if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
    const file = join(work, decodeURIComponent(basename(new URL(url).pathname)) || "libtorch.zip");
    const total = Number(response.headers.get("content-length"));
    progress.start("downloading LibTorch", { total, unit: "bytes" });
    const watch = new Transform({
      transform(chunk, _encoding, done) {
        clearTimeout(timer);
        timer = give(STALL_TIMEOUT, `the download stood still for ${STALL_TIMEOUT / 1000} s`);
        progress.add(chunk.length);
        done(null, chunk);
      },
    });
    await pipeline(Readable.fromWeb(response.body), watch, createWriteStream(file), {
      signal: abort.signal,
    });
    return [file];
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : new Error(reasonOf(error));
  } finally {
    clearTimeout(timer);
  }
}

/** fetch hides its reason in the cause; of several addresses that were tried, in the causes of that. */
function reasonOf({ message, cause }) {
  if (message !== "fetch failed" || !cause) return message;
  return cause.message || cause.errors?.map((each) => each.message).join(", ") || cause.code || message;
}

async function torchWheel(work, { variant, log, progress }) {
  const wheels = await downloadWheels([`torch==${VERSIONS[variant]}`], {
    folder: join(work, "wheels"),
    dependencies: false,
    index: INDEX[variant],
    title: "downloading LibTorch",
    log,
    progress,
  });
  return wheels.filter((file) => basename(file).startsWith("torch-")).slice(0, 1);
}

/** The wheel of torch, and those of NVIDIA's libraries that it names. */
async function cudaWheels(work, options) {
  const torch = await torchWheel(work, options);
  const requirements = nvidiaRequirements(await readMetadata(torch[0]));
  if (requirements.length === 0) return torch; // that of Windows has them in it
  const wheels = await downloadWheels(requirements, {
    folder: join(work, "nvidia-wheels"),
    dependencies: true,
    index: INDEX.cuda,
    title: "downloading NVIDIA's libraries",
    ...options,
  });
  return [...torch, ...wheels.filter((file) => basename(file).startsWith("nvidia_"))];
}

/**
 * What torch requires of NVIDIA.
 *
 * @param {string} metadata Of torch's wheel.
 * @returns {string[]} Requirements, without their conditions.
 */
export function nvidiaRequirements(metadata) {
  const lines = [...metadata.matchAll(/^Requires-Dist:\s*((?:nvidia-|cuda-toolkit)[^;\r\n]*)(.*)$/gm)];
  return lines
    .filter(([, , condition]) => !/\bextra\s*==/.test(condition))
    .map(([, requirement]) => requirement.trim());
}

/** One that is there, is incomplete, of another version or without headers: a complete one would have been used. */
async function moveIntoPlace({ unpacked, base, folder, variant, include }) {
  const [from, to] =
    dirname(folder) === base ? [join(unpacked, "libtorch"), folder] : [unpacked, dirname(folder)];
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(from, to);
      return;
    } catch (error) {
      const other = describeLibTorch(folder, variant);
      const usable = other && (!other.version || isVersion(other.version, VERSIONS[variant]));
      if (usable && (other.include || !include)) return;
      if (attempt === 2 || !existsSync(to)) throw error;
      await rename(to, join(dirname(unpacked), `old-${attempt}`)).catch(() => undefined);
    }
  }
}

function firstLine(text) {
  return text.split("\n", 1)[0];
}

if (process.argv[1] && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  try {
    const { folder, version } = await ensureLibTorch({ include: !process.argv.includes("--no-include") });
    console.log(`LibTorch ${version ?? "of unknown version"}: ${folder}`);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
