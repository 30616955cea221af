/** What is published: manifests without what only developers need, and one package for each platform. */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { FLOORS } from "../../../scripts/demo-floors.mjs";
import { DEMO_MODEL } from "../../../scripts/demo-package.mjs";
import { mainManifest, PLACEHOLDER, platformManifest, writePackages } from "../../../scripts/packages.mjs";
import {
  addonIn,
  isOfPlatformPackage,
  PLATFORMS,
  packageOf,
  publishedVersion,
} from "../../../scripts/platform.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<string, unknown> & {
  version: string;
  files: string[];
};
const folder = mkdtempSync(join(tmpdir(), "soundspot-packages-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const repository = "https://github.com/someone/something";
const names = PLATFORMS.filter(({ variant }) => variant === "cpu").map(({ name }) => name);

describe("the published manifest", () => {
  const published = mainManifest(manifest, { repository, optional: names });

  it("needs the platform packages of its own version, but not that for GPUs", () => {
    const optional = published.optionalDependencies as Record<string, string>;
    for (const name of ["linux-x64", "linux-arm64", "darwin-arm64", "win32-x64"]) {
      expect(optional[`@soundspot/${name}`], name).toBe(manifest.version);
    }
    expect(Object.keys(optional)).not.toContain("@soundspot/linux-x64-cuda");
    expect(optional["ffmpeg-static"]).toBe(
      (manifest.optionalDependencies as Record<string, string>)["ffmpeg-static"],
    );
  });

  it("has no script but the one that npm runs, and nothing for developers", () => {
    expect(published.scripts).toEqual({ install: "node scripts/install.mjs" });
    for (const name of ["devDependencies", "allowScripts", "private"])
      expect(published).not.toHaveProperty(name);
    for (const name of [
      "name",
      "version",
      "exports",
      "bin",
      "engines",
      "dependencies",
      "peerDependencies",
      "binary",
    ]) {
      expect(published[name], name).toEqual(manifest[name]);
    }
  });

  it("names the repository that releases it, and none without one", () => {
    expect(published.repository).toEqual({ type: "git", url: `git+${repository}.git` });
    expect(published.homepage).toBe(`${repository}#readme`);
    expect(published.bugs).toEqual({ url: `${repository}/issues` });
    const without = mainManifest(manifest, { optional: [] });
    expect(JSON.stringify(without)).not.toContain(PLACEHOLDER);
    expect(JSON.stringify(manifest)).toContain(PLACEHOLDER);
    for (const name of ["repository", "homepage", "bugs"]) expect(without).not.toHaveProperty(name);
  });
});

it("gives each platform a package that is installed on it alone", () => {
  expect(PLATFORMS.map(({ name }) => name)).toEqual([
    "@soundspot/linux-x64",
    "@soundspot/linux-arm64",
    "@soundspot/darwin-arm64",
    "@soundspot/win32-x64",
    "@soundspot/linux-x64-cuda",
  ]);
  for (const platform of PLATFORMS) {
    const own = platformManifest(manifest, platform, { repository });
    expect(own).toMatchObject({
      name: platform.name,
      version: manifest.version,
      license: "MIT",
      os: [platform.platform],
      cpu: [platform.arch],
      publishConfig: { access: "public" },
      preferUnplugged: true,
      repository: { url: `git+${repository}.git` },
    });
    expect(own.libc).toEqual(platform.platform === "linux" ? ["glibc"] : undefined);
    expect(own).not.toHaveProperty("scripts");
    expect(packageOf(platform.variant, platform.platform, platform.arch)).toBe(platform.name);
  }
  for (const [platform, arch] of [
    ["darwin", "x64"],
    ["win32", "arm64"],
    ["freebsd", "x64"],
  ] as const) {
    expect(packageOf("cpu", platform, arch)).toBeUndefined();
  }
  expect(packageOf("cuda", "linux", "arm64")).toBeUndefined();
});

it("is not what a checkout has: that names no platform package, and cannot be published", () => {
  expect(publishedVersion(root)).toBeUndefined();
  expect(JSON.stringify(manifest.optionalDependencies)).not.toContain("@soundspot/");
  const script = (manifest.scripts as Record<string, string>).prepublishOnly as string;
  expect(() =>
    execFileSync(process.execPath, script.split(" ").slice(1), { cwd: root, stdio: "pipe" }),
  ).toThrow(/A checkout is not published/);
});

it("has the scripts that an installation runs, with all that they import, and no others", () => {
  const needed = new Set<string>();
  const follow = (name: string) => {
    if (needed.has(name)) return;
    needed.add(name);
    const text = readFileSync(join(root, "scripts", name), "utf8");
    for (const [, imported] of text.matchAll(/(?:from|import\()\s*"\.\/([^"]+)"/g))
      follow(imported as string);
  };
  // What npm runs; what `soundspot setup` imports; what opens an addon in a process of its own.
  for (const name of ["install.mjs", "setup.mjs", "open-addon.mjs"]) follow(name);
  const packed = manifest.files.filter((name) => name.startsWith("scripts"));
  expect(packed.sort()).toEqual([...needed].map((name) => `scripts/${name}`).sort());
});

/** The files of the demo model's package, of a model that reaches these figures. */
function addDemoModel(demo: string, figures: Readonly<Record<string, number>>): void {
  mkdirSync(join(demo, "scene"), { recursive: true });
  for (const file of ["model.safetensors", "scene/image.png", "scene/audio.wav", "scene/mask.png"]) {
    writeFileSync(join(demo, file), file);
  }
  for (const file of ["README.md", "MODEL_CARD.md", "LICENSE"]) writeFileSync(join(demo, file), file);
  writeFileSync(join(demo, "figures.json"), JSON.stringify({ version: manifest.version, figures }));
}

it.skipIf(!existsSync(join(root, "dist/index.js")))(
  "lacks no platform when it is complete (skipped without dist)",
  () => {
    const prebuilds = join(folder, "some");
    const add = (name: string) => {
      mkdirSync(join(prebuilds, name), { recursive: true });
      writeFileSync(join(prebuilds, name, "soundspot.glibc.node"), name);
      writeFileSync(join(prebuilds, name, "libtorch.json"), "{}");
    };
    const demo = join(folder, "demo-model");
    const options = { output: join(folder, "written"), prebuilds, demo, repository, complete: true };
    add("linux-x64");
    add("linux-x64-cuda");
    add("win32-x64");
    expect(() => writePackages(options)).toThrow("prebuilds/ lacks linux-arm64, darwin-arm64");
    add("linux-arm64");
    add("darwin-arm64");
    expect(() => writePackages(options)).toThrow(`${demo} is missing: run \`npm run demo-model\``);
    addDemoModel(demo, FLOORS);
    expect(() => writePackages({ ...options, repository: undefined })).toThrow("--repository");
    addDemoModel(demo, { ...FLOORS, audio: 0.5 });
    expect(() => writePackages(options)).toThrow("too weak: cIoU@0.5, audio map: 50.0 %");
    addDemoModel(demo, FLOORS);
    const packages = writePackages(options);
    expect(packages.map(({ name }) => name)).toEqual([
      ...PLATFORMS.map(({ name }) => name),
      DEMO_MODEL,
      "soundspot",
    ]);
    for (const { name, folder: place } of packages.slice(0, -2)) {
      expect(readFileSync(addonIn(place, name), "utf8")).toBe(name.replace("@soundspot/", ""));
      expect(isOfPlatformPackage(addonIn(place, name))).toBe(true);
    }
    const { folder: main } = packages.at(-1) as { folder: string };
    expect(publishedVersion(main)).toBe(manifest.version);
    expect(existsSync(join(main, "prebuilds"))).toBe(false);
    const { optionalDependencies } = JSON.parse(readFileSync(join(main, "package.json"), "utf8")) as {
      optionalDependencies: Record<string, string>;
    };
    expect(optionalDependencies[DEMO_MODEL]).toBe(manifest.version);
    expect(optionalDependencies).not.toHaveProperty("@soundspot/linux-x64-cuda");
    const { folder: own } = packages.at(-2) as { folder: string };
    expect(JSON.parse(readFileSync(join(own, "package.json"), "utf8"))).toMatchObject({
      name: DEMO_MODEL,
      version: manifest.version,
      repository: { url: `git+${repository}.git` },
    });

    // The demo model alone makes no package with prebuilt addons.
    const alone = { ...options, prebuilds: join(folder, "none"), complete: false };
    expect(publishedVersion(writePackages(alone).at(-1)?.folder as string)).toBeUndefined();
  },
);

// npm gets what a registry of this process has.
describe.skipIf(process.platform === "win32")("a platform package that was not installed", () => {
  const name = "@soundspot/linux-x64";
  const version = "1.2.3";
  const requests: string[] = [];
  let server: Server;

  async function start(addon: string | undefined) {
    const staging = join(folder, "staging");
    rmSync(staging, { recursive: true, force: true });
    mkdirSync(dirname(addonIn(staging, name)), { recursive: true });
    writeFileSync(join(staging, "package.json"), JSON.stringify({ name, version }));
    if (addon !== undefined) writeFileSync(addonIn(staging, name), addon);
    writeFileSync(join(dirname(addonIn(staging, name)), "libtorch.json"), "{}");
    execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], {
      cwd: staging,
      stdio: "pipe",
    });
    const tarball = readFileSync(join(folder, `soundspot-linux-x64-${version}.tgz`));
    server = createServer((request, response) => {
      requests.push(request.url ?? "");
      if (request.url?.endsWith(".tgz")) {
        response.end(tarball);
      } else if (decodeURIComponent(request.url ?? "") === `/${name}`) {
        const { port } = server.address() as AddressInfo;
        const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
        const dist = { tarball: `http://127.0.0.1:${port}/a.tgz`, integrity };
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify({
            name,
            "dist-tags": { latest: version },
            versions: { [version]: { name, version, dist } },
          }),
        );
      } else {
        response.writeHead(404).end("{}");
      }
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  /** Calls fetchAddon in a process whose npm asks that registry. */
  async function fetchBy(registry: string, wanted: string, build: string) {
    const program = `
      const { fetchAddon } = await import(${JSON.stringify(pathToFileURL(join(root, "scripts/fetch-addon.mjs")).href)});
      const progress = { start() {} };
      const options = { name: ${JSON.stringify(name)}, version: ${JSON.stringify(wanted)}, build: ${JSON.stringify(build)}, progress };
      console.log(JSON.stringify(await fetchAddon(options).catch(({ message }) => ({ message }))));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      env: {
        ...process.env,
        npm_config_registry: registry,
        npm_config_fetch_retries: "0",
        npm_config_cache: join(folder, "cache"),
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    await new Promise((done) => child.on("close", done));
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    return JSON.parse(output) as string | { message: string };
  }

  it("comes through npm, complete, into the folder that the addon is found in", async () => {
    const build = join(folder, "fetched");
    mkdirSync(join(build, "Release"), { recursive: true });
    writeFileSync(join(build, "Release/of-another"), "");
    const addon = await fetchBy(await start("the addon"), version, build);
    expect(addon).toBe(join(build, "Release/soundspot.node"));
    expect(readdirSync(build)).toEqual(["Release"]);
    expect(readdirSync(join(build, "Release")).sort()).toEqual([
      "libtorch.json",
      "package.json",
      "soundspot.node",
    ]);
    expect(readFileSync(addon as string, "utf8")).toBe("the addon");
    expect(isOfPlatformPackage(addon as string)).toBe(true);
    expect(requests.some((url) => url.endsWith(".tgz"))).toBe(true);
  });

  it("that is not published, or has no addon, leaves nothing", async () => {
    const build = join(folder, "missing");
    const missing = await fetchBy(await start("the addon"), "9.9.9", build);
    expect(missing).toEqual({ message: expect.stringMatching(/No matching version.*9\.9\.9/) });
    const empty = await fetchBy(await start(undefined), version, build);
    expect(empty).toEqual({ message: `${name} ${version} has no addon` });
    expect(readdirSync(build)).toEqual([]);
  });
});
