/** The demo model: found beside the package or in the project, and what is said where it is missing or out of its data. */
import { execFile, spawn } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../../src/index.js";
import { standInFor } from "../../support/demo.js";
import { transpilePackage } from "../../support/transpiled.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-demo-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (...names: string[]) => join(root, ...names);
const WARNING = "knows drawn scenes only";

let source: string;
let demo: string;

beforeAll(async () => {
  source = transpilePackage(at("modules", "package"));
  demo = await standInFor(at("modules"), source);
  const image = sharp(Buffer.alloc(48 * 40 * 3, 90), { raw: { width: 48, height: 40, channels: 3 } });
  writeFileSync(at("photo.png"), await image.png().toBuffer());
  copyFileSync(join(demo, "scene/audio.wav"), at("scene.wav"));
  copyFileSync(join(demo, "scene/image.png"), at("scene.png"));
});

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

function runIn(cwd: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, npm_config_user_agent: "npm/11.0.0 node/v22.0.0" };
    execFile(process.execPath, args, { cwd, env }, (error, output, errors) => {
      resolve({ code: error ? Number(error.code) : 0, output, errors });
    });
  });
}

const soundspot = (...args: readonly string[]) => runIn(root, [join(source, "cli", "main.js"), ...args]);

/** Runs code with the package as `$`, and gives what it returns and the codes of the warnings. */
async function inProcess(code: string, cwd = root): Promise<{ value: unknown; warnings: string[] }> {
  const program = `
    const $ = await import(${JSON.stringify(pathToFileURL(join(source, "index.js")).href)});
    const warnings = [];
    process.on("warning", ({ code, message }) => warnings.push(code + ": " + message));
    const value = await (async () => { ${code} })().catch(({ code, message }) => ({ code, message }));
    setImmediate(() => console.log(JSON.stringify({ value, warnings })));`;
  const { output, errors } = await runIn(cwd, ["--no-warnings", "--input-type=module", "-e", program]);
  expect(errors).toBe("");
  return JSON.parse(output) as { value: unknown; warnings: string[] };
}

describe("the demo model in code", () => {
  it("localizes its own scene without a warning, also from copies and buffers", async () => {
    const { value, warnings } = await inProcess(`
      const { readFileSync } = await import("node:fs");
      const model = await $.Model.demo();
      const scene = $.demoScene();
      const spots = await model.localize([
        scene,
        { image: ${JSON.stringify(at("scene.png"))}, audio: readFileSync(${JSON.stringify(at("scene.wav"))}) },
      ]);
      return { scene, config: model.config, sizes: spots.map(({ width, height, confidence }) => [width, height, confidence]) };
    `);
    expect(warnings).toEqual([]);
    using model = await Model.load(join(demo, "model.safetensors"));
    const spot = await model.localize({ image: at("scene.png"), audio: at("scene.wav") });
    const sizes = [spot.width, spot.height, expect.closeTo(spot.confidence, 5)];
    expect(value).toEqual({
      scene: {
        image: join(demo, "scene/image.png"),
        audio: join(demo, "scene/audio.wav"),
        mask: join(demo, "scene/mask.png"),
      },
      config: JSON.parse(JSON.stringify(model.config)),
      sizes: [sizes, sizes],
    });
    expect([spot.width, spot.height]).toEqual([448, 448]);
  });

  it.each([
    ["another image", "model.localize({ ...scene, image: photo })"],
    ["other audio", "model.localize({ ...scene, audio: other })"],
    ["an image in a buffer", "model.localize([scene, { ...scene, image: readFileSync(photo) }])"],
    ["an image to encode", "model.encode([{ ...scene, image: photo }])"],
    ["an image to embed", "model.embed({ image: photo })"],
    ["a video", "model.localizeVideo(photo).next().catch(() => undefined)"],
  ])("warns in one line, once in a process, of %s", async (_what, call) => {
    const other = at("other.wav");
    const wav = readFileSync(at("scene.wav"));
    wav[wav.length - 1] = (wav[wav.length - 1] as number) ^ 1;
    writeFileSync(other, wav);
    const { value, warnings } = await inProcess(`
      const { readFileSync } = await import("node:fs");
      const [photo, other] = ${JSON.stringify([at("photo.png"), other])};
      const scene = $.demoScene();
      const model = await $.Model.demo();
      for (let i = 0; i < 3; i++) await ${call};
      return "done";`);
    expect(value).toBe("done");
    expect(warnings).toEqual([expect.stringMatching(/^SOUNDSPOT_DEMO_MODEL: The demo model [^\n]+$/)]);
    expect(warnings[0]).toContain(WARNING);
  });

  it("does not warn of raw pixels, nor does a model that is none", async () => {
    const { warnings } = await inProcess(`
      const model = await $.Model.demo();
      const size = 8;
      const image = { data: new Uint8Array(size * size * 3), width: size, height: size };
      await model.localize({ image, audio: { samples: new Float32Array(100).fill(0.5), sampleRate: 16000 } });
      await model.encode([$.demoScene()]);
      await model.embed([{ image: $.demoScene().image }, { audio: $.demoScene().audio }]);
      const own = await $.Model.create(model.config);
      await own.localize({ ...$.demoScene(), image: ${JSON.stringify(at("photo.png"))} });`);
    expect(warnings).toEqual([]);
  });

  it("is found in the project, where the package's own folder has none", async () => {
    const project = at("project");
    mkdirSync(join(project, "node_modules", "@soundspot"), { recursive: true });
    const moved = join(project, "node_modules", "@soundspot", "demo-model");
    const command =
      /^The demo model is not installed: run `npm install @soundspot\/demo-model@\d+\.\d+\.\d+`\.$/;
    renameSync(demo, moved);
    try {
      const missing = { code: "ERR_DEMO_MODEL_MISSING", message: expect.stringMatching(command) };
      for (const code of ["await $.Model.demo()", "$.demoScene()"]) {
        expect((await inProcess(code)).value).toEqual(missing);
      }
      const { value } = await inProcess("return $.demoScene().image", project);
      expect(value).toBe(join(moved, "scene/image.png"));
      for (const args of [
        ["localize", "--demo"],
        ["serve", "--demo", "--port", "0"],
      ]) {
        const { code, errors } = await soundspot(...args);
        expect([code, errors]).toEqual([
          1,
          expect.stringMatching(/^soundspot: The demo model is not installed.*\[ERR_DEMO_MODEL_MISSING\]\n$/),
        ]);
      }
    } finally {
      renameSync(moved, demo);
    }
  });

  it("says which file of the package is missing", async () => {
    const mask = join(demo, "scene/mask.png");
    renameSync(mask, `${mask}.away`);
    try {
      expect((await inProcess("$.demoScene()")).value).toEqual({
        code: "ERR_DEMO_MODEL_MISSING",
        message: expect.stringContaining(`incomplete: ${mask} is missing. Run \`npm install`),
      });
    } finally {
      renameSync(`${mask}.away`, mask);
    }
  });
});

