#!/usr/bin/env node
/**
 * Compiles the addon with cmake-js.
 *
 *   node scripts/build.mjs            build/Release/soundspot.node
 *   node scripts/build.mjs --debug    build/debug: symbols, assertions, light optimization; beside the other build
 *
 *   SOUNDSPOT_VARIANT=cuda            build/cuda/Release/soundspot.node, for NVIDIA GPUs
 *   SOUNDSPOT_CUDA_ARCHITECTURES=90   their architectures, as CMake's CMAKE_CUDA_ARCHITECTURES takes them
 *
 * Those for the CPU write build/clang/compile_commands.json for clangd and `npm run lint:native`.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeCompileCommands } from "./compile-commands.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { buildFolders, findLibTorch, installPlace, variantOf } from "./locate.mjs";
import { withLock } from "./lock.mjs";
import { Progress, parseBuildLine } from "./progress.mjs";

const require = createRequire(import.meta.url);
export const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");
export const ADDON = join(PACKAGE, "build", "Release", "soundspot.node");
/** The same sources with what tests alone need. */
export const TEST_ADDON = join(PACKAGE, "build", "test", "build", "Release", "soundspot_test.node");

const BUILD = join(PACKAGE, "build");
/** For SOUNDSPOT_PREBUILD, below which node-gyp-build looks for build/Release and build/Debug. */
const DEBUG = join(PACKAGE, "build", "debug");
const TAIL = 40;

/**
 * @param {object} [options]
 * @param {boolean} [options.quiet] Keep the compiler's output for build/compile.log. Default false.
 * @param {string} [options.build] Folder to build in, whose Release/soundspot.node, or Debug/soundspot.node, is the
 *   result. Default build/, and of the variant cuda build/cuda.
 * @param {"cpu" | "cuda"} [options.variant] Default that of SOUNDSPOT_VARIANT, or cpu.
 * @param {string} [options.libtorch] Folder of the LibTorch to link. Default the one that is found.
 * @param {"soundspot" | "soundspot_test"} [options.target] What to compile of the addon and that of the tests. Default
 *   both.
 * @param {boolean} [options.debug] Whether CMake's configuration is Debug instead of Release. Default false.
 * @param {Record<string, string>} [options.definitions] More of CMake's variables.
 * @param {Progress} [options.progress] Shows the steps. Default one of its own, which ends with the call.
 * @throws {Error} that names missing tools, or has the end of the compiler's output.
 */
export async function compile({ progress, ...options } = {}) {
  const shown = progress ?? new Progress();
  try {
    await compileShown({ ...options, progress: shown });
  } finally {
    if (!progress) shown.end();
  }
}

async function compileShown({ variant = variantOf() ?? "cpu", progress, ...rest }) {
  requireTools();
  const { build = buildFolders(PACKAGE, variant)[0] } = rest;
  // Two builds in one folder would write the same files.
  await withLock(`${build}.lock`, () => compileAlone({ ...rest, variant, build, progress }), {
    waits: () => progress.start("waiting for another build"),
  });
}

async function compileAlone({
  quiet = false,
  build,
  variant,
  libtorch = findLibTorch({ root: PACKAGE, variant, include: true })?.path,
  target,
  debug = false,
  definitions: more = {},
  progress,
}) {
  const { SOUNDSPOT_CUDA_ARCHITECTURES: architectures } = process.env;
  const definitions = {
    LIBTORCH: libtorch ?? installPlace({ root: PACKAGE, variant }).folder,
    // An empty one is cpu, so that a build for the CPU is configured as before.
    ...(variant === "cuda" ? { SOUNDSPOT_VARIANT: variant } : {}),
    ...(variant === "cuda" && architectures ? { SOUNDSPOT_CUDA_ARCHITECTURES: architectures } : {}),
    // A path relative to the current folder.
    NODE_ADDON_API_DIR: resolve(require("node-addon-api").include_dir),
    CMAKE_EXPORT_COMPILE_COMMANDS: "ON",
    ...more,
  };
  // cmake-js asks for the static runtime; LibTorch is built with the dynamic one.
  if (process.platform === "win32") definitions.CMAKE_MSVC_RUNTIME_LIBRARY = "MultiThreadedDLL";
  const options = [
    `--out=${build}`,
    ...(debug ? ["--debug"] : []),
    ...Object.entries(definitions).map(([name, value]) => `--CD${name}=${value.replaceAll("\\", "/")}`),
  ];

  // `cmake-js compile` answers a mistake in a source with a second, full build: configure and build one by one.
  const cached = existsSync(join(build, "CMakeCache.txt"));
  const show = { quiet, progress };
  progress.start("configuring");
  let configured = await cmakeJs("configure", options, show);
  if (configured.code !== 0 && cached) {
    // The folder was moved, or another generator was used.
    rmSync(build, { recursive: true, force: true });
    configured = await cmakeJs("configure", options, show);
  }
  if (configured.code === 0) progress.start("compiling");
  const result =
    configured.code === 0
      ? await cmakeJs("build", [...options, ...(target ? [`--target=${target}`] : [])], show)
      : configured;
  if (quiet) {
    mkdirSync(build, { recursive: true });
    writeFileSync(
      join(build, "compile.log"),
      configured.output + (result === configured ? "" : result.output),
    );
  }
  if (result.code !== 0) {
    const shown = quiet
      ? `\n\n${explain(result.output)}\n\nAll of it is in ${join(build, "compile.log")}`
      : "";
    throw new Error(`The addon could not be compiled.${shown}`);
  }
  if (build === BUILD || (debug && variant === "cpu")) writeCompileCommands(build, PACKAGE);
}

