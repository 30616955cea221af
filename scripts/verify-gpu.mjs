#!/usr/bin/env node
/**
 * Verifies the GPU path on a machine with an NVIDIA GPU, and writes report.json and report.html (docs/platforms.md).
 *
 *   npm run verify:gpu                                         all stages, into verify-report
 *   npm run verify:gpu -- --stage program --stage suite        these alone
 *   npm run verify:gpu -- --output FOLDER
 *
 *   program    builds the program of verify/ and runs it: kernels, training steps, times
 *   suite      runs the tests of test/gpu
 *   sanitize   runs the program's kernels under compute-sanitizer, where that is installed
 *   bench      times the package against PyTorch on the same GPU, where a Python with torch is there (bench/README.md)
 *
 * LIBTORCH is the folder of a LibTorch or a PyTorch with CUDA; nothing is downloaded then. A stage that fails does not
 * stop the others. The exit code is 0 where none failed, 1 where one did, 2 where nothing was verified.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { compile, PACKAGE } from "./build.mjs";
import { ensureLibTorch } from "./libtorch.mjs";
import { buildFolders } from "./locate.mjs";
import { passed, programTables, suiteTables, writeReport } from "./verify-report.mjs";

/** Of a stage. */
const MOST_SECONDS = 8 * 60;
const TAIL = 20_000;
const TOOLS = ["memcheck", "racecheck", "synccheck"];
const BENCHES = ["localize", "train", "kernels"];

const build = buildFolders(PACKAGE, "cuda")[0];
const program = join(build, "verify");

/** A stage that cannot be run here. */
class Skipped extends Error {}

/** The first GPU by NVIDIA's own program, or why there is none. */
function look() {
  const fields = ["name", "driver_version", "compute_cap", "memory.total"];
  const args = [`--query-gpu=${fields.join(",")}`, "--format=csv,noheader"];
  const { status, stdout, stderr, error } = spawnSync("nvidia-smi", args, { encoding: "utf8" });
  if (error)
    return {
      reason: "nvidia-smi is not there: no NVIDIA driver is installed, or this container has no access to it",
    };
  const lines = (stdout ?? "").trim().split("\n").filter(Boolean);
  if (status !== 0 || lines.length === 0)
    return { reason: `nvidia-smi says: ${(stdout || stderr || "nothing").trim()}` };
  const [gpu, driver, capability, memory] = lines[0].split(",").map((field) => field.trim());
  return { machine: { gpu, driver, computeCapability: capability, memory, gpus: String(lines.length) } };
}

/** Runs a command, shows what it prints, and ends it when the stage's time is over. */
function run(command, args, { until, env = process.env } = {}) {
  return new Promise((done) => {
    // A group of its own, which ends as a whole.
    const child = spawn(command, args, {
      cwd: PACKAGE,
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const end = () => {
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    process.once("exit", end);
    let output = "";
    let timedOut = false;
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ])
      from.setEncoding("utf8").on("data", (text) => {
        output = (output + text).slice(-TAIL);
        to.write(text);
      });
    const timer = setTimeout(
      () => {
        timedOut = true;
        end();
      },
      Math.max(1000, until - Date.now()),
    );
    const finish = (code, message = "") => {
      clearTimeout(timer);
      process.off("exit", end);
      done({ code, timedOut, output: output + message });
    };
    child.on("error", ({ message }) => finish(127, message));
    child.on("close", (code) => finish(code ?? 1));
  });
}

/** What a command's end says of its stage. */
function outcome(name, { code, timedOut }) {
  if (timedOut) return { status: "failed", message: `${name} did not end in time.` };
  return code === 0 ? { status: "passed" } : { status: "failed", message: `${name} ended with ${code}.` };
}

let built;
/** Addon, program and dist/, once. The compiler gets the time that it needs, which is no stage's. */
function ensureBuilt({ computeCapability }) {
  built ??= (async () => {
    process.env.SOUNDSPOT_VARIANT = "cuda";
    process.env.SOUNDSPOT_CUDA_ARCHITECTURES ??= computeCapability.replace(".", "");
    const { folder: libtorch } = await ensureLibTorch({ variant: "cuda" });
    await compile({ libtorch, quiet: true, variant: "cuda", definitions: { SOUNDSPOT_VERIFY: "ON" } });
    const { status, stderr } = spawnSync("npm", ["run", "build:ts"], { cwd: PACKAGE, encoding: "utf8" });
    if (status !== 0) throw new Error(`npm run build:ts failed: ${stderr}`);
  })();
  return built;
}

const read = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined);

