/** Several processes that train or evaluate one model together, against a single process. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { freePort } from "../../../src/cli/processes.js";
import { datasets, Model, ProcessGroup, quantize, type TrainOptions } from "../../../src/index.js";
import { patience } from "../../support/patience.js";
import { inGroup, type ProcessOutcome } from "../../support/processes.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-distributed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const source = transpilePackage(join(folder, "package"));

const prelude = `
import { evaluate, Model, ProcessGroup, SoundspotError, Trainer, train } from ${JSON.stringify(pathToFileURL(join(source, "index.js")).href)};
const wanted = ProcessGroup.fromEnvironment();
const group = wanted && (await ProcessGroup.join(wanted));
const config = {
  imageSize: 32, imageStages: 2, imageStride: 8, imageWidth: 8, audioStages: 2, audioWidth: 8, dim: 16,
  method: { name: "joint-slot-attention", iterations: 3, maskProbability: 0.2 }, audio: { seconds: 0.5 },
};
const noise = (length, seed) => {
  let state = seed * 2654435761;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, () => 2 * (draw() + draw()));
};
const losses = {
  contrastive: { weight: 1, temperature: 0.5 }, matching: { weight: 100 }, divergence: { weight: 0.1 },
  reconstruction: { weight: 0.1 }, crossAttention: { weight: 1, temperature: 1 }, pooled: { weight: 1, temperature: 1 },
  maxSimilarity: { weight: 1, temperature: 1 },
};
const data = (length) => ({
  name: "noise",
  length,
  async load(index) {
    const image = Uint8Array.from(noise(36 * 36 * 3, index + 1), (x) => 255 * (0.5 + x / 4));
    const mask = new Uint8Array(36 * 36).fill(1, 0, 36 * (6 + index % 20));
    const samples = noise(8000, index + 1000).map((x) => 0.4 * x);
    return {
      id: String(index), label: String(index % 3), clip: String(Math.floor(index / 2)),
      image: { data: image, width: 36, height: 36 }, audio: { samples, sampleRate: 16000 },
      mask: { data: mask, width: 36, height: 36 },
    };
  },
});
const [output, options] = [process.argv[2], JSON.parse(process.argv[3] ?? "{}")];
process.on("uncaughtException", (error) => {
  process.stdout.write("ERROR " + error.code + " " + error.message + "\\n");
  process.exit(1);
});
`;

/** Steps on batches of 32; prints the losses, and rank 0 saves the final model. */
const steps = `${prelude}
const model = await (options.file ? Model.load(options.file) : Model.create(config, { seed: 4 }));
const { contrastive, matching, divergence, reconstruction } = losses;
const published = { contrastive, matching, divergence, reconstruction };
const trainer = new Trainer(
  model,
  { losses: options.everyLoss ? losses : published, falseNegatives: { k: 3 }, ...options.train },
  group,
);
const { rank, size } = group ?? { rank: 0, size: 1 };
const shapes = [[3, 32, 32], [1, 257, 51]];
const part = (i) => ({
  image: { tensor: noise(3072, i + 1), shape: shapes[0] },
  audio: { spectrogram: noise(257 * 51, i + 500), shape: shapes[1] },
});
const own = 32 / size;
const rate = options.sgd;
for (let step = 0; step < options.steps; step++) {
  const batch = Array.from({ length: own }, (_, i) => part(step * 32 + rank * own + i));
  const result = await trainer.step(batch, { update: !rate, gradients: !!rate, masking: !options.unmasked });
  if (rate) {
    const gradients = new Map(result.gradients.map(({ name, data }) => [name, data]));
    const moved = (await model.parameters()).filter(({ name }) => gradients.has(name));
    await model.setParameters(
      moved.map((each) => ({ ...each, data: each.data.map((x, i) => x - rate * gradients.get(each.name)[i]) })),
    );
  }
  const { diagnostics } = result;
  process.stdout.write(JSON.stringify({ losses: result.losses, diagnostics }) + "\\n");
}
if (rank === 0) await model.save(output);
`;

