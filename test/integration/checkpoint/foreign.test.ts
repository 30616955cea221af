/** The command line on checkpoints of other code: where their configuration comes from, and what is said about them. */
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import type { Written } from "../../support/safetensors.js";
import { tiny } from "../../support/tiny.js";
import { dict, stateDict, torchFile } from "../../support/torch-file.js";
import { transpilePackage } from "../../support/transpiled.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-foreign-commands-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (...names: string[]) => join(root, ...names);

let main: string;
let tensors: readonly Written[];

const extra: Written = { name: "head.weight", shape: [1], data: new Float32Array(1) };

/** A .pth as training programs write it, in a folder of its own, with files beside it. */
function checkpointIn(name: string, beside: Readonly<Record<string, unknown>> = {}, more = [extra]): string {
  mkdirSync(at(name), { recursive: true });
  for (const [file, value] of Object.entries(beside)) writeFileSync(at(name, file), JSON.stringify(value));
  const named = [...tensors, ...more].map((each) => ({ ...each, name: `module.${each.name}` }));
  writeFileSync(at(name, "model.pth"), torchFile(dict({ epoch: 3, model_state_dict: stateDict(named) })));
  return at(name, "model.pth");
}

beforeAll(async () => {
  using model = await Model.create(tiny, { seed: 5 });
  tensors = (await model.parameters()).map(({ name, shape, data }) => ({
    name,
    shape,
    data: Float32Array.from(data),
  }));
  main = join(transpilePackage(at("package")), "cli", "main.js");
  mkdirSync(at("media", "dog"), { recursive: true });
  const noise = Uint8Array.from({ length: 48 * 40 * 3 }, (_, i) => (i * 37) % 251);
  const rows: string[] = [];
  for (let i = 0; i < 3; i++) {
    const [image, audio] = [at("media", "dog", `${i}.png`), at("media", "dog", `${i}.wav`)];
    await sharp(
      noise.map((value) => (value * (i + 1)) % 256),
      { raw: { width: 48, height: 40, channels: 3 } },
    )
      .png()
      .toFile(image);
    const samples = Float32Array.from({ length: 8000 }, (_, k) => Math.sin(k * (0.1 + 0.2 * i)));
    writeFileSync(audio, encodeWav({ samples, sampleRate: 16_000 }));
    rows.push(JSON.stringify({ image, audio, label: "dog", boxes: [[4, 4, 20, 20]] }));
  }
  writeFileSync(at("list.jsonl"), `${rows.join("\n")}\n`);
  writeFileSync(at("tiny.json"), JSON.stringify(tiny));
});

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

function soundspot(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, SOUNDSPOT_PROGRESS: "0" };
    execFile(process.execPath, [main, ...args], { env }, (error, output, errors) => {
      resolve({ code: error ? Number(error.code) : 0, output, errors });
    });
  });
}

/** What each command is called with beside the checkpoint. */
const commands: readonly (readonly [string, (checkpoint: string) => readonly string[]])[] = [
  [
    "localize",
    (file) => ["localize", at("media/dog/0.png"), at("media/dog/0.wav"), "--model", file, "--json"],
  ],
  ["evaluate", (file) => ["evaluate", file, "--data", at("list.jsonl"), "--resamples", "0", "--json"]],
  ["retrieve", (file) => ["retrieve", file, "--data", at("list.jsonl"), "--resamples", "0", "--json"]],
  ["info", (file) => ["info", file, "--json"]],
  ["index", (file) => ["index", at("media"), "--model", file, "--output", at("index"), "--json"]],
  [
    "search",
    (file) => ["search", "--index", at("index"), "--model", file, "--audio", at("media/dog/1.wav"), "--json"],
  ],
];

/** What a command answers, without what differs from call to call. */
function comparable(name: string, output: string): unknown {
  const { file, weights, seconds, ...rest } = JSON.parse(output.replace(/^\[|\]\n?$/g, "")) as Record<
    string,
    unknown
  >;
  return name === "index" ? Object.keys(rest).sort() : rest;
}

describe.each(commands)("soundspot %s", (name, args) => {
  it("takes the configuration of --config, or one beside the checkpoint, and answers alike", async () => {
    const bare = checkpointIn(`${name}-bare`);
    const without = await soundspot(...args(bare));
    if (name === "info") expect(JSON.parse(without.output).mismatch).toContain(bare);
    else {
      expect(without.code).toBe(1);
      expect(without.errors).toContain("ERR_CHECKPOINT_MISMATCH");
    }

    const given = await soundspot(...args(bare), "--config", at("tiny.json"));
    expect(given.code, given.errors).toBe(0);
    const found = await soundspot(...args(checkpointIn(`${name}-beside`, { "configs.json": tiny })));
    expect(found.code, found.errors).toBe(0);
    expect(comparable(name, found.output)).toEqual(comparable(name, given.output));
    if (name === "info") return;

    const warning = "1 tensor skipped: module.head.weight";
    for (const { errors } of [given, found]) expect(errors.split(warning)).toHaveLength(2);
    expect(given.errors).not.toContain("configuration from");
    expect(found.errors).toContain(`configuration from ${at(`${name}-beside`, "configs.json")}`);
  });

  it("names the file of a configuration that is not valid", async () => {
    const bad = at(`${name}-bad.json`);
    writeFileSync(bad, JSON.stringify({ num_slots: "2" }));
    const { code, errors } = await soundspot(...args(checkpointIn(`${name}-bare`)), "--config", bad);
    expect(code).toBe(2);
    expect(errors).toContain(`${bad}: num_slots must be a number`);
    expect(errors).toContain("[ERR_CONFIG]");
    const none = await soundspot(...args(checkpointIn(`${name}-bare`)), "--config", at("none.json"));
    expect(none.errors).toContain("[ERR_FILE_NOT_FOUND]");
  });
});