const stages = {
  async program({ until, folder }) {
    const path = join(folder, "program.json");
    const ended = await run(program, ["--json", path], { until });
    const figures = read(path);
    return {
      ...outcome("The program", ended),
      output: ended.output,
      ...(figures ? { tables: programTables(figures), figures } : {}),
    };
  },

  async suite({ until, folder }) {
    const path = join(folder, "suite.json");
    const vitest = join(PACKAGE, "node_modules", "vitest", "vitest.mjs");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile=${path}`];
    const args = [vitest, "run", "--config", "vitest.gpu.config.ts", ...reporters];
    const ended = await run(process.execPath, args, { until });
    const figures = read(path);
    return {
      ...outcome("The tests", ended),
      output: ended.output,
      ...(figures ? { tables: suiteTables(figures) } : {}),
    };
  },

  async sanitize({ until }) {
    const found = ["compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer"].find(
      (name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
    );
    if (!found) throw new Skipped("compute-sanitizer is not installed; it comes with the CUDA toolkit.");
    const rows = [];
    let output = "";
    for (const tool of TOOLS) {
      const started = Date.now();
      const args = ["--tool", tool, "--error-exitcode", "9", program, "kernels", "--small"];
      // An equal part of the time that is left for each.
      const share = started + (until - started) / (TOOLS.length - rows.length);
      const ended = await run(found, args, { until: share });
      output = (output + ended.output).slice(-TAIL);
      const { status, message = "" } = outcome(tool, ended);
      rows.push([tool, status, Math.round((Date.now() - started) / 1000), message]);
    }
    const failed = rows.filter(([, status]) => status === "failed");
    return {
      status: failed.length > 0 ? "failed" : "passed",
      ...(failed.length > 0 ? { message: failed.map(([, , , message]) => message).join(" ") } : {}),
      tables: [{ title: "compute-sanitizer", columns: ["tool", "outcome", "seconds", "message"], rows }],
      output,
    };
  },

  async bench({ until, folder }) {
    const { comparison } = await import("../bench/lib/report.mjs");
    const [tables, messages, all] = [[], [], {}];
    let output = "";
    for (const [i, name] of BENCHES.entries()) {
      const path = join(folder, `${name}.json`);
      const share = Date.now() + (until - Date.now()) / (BENCHES.length - i);
      const args = ["bench/run.mjs", name, "--device", "cuda", "--rounds", "2", "--json", path];
      const ended = await run(process.execPath, args, { until: share });
      output = (output + ended.output).slice(-TAIL);
      const { status, message } = outcome(`bench ${name}`, ended);
      if (status === "failed") messages.push(message);
      const figures = read(path);
      if (!figures) continue;
      all[name] = figures;
      tables.push({
        title: `${figures.title}; ${figures.gpu}`,
        ...comparison(figures.results, figures.columns),
      });
    }
    return {
      status: messages.length > 0 ? "failed" : "passed",
      ...(messages.length > 0 ? { message: messages.join(" ") } : {}),
      tables,
      output,
      figures: all,
    };
  },
};

function parsed() {
  const { values } = parseArgs({
    options: {
      stage: { type: "string", multiple: true },
      output: { type: "string", default: "verify-report" },
    },
  });
  const names = values.stage ?? Object.keys(stages);
  const unknown = names.find((name) => !Object.hasOwn(stages, name));
  if (unknown !== undefined)
    throw new Error(`There is no stage ${unknown}: use ${Object.keys(stages).join(", ")}.`);
  return { names: [...new Set(names)], output: resolve(values.output) };
}

async function attempt(name, machine, folder) {
  console.log(`\n${name}`);
  let started = Date.now();
  const took = () => (Date.now() - started) / 1000;
  try {
    await ensureBuilt(machine);
    started = Date.now();
    const result = await stages[name]({ until: started + 1000 * MOST_SECONDS, folder });
    return { name, seconds: took(), ...result };
  } catch (error) {
    const status = error instanceof Skipped ? "skipped" : "failed";
    return { name, seconds: took(), status, message: error.message };
  }
}

async function main() {
  const { names, output } = parsed();
  const { machine, reason } = look();
  if (!machine) {
    console.error(`There is no GPU to verify on: ${reason}.`);
    return 2;
  }
  const report = {
    started: new Date().toISOString(),
    machine: { ...machine, node: process.version, processors: String(availableParallelism()) },
    stages: [],
  };
  const folder = mkdtempSync(join(tmpdir(), "soundspot-verify-"));
  try {
    for (const name of names) {
      const stage = await attempt(name, machine, folder);
      console.log(`${name}: ${stage.status}${stage.message ? `: ${stage.message}` : ""}`);
      report.stages.push(stage);
      // After each, so that what was verified is there if the machine goes.
      await writeReport(output, report);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`\n${passed(report) ? "Passed" : "FAILED"}: ${join(output, "report.html")}`);
  if (report.stages.every(({ status }) => status === "skipped")) return 2;
  return passed(report) ? 0 : 1;
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
])
  process.once(signal, () => process.exit(code));

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
