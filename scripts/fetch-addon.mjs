/** Gets the addon of a platform package through npm, which brings its registry, its access and its proxies with it. */
import { spawn } from "node:child_process";
import { copyFileSync, cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cleaningUp, withLock } from "./lock.mjs";
import { ADDON_FILE, addonIn } from "./platform.mjs";

const PARTIAL = "partial-";

/** No script of a package runs, and no setting of the caller's project sends it elsewhere. */
const OPTIONS = [
  "--prefix=.",
  "--no-global",
  "--no-save",
  "--no-package-lock",
  "--ignore-scripts",
  "--no-audit",
  "--no-fund",
  "--loglevel=error",
];

/**
 * @param {object} options
 * @param {string} options.name Of the package.
 * @param {string} options.version
 * @param {string} options.build Folder whose Release/ receives the addon, complete or not at all.
 * @param {import("./progress.mjs").Progress} options.progress
 * @returns {Promise<string>} The addon's file.
 * @throws {Error} with what npm said.
 */
export async function fetchAddon({ name, version, build, progress }) {
  await mkdir(build, { recursive: true });
  return withLock(
    join(build, "fetch.lock"),
    async () => {
      // Of calls that were killed: the lock is held, so no other is at work.
      for (const left of readdirSync(build).filter((each) => each.startsWith(PARTIAL))) {
        await rm(join(build, left), { recursive: true, force: true });
      }
      const work = await mkdtemp(join(build, PARTIAL));
      return cleaningUp(
        () => rmSync(work, { recursive: true, force: true }),
        async () => {
          await writeFile(join(work, "package.json"), '{ "private": true }\n');
          const settings = nearestNpmrc();
          if (settings) copyFileSync(settings, join(work, ".npmrc"));
          progress.start(`getting ${name}`);
          await npm(["install", `${name}@${version}`, ...OPTIONS], work);
          const source = join(work, "node_modules", ...name.split("/"));
          const addon = addonIn(source, name);
          if (!existsSync(addon)) throw new Error(`${name} ${version} has no addon`);
          const complete = join(work, "Release");
          cpSync(dirname(addon), complete, { recursive: true });
          copyFileSync(join(source, "package.json"), join(complete, "package.json"));
          const target = join(build, "Release");
          await rm(target, { recursive: true, force: true });
          await rename(complete, target);
          return join(target, ADDON_FILE);
        },
      );
    },
    { waits: () => progress.start("waiting for another installation") },
  );
}

/** npm's settings of the project that this is installed in or run from: its registry may be another than the user's. */
function nearestNpmrc(start = process.env.INIT_CWD ?? process.cwd()) {
  for (let folder = start; ; folder = dirname(folder)) {
    const file = join(folder, ".npmrc");
    if (existsSync(file)) return file;
    if (existsSync(join(folder, "package.json")) || folder === dirname(folder)) return undefined;
  }
}

/** The npm that came with this Node.js, or else that on the PATH. */
function npmCommand() {
  const { npm_execpath: running } = process.env;
  const beside = dirname(process.execPath);
  const program = [
    ...(running && /[/\\]npm-cli\.js$/.test(running) ? [running] : []),
    join(beside, "node_modules", "npm", "bin", "npm-cli.js"),
    join(beside, "..", "lib", "node_modules", "npm", "bin", "npm-cli.js"),
  ].find((file) => existsSync(file));
  return program ? [process.execPath, program] : ["npm"];
}

async function npm(args, cwd) {
  const [command, ...first] = npmCommand();
  let output = "";
  const ended = () =>
    new Promise((done, fail) => {
      const child = spawn(command, [...first, ...args], {
        cwd,
        stdio: ["ignore", "pipe", "pipe"],
        shell: command === "npm" && process.platform === "win32",
        windowsHide: true,
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text) => {
          output += text;
        });
      }
      child.on("error", fail);
      child.on("close", done);
    });
  const code = await ended();
  if (code === 0) return;
  const lines = output.split("\n").map((line) => line.replace(/^npm (error|ERR!) ?/, "").trim());
  const said = lines.filter((line) => line !== "" && !/^code |^A complete log|^Note that/.test(line));
  throw new Error(said.slice(0, 2).join(" ") || `npm ended with exit code ${code}`);
}