/** Whether the compiled addon, or that of the tests, is newer than all its sources. */
export function isUpToDate(addon = ADDON) {
  if (!existsSync(addon)) return false;
  const built = statSync(addon).mtimeMs;
  const folders = [
    join(PACKAGE, "native"),
    ...(addon === TEST_ADDON ? [join(PACKAGE, "test", "native")] : []),
  ];
  const sources = folders
    .flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return [join(PACKAGE, "CMakeLists.txt"), ...sources].every((file) => statSync(file).mtimeMs <= built);
}

/** @throws {Error} that names the tools to install, before anything is downloaded for a missing compiler. */
export function requireTools() {
  const runs = (command) =>
    spawnSync(command, ["--version"], { stdio: "ignore", windowsHide: true }).status === 0;
  const missing = [];
  if (!runs("cmake")) missing.push("CMake 3.18 or newer");
  if (
    process.platform !== "win32" &&
    ![process.env.CXX, "g++", "clang++", "c++"].some((name) => name && runs(name))
  ) {
    missing.push("a C++20 compiler");
  }
  if (missing.length === 0) return;
  const tools = {
    darwin: "`xcode-select --install` and `brew install cmake`",
    linux: "`apt-get install cmake g++ make`, or what your distribution calls them",
    win32: "the Visual Studio Build Tools with C++, and CMake from https://cmake.org",
  };
  throw new Error(
    `Compiling the addon needs ${missing.join(" and ")}: install ${tools[process.platform] ?? tools.linux}.`,
  );
}

function cmakeJs(command, options, show) {
  const program = join(dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  return follow(process.execPath, [program, command, "--directory", PACKAGE, ...options], {
    ...show,
    cwd: PACKAGE,
    env: {
      CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()),
      ...process.env,
      // Finished of all, independent of the user's own status format.
      NINJA_STATUS: "[%f/%t] ",
    },
  });
}

/**
 * Runs a build tool and shows its progress from the counters in its output.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {object} options
 * @param {boolean} options.quiet Whether its output is only returned. Otherwise it is also printed; a terminal is left
 *   to the tool, which has a display of its own there.
 * @param {Progress} options.progress Its step has begun.
 * @param {string} [options.cwd]
 * @param {NodeJS.ProcessEnv} [options.env]
 * @returns {Promise<{ code: number, output: string }>} `output` is empty where the tool had the terminal.
 */
export function follow(command, args, { quiet, progress, ...options }) {
  const inherits = !quiet && process.stdout.isTTY;
  if (inherits) progress.end();
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      ...options,
      stdio: inherits ? "inherit" : ["ignore", "pipe", "pipe"],
      windowsHide: true,
    });
    let output = "";
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      let line = "";
      from?.setEncoding("utf8").on("data", (text) => {
        output += text;
        if (!quiet) to.write(text);
        const lines = (line + text).split("\n");
        line = lines.pop();
        for (const each of lines) {
          const counter = parseBuildLine(each);
          if (counter) progress.update(counter.done, counter.total, "", counter.unit);
        }
      });
    }
    child.on("error", fail);
    child.on("close", (code) => done({ code: code ?? 1, output }));
  });
}

/** The lines around the first errors, or else the end. */
function explain(output) {
  const lines = output.split(/\r?\n/).filter((line) => line.trim() !== "");
  const first = lines.findIndex((line) => /\berror\b|CMake Error|FAILED:/i.test(line));
  return (first < 0 ? lines.slice(-TAIL) : lines.slice(first, first + TAIL)).join("\n");
}

if (process.argv[1] && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  try {
    const { values } = parseArgs({ options: { debug: { type: "boolean", default: false } } });
    const { folder: libtorch } = await ensureLibTorch();
    await compile({ libtorch, ...(values.debug ? { debug: true, build: join(DEBUG, "build") } : {}) });
    if (values.debug) console.log(`Use it by SOUNDSPOT_PREBUILD=${DEBUG}`);
  } catch (error) {
    console.error(error.message);
    process.exitCode = error.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1;
  }
}
