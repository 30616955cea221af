#!/usr/bin/env node
/**
 * Finds LibTorch, or gets it once, into vendor/libtorch. The order is: $LIBTORCH, vendor/libtorch, PyTorch's own
 * download, and the wheel of `torch` through pip, of which only the C++ part is kept.
 *
 *   node scripts/libtorch.mjs [--no-include]     --no-include leaves out the headers, which only a compiler needs
 *
 *   LIBTORCH_SHA256=…     take only an archive with this SHA-256
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, readFileSync, realpathSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Progress } from "./progress.mjs";

export const LIBTORCH_VERSION = "2.13.0";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const VENDOR = join(PACKAGE, "vendor");
const HOME = join(VENDOR, "libtorch");
/** Holds a downloaded LibTorch while $LIBTORCH replaces it. */
const ASIDE = join(VENDOR, "libtorch.own");

/** Prefix of the folders that installations work in, each in its own. */
const PARTIAL = "partial-";
const LEFTOVER_AGE = 6 * 3_600_000;

const CONNECT_TIMEOUT = 10_000;
const STALL_TIMEOUT = 60_000;
/** Milliseconds between checks of the wheel that pip downloads. */
const WHEEL_WATCH = 500;

/** PyTorch has no LibTorch for Linux on arm64: there the wheel is the only source. */
const ARCHIVES = {
  "darwin-arm64": `libtorch-macos-arm64-${LIBTORCH_VERSION}.zip`,
  "linux-x64": `libtorch-shared-with-deps-${LIBTORCH_VERSION}%2Bcpu.zip`,
  "win32-x64": `libtorch-win-shared-with-deps-${LIBTORCH_VERSION}%2Bcpu.zip`,
};
const PYTORCH = "https://download.pytorch.org";

/**
 * SHA-256 of archives by file name. Others are trusted without a checksum, by TLS and pip's own check against its index,
 * unless LIBTORCH_SHA256 is set. Their checksum is printed and stored in `archive-sha256`.
 */
const CHECKSUMS = {
  [`torch-${LIBTORCH_VERSION}+cpu-cp311-cp311-manylinux_2_28_x86_64.whl`]:
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
};

/** The required libraries, by platform. */
const REQUIRED = {
  darwin: ["libc10.dylib", "libtorch_cpu.dylib"],
  linux: ["libc10.so", "libtorch_cpu.so"],
  win32: ["c10.dll", "torch_cpu.dll"],
};

/** Parts of `lib` that serve Python, tests or static linking. */
const UNUSED_LIBRARY =
  /^(lib)?(torch_python|shm|aoti_custom_ops|backend_with_compiler|jitbackend_test|torchbind_test)/;
const IMPORT_LIBRARY = /^(c10|torch|torch_cpu)\.lib$/;

/**
 * Makes sure that vendor/libtorch leads to a usable LibTorch.
 *
 * @param {object} [options]
 * @param {(line: string) => void} [options.log]
 * @param {boolean} [options.include] Also ask for the headers, to compile against. Default true.
 * @param {Progress} [options.progress] Shows the steps. Default one of its own, which ends with the call.
 * @returns {Promise<{ folder: string, version: string | undefined, source: string }>}
 * @throws {Error} with the reason of every source that failed.
 */
export async function ensureLibTorch({ log = console.error, include = true, progress } = {}) {
  const shown = progress ?? new Progress();
  const say = (line) => {
    shown.clear();
    log(line);
  };
  try {
    return await ensure({ log: say, include, progress: shown });
  } finally {
    if (!progress) shown.end();
  }
}

