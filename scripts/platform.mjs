/**
 * The packages with a prebuilt addon: `@soundspot/<platform>-<arch>` for the CPU, which the published package has as
 * optional dependencies, and `@soundspot/linux-x64-cuda` for NVIDIA GPUs, which `soundspot setup --cuda` gets.
 *
 * Each has `prebuilds/<folder>/soundspot.node` with `libtorch.json` beside it, two folders below the package as its run
 * path needs it, and the version of the package that it belongs to.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export const SCOPE = "@soundspot/";
export const ADDON_FILE = "soundspot.node";

/** Of each package: the fields by which package managers choose it, and the folder of prebuilds/ that it is made of. */
export const PLATFORMS = [
  { platform: "linux", arch: "x64", variant: "cpu", libc: "glibc" },
  { platform: "linux", arch: "arm64", variant: "cpu", libc: "glibc" },
  { platform: "darwin", arch: "arm64", variant: "cpu" },
  { platform: "win32", arch: "x64", variant: "cpu" },
  { platform: "linux", arch: "x64", variant: "cuda", libc: "glibc" },
].map((each) => {
  const folder = `${each.platform}-${each.arch}${each.variant === "cpu" ? "" : `-${each.variant}`}`;
  return { ...each, folder, name: `${SCOPE}${folder}` };
});

/**
 * @param {"cpu" | "cuda"} variant
 * @param {string} [platform]
 * @param {string} [arch]
 * @returns {string | undefined} Name of the package with the addon; undefined where there is none.
 */
export function packageOf(variant, platform = process.platform, arch = process.arch) {
  return PLATFORMS.find(
    (each) => each.variant === variant && each.platform === platform && each.arch === arch,
  )?.name;
}

/** The addon in the folder of a platform package. */
export const addonIn = (folder, name) => join(folder, "prebuilds", name.slice(SCOPE.length), ADDON_FILE);

const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/**
 * The addon of the installed platform package, wherever the package manager put it.
 *
 * @param {string} root Folder of the package.
 * @param {"cpu" | "cuda"} variant
 * @returns {string | undefined} undefined where it is not installed, or has another version than the package.
 */
export function packagedAddon(root, variant) {
  const name = packageOf(variant);
  if (name === undefined) return undefined;
  try {
    const folder = dirname(createRequire(join(root, "package.json")).resolve(`${name}/package.json`));
    const addon = addonIn(folder, name);
    return manifestOf(folder).version === manifestOf(root).version && existsSync(addon) ? addon : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the addon lies in a platform package, or beside the manifest of the one that it was taken from. */
export function isOfPlatformPackage(addon) {
  return [dirname(addon), dirname(dirname(dirname(addon)))].some((folder) => {
    try {
      return manifestOf(folder).name.startsWith(SCOPE);
    } catch {
      return false;
    }
  });
}

/**
 * Whether the package is a published one, whose platform packages are published too. In a checkout it names none.
 *
 * @param {string} root
 * @returns {string | undefined} Its version.
 */
export function publishedVersion(root) {
  const { version, optionalDependencies = {} } = manifestOf(root);
  return PLATFORMS.some(({ name }) => Object.hasOwn(optionalDependencies, name)) ? version : undefined;
}
