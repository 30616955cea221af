/** The packed packages: what is in them, that the addon is found in that of the platform, and what is said without LibTorch. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLibTorch, VERSIONS } from "../../../scripts/locate.mjs";
import { addonIn, packageOf } from "../../../scripts/platform.mjs";
import { canPack, filesOf, type Packed, packAll } from "../../support/packed.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const torch = findLibTorch({ root });
const ready = canPack && torch !== undefined;
if (!ready) {
  console.warn(
    "test/integration/install/packages.test.ts is skipped: it needs dist/, the addon, LibTorch and a platform with a package.",
  );
}
/** Runs a command on a terminal of its own. */
const hasTerminal =
  process.platform === "linux" && spawnSync("script", ["--version"], { stdio: "ignore" }).status === 0;

const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-packed-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!ready)("the packed packages (skipped without a build)", () => {
  const project = join(folder, "project");
  const modules = join(project, "node_modules");
  const home = join(folder, "home");
  const main = join(modules, "soundspot/dist/cli/main.js");
  const name = packageOf("cpu", process.platform, process.arch) as string;
  let packages: Packed[];

  const { LIBTORCH, SOUNDSPOT_VARIANT, SOUNDSPOT_PREBUILD, CI, npm_config_user_agent, ...inherited } =
    process.env;
  const env: NodeJS.ProcessEnv = { ...inherited, SOUNDSPOT_HOME: home };
  const run = (args: readonly string[], more: Record<string, string> = {}) =>
    spawnSync(process.execPath, [main, ...args], {
      cwd: project,
      env: { ...env, ...more },
      encoding: "utf8",
    });

  beforeAll(() => {
    packages = packAll(folder);
    mkdirSync(modules, { recursive: true });
    writeFileSync(join(project, "package.json"), '{ "private": true }');
    for (const each of packages) {
      const place = join(modules, each.name);
      mkdirSync(place, { recursive: true });
      execFileSync("tar", ["-xzf", each.tarball, "--strip-components=1", "-C", place]);
    }
    // What else npm would install.
    for (const each of readdirSync(join(root, "node_modules"))) {
      if (!each.startsWith(".") && each !== "soundspot" && each !== "@soundspot") {
        symlinkSync(realpathSync(join(root, "node_modules", each)), join(modules, each), "junction");
      }
    }
  });

  it("have what is run, compiled or read, and nothing for developers", () => {
    expect(packages.map((each) => each.name)).toEqual([name, "@soundspot/demo-model", "soundspot"]);
    const files = filesOf(packages[2]?.tarball as string);
    const expected =
      /^(dist\/|native\/|docs\/[a-z-]+\.md$|examples\/|scripts\/[a-z-]+\.mjs$|(package\.json|README\.md|LICENSE|CHANGELOG\.md|SECURITY\.md|THIRD_PARTY\.md|CMakeLists\.txt)$)/;
    expect(files.filter((path) => !expected.test(path))).toEqual([]);
    const { files: listed } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      files: string[];
    };
    expect(files.filter((path) => path.startsWith("scripts/")).sort()).toEqual(
      listed.filter((path) => path.startsWith("scripts/")).sort(),
    );
    for (const path of [
      "dist/index.js",
      "dist/index.cjs",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "dist/web/index.html",
    ])
      expect(files, path).toContain(path);
    expect(files.some((path) => path.endsWith(".node"))).toBe(false);
    expect(filesOf(packages[0]?.tarball as string).sort()).toEqual([
      "LICENSE",
      "README.md",
      "package.json",
      `prebuilds/${name.split("/")[1]}/libtorch.json`,
      `prebuilds/${name.split("/")[1]}/soundspot.node`,
    ]);
    expect(filesOf(packages[1]?.tarball as string).sort()).toEqual([
      "LICENSE",
      "MODEL_CARD.md",
      "README.md",
      "figures.json",
      "model.safetensors",
      "package.json",
      "scene/audio.wav",
      "scene/image.png",
      "scene/mask.png",
    ]);
    for (const each of [name, "@soundspot/demo-model"]) {
      expect(packages[2]?.manifest.optionalDependencies?.[each]).toBe(packages[2]?.manifest.version);
    }
  });

  it("say in one sentence what is missing, by the command of the package manager in use", () => {
    mkdirSync(home, { recursive: true });
    const sentence = (how: string) =>
      `soundspot: LibTorch ${VERSIONS.cpu} is not installed: ${how}. [ERR_LIBTORCH_MISSING]\n`;
    const outcomes = [
      ["", "run `npx soundspot setup`"],
      ["npm/11.0.0 node/v22.0.0", "run `npx soundspot setup`"],
      [
        "pnpm/10.0.0 npm/? node/v22.0.0",
        "run `npx soundspot setup`, or `pnpm approve-builds` to let its install script do that",
      ],
      ["yarn/4.0.0 npm/? node/v22.0.0", "run `yarn soundspot setup`"],
    ] as const;
    for (const [agent, how] of outcomes) {
      const { status, stderr } = run(["info"], { npm_config_user_agent: agent });
      expect([status, stderr], agent).toEqual([1, sentence(how)]);
    }
  });

  it.skipIf(!hasTerminal)("offer the installation on a terminal, once (skipped without script)", async () => {
    let requests = 0;
    const server = createServer((_, response) => {
      requests++;
      response.writeHead(404).end();
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    for (const python of ["python3", "python", "py"]) {
      writeFileSync(join(folder, python), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    }
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/libtorch.zip`;
    const answer = async (text: string, more: Record<string, string> = {}) => {
      requests = 0;
      const command = `'${process.execPath}' '${main}' info`;
      const child = spawn("script", ["-qefc", command, "/dev/null"], {
        cwd: project,
        env: { ...env, PATH: `${folder}${delimiter}${env.PATH}`, LIBTORCH_URL: url, ...more },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        if (!output.includes("[Y/n]") && `${output}${chunk}`.includes("[Y/n]")) child.stdin.write(text);
        output += chunk;
      });
      const code = await new Promise((done) => child.on("close", done));
      return { code, output: output.replaceAll("\r", ""), requests };
    };
    try {
      const question = `soundspot: LibTorch ${VERSIONS.cpu} is not installed. Install it now? [Y/n] `;
      const no = await answer("n\n");
      expect(no.output).toContain(question);
      expect(no.output).toContain("run `npx soundspot setup`. [ERR_LIBTORCH_MISSING]");
      expect([no.code, no.requests]).toEqual([1, 0]);
      const end = await answer("\x04");
      expect([end.code, end.requests]).toEqual([1, 0]);
      const yes = await answer("\n");
      expect(yes.output).toContain(question);
      expect(yes.output).toMatch(/libtorch\.zip answered 404[\s\S]*could not be obtained/);
      expect([yes.code, yes.requests]).toEqual([1, 1]);
      const inCi = await answer("", { CI: "true" });
      expect(inCi.output).not.toContain("[Y/n]");
      expect([inCi.code, inCi.requests]).toEqual([1, 0]);
    } finally {
      server.close();
    }
  });

  it("find the addon in the package of the platform, and load it", () => {
    mkdirSync(join(home, `cpu-${VERSIONS.cpu}`), { recursive: true });
    symlinkSync(torch?.folder as string, join(home, `cpu-${VERSIONS.cpu}`, "libtorch"));
    const installed = JSON.parse(run(["setup", "--json"]).stdout) as { addon: unknown };
    expect(installed.addon).toEqual({ path: addonIn(join(modules, name), name), kind: "prebuilt" });
    const { findings } = JSON.parse(run(["doctor", "--json"]).stdout) as {
      findings: { name: string; status: string; details: unknown }[];
    };
    const addon = findings.find((each) => each.name === "addon");
    expect(addon?.status).toBe("ok");
    expect(addon?.details).toMatchObject({
      path: addonIn(join(modules, name), name),
      kind: "prebuilt",
      variant: "cpu",
      loads: true,
    });
  });

  it("localize without a file of the user's, by the demo model", () => {
    const spot = join(folder, "spot.png");
    const { status, stdout, stderr } = run(["localize", "--demo", "--output", spot]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^448 × 448, confidence -?\d\.\d{3}\n/);
    expect(readFileSync(spot).subarray(1, 4).toString()).toBe("PNG");
  });
});
