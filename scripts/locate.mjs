/**
 * Where LibTorch and the addon lie, by variant. Looks and changes nothing; the library and the scripts share it.
 *
 * LibTorch is looked for in this order:
 *
 * 1. $LIBTORCH
 * 2. the folder of all versions and variants: $SOUNDSPOT_HOME if it is set
 * 3. vendor/ of the package, where a checkout keeps it
 * 4. the system's cache folder of this user
 *
 * In 2 and 4 a LibTorch is `<variant>-<version>/libtorch`, in 3 `libtorch` or `cuda-<version>/libtorch`. NVIDIA's
 * libraries lie beside it in `nvidia`, as its run paths need them.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { isOfPlatformPackage, packagedAddon } from "./platform.mjs";

const require = createRequire(import.meta.url);

export const VARIANTS = ["cpu", "cuda"];

/** The LibTorch of each variant; the sources compile with 2.11 to 2.14. */
export const VERSIONS = { cpu: "2.13.0", cuda: "2.14.1" };

/** The required libraries, by platform; those of a variant that needs more follow. */
const REQUIRED = {
  darwin: { cpu: ["libc10.dylib", "libtorch_cpu.dylib"] },
  linux: { cpu: ["libc10.so", "libtorch_cpu.so"], cuda: ["libc10_cuda.so", "libtorch_cuda.so"] },
  win32: { cpu: ["c10.dll", "torch_cpu.dll"], cuda: ["c10_cuda.dll", "torch_cuda.dll"] },
};

/**
 * Libraries of LibTorch to open before the addon, in this order.
 *
 * @param {"cpu" | "cuda"} variant
 * @param {NodeJS.Platform} [platform]
 * @returns {string[]} File names.
 */
export function librariesOf(variant, platform = process.platform) {
  const { cpu, cuda } = REQUIRED[platform] ?? REQUIRED.linux;
  return variant === "cuda" && cuda ? [...cpu, ...cuda] : cpu;
}

/**
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {"cpu" | "cuda" | undefined} The value of SOUNDSPOT_VARIANT; undefined where it is not set.
 * @throws {Error} when it is anything else.
 */
export function variantOf(env = process.env) {
  const wanted = env.SOUNDSPOT_VARIANT;
  if (!wanted) return undefined;
  if (!VARIANTS.includes(wanted)) {
    throw new Error(`SOUNDSPOT_VARIANT is "${wanted}": set it to ${VARIANTS.join(" or ")}.`);
  }
  return wanted;
}

/** The system's cache folder of this user, below which every version and variant has a folder. */
function cacheFolder(env, platform = process.platform) {
  if (platform === "win32") {
    return join(env.LOCALAPPDATA || join(homedir(), "AppData", "Local"), "soundspot", "Cache");
  }
  if (platform === "darwin") return join(homedir(), "Library", "Caches", "soundspot");
  // A relative path there is to be ignored, says the XDG specification.
  const cache = env.XDG_CACHE_HOME?.startsWith("/") ? env.XDG_CACHE_HOME : join(homedir(), ".cache");
  return join(cache, "soundspot");
}

/**
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string} $SOUNDSPOT_HOME, or else the system's cache folder of this user.
 */
export function homeFolder(env = process.env) {
  return env.SOUNDSPOT_HOME ? resolve(env.SOUNDSPOT_HOME) : cacheFolder(env);
}

/** The published package has no src/. */
const isCheckout = (root) => existsSync(join(root, "src"));

/** `+cpu` and `+cu130` are no part of a version's number. */
const number = (version) => version.split("+", 1)[0];
const inHome = (home, variant, version) => join(home, `${variant}-${number(version)}`, "libtorch");
const inVendor = (root, variant, version) =>
  join(root, "vendor", ...(variant === "cpu" ? [] : [`${variant}-${number(version)}`]), "libtorch");

/**
 * Where an installation puts LibTorch: $SOUNDSPOT_HOME, else vendor/ of a checkout, else the user's cache folder.
 *
 * @param {object} options
 * @param {string} options.root Folder of the package.
 * @param {"cpu" | "cuda"} options.variant
 * @param {string} [options.version] Default that of the variant.
 * @param {NodeJS.ProcessEnv} [options.env]
 * @returns {{ base: string, folder: string }} `folder` is the LibTorch's, in `base`, where temporary names are too.
 */
export function installPlace({ root, variant, version = VERSIONS[variant], env = process.env }) {
  if (!env.SOUNDSPOT_HOME && isCheckout(root)) {
    return { base: join(root, "vendor"), folder: inVendor(root, variant, version) };
  }
  const home = homeFolder(env);
  return { base: home, folder: inHome(home, variant, version) };
}

/**
 * All places of a LibTorch, the first one first.
 *
 * @returns {{ folder: string, source: "LIBTORCH" | "SOUNDSPOT_HOME" | "vendor" | "cache" }[]}
 */
