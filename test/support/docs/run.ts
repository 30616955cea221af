/** Runs samples in their worlds, one document beside another. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { endWithTests } from "../ends-with-tests.js";
import { patience } from "../patience.js";
import { type NotRun, notRun, type Rewrite, rewrites } from "./exceptions.js";
import type { Sample } from "./samples.js";
import { javascriptOf, type Script } from "./scripts.js";
import { SERVICE } from "./service.js";
import type { World } from "./world.js";

/** Milliseconds after which a sample hangs, or needs a rewrite in exceptions.ts that gives it less to do. */
const LIMIT = patience(120);

/** Entries of the tables that met a sample. */
export const met = new Set<Rewrite | NotRun>();

function rewritten(text: string, server: string): string {
  return rewrites.reduce((before, rewrite) => {
    const after = before.replace(rewrite.find, rewrite.become);
    if (after !== before) met.add(rewrite);
    return after.replaceAll("SERVER", server);
  }, text);
}

/** The entry that says why a command or a block is not run. */
export function exceptionFor(document: string, text: string): NotRun | undefined {
  const found = notRun.find((each) => each.document === document && text.trimStart().startsWith(each.begins));
  if (found) met.add(found);
  return found;
}

/** @throws {Error} with what bash says against the script. */
export function checkSyntax(script: string): void {
  execFileSync("bash", ["-n"], { input: script, stdio: ["pipe", "pipe", "pipe"] });
}

/** Whether bash takes a script for a whole one. */
function isWhole(script: string): boolean {
  if (/\\\n?$/.test(script)) return false;
  try {
    checkSyntax(script);
    return true;
  } catch {
    return false;
  }
}

/** The commands of a script: lines that belong together are one. */
export function commandsIn(script: string): string[] {
  const commands: string[] = [];
  let open = "";
  for (const line of script.split("\n")) {
    open += open === "" ? line : `\n${line}`;
    if (open.trim() === "" || /^\s*#/.test(open)) open = "";
    else if (!line.endsWith("\\") && isWhole(open)) {
      commands.push(open);
      open = "";
    }
  }
  if (open !== "") commands.push(open);
  return commands;
}

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

export interface Place {
  readonly world: World;
  /** The document's copy of the world. */
  readonly folder: string;
  /** Address of the world's files. */
  readonly server: string;
}

/** What samples run under: `npx soundspot` is the built command, and one thread is enough. */
export function environment({ programs }: World): NodeJS.ProcessEnv {
  const { VITEST, ...env } = process.env;
  const PATH = `${programs}${delimiter}${env.PATH}`;
  return { ...env, ...endWithTests, PATH, OMP_NUM_THREADS: "1", NO_COLOR: "1" };
}

/** Standard output and error of a program, together; ended after the limit. */
function outcomeOf(program: string, args: readonly string[], { world, folder }: Place): Promise<Outcome> {
  const child = spawn(program, args, {
    cwd: folder,
    env: environment(world),
    stdio: ["ignore", "pipe", "pipe"],
    detached: process.platform !== "win32",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      output += `\nIt took longer than ${LIMIT / 1000} s: scale it down in test/support/docs/exceptions.ts.`;
      endGroup(child.pid as number);
    }, LIMIT);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

function endGroup(pid: number): void {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** Runs the commands of a block but those that an exception names. `console` blocks show what is printed. */
export async function runShell(sample: Sample, commands: readonly string[], place: Place): Promise<Outcome> {
  const kept = commands.filter((command) => !exceptionFor(sample.document, command));
  if (kept.length === 0) return { code: 0, output: "" };
  const joined = kept.map((command) =>
    command
      .replace(/\\\n\s*/g, "")
      // A service goes on by itself (world.ts), once it listens; with & nothing would wait for that.
      .replace(/(\bsoundspot serve\b.*?)\s*&\s*$/, "$1"),
  );
  const script = joined.map((command) => rewritten(command, place.server)).join("\n");
  const strict =
    sample.language === "console" ? "" : "set -eo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n";
  return outcomeOf("bash", ["-c", `${strict}${script}`], place);
}

/** Runs a script in a process of its own, which has to end by itself. */
export async function runScript(script: Script, place: Place): Promise<Outcome> {
  const name = `sample-${script.sample.line}.mjs`;
  writeFileSync(join(place.folder, name), javascriptOf(script, rewritten(script.sample.text, place.server)));
  return outcomeOf(process.execPath, [name], place);
}

/** Whether a process runs. One that has ended and that nobody has waited for does not. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const status = existsSync("/proc/self/stat") ? readFileSync(`/proc/${pid}/stat`, "utf8") : "";
    return !/\) [ZX] /.test(status);
  } catch {
    return false;
  }
}

/** Ends the service that a document has started, and waits until it has ended. */
export async function endService(folder: string): Promise<void> {
  const file = join(folder, SERVICE);
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8"));
  const end = performance.now() + patience(60);
  for (let asked = false; runs(pid); asked = true) {
    try {
      if (!asked) process.kill(pid, "SIGTERM");
      else if (performance.now() > end) process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
    await sleep(50);
  }
}

/** What is printed, with every number as # and spaces as one: figures of a trained model differ from the world's. */
export const shapeOf = (output: string) =>
  output
    .replace(/\d+([.,]\d+)*/g, "#")
    .replace(/[ \t]+/g, " ")
    .trim();
