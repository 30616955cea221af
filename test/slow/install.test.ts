/**
 * What a stranger does: installs the published packages from a registry into an empty folder, with each package manager,
 * with install scripts allowed and blocked, without a compiler, and localizes an image and a WAV file. One goes through
 * a proxy, which alone knows the hosts.
 *
 * The registry is one of this machine: it has the packages of this build, and gets all others from npm's. LibTorch comes
 * from a web server of this process, as an archive of the one that is installed.
 *
 *   SOUNDSPOT_TEST_INSTALL=npm11,pnpm12   these package managers alone
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLibTorch, VERSIONS } from "../../scripts/locate.mjs";
import { freePort } from "../../src/cli/processes.js";
import { zipParts } from "../support/archives.mjs";
import { startProxy, type TestProxy } from "../support/forward-proxy.js";
import {
  installTools,
  type Manager,
  type ManagerName,
  managers,
  programIn,
  versionIn,
} from "../support/managers.js";
import { canPack, packAll } from "../support/packed.js";
import { tiny } from "../support/tiny.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const torch = findLibTorch({ root });
const online = () =>
  spawnSync("npm", ["view", "verdaccio@6", "name", "--fetch-retries", "0"], { stdio: "ignore" }).status === 0;
const ready = process.platform === "linux" && canPack && torch !== undefined && online();
if (!ready) {
  console.warn(
    "test/slow/install.test.ts is skipped: it needs Linux, dist/, the addon, LibTorch and npm's registry.",
  );
}

const chosen = (process.env.SOUNDSPOT_TEST_INSTALL ?? "npm10,npm11,pnpm10,pnpm12,yarn").split(
  ",",
) as ManagerName[];
/** The one that goes through the proxy. */
const PROXIED = "npm11, scripts allowed";