describe("soundspot serve", () => {
  it.each(["--config", "beside"])("takes the configuration from %s", async (how) => {
    const beside = how === "beside";
    const file = checkpointIn(`serve-${how}`, beside ? { "config.json": tiny } : {});
    const args = ["serve", file, "--port", "0", ...(beside ? [] : ["--config", at("tiny.json")])];
    const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [output, errors] = ["", ""];
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    const code = await new Promise<number | null>((resolve) => {
      child.on("close", resolve);
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        if (output.includes("http://")) child.kill("SIGTERM");
      });
    });
    expect(output, errors).toContain("http://");
    expect(code).toBe(0);
    expect(errors.includes("configuration from")).toBe(beside);
  });
});

describe("soundspot info", () => {
  it("prints how many tensors of other code were taken, from where, and the names of the others", async () => {
    const file = checkpointIn("info-text", { "configs.json": tiny });
    const { output } = await soundspot("info", file);
    expect(output).toContain(`weights               ${tensors.length} loaded, 1 ignored, 0 missing`);
    expect(output).toContain("from                model_state_dict");
    expect(output).toContain("ignored             module.head.weight");
    expect(output).toContain(`configuration from    ${at("info-text", "configs.json")}`);
    const parsed = JSON.parse((await soundspot("info", file, "--json", "--tensors")).output);
    expect(parsed.weights).toEqual({
      loaded: tensors.map(({ name }) => name),
      ignored: ["module.head.weight"],
      missing: [],
      key: "model_state_dict",
      config: at("info-text", "configs.json"),
    });
    expect(parsed.tensors).toHaveLength(tensors.length + 1);
    const saved = at("own.safetensors");
    using model = await Model.load(file);
    await model.save(saved);
    const own = JSON.parse((await soundspot("info", saved, "--json")).output);
    expect(own.parameters).toEqual(parsed.parameters);
    expect(own.parameters.total).toBeGreaterThan(1000);
    expect(own.weights).not.toHaveProperty("key");
  });

  it("says why a checkpoint does not fit its configuration", async () => {
    const { code, output } = await soundspot("info", checkpointIn("info-misfit"));
    expect(code).toBe(0);
    expect(output).toMatch(/weights {15}do not fit: .*has shape/);
  });

  it("rejects --config without a checkpoint", async () => {
    expect(await soundspot("info", "--config", at("tiny.json"))).toMatchObject({ code: 2 });
  });
});

describe("files that a configuration is read from", () => {
  it("are not written over", async () => {
    const file = checkpointIn("kept", { "configs.json": tiny });
    const video = ["localize", at("clip.mp4"), "--model", file];
    for (const [config, kept] of [
      [[], at("kept", "configs.json")],
      [["--config", at("tiny.json")], at("tiny.json")],
    ] as const) {
      const before = readFileSync(kept, "utf8");
      const { code, errors } = await soundspot(...video, ...config, "--track", kept);
      expect(code).toBe(2);
      expect(errors).toContain("[ERR_OUTPUT_IS_INPUT]");
      expect(readFileSync(kept, "utf8")).toBe(before);
    }
  });
});

describe("the published size", () => {
  it("is loaded from a .pth with the authors' configs.json beside it", async () => {
    mkdirSync(at("published"));
    using model = await Model.create(
      { method: { name: "joint-slot-attention", offTargetSlots: 2 } },
      { seed: 6 },
    );
    const stored = (await model.parameters()).map(({ name, shape, data }) => ({
      name,
      shape,
      data: Float32Array.from(data),
    }));
    const file = at("published", "best.pth");
    writeFileSync(file, torchFile(dict({ model: stateDict(stored) })));
    const args = {
      out_dim: 512,
      aud_length: 5,
      num_slots: 3,
      iters: 5,
      mask_ratio: 0.1,
      infer_sharpening: 1,
    };
    writeFileSync(at("published", "configs.json"), JSON.stringify({ ...args, tau: 0.03, gpu: null }));
    using loaded = await Model.load(file);
    expect(loaded.loaded).toMatchObject({
      ignored: [],
      missing: [],
      key: "model",
      config: at("published", "configs.json"),
      ignoredConfig: ["gpu"],
    });
    expect(loaded.config.method).toMatchObject({ offTargetSlots: 2, inferenceSharpening: 1 });
    const bytes = ({ data }: { data: ArrayLike<number> }) => Buffer.from(Float32Array.from(data).buffer);
    for (const [i, parameter] of (await loaded.parameters()).entries()) {
      expect(bytes(parameter).equals(bytes(stored[i] as Written)), parameter.name).toBe(true);
    }
  });
});
