/** The parts of archives that a C++ program needs of LibTorch and of NVIDIA's libraries. */
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { versionOf } from "./locate.mjs";

/** Parts of `lib` that serve Python, tests or static linking. */
const UNUSED_LIBRARY =
  /^(lib)?(torch_python|shm|aoti_custom_ops|backend_with_compiler|jitbackend_test|torchbind_test)/;
const IMPORT_LIBRARY = /^(c10|c10_cuda|torch|torch_cpu|torch_cuda)\.lib$/;

/** Of NVIDIA's: variants for debugging, several GPUs by one thread, code for static linking on the device. */
const UNUSED_NVIDIA = /\.alt\.so|^libcusolverMg|\.(a|bc|pc)$/;

/**
 * Archives hold `libtorch/…`, wheels `torch/…`.
 *
 * @returns {string | undefined} The path to keep it at, or undefined to leave it out.
 */
function ofLibTorch(entry, include) {
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

/** NVIDIA's wheels hold `nvidia/<part>/{lib,include}/…`. */
function ofNvidia(entry, include) {
  const match = /^nvidia\/([^/]+\/(lib|include)\/(?:.*\/)?([^/]+))$/.exec(entry);
  if (!match) return undefined;
  const [, path, kind, name] = match;
  if (kind === "include") return include ? path : undefined;
  return /\.so(\.|$)/.test(name) && !UNUSED_NVIDIA.test(name) ? path : undefined;
}

/**
 * Unpacks LibTorch from an archive or a wheel.
 *
 * @param {string} archive
 * @param {string} folder
 * @param {object} options
 * @param {boolean} options.include Whether headers are kept.
 * @param {"cpu" | "cuda"} options.variant
 * @param {import("./progress.mjs").Progress} options.progress
 */
export async function unpackLibTorch(archive, folder, { include, variant, progress }) {
  const keep = (entry) => {
    if (variant === "cpu" && entry === "torch/lib/libtorch_cuda.so") {
      throw new Error(
        "the package index offers only the CUDA build of torch, which needs CUDA's libraries to load",
      );
    }
    return ofLibTorch(entry, include);
  };
  await unpack(archive, folder, { keep, title: "unpacking LibTorch", progress });
  if (!existsSync(join(folder, "build-version"))) {
    const version = /^torch-([^-]+)-/.exec(basename(archive))?.[1] ?? versionOf(folder);
    if (version) await writeFile(join(folder, "build-version"), `${version}\n`);
  }
}

/** Unpacks one of NVIDIA's wheels into the folder of all of them, with the same options. */
export async function unpackNvidia(wheel, folder, { include, progress }) {
  const keep = (entry) => ofNvidia(entry, include);
  await unpack(wheel, folder, { keep, title: `unpacking ${basename(wheel).split("-", 1)[0]}`, progress });
}

/** What a wheel's METADATA says. */
export async function readMetadata(wheel) {
  const { openPromise } = await import("yauzl");
  const zip = await openPromise(wheel, { lazyEntries: true, autoClose: false });
  try {
    for await (const entry of zip.eachEntry()) {
      if (!/^[^/]+\.dist-info\/METADATA$/.test(entry.fileName)) continue;
      const stream = await zip.openReadStreamPromise(entry);
      return Buffer.concat(await stream.toArray()).toString();
    }
  } finally {
    zip.close();
  }
  throw new Error(`${basename(wheel)} has no METADATA`);
}

async function unpack(archive, folder, { keep, title, progress }) {
  const { openPromise } = await import("yauzl");
  // yauzl itself rejects absolute names and names with `..`.
  const zip = await openPromise(archive, { lazyEntries: true, autoClose: false });
  const links = [];
  const folders = new Set();
  try {
    const entries = [];
    for await (const entry of zip.eachEntry()) {
      const path = keep(entry.fileName);
      if (path) entries.push({ entry, path });
    }
    const total = entries.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    progress.start(title, { total, unit: "bytes" });
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
}

/** Rejects a path that leaves `folder`. */
function inside(folder, path) {
  const target = resolve(folder, path);
  if (target !== folder && relative(folder, target).match(/^\.\.([/\\]|$)|^([A-Za-z]:)?[/\\]/)) {
    throw new Error(`the archive holds a path outside its folder: ${path}`);
  }
  return target;
}