describe.skipIf(!ready)("an installation from a registry (skipped without a build or a registry)", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-registry-")));
  const programs = join(folder, "bin");
  const archive = join(folder, "libtorch.zip");
  let by: Record<ManagerName, Manager>;
  let registry: ChildProcess;
  let files: Server;
  let proxy: TestProxy;
  let registryPort = 0;
  let filesPort = 0;
  let downloads = 0;
  let expected: { heat: number[]; boxes: unknown };

  const script = (image: string, audio: string) => `
    import { Model } from "soundspot";
    const model = await Model.create(${JSON.stringify(tiny)}, { seed: 1 });
    await model.save("model.safetensors");
    const spot = await model.localize({ image: ${JSON.stringify(image)}, audio: ${JSON.stringify(audio)} });
    console.log(JSON.stringify({ heat: [...spot.heatmap].map((value) => Math.round(1e4 * value)), boxes: spot.boxes.length }));
    model.dispose();`;

  /** Only what a system without compilers and Python has; the shell is that of install scripts. */
  function environment(home: string): NodeJS.ProcessEnv {
    return {
      PATH: programs,
      HOME: home,
      TMPDIR: tmpdir(),
      LIBTORCH_URL: `http://127.0.0.1:${filesPort}/libtorch.zip`,
      SOUNDSPOT_PROGRESS: "0",
      npm_config_cache: join(folder, "npm-cache"),
      npm_config_store_dir: join(folder, "pnpm-store"),
      YARN_GLOBAL_FOLDER: join(folder, "yarn"),
    };
  }

  const run = ([command, ...args]: readonly string[], cwd: string, env: NodeJS.ProcessEnv) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((done, fail) => {
      const child = spawn(command as string, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
      let [stdout, stderr] = ["", ""];
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      child.on("error", fail);
      child.on("close", (code) => done({ code, stdout, stderr }));
    });

  /** The same on a terminal of its own, at which an answer is typed. */
  function onTerminal(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv, answer: string) {
    const command = args.map((each) => `'${each}'`).join(" ");
    return new Promise<{ code: number | null; output: string }>((done, fail) => {
      const child = spawn("/usr/bin/script", ["-qefc", command, "/dev/null"], {
        cwd,
        env: { ...env, SHELL: "/bin/sh" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        const asked = output.includes("[Y/n]");
        output += text;
        if (!asked && output.includes("[Y/n]")) child.stdin.write(answer);
      });
      child.on("error", fail);
      child.on("close", (code) => done({ code, output }));
    });
  }

  async function startRegistry(tools: string): Promise<number> {
    const port = await freePort();
    const upstream = execFileSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).trim();
    const own = "{ access: $all, publish: $all }";
    writeFileSync(
      join(folder, "verdaccio.yaml"),
      `storage: ${join(folder, "storage")}
uplinks: { npm: { url: "${upstream}", timeout: 60s, max_fails: 100 } }
packages:
  "soundspot": ${own}
  "@soundspot/*": ${own}
  "**": { access: $all, proxy: npm }
max_body_size: 500mb
server: { keepAliveTimeout: 0 }
log: { type: file, path: ${join(folder, "verdaccio.log")}, level: warn }
`,
    );
    registry = spawn(
      process.execPath,
      [
        programIn(tools, "verdaccio"),
        "--config",
        join(folder, "verdaccio.yaml"),
        "--listen",
        `127.0.0.1:${port}`,
      ],
      { stdio: "ignore" },
    );
    for (let attempt = 0; attempt < 300; attempt++) {
      const answers = await fetch(`http://127.0.0.1:${port}/-/ping`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (answers) return port;
      await new Promise((done) => setTimeout(done, 200));
    }
    throw new Error("verdaccio did not start");
  }

  function writeMedia(place: string) {
    const [width, height, rate] = [96, 64, 16_000];
    const pixels = Buffer.from(Array.from({ length: width * height * 3 }, (_, at) => (at * 7) % 251));
    const samples = Int16Array.from({ length: rate }, (_, at) => Math.round(9000 * Math.sin(at / 9)));
    const header = Buffer.alloc(44);
    header.write("RIFF", 0, "latin1");
    header.writeUInt32LE(36 + samples.byteLength, 4);
    header.write("WAVEfmt ", 8, "latin1");
    header.writeUInt32LE(16, 16);
    header.writeUInt16LE(1, 20);
    header.writeUInt16LE(1, 22);
    header.writeUInt32LE(rate, 24);
    header.writeUInt32LE(2 * rate, 28);
    header.writeUInt16LE(2, 32);
    header.writeUInt16LE(16, 34);
    header.write("data", 36, "latin1");
    header.writeUInt32LE(samples.byteLength, 40);
    writeFileSync(join(place, "tone.wav"), Buffer.concat([header, Buffer.from(samples.buffer)]));
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(join(place, "scene.png"));
  }

  beforeAll(async () => {
    const tools = installTools(join(folder, "tools"));
    by = managers(tools);
    for (const name of chosen) console.log(`${name}: ${versionIn(tools, name)}`);

    mkdirSync(programs);
    for (const name of [
      "sh",
      "env",
      "uname",
      "cat",
      "ls",
      "mkdir",
      "rm",
      "ldd",
      "getconf",
      "dirname",
      "basename",
      "sed",
    ]) {
      const found = ["/bin", "/usr/bin"].map((place) => join(place, name)).find((file) => existsSync(file));
      if (found) symlinkSync(found, join(programs, name));
    }
    symlinkSync(process.execPath, join(programs, "node"));

    const lib = join(torch?.folder as string, "lib");
    const target = openSync(archive, "w");
    const entries = readdirSync(lib).map(
      (name) => [`libtorch/lib/${name}`, () => readFileSync(join(lib, name))] as const,
    );
    const version = ["libtorch/build-version", Buffer.from(`${torch?.version}\n`)] as const;
    for (const part of zipParts([version, ...entries])) {
      for (let at = 0; at < part.length; )
        at += writeSync(target, part, at, Math.min(part.length - at, 1 << 26));
    }
    closeSync(target);
    files = createServer((_, response) => {
      downloads++;
      response.setHeader("content-length", statSync(archive).size);
      createReadStream(archive).pipe(response);
    });
    await new Promise<void>((done) => files.listen(0, "127.0.0.1", done));
    filesPort = (files.address() as AddressInfo).port;

    registryPort = await startRegistry(tools);
    const address = `http://127.0.0.1:${registryPort}/`;
    for (const { tarball } of packAll(folder)) {
      const login = `--//127.0.0.1:${registryPort}/:_authToken=nobody`;
      execFileSync(
        "npm",
        ["publish", tarball, "--access", "public", `--registry=${address}`, login, "--ignore-scripts"],
        {
          stdio: "pipe",
        },
      );
    }
    proxy = await startProxy({ "registry.invalid": registryPort, "files.invalid": filesPort });

    const media = join(folder, "media");
    mkdirSync(media);
    await writeMedia(media);
    const checkout = script(join(media, "scene.png"), join(media, "tone.wav")).replace(
      'from "soundspot"',
      `from ${JSON.stringify(join(root, "dist/index.js"))}`,
    );
    writeFileSync(join(media, "localize.mjs"), checkout);
    const { code, stdout, stderr } = await run(
      [process.execPath, join(media, "localize.mjs")],
      media,
      process.env,
    );
    expect(code, stderr).toBe(0);
    expected = JSON.parse(stdout) as typeof expected;
    expect(expected.heat.length).toBe(96 * 64);
    expect(new Set(expected.heat).size).toBeGreaterThan(10);
  });

  afterAll(async () => {
    registry?.kill();
    files?.closeAllConnections();
    files?.close();
    await proxy?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const cases = chosen.flatMap((name) => [true, false].map((scripts) => ({ name, scripts })));
  it.each(cases)("by $name, scripts allowed: $scripts", async ({ name, scripts }) => {
    const title = `${name}, scripts ${scripts ? "allowed" : "blocked"}`;
    const manager = by[name];
    const place = join(folder, title.replaceAll(/\W+/g, "-"));
    const project = join(place, "project");
    mkdirSync(project, { recursive: true });
    const proxied = title === PROXIED;
    const source = proxied
      ? { registry: "http://registry.invalid/", proxy: proxy.url }
      : { registry: `http://127.0.0.1:${registryPort}/` };
    manager.configure(project, scripts, source);
    const env = {
      ...environment(place),
      ...(proxied ? { LIBTORCH_URL: "http://files.invalid/libtorch.zip" } : {}),
    };
    const succeed = async (args: readonly string[]) => {
      const outcome = await run(args, project, env);
      expect(outcome.code, `${title}: ${args.join(" ")}\n${outcome.stdout}\n${outcome.stderr}`).toBe(0);
      return outcome.stdout;
    };
    try {
      downloads = proxy.log.length = 0;
      if (name === "pnpm12" && !scripts) {
        const { code, stdout, stderr } = await run(manager.add("soundspot", scripts), project, env);
        expect(code).toBe(1);
        expect(`${stdout}${stderr}`).toMatch(
          /ERR_PNPM_IGNORED_BUILDS[\s\S]*soundspot@[\s\S]*pnpm approve-builds/,
        );
      } else {
        await succeed(manager.add("soundspot", scripts));
      }
      expect(downloads, "LibTorch by the install script").toBe(scripts ? 1 : 0);
      if (!scripts) {
        const { code, stderr } = await run(manager.run(["soundspot", "info"]), project, env);
        expect(code).not.toBe(0);
        const hint = name.startsWith("pnpm")
          ? ", or `pnpm approve-builds` to let its install script do that"
          : "";
        const runner = name === "yarn" ? "yarn" : "npx";
        expect(stderr).toContain(
          `soundspot: LibTorch ${VERSIONS.cpu} is not installed: run \`${runner} soundspot setup\`${hint}. [ERR_LIBTORCH_MISSING]`,
        );
        await succeed(manager.run(["soundspot", "setup"]));
        expect(downloads, "LibTorch by setup").toBe(1);
      }
      if (proxied) {
        expect(proxy.log).toContain("CONNECT files.invalid:80");
        expect(proxy.log.some((line) => line.includes("registry.invalid"))).toBe(true);
      }
      for (const each of ["scene.png", "tone.wav"]) {
        writeFileSync(join(project, each), readFileSync(join(folder, "media", each)));
      }
      writeFileSync(join(project, "localize.mjs"), script("scene.png", "tone.wav"));
      const spot = JSON.parse(await succeed(manager.run(["node", "localize.mjs"]))) as typeof expected;
      expect(spot).toEqual(expected);
      const told = JSON.parse(
        await succeed(
          manager.run([
            "soundspot",
            "localize",
            "scene.png",
            "tone.wav",
            "--model",
            "model.safetensors",
            "--json",
          ]),
        ),
      ) as { boxes: unknown[] };
      expect(told.boxes.length).toBe(expected.boxes);
      const { findings } = JSON.parse(
        (await run(manager.run(["soundspot", "doctor", "--json"]), project, env)).stdout,
      ) as { findings: { name: string; status: string; details: Record<string, unknown> }[] };
      const addon = findings.find((each) => each.name === "addon");
      expect(addon?.details).toMatchObject({ kind: "prebuilt", loads: true });
      expect(addon?.details.path).toContain("@soundspot");
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });

  it.skipIf(!chosen.includes("npm11"))(
    "whose platform package was left out gets it by setup, through npm",
    async () => {
      const manager = by.npm11;
      const place = join(folder, "left-out");
      const project = join(place, "project");
      mkdirSync(project, { recursive: true });
      manager.configure(project, false, { registry: `http://127.0.0.1:${registryPort}/` });
      const env = environment(place);
      const succeed = async (args: readonly string[]) => {
        const { code, stdout, stderr } = await run(args, project, env);
        expect(code, `${args.join(" ")}\n${stdout}\n${stderr}`).toBe(0);
        return stdout;
      };
      downloads = 0;
      await succeed(manager.add("soundspot", false));
      rmSync(join(project, "node_modules/@soundspot"), { recursive: true });
      const { stderr } = await run(manager.run(["soundspot", "info"]), project, env);
      expect(stderr).toContain(
        "soundspot: The addon is not installed: run `npx soundspot setup`. [ERR_ADDON_MISSING]",
      );
      // Whoever sits at a terminal is asked, and the command goes on.
      const terminal = await onTerminal(manager.run(["soundspot", "info"]), project, env, "y\n");
      expect(terminal.output).toContain("soundspot: The addon is not installed. Install it now? [Y/n]");
      expect(terminal.output).toContain("the prebuilt addon is used.");
      expect(terminal.output).toMatch(/parameters/);
      expect([terminal.code, downloads]).toEqual([0, 1]);
      const { addon } = JSON.parse(await succeed(manager.run(["soundspot", "setup", "--json"]))) as {
        addon: { path: string; kind: string };
      };
      expect(addon.kind).toBe("prebuilt");
      expect(addon.path.startsWith(join(place, ".cache/soundspot/addons")), addon.path).toBe(true);
      writeFileSync(join(project, "localize.mjs"), script("../../media/scene.png", "../../media/tone.wav"));
      expect(JSON.parse(await succeed(manager.run(["node", "localize.mjs"])))).toEqual(expected);
      // There all is: nothing is asked for again.
      downloads = 0;
      expect(JSON.parse(await succeed(manager.run(["soundspot", "setup", "--json"])))).toMatchObject({
        addon,
      });
      expect(downloads).toBe(0);
      rmSync(place, { recursive: true, force: true });
    },
  );
});