/** A run on 24 samples in batches of 4. */
const run = `${prelude}
const onStep = ({ step }) => process.stdout.write("step " + step + "\\n");
const onResume = (event) => process.stdout.write("resumed " + JSON.stringify(event) + "\\n");
const result = await train({
  model: config, epochs: 2, batchSize: 4, learningRate: 2e-3, losses, falseNegatives: { k: 2 }, augment: false,
  batchNorm: "synchronised", checkpointSteps: 2, handleSignals: true, resume: true,
  data: data(24), output, onStep, onResume, ...(group ? { group } : {}), ...options.train,
});
process.stdout.write(result.stoppedBy ? "stopped by " + result.stoppedBy + "\\n" : "done\\n");
`;

const evaluation = `${prelude}
const model = await Model.create(config, { seed: 4 });
const scores = await evaluate({ model, data: data(23), batchSize: 4, ...(group ? { group } : {}) });
process.stdout.write(JSON.stringify(scores) + "\\n");
`;

/**
 * Joins a group, takes a step and drops every reference to the group, at each of some ports. All run on one core, with
 * the lowest priority for Gloo's threads: they often still work on the last gradients when the group is dropped.
 */
const memberships = `${prelude}
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setPriority } from "node:os";
const [core] = /Cpus_allowed_list:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8")).slice(1);
execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", core, String(process.pid)]);
const threads = () => readdirSync("/proc/self/task").filter((thread) => {
  try {
    return readFileSync("/proc/self/task/" + thread + "/comm", "utf8").startsWith("pt_gloo");
  } catch {
    return false; // It has ended.
  }
});
const model = await Model.create(config, { seed: 4 });
const rank = Number(process.env.RANK);
const batch = Array.from({ length: 4 }, (_, i) => ({
  image: { tensor: noise(3072, rank * 4 + i + 1), shape: [3, 32, 32] },
  audio: { spectrogram: noise(257 * 51, rank * 4 + i + 500), shape: [1, 257, 51] },
}));
async function member(port) {
  const group = await ProcessGroup.join({ rank, size: 2, port, timeout: ${patience(60) / 1000} });
  for (const thread of threads()) setPriority(Number(thread), 19);
  await new Trainer(model, {}, group).step(batch);
}
for (const port of JSON.parse(output)) {
  await member(port);
  const deadline = performance.now() + ${patience(60)};
  while (threads().length > 0 && performance.now() < deadline) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  process.stdout.write(threads().length + " left\\n");
}
`;

function script(name: string, text: string): string {
  const path = join(folder, `${name}.mjs`);
  writeFileSync(path, text);
  return path;
}

interface Step {
  readonly losses: Readonly<Record<string, number>>;
  readonly diagnostics: Readonly<Record<string, number>>;
}

const lines = ({ output }: ProcessOutcome) => output.trim().split("\n");
const parsed = (outcome: ProcessOutcome) => lines(outcome).map((line) => JSON.parse(line) as Step);

type Weights = ReadonlyMap<string, { readonly data: Float32Array; readonly trainable: boolean }>;

async function weights(path: string): Promise<Weights> {
  using model = await Model.load(path);
  return new Map((await model.parameters()).map(({ name, data, trainable }) => [name, { data, trainable }]));
}

/** What is common to all slots cancels in the softmax over slots: these gradients are rounding alone. */
const structuralZero = /_to_q\.bias$|_norm_slots\.bias$/;

const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] as number)) ** 2, 0));

interface StepsOptions {
  readonly steps: number;
  /** Rate of plain gradient descent, in place of AdamW at the paper's rate. */
  readonly sgd?: number;
  readonly everyLoss?: boolean;
  /**
   * Without masks. AdamW divides gradients near zero by their own size: rounding errors grow from step to step, and
   * with masks a hundred times faster: 3e-8 becomes 6e-5 in 20 steps. Masks are compared under plain gradient descent.
   */
  readonly unmasked?: boolean;
  /** The model to start from, in place of fresh weights. */
  readonly file?: string;
  readonly train: TrainOptions;
}

