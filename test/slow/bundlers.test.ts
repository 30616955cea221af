/**
 * Runs every recipe of docs/bundlers.md, as it stands there, on the packed package: with soundspot external, where the
 * program prints what it prints unbundled, and bundled, where it ends with the sentence of the page.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findLibTorch } from "../../scripts/locate.mjs";
import { BUNDLED } from "../../src/core/bundle.js";
import { Model } from "../../src/index.js";
import { encodeWav } from "../../src/media/wav.js";
import { readDocument, root } from "../support/docs/samples.js";
import { canPack, packAll } from "../support/packed.js";
import { tiny } from "../support/tiny.js";

const torch = findLibTorch({ root });
const online = () =>
  spawnSync("npm", ["view", "esbuild", "name", "--fetch-retries", "0"], { stdio: "ignore" }).status === 0;
const ready = process.platform === "linux" && canPack && torch !== undefined && online();
if (!ready) {
  console.warn(
    "test/slow/bundlers.test.ts is skipped: it needs Linux, a build, LibTorch and npm's registry.",
  );
}

const page = readFileSync(join(root, "docs/bundlers.md"), "utf8");
const { samples } = readDocument("docs/bundlers.md", page);
const headings = page
  .split("\n")
  .flatMap((line, at) => (line.startsWith("## ") ? [{ at, name: line.slice(3) }] : []));
const sectionOf = (line: number) => headings.findLast(({ at }) => at < line)?.name ?? "";

/** The name of the file that a block of JavaScript is. */
const nameOf = (text: string) => /^\/\/ (\S+)\n/.exec(text)?.[1] as string;
const files = samples.filter(({ language }) => language === "js");
const recipes = samples
  .filter(({ language }) => language === "sh")
  .map(({ line, text }) => {
    const commands = text.trim().split("\n");
    return {
      name: sectionOf(line),
      tools: commands.filter((each) => each.startsWith("npm install ")),
      commands: commands.filter((each) => !each.startsWith("npm install ")),
      own: files.filter((file) => sectionOf(file.line) === sectionOf(line)),
    };
  });
const bundling = recipes.filter(({ name }) => name !== "Jest");

