#!/usr/bin/env node
/**
 * Builds the variant for NVIDIA GPUs for one architecture, and tests what can be tested without a GPU: it compiles,
 * links, loads, and computes on the CPU; `doctor` and the errors say why. The program of verify/ is built from the same
 * object files; its comparisons hold on the host.
 *
 *   node scripts/test-cuda.mjs          test/slow/cuda.test.ts
 *   node scripts/test-cuda.mjs --all    every test, with that variant
 *
 * SOUNDSPOT_CUDA_ARCHITECTURES names another architecture than 90. Only for Linux on x64, with nvcc: its headers are
 * needed without sources in CUDA, too.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, PACKAGE } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { buildFolders, hasDriver } from "./locate.mjs";
import { clock } from "./progress.mjs";

const { values } = parseArgs({ options: { all: { type: "boolean", default: false } } });

/** Why the variant cannot be built here; undefined where it can. */
function obstacle() {
  if (process.platform !== "linux" || process.arch !== "x64") return "it is for Linux on x64";
  const found = [process.env.CUDACXX, "nvcc", "/usr/local/cuda/bin/nvcc"].some(
    (name) => name && spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
  );
  return found ? undefined : "there is no nvcc";
}

/** Whether the program of verify/ passes on the host, and says that there is no GPU where there is none. */
function verifies() {
  const program = join(buildFolders(PACKAGE, "cuda")[0], "verify");
  const { status, stdout, stderr } = spawnSync(program, ["--host", "kernels"], { encoding: "utf8" });
  if (status !== 0) {
    console.error(`verify --host kernels ended with ${status}.\n${stdout}${stderr}`);
    return false;
  }
  console.log(stdout.trim().split("\n").slice(-3).join("\n"));
  if (hasDriver()) return true;
  const without = spawnSync(program, [], { encoding: "utf8" });
  if (without.status === 2 && without.stderr.startsWith("There is no GPU to verify on. ")) return true;
  console.error(`verify ended with ${without.status} without a GPU: ${without.stdout}${without.stderr}`);
  return false;
}

async function main() {
  const reason = obstacle();
  if (reason) {
    console.log(`The variant for NVIDIA GPUs is not tested: ${reason}.`);
    return 0;
  }
  process.env.SOUNDSPOT_VARIANT = "cuda";
  process.env.SOUNDSPOT_CUDA_ARCHITECTURES ??= "90";
  let started = Date.now();
  const took = (what) => {
    console.log(`${what}: ${clock(Date.now() - started)}`);
    started = Date.now();
  };
  const { folder: libtorch } = await ensureLibTorch();
  took("LibTorch with CUDA");
  await compile({ libtorch, quiet: true, definitions: { SOUNDSPOT_VERIFY: "ON" } });
  took("compiled and linked");
  if (!verifies()) return 1;
  took("verified on the host");
  const args = values.all ? ["run"] : ["run", "--config", "vitest.slow.config.ts", "test/slow/cuda.test.ts"];
  const vitest = join(PACKAGE, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, ...args], { cwd: PACKAGE, stdio: "inherit" });
  took("tested");
  return status ?? 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