function places({ root, variant, version, env }) {
  const all = [];
  if (env.LIBTORCH) all.push({ folder: resolve(env.LIBTORCH), source: "LIBTORCH" });
  if (env.SOUNDSPOT_HOME) {
    all.push({ folder: inHome(homeFolder(env), variant, version), source: "SOUNDSPOT_HOME" });
  }
  all.push({ folder: inVendor(root, variant, version), source: "vendor" });
  if (!env.SOUNDSPOT_HOME) all.push({ folder: inHome(cacheFolder(env), variant, version), source: "cache" });
  return all;
}

/**
 * The first LibTorch of this variant and version.
 *
 * @param {object} options
 * @param {string} options.root Folder of the package.
 * @param {"cpu" | "cuda"} [options.variant] Default cpu.
 * @param {string} [options.version] Which the addon is compiled for. Default that of the variant.
 * @param {boolean} [options.include] Whether it needs headers, to compile against. Default false.
 * @param {boolean} [options.any] Whether another version will do too, such as to say what is there. Default false.
 * @param {NodeJS.ProcessEnv} [options.env]
 * @returns {(LibTorch & { path: string, source: string }) | undefined} `path` is the folder by the name that it was
 *   found by: a compiler that is given another one compiles everything again.
 */
export function findLibTorch({
  root,
  variant = "cpu",
  version = VERSIONS[variant],
  include = false,
  any = false,
  env = process.env,
}) {
  for (const { folder, source } of places({ root, variant, version, env })) {
    const found = describeLibTorch(folder, variant);
    if (!found || (include && !found.include)) continue;
    if (any || found.version === undefined || isVersion(found.version, version))
      return { ...found, path: folder, source };
  }
  return undefined;
}

/** Whether a version such as "2.13.0+cpu" is 2.13.0. */
export function isVersion(version, wanted) {
  return number(version) === number(wanted);
}

/**
 * @typedef {object} LibTorch
 * @property {string} folder The real one, of `lib`, `include` and `share`.
 * @property {string | undefined} version Such as 2.13.0+cpu.
 * @property {boolean} include Whether it has headers.
 * @property {boolean} cuda Whether it has the libraries of the variant cuda.
 * @property {boolean} linked Whether the given folder leads to another one.
 */

/**
 * @param {string} folder
 * @param {"cpu" | "cuda"} [variant]
 * @returns {LibTorch | undefined} undefined where a library is missing.
 */
export function describeLibTorch(folder, variant = "cpu") {
  if (missingFrom(folder, variant, false).length > 0) return undefined;
  const real = realpathSync(folder);
  return {
    folder: real,
    version: versionOf(real),
    include: missingFrom(real, variant, true).length === 0,
    cuda: missingFrom(real, "cuda", false).length === 0 && process.platform !== "darwin",
    linked: real !== join(realpathSync(dirname(folder)), "libtorch"),
  };
}

/**
 * @param {string} folder
 * @param {"cpu" | "cuda"} variant
 * @param {boolean} include Whether headers are needed.
 * @returns {string[]} Paths in it of what is not there.
 */
export function missingFrom(folder, variant, include) {
  const files = librariesOf(variant).map((name) => join("lib", name));
  if (include) files.push(join("include", "ATen", "ATen.h"));
  return files.filter((file) => !existsSync(join(folder, file)));
}

/** `build-version` is in PyTorch's archives and ours, version.py in a wheel, CMake's file in every copy. */
export function versionOf(folder) {
  const read = (file, pattern) => {
    try {
      return pattern.exec(readFileSync(join(folder, file), "utf8"))?.[1];
    } catch {
      return undefined;
    }
  };
  return (
    read("build-version", /^\s*(\S+)/) ??
    read("version.py", /__version__ = '([^']+)'/) ??
    read("share/cmake/Torch/TorchConfigVersion.cmake", /PACKAGE_VERSION "([^"]+)"/)
  );
}

/**
 * Folders to build the addon of a variant in, or to find it in: the package's own, and one beside LibTorch for a
 * package that cannot be written to.
 *
 * @param {string} root Folder of the package.
 * @param {"cpu" | "cuda"} variant
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string[]}
 */
export function buildFolders(root, variant, env = process.env) {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const own = join(root, "build");
  const outside = join(
    homeFolder(env),
    "addons",
    `${version}-${variant}-${process.platform}-${process.arch}`,
  );
  return [variant === "cpu" ? own : join(own, variant), outside];
}

/**
 * All addons of a variant, in the order in which they are taken: those compiled here, since setup compiles only where no
 * prebuilt one loads; then that of the platform package; then that in prebuilds/.
 *
 * @param {object} options
 * @param {string} options.root Folder of the package.
 * @param {"cpu" | "cuda"} [options.variant] Default cpu.
 * @param {NodeJS.ProcessEnv} [options.env] $SOUNDSPOT_PREBUILD names a folder that has the addon, of any variant.
 * @returns {string[]} Files.
 */
