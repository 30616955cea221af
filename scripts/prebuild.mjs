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
import { copyFileSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ADDON, compile, PACKAGE } from "./build.mjs";
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
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".node"))) {
    const sum = createHash("sha256")
      .update(readFileSync(join(folder, name)))
      .digest("hex");
    console.log(`${sum}  prebuilds/${process.platform}-${process.arch}/${name}`);
  }
  // Which LibTorch it is compiled for.
  copyFileSync(join(dirname(ADDON), "libtorch.json"), join(folder, "libtorch.json"));
}

/** prebuildify calls this as node-gyp. Its other arguments name a Node version, on which Node-API does not depend. */
async function rebuild() {
  const { folder: libtorch } = await ensureLibTorch({ variant: "cpu" });
  await compile({ libtorch, variant: "cpu" });
}

try {
  await (process.argv[2] === "rebuild" ? rebuild() : prebuild());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
