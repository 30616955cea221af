/** A run that is killed at any moment loses at most what came after its last checkpoint. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeImage } from "../../../src/drawing/encode.js";
import { Model } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";

const dist = fileURLToPath(new URL("../../../dist/", import.meta.url));
const built = existsSync(join(dist, "index.js")) && existsSync(join(dist, "cli/main.js"));
if (!built)
  console.warn(
    "test/integration/training/kill.test.ts is skipped: there is no dist. Run `npm run build:ts` first.",
  );

const folder = mkdtempSync(join(tmpdir(), "soundspot-kill-"));
const running = new Set<ChildProcess>();
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const settings = {
  model: {
    imageSize: 32,
    imageStages: 2,
    imageStride: 8,
    imageWidth: 8,
    audioStages: 2,
    audioWidth: 4,
    dim: 16,
    method: { name: "joint-slot-attention", iterations: 2 },
    audio: { seconds: 0.5 },
  },
  train: { epochs: 2, batchSize: 2, learningRate: 2e-3, falseNegatives: { k: 1 }, checkpointSteps: 2 },
};
const count = 14;
const steps = 14;

/** Says a line a step; trains on noise that depends on the index alone. */
const script = `
import { train } from ${JSON.stringify(pathToFileURL(join(dist, "index.js")).href)};
const { model, train: options } = ${JSON.stringify(settings)};
const data = {
  name: "noise",
  length: ${count},
  async load(index) {
    const image = new Uint8Array(36 * 36 * 3).map((_, i) => (i * (index + 3) * 31) % 256);
    const samples = Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i * 0.02 * (index + 1)));
    return { id: String(index), image: { data: image, width: 36, height: 36 }, audio: { samples, sampleRate: 16000 } };
  },
};
const onStep = ({ step }) => process.stdout.write("step " + step + "\\n");
await train({ ...options, model, data, output: process.argv[2], resume: true, onStep });
process.stdout.write("done\\n");
`;

interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs node; `watch` sees the output so far, each time there is more of it. */
function run(
  args: readonly string[],
  watch: (output: string, child: ChildProcess) => void = () => undefined,
): Promise<Outcome> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    watch(output, child);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal, output, errors });
    });
  });
}

async function weights(path: string): Promise<ReadonlyMap<string, Float32Array>> {
  const model = await Model.load(path);
  const all = new Map((await model.parameters()).map(({ name, data }) => [name, data]));
  model.dispose();
  return all;
}