async function compareSteps(size: number, options: StepsOptions, check: (own: Step, alone: Step) => void) {
  const path = script("steps", steps);
  const files = [
    join(folder, `alone-${size}.safetensors`),
    join(folder, `group-${size}.safetensors`),
  ] as const;
  const [alone] = (await inGroup(1, [path, files[0], JSON.stringify(options)])) as [ProcessOutcome];
  const group = await inGroup(size, [path, files[1], JSON.stringify(options)]);
  for (const each of [alone, ...group]) expect(each.errors).toBe("");
  const expected = parsed(alone);
  expect(expected).toHaveLength(options.steps);
  for (const each of group) {
    for (const [i, own] of parsed(each).entries()) check(own, expected[i] as Step);
  }
  return Promise.all(files.map(weights)) as Promise<[Weights, Weights]>;
}

/** Relative. The sanitizers' build is not optimised: it adds long sums one by one, with the rounding that this has. */
const LOSS_TOLERANCE = process.env.SOUNDSPOT_SANITIZED === undefined ? 1e-5 : 1e-4;

/** Parameters and running statistics within 1e-5. */
function expectSame(alone: Weights, group: Weights): void {
  for (const [name, { data }] of alone) {
    const other = group.get(name)?.data as Float32Array;
    const worst = data.reduce((most, value, i) => Math.max(most, Math.abs(value - (other[i] as number))), 0);
    expect(worst, name).toBeLessThan(1e-5);
  }
}

function checkStep(own: Step, alone: Step): void {
  expect(own.diagnostics.falseNegatives).toBe(alone.diagnostics.falseNegatives);
  for (const [name, value] of Object.entries(alone.losses)) {
    expect(Math.abs((own.losses[name] as number) / value - 1), name).toBeLessThan(LOSS_TOLERANCE);
  }
  expect(own.diagnostics.imageAttentionSpread).toBeCloseTo(
    alone.diagnostics.imageAttentionSpread as number,
    4,
  );
}

describe("a process group", () => {
  it("is read from the variables of launchers", () => {
    const env = { RANK: "1", WORLD_SIZE: "4", MASTER_ADDR: "node7", MASTER_PORT: "29400" };
    expect(ProcessGroup.fromEnvironment({})).toBeUndefined();
    expect(ProcessGroup.fromEnvironment({ ...env, WORLD_SIZE: "1", RANK: "0" })).toBeUndefined();
    expect(ProcessGroup.fromEnvironment(env)).toMatchObject({
      rank: 1,
      size: 4,
      address: "node7",
      port: 29_400,
    });
    const slurm = {
      SLURM_PROCID: "3",
      SLURM_STEP_NUM_TASKS: "4",
      MASTER_ADDR: "node7",
      MASTER_PORT: "29400",
    };
    expect(ProcessGroup.fromEnvironment(slurm)).toMatchObject({ rank: 3, size: 4 });
    // In a batch script, but not by srun.
    const batch = { SLURM_PROCID: "0", SLURM_NTASKS: "4", MASTER_ADDR: "node7", MASTER_PORT: "29400" };
    expect(ProcessGroup.fromEnvironment(batch)).toBeUndefined();
    expect(() => ProcessGroup.fromEnvironment({ WORLD_SIZE: "2", RANK: "0" })).toThrow(
      /MASTER_ADDR and MASTER_PORT/,
    );
    expect(() => ProcessGroup.fromEnvironment({ ...env, RANK: "4" })).toThrow(/rank: is not below size/);
    expect(() => ProcessGroup.fromEnvironment({ ...env, RANK: "one" })).toThrow(/rank/);
  });

  it("reports a process that does not join", async () => {
    const joining = ProcessGroup.join({ rank: 0, size: 2, port: await freePort(), timeout: 2 });
    await expect(joining).rejects.toMatchObject({ code: "ERR_DISTRIBUTED" });
    await expect(joining).rejects.toThrow(/Process 0 of 2/);
  });
});

