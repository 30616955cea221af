#!/usr/bin/env node
/**
 * Makes prebuilds/<platform>-<arch>/soundspot[.glibc].node with prebuildify and prints its SHA-256. With the same
 * compiler it does not depend on the package's folder. LibTorch is not part of it.
 *
 * prebuildify calls `node-gyp rebuild`; it is given this file in place of node-gyp, which compiles with cmake-js.
 *
 *   node scripts/prebuild.mjs
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
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
    const sum = createHash("sha256")
      .update(readFileSync(join(folder, name)))
      .digest("hex");
    console.log(`${sum}  prebuilds/${process.platform}-${process.arch}/${name}`);
  }
}

/** prebuildify calls this as node-gyp. Its other arguments name a Node version, on which Node-API does not depend. */
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