describe.skipIf(!ready)("recipes of docs/bundlers.md (skipped without a build or a registry)", () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-bundlers-")));
  const project = join(folder, "project");
  let unbundled = "";

  const run = (command: string) => {
    const env = { ...process.env, LIBTORCH: torch?.folder, NODE_ENV: undefined, VITEST: undefined };
    const { status, stdout, stderr } = spawnSync("bash", ["-c", command], {
      cwd: project,
      env,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
  const succeed = (command: string) => {
    const { status, stdout, stderr } = run(command);
    expect(status, `${command}\n${stdout}\n${stderr}`).toBe(0);
    return stdout + stderr;
  };
  const write = (text: string) => writeFileSync(join(project, nameOf(text)), text);

  beforeAll(async () => {
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), '{ "name": "app", "version": "1.0.0", "private": true }\n');
    const tarballs = packAll(folder).map(({ tarball }) => tarball);
    const tools = recipes.flatMap(({ tools: each }) =>
      each.flatMap((line) =>
        line
          .split(" ")
          .slice(2)
          .filter((word) => !word.startsWith("--")),
      ),
    );
    execFileSync(
      "npm",
      [
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        ...tarballs,
        ...tools,
        "@vercel/nft",
        "next",
        "react",
        "react-dom",
      ],
      {
        cwd: project,
        stdio: "pipe",
      },
    );
    for (const { text } of files) write(text);
    const model = await Model.create(tiny, { seed: 1 });
    await model.save(join(project, "model.safetensors"));
    model.dispose();
    const pixels = Buffer.from(Array.from({ length: 96 * 64 * 3 }, (_, at) => (at * 7) % 251));
    await sharp(pixels, { raw: { width: 96, height: 64, channels: 3 } })
      .png()
      .toFile(join(project, "scene.png"));
    const samples = Float32Array.from({ length: 16_000 }, (_, at) => 0.3 * Math.sin(at / 9));
    writeFileSync(join(project, "tone.wav"), encodeWav({ samples, sampleRate: 16_000 }));
    unbundled = succeed("node app.mjs");
    expect(unbundled).toMatch(/^96 × 64 pixels, \d+ boxes\n$/);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("are those of four bundlers and Jest, and show the sentence", () => {
    expect(recipes.map(({ name }) => name)).toEqual([
      "webpack",
      "esbuild",
      "Rollup",
      "Vite, on the server",
      "Jest",
    ]);
    expect(page).toContain(`\n${BUNDLED}\n`);
  });

  it.each(bundling)("$name: external, it localizes", ({ commands }) => {
    rmSync(join(project, "dist"), { recursive: true, force: true });
    const outputs = commands.map(succeed);
    expect(outputs.at(-1)).toBe(unbundled);
  });

  it.each(bundling)("$name: bundled, it says in one sentence what to do", ({ commands, own }) => {
    rmSync(join(project, "dist"), { recursive: true, force: true });
    for (const { text } of own) write(text.replace(/^ *externals?: .*soundspot.*\n/m, ""));
    try {
      const without = commands.map((each) => each.replace(" --external:soundspot", ""));
      const changed =
        without.join() !== commands.join() || own.some(({ text }) => /^ *externals?: /m.test(text));
      expect(changed, "the recipe has a setting to leave out").toBe(true);
      for (const each of without.slice(0, -1)) succeed(each);
      const { status, stderr } = run(without.at(-1) as string);
      expect(status).toBe(1);
      expect(stderr).toContain(`${BUNDLED}]`);
      expect(stderr).toContain("ERR_BUNDLED");
      expect(stderr, "no frames").not.toMatch(/^ +at /m);
    } finally {
      for (const { text } of own) write(text);
    }
  });

  it.each(["index.js", "index.cjs"])("tools that collect files for a server follow %s", (entry) => {
    const script = `import { nodeFileTrace } from "@vercel/nft";
      const { fileList } = await nodeFileTrace(["node_modules/soundspot/dist/${entry}"]);
      console.log(JSON.stringify([...fileList]));`;
    writeFileSync(join(project, "trace.mjs"), script);
    const traced = JSON.parse(succeed("node trace.mjs")) as string[];
    const packages = [
      "soundspot/dist/api.cjs",
      "soundspot/package.json",
      "sharp/package.json",
      "fastify/package.json",
    ];
    expect(traced).toEqual(expect.arrayContaining(packages.map((each) => `node_modules/${each}`)));
  });

  describe.each(["--turbopack", "--webpack"])("Next.js, %s", (bundler) => {
    const config = files.find(({ text }) => text.startsWith("// next.config.mjs\n"))?.text as string;
    const build = () => run(`NEXT_TELEMETRY_DISABLED=1 npx next build ${bundler}`);
    // Next.js would take it for its own.
    const babel = files.find(({ text }) => text.startsWith("// babel.config.cjs\n"))?.text as string;
    beforeAll(() => {
      cpSync(join(root, "examples/next/app"), join(project, "app"), { recursive: true });
      rmSync(join(project, nameOf(babel)));
    });
    afterAll(() => write(babel));

    it("external, it collects the package and the addon", () => {
      write(config);
      const { status, stdout, stderr } = build();
      expect(status, stdout + stderr).toBe(0);
      const addon = `@soundspot/${process.platform}-${process.arch}/package.json`;
      for (const each of ["soundspot/dist/api.cjs", "soundspot/package.json", "sharp/package.json", addon]) {
        expect(existsSync(join(project, ".next/standalone/node_modules", each)), each).toBe(true);
      }
      // Away from the project, whose node_modules it would find.
      cpSync(join(project, ".next/standalone"), join(folder, bundler), { recursive: true });
      const script = readFileSync(join(project, "app.mjs"), "utf8");
      writeFileSync(join(folder, bundler, "app.mjs"), script);
      expect(succeed(`node ${JSON.stringify(join(folder, bundler, "app.mjs"))}`)).toBe(unbundled);
    });

    it("bundled, it says in one sentence what to do", () => {
      write(config.replace(/^ *serverExternalPackages: .*\n/m, ""));
      const { status, stdout, stderr } = build();
      expect(status).toBe(1);
      expect(stdout + stderr).toContain(BUNDLED);
    });
  });

  const [jest] = recipes.filter(({ name }) => name === "Jest");
  it.each(jest?.commands ?? [])("Jest: %s", (command) => {
    expect(existsSync(join(project, "babel.config.cjs"))).toBe(true);
    expect(succeed(command)).toMatch(/Tests: +1 passed, 1 total/);
  });
});