function loggedSteps(output: string): number[] {
  const lines = readFileSync(join(output, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => (JSON.parse(line) as { step: number }).step);
}

/** Takes 20 numbers from a seed, so that a failing run can be repeated. */
function* delays(seed: number): Generator<number> {
  for (let state = seed; ; state = (state * 48_271) % 2_147_483_647) yield state / 2_147_483_647;
}

describe.skipIf(!built)("a training process (skipped without dist)", () => {
  let whole: ReadonlyMap<string, Float32Array>;
  const program = join(folder, "train.mjs");
  beforeAll(async () => {
    writeFileSync(program, script);
    const { code, errors } = await run([program, join(folder, "whole")]);
    expect(code, errors).toBe(0);
    whole = await weights(join(folder, "whole", "last.safetensors"));
  });

  const sameAsWhole = async (output: string) => {
    const ended = await weights(join(output, "last.safetensors"));
    const different = [...whole].filter(
      ([name, data]) =>
        !Buffer.from(data.buffer).equals(Buffer.from((ended.get(name) as Float32Array).buffer)),
    );
    expect(different.map(([name]) => name)).toEqual([]);
    expect(loggedSteps(output)).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
    expect(readdirSync(output).sort()).toEqual(["best.safetensors", "last.safetensors", "metrics.jsonl"]);
  };

  it("ends bit for bit as if it had not been killed at any moment", async () => {
    const output = join(folder, "killed");
    const last = join(output, "last.safetensors");
    const random = delays(20_251);
    let kills = 0;
    for (let round = 0; round < 6; round++) {
      const after = 2 + Math.floor((random.next().value as number) * 3); // steps of this process
      const pause = (random.next().value as number) * 25; // ms: a step, a checkpoint or what is between
      const { signal, code, errors } = await run([program, output], (said, child) => {
        if (said.split("\n").length > after) void sleep(pause).then(() => child.kill("SIGKILL"));
      });
      if (signal === "SIGKILL") kills++;
      else expect(code, errors).toBe(0);
      if (existsSync(last)) await weights(last); // loads whole, or throws
      if (code === 0) break;
    }
    expect(kills, "killed runs").toBeGreaterThan(1);
    const { code, errors } = await run([program, output]);
    expect(code, errors).toBe(0);
    await sameAsWhole(output);
  });

  it.skipIf(process.platform === "win32")("survives a kill while a checkpoint is half-written", async () => {
    const output = join(folder, "torn");
    mkdirSync(output);
    const last = join(output, "last.safetensors");
    let torn = 0;
    for (let round = 0; round < 6 && torn < 2; round++) {
      // As soon as there is a temporary file beside a whole one, the writer is killed.
      const started: { child?: ChildProcess } = {};
      const ended = run([program, output], (_, child) => {
        started.child = child;
      });
      let over = false;
      void ended.then(() => {
        over = true;
      });
      const before = new Set(readdirSync(output));
      while (!over) {
        const half = readdirSync(output).some((name) => /^last.*\.tmp$/.test(name) && !before.has(name));
        if (half && existsSync(last)) started.child?.kill("SIGKILL");
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { code } = await ended;
      if (readdirSync(output).some((name) => name.endsWith(".tmp"))) torn++;
      if (existsSync(last)) await weights(last);
      if (code === 0) break;
    }
    const { code, errors } = await run([program, output]);
    expect(code, errors).toBe(0);
    await sameAsWhole(output);
  });

  it.skipIf(process.platform === "win32").each(["SIGTERM", "SIGINT"] as const)(
    "saves on %s, and goes on with --resume",
    async (name) => {
      const place = join(folder, name);
      mkdirSync(place);
      const rows: string[] = [];
      for (let i = 0; i < 8; i++) {
        const data = new Uint8Array(36 * 36 * 3).map((_, n) => (n * (i + 3) * 31) % 256);
        const samples = Float32Array.from({ length: 8000 }, (_, n) => 0.5 * Math.sin(n * 0.02 * (i + 1)));
        writeFileSync(
          join(place, `${i}.png`),
          await encodeImage({ data, width: 36, height: 36 }, { format: "png" }),
        );
        writeFileSync(join(place, `${i}.wav`), encodeWav({ samples, sampleRate: 16_000 }));
        rows.push(JSON.stringify({ image: `${i}.png`, audio: `${i}.wav` }));
      }
      const list = join(place, "pairs.jsonl");
      writeFileSync(list, rows.join("\n"));
      const config = join(place, "settings.json");
      const epochs = 6;
      // No checkpoint within an epoch: what the signal saves is what there is.
      const train = { ...settings.train, epochs, checkpointSteps: 0, checkpointEvery: 100 };
      writeFileSync(config, JSON.stringify({ model: settings.model, train }));
      const output = join(place, "run");
      const args = [join(dist, "cli/main.js"), "train", "--data", list, "--config", config];
      let stopped = false; // a second signal would end it at once
      const first = await run([...args, "--output", output, "--json"], (_, child) => {
        if (!stopped) child.kill(name);
        stopped = true;
      });
      expect(first.code, first.errors).toBe(1);
      expect(first.signal).toBe(null);
      const result = JSON.parse(first.output.trimEnd().split("\n").at(-1) as string) as {
        steps: number;
        stoppedBy: string;
      };
      expect(result.stoppedBy).toBe(name);
      expect(result.steps).toBeGreaterThan(0);
      expect(result.steps).toBeLessThan(4 * epochs);
      await weights(join(output, "last.safetensors"));
      expect(loggedSteps(output)).toEqual(Array.from({ length: result.steps }, (_, i) => i + 1));

      const second = await run([...args, "--output", output, "--json", "--resume"]);
      expect(second.code, second.errors).toBe(0);
      const line = second.output.trimEnd().split("\n").at(-1) as string;
      expect(JSON.parse(line)).toMatchObject({ steps: 4 * epochs });
      expect(loggedSteps(output)).toEqual(Array.from({ length: 4 * epochs }, (_, i) => i + 1));
    },
  );
});