describe("training in several processes", () => {
  it.each([2, 4])("takes the steps of a single process: AdamW, %i processes", async (size) => {
    const [alone, group] = await compareSteps(
      size,
      { steps: 20, unmasked: true, train: { batchNorm: "synchronised" } },
      checkStep,
    );
    using fresh = await Model.create(
      {
        imageSize: 32,
        imageStages: 2,
        imageStride: 8,
        imageWidth: 8,
        audioStages: 2,
        audioWidth: 8,
        dim: 16,
        method: { name: "joint-slot-attention", iterations: 3, maskProbability: 0.2 },
        audio: { seconds: 0.5 },
      },
      { seed: 4 },
    );
    for (const { name, data } of await fresh.parameters()) {
      if (structuralZero.test(name)) continue;
      const [one, several] = [alone.get(name), group.get(name)] as [
        { data: Float32Array },
        { data: Float32Array },
      ];
      expect(distance(one.data, several.data), name).toBeLessThan(0.01 * distance(one.data, data) + 1e-9);
    }
  });

  it("ends with the parameters of a single process under plain gradient descent", async () => {
    const options = { steps: 20, sgd: 1e-3, train: { batchNorm: "synchronised" } } as const;
    const [alone, group] = await compareSteps(2, options, checkStep);
    expectSame(alone, group);
  });

  it("goes on from the rounded weights of a quantized model", async () => {
    using model = await Model.create(tiny, { seed: 4, device: "cpu" });
    using int8 = await quantize({ model, data: datasets.scenes({ size: 32, seconds: 1, length: 2 }) });
    const file = join(folder, "int8.safetensors");
    await int8.save(file);
    const options = { steps: 3, sgd: 1e-3, file, train: { batchNorm: "synchronised" } } as const;
    const [alone, group] = await compareSteps(2, options, checkStep);
    expectSame(alone, group);
  });

  it("sees the whole batch in every loss", async () => {
    // Few steps: sooner or later rounding decides which token is a maximum.
    const options = { steps: 3, everyLoss: true, sgd: 1e-4, train: { batchNorm: "synchronised" } } as const;
    const [alone, group] = await compareSteps(4, options, checkStep);
    expectSame(alone, group);
  });

  it("takes statistics of its own samples unless they are synchronised", async () => {
    const differences: number[] = [];
    await compareSteps(2, { steps: 5, train: { batchNorm: "batch" } }, (own, alone) => {
      differences.push(Math.abs((own.losses.total as number) / (alone.losses.total as number) - 1));
    });
    expect(Math.max(...differences)).toBeGreaterThan(1e-4);
  });

  it.runIf(process.platform === "linux")("lets go of a group whose threads are not done yet", async () => {
    const ports: number[] = [];
    for (let i = 0; i < 4; i++) ports.push(await freePort());
    const args = ["--expose-gc", script("memberships", memberships), JSON.stringify(ports)];
    const whole = { code: 0, signal: null, output: "0 left\n".repeat(ports.length), errors: "" };
    // The script joins later: its prelude takes each process for the only one.
    expect(await inGroup(2, args, undefined, { WORLD_SIZE: "1" })).toEqual([whole, whole]);
  });

  it("rejects processes of different configuration, in each of them", async () => {
    const path = script("different", run.replace("epochs: 2", "epochs: 2 + (group?.rank ?? 0)"));
    for (const { code, output } of await inGroup(2, [path, join(folder, "different")])) {
      expect(code).toBe(1);
      expect(output).toMatch(/ERROR ERR_CONFIG .*train\.epochs is 2 in process 0 and 3 in process 1/);
    }
  });

  it("reports to every process why one cannot begin", async () => {
    const output = join(folder, "no-folder");
    writeFileSync(output, "a file, where the run wants a folder");
    for (const { code, output: text } of await inGroup(2, [script("run", run), output])) {
      expect(code).toBe(1);
      expect(text).toContain("ERROR ERR_FILE_WRITE");
    }
  });

  it("resumes after a process was killed, with the result of an uninterrupted run", async () => {
    const path = script("run", run);
    const [calm, killed] = [join(folder, "calm"), join(folder, "killed")];
    for (const { output } of await inGroup(2, [path, calm])) expect(output).toMatch(/done\n$/);
    let dead = false;
    const outcomes = await inGroup(2, [path, killed], (rank, output, children) => {
      if (dead || rank !== 1 || !output.includes("step 5\n")) return;
      dead = true;
      children[1]?.kill("SIGKILL");
    });
    expect(outcomes[1]?.signal).toBe("SIGKILL");
    expect(outcomes[0]?.code).toBe(1);
    expect(outcomes[0]?.output).toMatch(/ERROR ERR_DISTRIBUTED Process 0 of 2 lost the others/);
    const rerun = await inGroup(2, [path, killed]);
    expect(rerun[0]?.output).toMatch(/resumed .*"processes":2,"processesBefore":2/);
    for (const { output } of rerun) expect(output).toMatch(/done\n$/);
    const [one, other] = await Promise.all(
      [calm, killed].map((each) => weights(join(each, "last.safetensors"))),
    );
    for (const [name, { data }] of one as Weights) expect(other?.get(name)?.data, name).toEqual(data);
  });

  it("accepts changed options that a resumed run allows, in all processes", async () => {
    const output = join(folder, "changed");
    const first = script(
      "first",
      run.replace("epochs: 2,", "epochs: 2, evaluateEvery: 1, evaluation: data(5),"),
    );
    let signalled = false;
    await inGroup(2, [first, output], (_, text, children) => {
      if (signalled || !text.includes("step 2\n")) return;
      signalled = true;
      children[0]?.kill("SIGTERM");
    });
    const second = script(
      "second",
      run.replace("epochs: 2,", "epochs: 2, evaluateEvery: 2, evaluation: data(5),"),
    );
    for (const { output: text, errors } of await inGroup(2, [second, output])) {
      expect(errors).toBe("");
      expect(text).toMatch(/done\n$/);
    }
  });

  it("resumes with another number of processes, and reports it", async () => {
    const path = script("run", run);
    const [alone, elastic] = [join(folder, "elastic-alone"), join(folder, "elastic")];
    // A step moves a parameter by 1e-4 at most. Rounding may decide which of two pixels is a maximum; this was seen to
    // move running statistics by 5e-5. A batch that is lost or taken twice moves them by hundredths.
    const rate = JSON.stringify({ train: { learningRate: 1e-4 } });
    await inGroup(1, [path, alone, rate]);
    const stop = (size: number, step: number) => {
      let signalled = false;
      return inGroup(size, [path, elastic, rate], (_, output, children) => {
        if (signalled || !output.includes(`step ${step}\n`)) return;
        signalled = true;
        children[size - 1]?.kill("SIGTERM");
      });
    };
    for (const { code, output } of await stop(4, 3)) {
      expect(code).toBe(0);
      expect(output).toMatch(/stopped by SIGTERM\n$/);
    }
    const two = await stop(2, 8);
    expect(two[0]?.output).toMatch(/"processes":2,"processesBefore":4/);
    const [one] = await inGroup(1, [path, elastic, rate]);
    expect(one?.output).toMatch(/"processes":1,"processesBefore":2/);
    expect(one?.output).toMatch(/done\n$/);
    const [first, second] = await Promise.all(
      [alone, elastic].map((each) => weights(join(each, "last.safetensors"))),
    );
    for (const [name, { data }] of first as Weights) {
      if (structuralZero.test(name)) continue;
      const apart = distance(data, second?.get(name)?.data as Float32Array) / Math.sqrt(data.length);
      expect(apart, name).toBeLessThan(1e-4);
    }
    const logged = readFileSync(join(elastic, "metrics.jsonl"), "utf8").trim().split("\n");
    expect(logged.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual(
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    expect(existsSync(join(elastic, "train.lock"))).toBe(false);
  });
});

describe("evaluation in several processes", () => {
  it("is rejected when they do not have the same samples", async () => {
    const path = script("unequal", evaluation.replace("data(23)", "data(23 - group.rank)"));
    for (const { code, output } of await inGroup(2, [path])) {
      expect(code).toBe(1);
      expect(output).toMatch(/ERROR ERR_CONFIG .*process 0 has 23 samples .* process 1 has 22/);
    }
  });

  it("gives each of them the result of a single process", async () => {
    const path = script("evaluation", evaluation);
    const [alone] = (await inGroup(1, [path])) as [ProcessOutcome];
    const expected = JSON.parse(alone.output) as { audio: { maxF: number } };
    for (const each of await inGroup(3, [path])) {
      const found = JSON.parse(each.output) as typeof expected;
      for (const name of ["audio", "image", "iqr"] as const) {
        const [a, b] = [found, expected].map(
          (scores) => (scores as never)[name] as Record<string, unknown>,
        ) as [Record<string, unknown>, Record<string, unknown>];
        // Sums of curves, whose rounding depends on their order.
        expect(a.maxF).toBeCloseTo(b.maxF as number, 12);
        a.maxF = b.maxF;
        const [own, other] = [a.intervals, b.intervals] as [
          Record<string, number[]>,
          Record<string, number[]>,
        ];
        for (const [i, end] of (other?.maxF ?? []).entries()) expect(own.maxF?.[i]).toBeCloseTo(end, 12);
        if (own && other?.maxF) own.maxF = other.maxF;
      }
      expect(found).toEqual(expected);
    }
  });

  const underProtocols = evaluation
    .replace("batchSize: 4,", 'batchSize: 4, protocol: ["jsa", "area", "kaist", "slavc-extended"],')
    .replace(
      "id: String(index),",
      "id: String(index), imageId: String(index >> 1), sources: 2, sounding: index % 5 !== 4,",
    );

  it("scores protocols as a single process does", async () => {
    const path = script("protocols", underProtocols);
    type Scores = Record<"protocols" | "perSample" | "settings", unknown>;
    const [alone] = (await inGroup(1, [path])) as [ProcessOutcome];
    const { protocols, perSample, settings } = JSON.parse(alone.output) as Scores;
    expect(protocols).toMatchObject({
      kaist: { audio: { adaptive: { ciou: expect.any(Number), iiou: expect.any(Number) } } },
      "slavc-extended": { iqr: { ap: expect.any(Number), sizes: expect.any(Array) } },
    });
    for (const each of await inGroup(2, [path])) {
      expect(JSON.parse(each.output)).toMatchObject({ protocols, perSample, settings });
    }
  });

  it("is rejected when they do not have the same protocols", async () => {
    const path = script(
      "other-protocols",
      underProtocols.replace('"area"', 'group.main ? "area" : "adaptive"'),
    );
    for (const { code, output } of await inGroup(2, [path])) {
      expect(code).toBe(1);
      expect(output).toMatch(/ERROR ERR_CONFIG .*process 1 has others than process 0/);
    }
  });

  it("prints and writes once on the command line, like a single process", async () => {
    const checkpoint = join(folder, "small.safetensors");
    const model = await Model.create({ ...tiny, imageSize: 64 }, { seed: 2 });
    await model.save(checkpoint);
    const command = join(source, "cli", "main.js");
    const data = "scenes:split=test,length=20,size=64";
    const scored = async (processes: number, name: string, ...rest: string[]) => {
      const own = ["--data", data, "--resamples", "20", "--processes", String(processes), ...rest];
      return promisify(execFile)(process.execPath, [command, name, checkpoint, ...own]);
    };
    const outputs = [1, 2].map((count) => join(folder, `report-${count}`));
    for (const [i, output] of outputs.entries()) {
      const { stdout } = await scored(i + 1, "evaluate", "--gallery", "3", "--output", output);
      expect(stdout.match(/20 samples/g)).toHaveLength(1);
    }
    const [alone, together] = outputs.map((output) => {
      const scores = JSON.parse(readFileSync(join(output, "scores.json"), "utf8"));
      return scores.perSample as unknown[];
    });
    expect(together).toEqual(alone);
    const sizes = outputs.map((output) => readFileSync(join(output, "report.html"), "utf8").length);
    expect(sizes[0]).toBe(sizes[1]);
    const [one, two] = [await scored(1, "retrieve", "--json"), await scored(2, "retrieve", "--json")];
    expect(JSON.parse(two.stdout)).toEqual(JSON.parse(one.stdout));
    await expect(scored(2, "evaluate", "--fail-under", "ciou=99")).rejects.toMatchObject({ code: 1 });
  });
});