async function ensure({ log, include, progress }) {
  if (process.env.LIBTORCH) return useOwn(resolve(process.env.LIBTORCH), { log, include });

  await restoreAside();
  const present = describe(HOME);
  if (present && (present.include || !include)) {
    if (!present.version || present.version.startsWith(LIBTORCH_VERSION)) {
      return { folder: HOME, version: present.version, source: "vendor" };
    }
    log(`vendor/libtorch is ${present.version}, ${LIBTORCH_VERSION} is needed: getting that.`);
  }

  await mkdir(VENDOR, { recursive: true });
  await removeLeftovers();
  const work = await mkdtemp(join(VENDOR, PARTIAL));
  try {
    const failures = [];
    for (const [source, fetchArchive] of [
      ["PyTorch", downloadArchive],
      ["pip", downloadWheel],
    ]) {
      try {
        const archive = await fetchArchive(work, { log, progress });
        progress.start("verifying the archive");
        const sum = await verifyArchive(archive, log);
        const unpacked = join(work, "libtorch");
        await rm(unpacked, { recursive: true, force: true });
        await unpack(archive, unpacked, { include, log, progress });
        const missing = missingFrom(unpacked, include);
        if (missing.length > 0) throw new Error(`the archive lacks ${missing.join(", ")}`);
        await writeFile(join(unpacked, "archive-sha256"), `${sum}  ${basename(archive)}\n`);
        await moveIntoPlace(unpacked, include);
        const { version } = describe(HOME) ?? {};
        log(`LibTorch ${version ?? ""} is in vendor/libtorch (from ${source}).`);
        return { folder: HOME, version, source };
      } catch (error) {
        failures.push(`${source}: ${error.message}`);
        log(`LibTorch from ${source}: ${firstLine(error.message)}`);
      }
    }
    throw new Error(
      `LibTorch ${LIBTORCH_VERSION} could not be obtained.\n${failures.map((line) => `  - ${line}`).join("\n")}\n` +
        "Unpack it yourself (https://pytorch.org/get-started/locally, package LibTorch, C++, CPU) and set LIBTORCH " +
        "to its folder, or make `python3 -m pip download torch` work.",
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * The LibTorch at vendor/libtorch now, without changing anything.
 *
 * @returns {{ folder: string, version: string | undefined, include: boolean, linked: boolean } | undefined}
 *   `linked` when it leads to another folder, as with $LIBTORCH; undefined without a LibTorch.
 */
export function describeLibTorch() {
  return describe(HOME);
}

function describe(folder) {
  if (missingFrom(folder, false).length > 0) return undefined;
  const real = realpathSync(folder);
  return {
    folder: real,
    version: versionOf(real),
    include: missingFrom(real, true).length === 0,
    linked: real !== join(realpathSync(dirname(folder)), "libtorch"),
  };
}

/** `build-version` is in PyTorch's archives and written by `unpack`; CMake's file is in every copy. */
function versionOf(folder) {
  const read = (file, pattern) => {
    try {
      return pattern.exec(readFileSync(join(folder, file), "utf8"))?.[1];
    } catch {
      return undefined;
    }
  };
  return (
    read("build-version", /^\s*(\S+)/) ??
    read("share/cmake/Torch/TorchConfigVersion.cmake", /PACKAGE_VERSION "([^"]+)"/)
  );
}

function missingFrom(folder, include) {
  const files = (REQUIRED[process.platform] ?? REQUIRED.linux).map((name) => join("lib", name));
  if (include) files.push(join("include", "ATen", "ATen.h"));
  return files.filter((file) => !existsSync(join(folder, file)));
}

/** The addon's run path leads to vendor/libtorch, so a LibTorch elsewhere is linked from there. */
async function useOwn(folder, { log, include }) {
  const missing = missingFrom(folder, include);
  if (missing.length > 0) {
    throw new Error(
      `LIBTORCH is ${folder}, which lacks ${missing.join(", ")}. Set it to the folder that holds \`lib\`.`,
    );
  }
  const version = versionOf(folder);
  if (version && !version.startsWith(LIBTORCH_VERSION)) {
    log(
      `LIBTORCH is ${version}; soundspot is tested with ${LIBTORCH_VERSION} and has to be compiled for yours.`,
    );
  }
  await mkdir(VENDOR, { recursive: true });
  if (existsSync(HOME) && realpathSync(HOME) === realpathSync(folder))
    return { folder: HOME, version, source: "LIBTORCH" };

  const old = await lstat(HOME).catch(() => undefined);
  if (old?.isSymbolicLink()) await rm(HOME);
  else if (old) {
    await rm(ASIDE, { recursive: true, force: true });
    await rename(HOME, ASIDE);
  }
  await symlink(realpathSync(folder), HOME, "junction");
  log(`vendor/libtorch leads to ${folder} (LIBTORCH).`);
  return { folder: HOME, version, source: "LIBTORCH" };
}

/** Restores the downloaded LibTorch when the folder that replaced it is gone. */
async function restoreAside() {
  const link = await lstat(HOME).catch(() => undefined);
  if (link?.isSymbolicLink() && !existsSync(HOME)) await rm(HOME);
  if (!existsSync(HOME) && existsSync(ASIDE)) await rename(ASIDE, HOME);
}

/** Removes the folders of killed installations; a young folder may belong to a running one. */
async function removeLeftovers() {
  for (const name of await readdir(VENDOR)) {
    const folder = join(VENDOR, name);
    if (!name.startsWith(PARTIAL) || Date.now() - (await lstat(folder)).mtimeMs < LEFTOVER_AGE) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

async function downloadArchive(work, { log, progress }) {
  const name = ARCHIVES[`${process.platform}-${process.arch}`];
  if (!name) throw new Error(`PyTorch offers no LibTorch for ${process.platform}-${process.arch}`);
  const url = `${PYTORCH}/libtorch/cpu/${name}`;
  log(`Downloading ${url}`);
  progress.start("connecting");

  const abort = new AbortController();
  const give = (milliseconds, reason) => setTimeout(() => abort.abort(new Error(reason)), milliseconds);
  let timer = give(CONNECT_TIMEOUT, `no answer within ${CONNECT_TIMEOUT / 1000} s`);
  try {
    const response = await fetch(url, { signal: abort.signal });
    if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
    const file = join(work, decodeURIComponent(name));
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
    return file;
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : new Error(error.cause?.message ?? error.message);
  } finally {
    clearTimeout(timer);
  }
}

/** Any CPython wheel holds the same libraries; asking for 3.11 makes the result independent of the installed Python. */
async function downloadWheel(work, { log, progress }) {
  const wheels = join(work, "wheels");
  const base = ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"];
  const wanted = ["--dest", wheels, "--extra-index-url", `${PYTORCH}/whl/cpu`, "--retries", "0"];
  const anyPython = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"];
  const python = await findPython();
  log(`Asking pip (${python.join(" ")}) for torch==${LIBTORCH_VERSION}`);

  let failure;
  for (const selection of [anyPython, []]) {
    await rm(wheels, { recursive: true, force: true });
    try {
      const pip = [...python, ...base, ...wanted, ...selection, `torch==${LIBTORCH_VERSION}`];
      await runPip(pip, work, progress);
      const wheel = (await readdir(wheels)).find((name) => /^torch-.*\.whl$/.test(name));
      if (wheel) return join(wheels, wheel);
      failure = new Error("pip left no wheel");
    } catch (error) {
      failure = new Error(`pip failed:\n${error.message}`);
    }
  }
  throw failure;
}

/**
 * pip shows no progress where its output is not a terminal. So its temporary files get their own folder, where the
 * growing wheel is measured; pip prints its final size.
 *
 * @throws {Error} with pip's output.
 */
async function runPip([command, ...args], work, progress) {
  const temporary = join(work, "pip");
  await mkdir(temporary, { recursive: true });
  progress.start("asking pip");
  const child = spawn(command, args, {
    env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary, PYTHONUNBUFFERED: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => {
      output[name] += text;
    });
  }
  let downloading = false;
  const look = async () => {
    const bytes = await wheelBytes(work);
    if (bytes === 0) return;
    if (!downloading) progress.start("downloading LibTorch", { unit: "bytes" });
    downloading = true;
    progress.update(bytes, wheelSize(output.stdout));
  };
  const timer = setInterval(() => void look(), WHEEL_WATCH);
  try {
    const code = await new Promise((done, fail) => {
      child.on("error", fail);
      child.on("close", done);
    });
    if (code !== 0) throw new Error((output.stderr || output.stdout || `exit code ${code}`).trim());
  } finally {
    clearInterval(timer);
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Bytes of the largest wheel below a folder, whose files come and go meanwhile. */
async function wheelBytes(folder) {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names
    .filter((name) => name.endsWith(".whl"))
    .map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return Math.max(0, ...(await Promise.all(sizes)));
}

/**
 * Size of torch's wheel, from pip's output before the download: `Downloading torch-….whl (190.4 MB)`.
 *
 * @param {string} output
 * @returns {number} bytes, to the precision that is printed; 0 where it is not known.
 */
export function wheelSize(output) {
  const [, value, unit] =
    /^\s*Downloading\b.*\btorch-\S+\.whl\s+\(([\d.]+)\s*([kMG]?B|bytes)\)/m.exec(output) ?? [];
  const scale = { bytes: 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
  return value ? Math.round(Number(value) * scale[unit]) : 0;
}

async function findPython() {
  for (const python of [["python3"], ["python"], ["py", "-3"]]) {
    const [command, ...options] = python;
    const found = await promisify(execFile)(command, [...options, "-m", "pip", "--version"], {
      windowsHide: true,
    }).then(
      () => true,
      () => false,
    );
    if (found) return python;
  }
  throw new Error("no Python with pip (python3, python, py) on the PATH");
}

/**
 * Compares an archive with LIBTORCH_SHA256, or else with the known checksum of its name.
 *
 * @param {string} archive
 * @param {(line: string) => void} log
 * @returns {Promise<string>} its SHA-256, in hexadecimal.
 * @throws {Error} when they differ.
 */
export async function verifyArchive(archive, log) {
  const name = basename(archive);
  const wanted = process.env.LIBTORCH_SHA256?.trim().toLowerCase();
  if (wanted && !/^[\da-f]{64}$/.test(wanted)) {
    throw new Error("LIBTORCH_SHA256 is not a SHA-256: give 64 hexadecimal digits");
  }
  const hash = createHash("sha256");
  await pipeline(createReadStream(archive), hash);
  const actual = hash.digest("hex");
  const expected = wanted || CHECKSUMS[name];
  if (expected && actual !== expected) throw new Error(`${name} has SHA-256 ${actual}, expected ${expected}`);
  if (!expected) {
    log(
      `No SHA-256 of ${name} is known here. It is ${actual}: set LIBTORCH_SHA256 to check later installations.`,
    );
  }
  return actual;
}

/** Archives hold `libtorch/…`, wheels `torch/…`. Returns the path to keep it at, or undefined to leave it out. */
function keep(entry, include) {
  const match = /^(?:libtorch|torch)\/(.+)$/.exec(entry);
  if (!match || entry.endsWith("/")) return undefined;
  const path = match[1];
  if (path === "build-version") return path;
  const [top, ...rest] = path.split("/");
  if (top === "include") return include ? path : undefined;
  if (top === "share") return path;
  if (top !== "lib" || rest.length !== 1) return undefined;
  const [name] = rest;
  if (UNUSED_LIBRARY.test(name) || /test/i.test(name) || /\.(a|pdb)$/.test(name)) return undefined;
  if (name.endsWith(".lib")) return include && IMPORT_LIBRARY.test(name) ? path : undefined;
  return path;
}

async function unpack(archive, folder, { include, log, progress }) {
  log(`Unpacking ${archive.slice(dirname(archive).length + 1)}`);
  const { openPromise } = await import("yauzl");
  // yauzl itself rejects absolute names and names with `..`.
  const zip = await openPromise(archive, { lazyEntries: true, autoClose: false });
  const links = [];
  const folders = new Set();
  try {
    const entries = [];
    for await (const entry of zip.eachEntry()) {
      if (entry.fileName === "torch/lib/libtorch_cuda.so") {
        throw new Error(
          "the package index offers only the CUDA build of torch, which needs CUDA's libraries to load",
        );
      }
      const path = keep(entry.fileName, include);
      if (path) entries.push({ entry, path });
    }
    const total = entries.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    progress.start("unpacking LibTorch", { total, unit: "bytes" });
    for (const { entry, path } of entries) {
      const target = inside(folder, path);
      if (!folders.has(dirname(target))) {
        await mkdir(dirname(target), { recursive: true });
        folders.add(dirname(target));
      }
      const mode = entry.externalFileAttributes >>> 16;
      const stream = await zip.openReadStreamPromise(entry);
      if ((mode & 0o170000) === 0o120000) {
        links.push([target, Buffer.concat(await stream.toArray()).toString()]);
        continue;
      }
      stream.on("data", (chunk) => progress.add(chunk.length));
      await pipeline(stream, createWriteStream(target, { mode: (mode & 0o777) | 0o644 }));
    }
    // Links last, so that no entry can be written through one.
    for (const [target, to] of links) {
      inside(folder, relative(folder, resolve(dirname(target), to)));
      await symlink(to, target);
    }
  } finally {
    zip.close();
  }
  if (!existsSync(join(folder, "build-version"))) {
    const version = /^torch-([^-]+)-/.exec(archive.slice(dirname(archive).length + 1))?.[1];
    await writeFile(join(folder, "build-version"), `${version ?? versionOf(folder) ?? LIBTORCH_VERSION}\n`);
  }
}

/** Rejects a path that leaves `folder`. */
function inside(folder, path) {
  const target = resolve(folder, path);
  if (target !== folder && relative(folder, target).match(/^\.\.([/\\]|$)|^([A-Za-z]:)?[/\\]/)) {
    throw new Error(`the archive holds a path outside its folder: ${path}`);
  }
  return target;
}

/** Another installation may have finished first: then its LibTorch stays. */
async function moveIntoPlace(unpacked, include) {
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(unpacked, HOME);
      return;
    } catch (error) {
      const other = describe(HOME);
      if (other?.version?.startsWith(LIBTORCH_VERSION) && (other.include || !include)) return;
      if (attempt === 2 || !existsSync(HOME)) throw error;
      // The existing one is incomplete, of another version or without headers.
      await rename(HOME, join(dirname(unpacked), `old-${attempt}`)).catch(() => undefined);
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
