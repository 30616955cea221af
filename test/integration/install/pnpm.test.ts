/** The packed package where others put it: in the store of pnpm, and in a folder that cannot be written to. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLibTorch, VERSIONS } from "../../../scripts/locate.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const addon = join(root, "build/Release/soundspot.node");
const torch = findLibTorch({ root });
const built =
  process.platform === "linux" &&
  torch !== undefined &&
  ["dist/index.js", "build/Release/libtorch.json"].every((file) => existsSync(join(root, file)));
const registry =
  built && spawnSync("npm", ["view", "pnpm@9", "name", "--fetch-retries", "0"], { stdio: "ignore" });
const ready = registry && registry.status === 0;
if (!ready) {
  const needs = built ? "npm's registry" : "dist/, the addon, LibTorch and Linux";
  console.warn(`test/integration/install/pnpm.test.ts is skipped: it needs ${needs}.`);
}

const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-install-")));
afterAll(() => {
  spawnSync("chmod", ["-R", "u+w", folder]);
  rmSync(folder, { recursive: true, force: true });
});
const home = join(folder, "home");
const project = join(folder, "project");

const { LIBTORCH, SOUNDSPOT_VARIANT, SOUNDSPOT_PREBUILD, LD_LIBRARY_PATH, ...inherited } = process.env;
const env = { ...inherited, SOUNDSPOT_HOME: home, HOME: folder };

/** Root may write everywhere: then nobody is who runs the package. */
const asOther = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

const localize = `
  const { Model } = await import("soundspot");
  const model = await Model.create({ imageSize: 64, imageWidth: 8, audioWidth: 4, dim: 16, audio: { seconds: 1 } }, { seed: 1 });
  const spot = await model.localize({
    image: { data: new Uint8Array(64 * 64 * 3).fill(9), width: 64, height: 64 },
    audio: { samples: Float32Array.from({ length: 16000 }, (_, at) => Math.sin(at / 9)), sampleRate: 16000 },
  });
  console.log(JSON.stringify({ pixels: spot.heatmap.length, finite: spot.heatmap.every(Number.isFinite), device: model.compute.device }));`;

function run(command: string, args: readonly string[], options: object = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: project,
    env,
    encoding: "utf8",
    ...options,
  });
  expect(status, `${command} ${args.join(" ")}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

/** The package with the addon of this build as a prebuilt one, as a release has it. */
function pack(): string {
  const staging = join(folder, "staging");
  mkdirSync(staging);
  const { files } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { files: string[] };
  for (const name of ["package.json", "README.md", "LICENSE", ...files]) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(staging, name), { recursive: true });
  }
  const prebuilds = join(staging, "prebuilds", `${process.platform}-${process.arch}`);
  rmSync(prebuilds, { recursive: true, force: true });
  mkdirSync(prebuilds, { recursive: true });
  cpSync(addon, join(prebuilds, "soundspot.glibc.node"));
  cpSync(join(root, "build/Release/libtorch.json"), join(prebuilds, "libtorch.json"));
  execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], {
    cwd: staging,
    stdio: "pipe",
  });
  rmSync(staging, { recursive: true });
  return join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")) as string);
}

describe.skipIf(!ready)(
  "the packed package in the store of pnpm (skipped without a build or a registry)",
  () => {
    const main = join(project, "node_modules/soundspot/dist/cli/main.js");
    beforeAll(() => {
      chmodSync(folder, 0o755);
      mkdirSync(project);
      writeFileSync(join(project, "package.json"), '{ "name": "user", "private": true, "type": "module" }');
      const tarball = pack();
      run("npx", [
        "--yes",
        "pnpm@9",
        "add",
        "--ignore-scripts",
        "--no-optional",
        "--store-dir",
        join(folder, "store"),
        tarball,
      ]);
      // sharp's program is an optional dependency.
      run("npx", [
        "--yes",
        "pnpm@9",
        "add",
        "--ignore-scripts",
        "--store-dir",
        join(folder, "store"),
        "sharp",
      ]);
    });

    it("lies behind a link, and throws one sentence with the command as long as LibTorch is missing", () => {
      const real = realpathSync(join(project, "node_modules/soundspot"));
      expect(real).toContain("/node_modules/.pnpm/soundspot@");
      const script = `const { Model } = await import("soundspot");
      const { code, message } = await Model.create().catch((error) => error);
      console.log(JSON.stringify([code, message]));`;
      expect(JSON.parse(run(process.execPath, ["--input-type=module", "-e", script]))).toEqual([
        "ERR_LIBTORCH_MISSING",
        `LibTorch ${VERSIONS.cpu} is not installed: run \`npx soundspot setup\`, or \`pnpm approve-builds\` to let its install script do that.`,
      ]);
    });

    it("localizes with a LibTorch of the user's folder, from a folder that nobody may write to", () => {
      mkdirSync(join(home, `cpu-${VERSIONS.cpu}`), { recursive: true });
      symlinkSync(torch?.folder as string, join(home, `cpu-${VERSIONS.cpu}`, "libtorch"));
      expect(JSON.parse(run(process.execPath, ["--input-type=module", "-e", localize]))).toEqual({
        pixels: 64 * 64,
        finite: true,
        device: "cpu",
      });
      spawnSync("chmod", ["-R", "a-w,a+rX", project, home]);
      const write = `require("fs").accessSync(".", 2)`;
      expect(spawnSync(process.execPath, ["-e", write], { cwd: project, ...asOther }).status).toBe(1);
      const readOnly = { ...asOther, env: { ...env, HOME: "/nonexistent" } };
      expect(
        JSON.parse(run(process.execPath, ["--input-type=module", "-e", localize], readOnly)),
      ).toMatchObject({
        pixels: 64 * 64,
        finite: true,
      });
      // All is there: setup has nothing to write.
      const installed = JSON.parse(run(process.execPath, [main, "setup", "--json"], readOnly)) as {
        addon: { path: string; kind: string };
        libtorch: { folder: string };
      };
      expect(installed.addon.kind).toBe("prebuilt");
      expect(installed.addon.path).toContain("/node_modules/.pnpm/soundspot@");
      expect(installed.libtorch.folder).toBe(join(home, `cpu-${VERSIONS.cpu}`, "libtorch"));
      const { findings } = JSON.parse(run(process.execPath, [main, "doctor", "--json"], readOnly)) as {
        findings: { name: string; status: string }[];
      };
      for (const name of ["addon", "libtorch"]) {
        expect(findings.find((each) => each.name === name)?.status, name).toBe("ok");
      }
    });
  },
);
