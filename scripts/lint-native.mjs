#!/usr/bin/env node
/**
 * Runs clang-tidy with the checks of .clang-tidy over sources of native/:
 *
 *   node scripts/lint-native.mjs                 files with changes that are not committed
 *   node scripts/lint-native.mjs --since REF     files that differ from a commit or branch
 *   node scripts/lint-native.mjs FILE…           these
 *   node scripts/lint-native.mjs --all           all of them, which takes many minutes
 *
 * A header is read through a source that includes it. Needs clang-tidy 16 or newer ($CLANG_TIDY, clang-tidy, or
 * clang-tidy-16 to -25), since older ones cannot parse lambdas that capture structured bindings, and the compile
 * commands that scripts/build.mjs writes. The exit code is 1 with any finding.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const COMMANDS = join(root, "build", "clang", "compile_commands.json");
const [OLDEST, NEWEST] = [16, 25];

/** @throws {Error} when no clang-tidy is new enough. */
function findTidy() {
  const versions = Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => NEWEST - i);
  const names = [process.env.CLANG_TIDY, "clang-tidy", ...versions.map((version) => `clang-tidy-${version}`)];
  for (const name of names.filter(Boolean)) {
    const { stdout } = spawnSync(name, ["--version"], { encoding: "utf8" });
    if (Number(/version (\d+)\./.exec(stdout ?? "")?.[1]) >= OLDEST) return name;
  }
  throw new Error(`No clang-tidy ${OLDEST} or newer runs: install one, or set CLANG_TIDY.`);
}

/** Sources to read for a header: that of the same name, or else the first that includes it, directly or not. */
export function sourceFor(header, sources, textOf) {
  const own = header.replace(/\.h$/, ".cc");
  if (sources.includes(own)) return own;
  const seen = new Set([header]);
  let wanted = [header];
  while (wanted.length > 0) {
    const names = wanted.map((file) => `#include "${relative("native", file)}"`);
    const includes = (file) => names.some((name) => textOf(file).includes(name));
    const source = sources.find((file) => file.endsWith(".cc") && includes(file));
    if (source) return source;
    wanted = sources.filter((file) => file.endsWith(".h") && !seen.has(file) && includes(file));
    for (const file of wanted) seen.add(file);
  }
  return undefined;
}

function changedSince(ref) {
  const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" });
  const changed = git("diff", "--name-only", "--diff-filter=d", ref, "--", "native");
  const added = git("ls-files", "--others", "--exclude-standard", "--", "native");
  return `${changed}${added}`.split("\n").filter(Boolean);
}

/** @returns {Promise<boolean>} True without findings. */
function run(tidy, file) {
  return new Promise((done, fail) => {
    const child = spawn(tidy, ["-p", dirname(COMMANDS), "--quiet", "--warnings-as-errors=*", file], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("error", fail);
    child.on("close", (code) => {
      // "12 warnings generated." counts those of LibTorch's headers, which are not shown.
      const findings = output.replace(
        /^\d+ warnings?( and \d+ errors?)? (generated|treated as errors)\.?\n/gm,
        "",
      );
      if (code !== 0) process.stdout.write(findings);
      console.log(`${file}: ${code === 0 ? "no findings" : "findings"}`);
      done(code === 0);
    });
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { all: { type: "boolean", default: false }, since: { type: "string" } },
  });
  if (Number(values.all) + Number(values.since !== undefined) + Number(positionals.length > 0) > 1) {
    throw new Error("Give files, --since REF or --all, one of them.");
  }
  const tidy = findTidy();
  if (!existsSync(COMMANDS)) throw new Error("No compile commands: run `node scripts/build.mjs` first.");
  const compiled = JSON.parse(readFileSync(COMMANDS, "utf8")).map(({ file }) => relative(root, file));
  const headers = execFileSync("git", ["ls-files", "native/**/*.h"], { cwd: root, encoding: "utf8" });
  const sources = [...compiled, ...headers.split("\n").filter(Boolean)];
  const texts = new Map();
  const textOf = (file) => {
    if (!texts.has(file)) texts.set(file, readFileSync(join(root, file), "utf8"));
    return texts.get(file);
  };
  const named = values.all
    ? compiled
    : positionals.length > 0
      ? positionals.map((file) => relative(root, resolve(file)))
      : changedSince(values.since ?? "HEAD").filter((file) => /\.(cc|h)$/.test(file));
  const missing = named.find((file) => !existsSync(join(root, file)));
  if (missing !== undefined) throw new Error(`${missing} does not exist.`);
  const files = new Set();
  for (const file of named) {
    const source = file.endsWith(".h") ? sourceFor(file, sources, textOf) : file;
    if (source !== undefined && compiled.includes(source)) files.add(source);
    else console.log(`${file}: not compiled here, skipped`);
  }
  const queue = [...files];
  const clean = [];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      clean.push(await run(tidy, file));
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), queue.length) }, worker));
  const bad = clean.filter((each) => !each).length;
  console.log(`${files.size} files, ${bad} with findings`);
  if (bad > 0) process.exitCode = 1;
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 2;
  }
}