describe("soundspot localize --demo", () => {
  it("runs without files of the user's and writes what it is asked for", async () => {
    const [overlay, panels] = [at("spot.png"), at("panels.jpg")];
    const { code, output, errors } = await soundspot(
      ...["localize", "--demo", "--output", overlay, "--panels", panels, "--json"],
    );
    expect([code, errors]).toEqual([0, ""]);
    const found = JSON.parse(output) as { width: number; height: number; confidence: number };
    using model = await Model.load(join(demo, "model.safetensors"));
    const spot = await model.localize({ image: at("scene.png"), audio: at("scene.wav") });
    expect(found).toMatchObject({ width: 448, height: 448 });
    expect(found.confidence).toBeCloseTo(spot.confidence, 4);
    const { width, height } = await sharp(overlay).metadata();
    expect([width, height]).toEqual([448, 448]);
    expect((await sharp(panels).metadata()).format).toBe("jpeg");
  });

  it("warns of other files in one line", async () => {
    const { code, errors } = await soundspot("localize", at("photo.png"), at("scene.wav"), "--demo");
    expect(code).toBe(0);
    expect(errors).toMatch(/^warning: The demo model [^\n]+\n$/);
    expect(errors).toContain(WARNING);
  });

  it.each([
    [["localize"], "Give an image and its audio, a video, or --demo."],
    [["localize", "a.png", "a.wav"], "Give a checkpoint: --model FILE, or --demo to try it."],
    [["localize", "--demo", "--model", "a.safetensors"], "--demo is a model. Leave --model out, or --demo."],
    [["localize", "--demo", "--config", "a.json"], "--config is for a checkpoint of --model. Leave it out."],
    [["localize", "--demo", "--output", "where.mp4"], "--output where.mp4 is for a video."],
    [["serve", "--demo", "--model", "a.safetensors"], "--demo is the first model."],
    [["serve", "--demo", "--config", "a.json"], "--config is for a checkpoint."],
    [["serve"], "Give a checkpoint: soundspot serve model.safetensors, or --demo to try it."],
  ])("%j is wrong usage", async (args, message) => {
    const { code, errors } = await soundspot(...args);
    expect(code).toBe(2);
    expect(errors).toContain(message);
  });

  it("does not write over the package's scene", async () => {
    const before = readFileSync(join(demo, "scene/image.png"));
    const { code, errors } = await soundspot("localize", "--demo", "--output", join(demo, "scene/image.png"));
    expect([code, errors]).toEqual([2, expect.stringContaining("[ERR_OUTPUT_IS_INPUT]")]);
    expect(readFileSync(join(demo, "scene/image.png")).equals(before)).toBe(true);
  });
});

it("an index made with the demo model warns too", async () => {
  mkdirSync(at("pets"));
  copyFileSync(at("photo.png"), at("pets/photo.png"));
  const checkpoint = join(demo, "model.safetensors");
  const { code, errors } = await soundspot(
    ...["index", at("pets"), "--model", checkpoint, "--output", at("index"), "--json"],
  );
  expect(code, errors).toBe(0);
  expect(errors.match(/^warning: The demo model [^\n]+$/gm)).toHaveLength(1);
});

it("soundspot serve --demo answers with the demo model, beside others by name", async () => {
  const other = at("other.safetensors");
  copyFileSync(join(demo, "model.safetensors"), other);
  const args = [join(source, "cli", "main.js"), "serve", "--demo", `second=${other}`, "--port", "0"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let [output, errors] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise((resolve) => child.on("close", resolve));
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.on("close", () => reject(new Error(errors)));
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        const [found] = /http:\S+/.exec(output) ?? [];
        if (found) resolve(found);
      });
    });
    expect(output).toContain("default (the demo model), second (");
    expect(errors).toMatch(/^warning: The demo model [^\n]+\n$/);
    const info = (await (await fetch(`${url}/v1/info`)).json()) as { model: { demo?: boolean } };
    expect(info.model.demo).toBe(true);
    const form = new FormData();
    form.set("image", new Blob([readFileSync(at("scene.png"))]), "scene.png");
    form.set("audio", new Blob([readFileSync(at("scene.wav"))]), "scene.wav");
    const answer = await fetch(`${url}/v1/localize`, { method: "POST", body: form });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ width: 448, height: 448 });
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
});
