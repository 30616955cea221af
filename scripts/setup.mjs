/** What the install script and `soundspot setup` do: LibTorch, then the addon, prebuilt if available, else compiled. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { compile, isUpToDate, PACKAGE, requireTools } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { buildFolders, findLibTorch, isPrebuilt, recordOf } from "./locate.mjs";

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
  const prebuilt = variant === "cpu" ? findPrebuilt() : undefined;
  if (prebuilt) {
    const libtorch = await ensureLibTorch({ variant, log, progress, include: false });
    const failure = loadFailure(prebuilt, variant);
    if (!failure) {
      log("the prebuilt addon is used.");
      return { variant, libtorch, addon: { path: prebuilt, kind: "prebuilt" } };
    }
    log(`the prebuilt addon does not load here (${failure}).`);
  }
  if (process.env.PREBUILDS_ONLY) {
    throw new Error(
      `PREBUILDS_ONLY is set, and no prebuilt addon works for ${process.platform}-${process.arch}.`,
    );
  }

  const folders = buildFolders(PACKAGE, variant);
  const fileIn = (folder) => join(folder, "Release", "soundspot.node");
  const current = folders.map(fileIn).find((file) => isUpToDate(file) && fits(file, variant));
  if (!current) requireTools();
  const libtorch = await ensureLibTorch({ variant, log, progress, include: !current });
  if (current) {
    log("the compiled addon is up to date.");
    return { variant, libtorch, addon: { path: current, kind: "compiled" } };
  }
  const build = folders.find(isWritable);
  if (!build) throw new Error(`Neither ${folders.join(" nor ")} can be written to: set SOUNDSPOT_HOME.`);
  log(`compiling the addon, which takes some minutes${variant === "cuda" ? " (more for its kernels)" : ""}.`);
  await compile({ quiet: true, variant, build, libtorch: libtorch.folder, progress });
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

/** The addon in prebuilds/ for this platform, never the one in build/. */
function findPrebuilt() {
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
