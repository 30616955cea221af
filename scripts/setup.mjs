/**
 * What the install script and `soundspot setup` do: LibTorch, then the addon: prebuilt, in the package of the platform or
 * in prebuilds/; else compiled before; else that of the platform's package, through npm; else compiled now.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { compile, isUpToDate, PACKAGE, requireTools } from "./build.mjs";
import { fetchAddon } from "./fetch-addon.mjs";
import { ensureLibTorch, leadTo } from "./libtorch.mjs";
import { buildFolders, findLibTorch, isPrebuilt, recordOf } from "./locate.mjs";
import { packagedAddon, packageOf, publishedVersion } from "./platform.mjs";

/**
 * Installs a variant. Where everything is there already, nothing is written.
 *
 * @param {object} options
 * @param {"cpu" | "cuda"} options.variant
 * @param {(line: string) => void} options.log
 * @param {import("./progress.mjs").Progress} options.progress
 * @returns {Promise<Installed>}
 * @throws {Error} that says what is missing.
 *
 * @typedef {object} Installed
 * @property {"cpu" | "cuda"} variant
 * @property {{ folder: string, version: string | undefined, source: string }} libtorch
 * @property {{ path: string, kind: "prebuilt" | "compiled" }} addon
 */
export async function setup({ variant, log, progress }) {
  const prebuilt = async (addon) => {
    const libtorch = await ensureLibTorch({ variant, log, progress, include: false });
    if (!fits(addon, variant)) {
      log(`LIBTORCH is not ${recordOf(addon).version}, which the prebuilt addon needs.`);
      return undefined;
    }
    await leadTo(libtorch, dirname(dirname(dirname(addon))));
    const failure = loadFailure(addon, variant);
    if (!failure) {
      log("the prebuilt addon is used.");
      return { variant, libtorch, addon: { path: addon, kind: "prebuilt" } };
    }
    log(`the prebuilt addon does not load here (${failure}).`);
    return undefined;
  };
  const there = findPrebuilt(variant);
  const installed = there && (await prebuilt(there));
  if (installed) return installed;

  const folders = buildFolders(PACKAGE, variant);
  const fileIn = (folder) => join(folder, "Release", "soundspot.node");
  const current = process.env.PREBUILDS_ONLY
    ? undefined
    : folders
        .map(fileIn)
        .find((file) => isUpToDate(file) && !isPrebuilt(PACKAGE, file) && fits(file, variant));
  // One that does not load here does not load from elsewhere.
  if (!current && !there) {
    const fetched = await getPackage(variant, folders, { log, progress });
    const usable = fetched && (await prebuilt(fetched));
    if (usable) return usable;
    if (fetched) rmSync(dirname(fetched), { recursive: true, force: true });
  }
  if (process.env.PREBUILDS_ONLY) {
    throw new Error(
      `PREBUILDS_ONLY is set, and no prebuilt addon works for ${process.platform}-${process.arch}.`,
    );
  }
  if (!current) requireTools();
  const libtorch = await ensureLibTorch({ variant, log, progress, include: !current });
  if (current) {
    log("the compiled addon is up to date.");
    return { variant, libtorch, addon: { path: current, kind: "compiled" } };
  }
  const build = folders.find(isWritable);
  if (!build) throw new Error(`Neither ${folders.join(" nor ")} can be written to: set SOUNDSPOT_HOME.`);
  if (isPrebuilt(PACKAGE, fileIn(build))) rmSync(dirname(fileIn(build)), { recursive: true });
  log(`compiling the addon, which takes some minutes${variant === "cuda" ? " (more for its kernels)" : ""}.`);
  await compile({ quiet: true, variant, build, libtorch: libtorch.folder, target: "soundspot", progress });
  log("the addon is compiled.");
  return { variant, libtorch, addon: { path: fileIn(build), kind: "compiled" } };
}

/** Whether the LibTorch that an addon is compiled for is the one to be used. */
function fits(addon, variant) {
  const { version } = recordOf(addon);
  const own = process.env.LIBTORCH;
  return !own || findLibTorch({ root: PACKAGE, variant, version })?.source === "LIBTORCH";
}

function isWritable(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    accessSync(dirname(folder), constants.W_OK); // for the lock beside it
    return true;
  } catch {
    return false;
  }
}

/** The addon that came with the package or with that of its platform, never the one in build/. */
function findPrebuilt(variant) {
  return packagedAddon(PACKAGE, variant) ?? fetchedBefore(variant) ?? inPrebuilds(variant);
}

/** What an earlier call took from the platform's package. */
function fetchedBefore(variant) {
  const files = buildFolders(PACKAGE, variant).map((folder) => join(folder, "Release", "soundspot.node"));
  return files.find((file) => isPrebuilt(PACKAGE, file) && existsSync(file));
}

function inPrebuilds(variant) {
  if (variant !== "cpu") return undefined;
  const before = process.env.PREBUILDS_ONLY;
  // node-gyp-build reads the variable once, when it is loaded.
  process.env.PREBUILDS_ONLY = "1";
  try {
    const path = createRequire(import.meta.url)("node-gyp-build").path(PACKAGE);
    return isPrebuilt(PACKAGE, path) ? path : undefined;
  } catch {
    return undefined;
  } finally {
    if (before === undefined) delete process.env.PREBUILDS_ONLY;
    else process.env.PREBUILDS_ONLY = before;
  }
}

/**
 * The addon of the platform's package, where it was left out or is never installed by itself, as that for NVIDIA GPUs.
 * A checkout has none.
 */
async function getPackage(variant, folders, { log, progress }) {
  const name = packageOf(variant);
  const version = publishedVersion(PACKAGE);
  // Shared by all packages of a user, if that can be.
  const build = [...folders].reverse().find(isWritable);
  if (!name || !version || !build) return undefined;
  try {
    return await fetchAddon({ name, version, build, progress });
  } catch (error) {
    log(`${name} could not be obtained: ${error.message}`);
    return undefined;
  }
}

/** Loads the addon in another process: an older system library or another LibTorch shows only then. */
function loadFailure(addon, variant) {
  const { version } = recordOf(addon);
  const torch = findLibTorch({ root: PACKAGE, variant, version });
  const libraries = join(torch?.folder ?? PACKAGE, "lib");
  const { status, signal, stderr } = spawnSync(
    process.execPath,
    [join(PACKAGE, "scripts", "open-addon.mjs"), addon, variant, ...(torch ? [torch.folder] : [])],
    { encoding: "utf8", env: { ...process.env, PATH: `${libraries}${delimiter}${process.env.PATH ?? ""}` } },
  );
  if (status === 0) return undefined;
  return /Error: (.*)/.exec(stderr)?.[1] ?? signal ?? `exit code ${status}`;
}
