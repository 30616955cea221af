#!/usr/bin/env node
/**
 * Makes prebuilds/<platform>-<arch>/soundspot[.glibc].node with prebuildify. LibTorch is not part of it.
 *
 * prebuildify calls `node-gyp rebuild`; it is given this file in place of node-gyp, which compiles with cmake-js.
 *
 *   node scripts/prebuild.mjs
 */
import { readdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { compile, PACKAGE } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";

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
  for (const name of readdirSync(folder)) {
    console.log(
      `${join("prebuilds", `${process.platform}-${process.arch}`, name)}: ${statSync(join(folder, name)).size} bytes`,
    );
  }
}

/** What prebuildify takes for node-gyp. Its other arguments name a Node version, to which Node-API is indifferent. */
async function rebuild() {
  await ensureLibTorch();
  await compile();
}

try {
  await (process.argv[2] === "rebuild" ? rebuild() : prebuild());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
