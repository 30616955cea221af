#!/usr/bin/env node
/**
 * Makes prebuilds/<platform>-<arch>/soundspot[.glibc].node with prebuildify and prints its SHA-256. With the same
 * compiler it does not depend on the package's folder. LibTorch is not part of it. scripts/packages.mjs makes a package
 * of each.
 *
 * prebuildify calls `node-gyp rebuild`; it is given this file in place of node-gyp, which compiles with cmake-js.
 *
 *   node scripts/prebuild.mjs
 *
 *   SOUNDSPOT_VARIANT=cuda   prebuilds/linux-x64-cuda/soundspot.node, for NVIDIA GPUs
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ADDON, compile, PACKAGE } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { buildFolders, variantOf } from "./locate.mjs";
import { ADDON_FILE } from "./platform.mjs";

const require = createRequire(import.meta.url);

async function prebuild() {
  const folder = join(PACKAGE, "prebuilds", `${process.platform}-${process.arch}`);
  rmSync(folder, { recursive: true, force: true });
  process.chdir(PACKAGE);
  await promisify(require("prebuildify"))({
    napi: true,
    strip: true,
    tagLibc: process.platform === "linux",
    nodeGyp: `"${process.execPath}" "${fileURLToPath(import.meta.url)}"`,
    shell: true,
  });
  finish(folder, ADDON);
}

/** node-gyp-build, and so prebuildify, knows no variants: this one is compiled and copied. */
async function prebuildCuda() {
  const folder = join(PACKAGE, "prebuilds", `${process.platform}-${process.arch}-cuda`);
  rmSync(folder, { recursive: true, force: true });
  const { folder: libtorch } = await ensureLibTorch({ variant: "cuda" });
  await compile({ libtorch, variant: "cuda" });
  const addon = join(buildFolders(PACKAGE, "cuda")[0], "Release", ADDON_FILE);
  mkdirSync(folder, { recursive: true });
  copyFileSync(addon, join(folder, ADDON_FILE));
  execFileSync("strip", ["--strip-all", join(folder, ADDON_FILE)]);
  finish(folder, addon);
}

/** Prints the checksum, and adds which LibTorch the addon is compiled for. */
function finish(folder, addon) {
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".node"))) {
    const sum = createHash("sha256")
      .update(readFileSync(join(folder, name)))
      .digest("hex");
    console.log(`${sum}  prebuilds/${basename(folder)}/${name}`);
  }
  copyFileSync(join(dirname(addon), "libtorch.json"), join(folder, "libtorch.json"));
}

/** prebuildify calls this as node-gyp. Its other arguments name a Node version, on which Node-API does not depend. */
async function rebuild() {
  const { folder: libtorch } = await ensureLibTorch({ variant: "cpu" });
  await compile({ libtorch, variant: "cpu" });
}

try {
  if (process.argv[2] === "rebuild") await rebuild();
  else await (variantOf() === "cuda" ? prebuildCuda() : prebuild());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
