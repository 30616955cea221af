#!/usr/bin/env node
/**
 * Runs the code of this package under GCC's sanitizers, on Linux:
 *
 *   node scripts/sanitize.mjs address [tests…]    AddressSanitizer and UndefinedBehaviorSanitizer
 *   node scripts/sanitize.mjs thread              ThreadSanitizer
 *
 * `address` builds the addon into build/address and runs tests with it. LibTorch and Node are not instrumented; what
 * they allocate is checked all the same. It fails when a test fails or any process of the tests leaves a report.
 * `thread` runs two programs: the queue between Node's threads and the one that computes, and the GPU's kernels with a
 * thread of the host for each of theirs. OpenMP and LibTorch synchronise in ways that ThreadSanitizer does not see, and
 * it would report false races there.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { compile, PACKAGE } from "./build.mjs";
import { findTests, MEMORY_TESTS } from "./find-tests.mjs";
import { ensureLibTorch } from "./libtorch.mjs";

const [kind, ...named] = process.argv.slice(2);
if (process.platform !== "linux" || !["address", "thread"].includes(kind ?? "")) {
  console.error("On Linux: node scripts/sanitize.mjs address [tests…] | thread");
  process.exit(2);
}
process.exitCode = kind === "address" ? await address() : thread();

async function address() {
  const folder = join(PACKAGE, "build", "address");
  const { folder: libtorch } = await ensureLibTorch({ variant: "cpu" });
  await compile({
    libtorch,
    variant: "cpu",
    build: join(folder, "build"),
    definitions: { SOUNDSPOT_SANITIZE: "address,undefined", CMAKE_CXX_COMPILER: "g++" },
  });
  const reports = join(folder, "reports");
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const report = `log_path=${join(reports, "report")}`;
  const files = named.length > 0 ? named : findTests(MEMORY_TESTS);
  const vitest = join(PACKAGE, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, "run", "--testTimeout=600000", ...files], {
    cwd: PACKAGE,
    stdio: "inherit",
    env: {
      ...process.env,
      // Where node-gyp-build looks for build/Release.
      SOUNDSPOT_PREBUILD: folder,
      SOUNDSPOT_SANITIZED: kind,
      LD_PRELOAD: ["libasan.so", "libubsan.so", "libstdc++.so.6"].map(library).join(" "),
      // Memory that Node and LibTorch keep until the process ends is no leak: scripts/soak.mjs measures it over time.
      ASAN_OPTIONS: `detect_leaks=0:allocator_may_return_null=1:${report}`,
      UBSAN_OPTIONS: `print_stacktrace=1:${report}`,
    },
  });
  const left = readdirSync(reports).sort();
  for (const name of left) console.error(`\n${readFileSync(join(reports, name), "utf8")}`);
  console.log(`${left.length} processes left a report.`);
  return status === 0 && left.length === 0 ? 0 : 1;
}

function thread() {
  const folder = join(PACKAGE, "build", "thread");
  mkdirSync(folder, { recursive: true });
  const programs = {
    compute_thread: ["native/binding/compute_thread.cc", "test/native/compute_thread.cc"],
    kernel_threads: ["test/native/kernel_threads.cc"],
  };
  const flags = ["-std=c++20", "-O1", "-g", "-fsanitize=thread", "-pthread", "-Inative"];
  const run = (command, args) => spawnSync(command, args, { cwd: PACKAGE, stdio: "inherit" }).status ?? 1;
  for (const [name, sources] of Object.entries(programs)) {
    const program = join(folder, name);
    // Without randomised addresses: ThreadSanitizer needs those that it keeps its notes at.
    const status = run("g++", [...flags, ...sources, "-o", program]) || run("setarch", ["-R", program]);
    if (status) return status;
  }
  return 0;
}

/** Where GCC keeps a library of its own. */
function library(name) {
  return spawnSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).stdout.trim();
}
