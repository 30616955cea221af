#!/usr/bin/env node
/**
 * Runs the numeric tests with capped instruction sets, each kind in its own process.
 *
 *   node scripts/test-cpus.mjs [KIND …] [-- options of vitest]
 *
 * Kinds: default (no vectors beyond SSE4.1), avx2, avx512 (without bfloat16). Without names all that this processor
 * supports. Environment variables cap them: ATEN_CPU_CAPABILITY for LibTorch, ONEDNN_MAX_CPU_ISA for oneDNN; the
 * package's own kernels follow both.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { addon } from "./addon.mjs";
import { PACKAGE } from "./build.mjs";
import { findTests, NUMERIC_TESTS } from "./find-tests.mjs";

const KINDS = {
  default: { needs: undefined, env: { ATEN_CPU_CAPABILITY: "default", ONEDNN_MAX_CPU_ISA: "SSE41" } },
  avx2: { needs: "avx2", env: { ATEN_CPU_CAPABILITY: "avx2", ONEDNN_MAX_CPU_ISA: "AVX2" } },
  avx512: { needs: "avx512", env: { ATEN_CPU_CAPABILITY: "avx512", ONEDNN_MAX_CPU_ISA: "AVX512_CORE" } },
};

const given = process.argv.slice(2);
const rest = given.includes("--") ? given.splice(given.indexOf("--")).slice(1) : [];
const unknown = given.filter((name) => !(name in KINDS));
if (unknown.length > 0) {
  console.error(`Unknown kind "${unknown[0]}". Kinds: ${Object.keys(KINDS).join(", ")}.`);
  process.exit(2);
}
if (process.arch !== "x64") {
  console.error(`The caps are for x64; this is ${process.arch}. Run npm test.`);
  process.exit(2);
}

const { hardware } = addon.info().cpu;
const vitest = join(PACKAGE, "node_modules", "vitest", "vitest.mjs");
const results = [];
for (const name of given.length > 0 ? given : Object.keys(KINDS)) {
  const { needs, env } = KINDS[name];
  if (needs && !hardware.includes(needs)) {
    results.push([name, `left out: this processor has no ${needs}`]);
    continue;
  }
  console.log(
    `\n${name}: ${Object.entries(env)
      .map((pair) => pair.join("="))
      .join(" ")}`,
  );
  const started = performance.now();
  const { status } = spawnSync(process.execPath, [vitest, "run", ...findTests(NUMERIC_TESTS), ...rest], {
    cwd: PACKAGE,
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  results.push([name, status === 0 ? `passed in ${seconds} s` : `FAILED in ${seconds} s`]);
  if (status !== 0) process.exitCode = 1;
}
console.log();
for (const [name, result] of results) console.log(`${name.padEnd(8)} ${result}`);