export function findAddons({ root, variant = "cpu", env = process.env }) {
  const fromNodeGypBuild = () => {
    try {
      return [require("node-gyp-build").path(root)];
    } catch {
      return []; // in none of its places
    }
  };
  if (env.SOUNDSPOT_PREBUILD) {
    const own = fromNodeGypBuild();
    if (own.length > 0) return own;
  }
  const compiled = buildFolders(root, variant, env)
    .map((folder) => join(folder, "Release", "soundspot.node"))
    .filter((file) => existsSync(file));
  const packaged = packagedAddon(root, variant);
  return [
    ...new Set([
      ...compiled,
      ...(packaged === undefined ? [] : [packaged]),
      ...(variant === "cpu" ? fromNodeGypBuild() : []),
    ]),
  ];
}

/**
 * What the addon is compiled for, from libtorch.json beside it.
 *
 * @param {string} addon
 * @returns {{ variant: "cpu" | "cuda", version: string }} An addon without the file is one of the variant cpu.
 */
export function recordOf(addon) {
  try {
    const { variant, libtorch } = JSON.parse(readFileSync(join(dirname(addon), "libtorch.json"), "utf8"));
    if (VARIANTS.includes(variant)) return { variant, version: libtorch || VERSIONS[variant] };
  } catch {
    // Of an older build.
  }
  return { variant: "cpu", version: VERSIONS.cpu };
}

/** Whether an addon came with the package or with that of its platform, in place of one that was compiled here. */
export function isPrebuilt(root, addon) {
  return relative(root, addon).startsWith(`prebuilds${sep}`) || isOfPlatformPackage(addon);
}

/**
 * The variant to load, with its addon: that of SOUNDSPOT_VARIANT; else cuda, where its addon and LibTorch are
 * installed and an NVIDIA driver is there; else cpu, or the only one that is installed.
 *
 * @param {object} options
 * @param {string} options.root Folder of the package.
 * @param {NodeJS.ProcessEnv} [options.env]
 * @param {() => boolean} [options.driver] Whether there is an NVIDIA driver.
 * @returns {{ variant: "cpu" | "cuda", reason: string, addon: string | undefined, version: string }}
 * @throws {Error} when SOUNDSPOT_VARIANT is none.
 */
export function chooseAddon({ root, env = process.env, driver = hasDriver }) {
  const complete = ({ variant, addon, version }) =>
    addon !== undefined && findLibTorch({ root, variant, version, env }) !== undefined;
  // One whose LibTorch is there goes before the others.
  const candidate = (variant) => {
    const all = findAddons({ root, variant, env }).map((addon) => ({
      variant,
      addon,
      version: recordOf(addon).version,
    }));
    return all.find(complete) ?? all[0] ?? { variant, addon: undefined, version: VERSIONS[variant] };
  };
  const wanted = variantOf(env);
  if (env.SOUNDSPOT_PREBUILD) {
    const found = candidate("cpu");
    if (found.addon) return { ...found, ...recordOf(found.addon), reason: "SOUNDSPOT_PREBUILD is set" };
  }
  if (wanted) return { ...candidate(wanted), reason: `SOUNDSPOT_VARIANT is ${wanted}` };
  const cuda = candidate("cuda");
  const cpu = candidate("cpu");
  if (!complete(cuda)) {
    // One without its LibTorch is named rather than none.
    return cpu.addon || !cuda.addon
      ? { ...cpu, reason: "the variant cuda is not installed" }
      : { ...cuda, reason: "only the variant cuda is installed" };
  }
  if (driver()) return { ...cuda, reason: "it is installed, and an NVIDIA driver is there" };
  return complete(cpu)
    ? { ...cpu, reason: "no NVIDIA driver was found" }
    : { ...cuda, reason: "only the variant cuda is installed" };
}

/** Where NVIDIA's driver puts the library of CUDA; the last are those of WSL and of Windows. */
const DRIVER_FILES = [
  "/proc/driver/nvidia/version",
  "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
  "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
  "/usr/lib64/libcuda.so.1",
  "/usr/lib/libcuda.so.1",
  "/usr/lib/wsl/lib/libcuda.so.1",
  join(process.env.SystemRoot ?? "C:\\Windows", "System32", "nvcuda.dll"),
];

/** Whether NVIDIA's driver is installed, by its files: takes no time, and opens nothing. */
export function hasDriver() {
  const fromPath = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter((folder) => folder !== "");
  return [...DRIVER_FILES, ...fromPath.map((folder) => join(folder, "libcuda.so.1"))].some((file) =>
    existsSync(file),
  );
}
