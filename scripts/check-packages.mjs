#!/usr/bin/env node
/**
 * Checks the packages as they would be published: npm's dry run, publint, and the types by attw. They are made of
 * prebuilds/, or where that has none, of build/ for this platform, and of demo-model/, or else of a stand-in for it.
 *
 *   node scripts/check-packages.mjs [--packages dist-packages]     --packages checks those that are there
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { PACKAGE } from "./build.mjs";
import { makeDemoModel } from "./demo-model.mjs";
import { prebuildsOfBuild, writePackages } from "./packages.mjs";

const shell = process.platform === "win32";

function packagesIn(folder) {
  return readdirSync(folder).map((name) => {
    const path = join(folder, name);
    return { folder: path, name: JSON.parse(readFileSync(join(path, "package.json"), "utf8")).name };
  });
}

/** What npm would publish. Neither a version that is published nor a missing account fails it. */
function dryRun(folder) {
  const args = ["publish", "--dry-run", "--ignore-scripts", "--force", "--json", "--loglevel=error"];
  const output = execFileSync("npm", args, { cwd: folder, encoding: "utf8", shell, maxBuffer: 64 << 20 });
  const told = JSON.parse(output);
  // npm 11 gives an object by name.
  return told.files ? told : Object.values(told)[0];
}

async function lint(folder) {
  const { publint } = await import("publint");
  const { formatMessage } = await import("publint/utils");
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const { messages } = await publint({ pkgDir: folder, strict: true, pack: "npm" });
  return messages.map((message) => formatMessage(message, manifest) ?? message.code);
}

/** The program attw on a packed package. */
function checkTypes(folder, temporary) {
  const require = createRequire(import.meta.url);
  const main = require.resolve("@arethetypeswrong/cli/package.json");
  const program = join(dirname(main), require(main).bin.attw);
  const tarball = execFileSync(
    "npm",
    ["pack", "--ignore-scripts", "--silent", "--pack-destination", temporary],
    {
      cwd: folder,
      encoding: "utf8",
      shell,
    },
  );
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [program, join(temporary, tarball.trim()), "--no-color", "--no-emoji", "--format", "ascii"],
    { encoding: "utf8" },
  );
  return status === 0 ? [] : [`attw:\n${stdout}${stderr}`];
}

/** A demo model with random weights. */
async function standIn(output) {
  await makeDemoModel({ api: await import("../dist/index.js"), output, standIn: true });
  return output;
}

async function main() {
  const { values } = parseArgs({ options: { packages: { type: "string" } } });
  const temporary = mkdtempSync(join(tmpdir(), "soundspot-packages-"));
  try {
    const [prebuilds, demo] = ["prebuilds", "demo-model"].map((name) => join(PACKAGE, name));
    const packages = values.packages
      ? packagesIn(resolve(values.packages))
      : writePackages({
          output: join(temporary, "packages"),
          prebuilds: existsSync(prebuilds) ? prebuilds : prebuildsOfBuild(join(temporary, "prebuilds")),
          demo: existsSync(demo) ? demo : await standIn(join(temporary, "demo-model")),
        });
    let failed = false;
    for (const { name, folder } of packages) {
      const { version, size, unpackedSize, entryCount } = dryRun(folder);
      const problems = await lint(folder);
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (manifest.types) problems.push(...checkTypes(folder, temporary));
      const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
      console.log(
        `${name} ${version}: ${entryCount} files, ${megabytes(size)} packed, ${megabytes(unpackedSize)} unpacked` +
          `${problems.length === 0 ? ", no problems" : ""}`,
      );
      for (const problem of problems) console.log(`  ${problem}`);
      failed ||= problems.length > 0;
    }
    return failed ? 1 : 0;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = error.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1;
}
