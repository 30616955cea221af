#!/usr/bin/env node
/**
 * Checks the format of the C++ sources by clang-format, or formats them:
 *
 *   node scripts/format-native.mjs            checks; part of `npm run lint`
 *   node scripts/format-native.mjs --write    formats; part of `npm run format`
 *
 * Versions of clang-format format the same code differently, so one is required: VERSION. It is searched for in
 * $CLANG_FORMAT, as clang-format-VERSION and as clang-format. Without it a check is skipped, and `--write` fails.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const VERSION = "14";
const FOLDERS = ["native", "test/native", "test/fuzz", "verify"];
const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

const write = process.argv[2] === "--write";
if (process.argv.length > (write ? 3 : 2)) {
  console.error("node scripts/format-native.mjs [--write]");
  process.exit(2);
}

const found = [process.env.CLANG_FORMAT, `clang-format-${VERSION}`, "clang-format"]
  .filter(Boolean)
  .map((program) => {
    const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
    return { program, version: /version (\d+)\./.exec(stdout ?? "")?.[1] };
  })
  .filter(({ version }) => version !== undefined);
const chosen = found.find(({ version }) => version === VERSION);

if (!chosen) {
  const others =
    found.map(({ program, version }) => `${program} is ${version}`).join(", ") || "none is installed";
  console.log(`C++ format ${write ? "not set" : "not checked"}: needs clang-format ${VERSION}; ${others}.`);
  process.exitCode = write ? 1 : 0;
} else {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(cc|h|cu|cuh)$/.test(name))
      .map((name) => join(folder, name)),
  ).sort();
  const options = write ? ["-i"] : ["--dry-run", "-Werror"];
  const { status } = spawnSync(chosen.program, [...options, ...files], { cwd: root, stdio: "inherit" });
  if (status === 0) console.log(`C++ format: ${files.length} files ${write ? "set" : "checked"}`);
  process.exitCode = status === 0 ? 0 : 1;
}
