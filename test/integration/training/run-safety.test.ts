/** A run uses no more than it may, rejects what cannot work, and loses nothing when it fails. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { register as registerInfo } from "../../../src/cli/commands/info.js";
import { lossNames } from "../../../src/config/methods.js";
import { SAMPLES_AT_A_TIME, Semaphore } from "../../../src/core/semaphore.js";
import { lockFolder } from "../../../src/files/folder-lock.js";
import {
  type Dataset,
  evaluate,
  Model,
  type NamedTensor,
  parseTrainConfig,
  SoundspotError,
  Trainer,
  type TrainOptions,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";
import { runFfmpeg } from "../../../src/media/ffmpeg.js";
import { withValues } from "../../support/safetensors.js";
import { bar, bars } from "../../support/scored.js";
import { slots, tiny } from "../../support/tiny.js";

const recipe: TrainOptions = {
  epochs: 2,
  batchSize: 4,
  learningRate: 2e-3,
  falseNegatives: { k: 2 },
  seed: 3,
};
const data = bars(14); // 3 batches of 4
const steps = 6;

const run = (options: Partial<TrainRunOptions> = {}) => train({ data, model: tiny, ...recipe, ...options });

const root = mkdtempSync(join(tmpdir(), "soundspot-safety-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = () => join(root, String(folders++));

async function failureOf(work: Promise<unknown>): Promise<SoundspotError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it was expected to fail").toBeInstanceOf(Error);
  return error as SoundspotError;
}

interface Line {
  readonly step: number;
  readonly epoch: number;
  readonly evaluation?: unknown;
}

const metricsOf = (folder: string): Line[] =>
  readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

/** Whether two files hold the same parameters, bit for bit. */
async function sameParameters(a: string, b: string): Promise<boolean> {
  const [left, right] = await Promise.all(
    [a, b].map(async (file) => {
      using model = await Model.load(file);
      return Buffer.concat((await model.parameters()).map((each) => Buffer.from(each.data.buffer)));
    }),
  );
  return (left as Buffer).equals(right as Buffer);
}

interface State {
  readonly epoch: number;
  readonly batch: number;
  readonly step: number;
  readonly bestScore: number | null;
}

/** What a checkpoint records of its run. */
async function noteOf(file: string): Promise<{ readonly best?: number; readonly training?: State }> {
  using model = await Model.load(file);
  const { "soundspot.epoch": best, "soundspot.training": training } = model.metadata;
  return {
    ...(best === undefined ? {} : { best: Number(best) }),
    ...(training === undefined ? {} : { training: JSON.parse(training) as State }),
  };
}

const stateOf = async (folder: string) => (await noteOf(join(folder, "last.safetensors"))).training as State;

/** A finished run that nothing disturbed, to compare with. */
async function undisturbed(options: Partial<TrainRunOptions> = {}): Promise<string> {
  const output = newFolder();
  (await run({ ...options, output })).model.dispose();
  return output;
}

/** Resumes what was left and compares all of it with a run that nothing disturbed. */
async function expectSameAs(
  whole: string,
  output: string,
  options: Partial<TrainRunOptions> = {},
): Promise<void> {
  const { model, steps: taken } = await run({ ...options, output, resume: true });
  model.dispose();
  expect(taken).toBe(steps);
  for (const name of ["last.safetensors", "best.safetensors"]) {
    expect(await sameParameters(join(whole, name), join(output, name)), name).toBe(true);
    expect(await noteOf(join(output, name)), name).toEqual(await noteOf(join(whole, name)));
  }
  expect(metricsOf(output)).toEqual(metricsOf(whole));
  expect(readdirSync(output).sort()).toEqual(["best.safetensors", "last.safetensors", "metrics.jsonl"]);
}

describe("a semaphore", () => {
  it("lets in as many as it has places, in order", async () => {
    const semaphore = new Semaphore(3);
    const begun: number[] = [];
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        semaphore.run(async () => {
          begun.push(i);
          most = Math.max(most, ++inside);
          await sleep(i % 3);
          inside--;
        }),
      ),
    );
    expect(most).toBe(3);
    expect(begun).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it("turns away at once who is aborted while waiting, and keeps the place for the next", async () => {
    const semaphore = new Semaphore(1);
    const giveBack = await semaphore.take();
    const control = new AbortController();
    const turned = [semaphore.take(control.signal), semaphore.take(control.signal)];
    const next = semaphore.take();
    control.abort("stop here");
    for (const each of turned) {
      expect(await failureOf(each)).toMatchObject({ code: "ERR_ABORTED", cause: "stop here" });
    }
    giveBack();
    giveBack(); // no second place
    const giveBackNext = await next;
    let third = false;
    const later = semaphore.take().then((release) => {
      third = true;
      return release;
    });
    await sleep(5);
    expect(third).toBe(false);
    giveBackNext();
    (await later)();
    await expect(semaphore.run(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    await semaphore.run(async () => undefined); // the failed one's place
  });

  it("turns away who waits or comes when it is closed", async () => {
    const semaphore = new Semaphore(1);
    await semaphore.take();
    const waiting = semaphore.take();
    semaphore.close();
    expect(await failureOf(waiting)).toMatchObject({ code: "ERR_ABORTED" });
    expect(await failureOf(semaphore.take())).toMatchObject({ code: "ERR_ABORTED" });
  });
});

describe("decoding ahead", () => {
  /** Counts samples that are decoded at a time. */
  function watched(length: number, fails = -1) {
    const seen = { loads: 0, inside: 0, most: 0 };
    const slow: Dataset = {
      ...bars(length),
      async load(index) {
        seen.loads++;
        seen.most = Math.max(seen.most, ++seen.inside);
        await sleep(2);
        seen.inside--;
        if (seen.loads > fails && fails >= 0) throw new Error("unreadable");
        return bar(index);
      },
    };
    return { slow, seen };
  }
  const many = 4 * SAMPLES_AT_A_TIME;

  it("decodes a few samples at a time in training and evaluation, however long the queue", async () => {
    const { slow, seen } = watched(many);
    const { model } = await run({ data: slow, epochs: 1, queue: 64 });
    expect(seen.loads).toBe(many);
    expect(seen.most).toBeGreaterThan(4); // ahead of the batch
    expect(seen.most).toBeLessThanOrEqual(SAMPLES_AT_A_TIME);
    seen.most = 0;
    await evaluate({ model, data: slow, batchSize: many / 2, bootstrap: false });
    expect(seen.most).toBeLessThanOrEqual(SAMPLES_AT_A_TIME);
    model.dispose();
  });

  it("stops when the run has failed", async () => {
    const { slow, seen } = watched(many, 4);
    expect((await failureOf(run({ data: slow, queue: 64 }))).message).toBe("unreadable");
    await sleep(20);
    const { loads } = seen;
    expect(loads).toBeLessThan(3 * SAMPLES_AT_A_TIME);
    await sleep(50);
    expect(seen.loads).toBe(loads);
  });
});

describe.skipIf(process.platform === "win32")("programs", () => {
  const most = Math.max(4, 2 * availableParallelism());
  const program = join(root, "ffmpeg");
  writeFileSync(
    program,
    `#!/bin/sh
for last; do :; done
case "$last" in
  -version) echo "ffmpeg version 1"; exit 0 ;;
  wait) sleep 0.1 ;;
  hang) exec sleep 60 ;;
esac
`,
  );
  chmodSync(program, 0o755);
  const start = async (mode: string, signal?: AbortSignal) =>
    runFfmpeg([mode], { ffmpeg: program, ...(signal ? { signal } : {}) });

  it("run no more at a time than they may", async () => {
    const [recorder, log, go] = ["recorder", "programs.log", "go"].map((name) => join(root, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(
      recorder,
      `#!/bin/sh
case "$1" in -version) echo "ffmpeg version 1"; exit 0 ;; esac
echo begun >> ${log}
while [ ! -e ${go} ]; do sleep 0.05; done
`,
    );
    chmodSync(recorder, 0o755);
    const all = Promise.all(Array.from({ length: 3 * most }, () => runFfmpeg([], { ffmpeg: recorder })));
    const begun = () => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length - 1 : 0);
    while (begun() < most) await sleep(10);
    await sleep(500); // time for more
    expect(begun()).toBe(most);
    writeFileSync(go, "");
    for (const { code } of await all) expect(code).toBe(0);
    expect(begun()).toBe(3 * most);
  });

  it("free their places when they are aborted, running or waiting", async () => {
    const control = new AbortController();
    const hanging = Array.from({ length: 3 * most }, () => start("hang", control.signal));
    const ended = Promise.all(hanging.map(failureOf));
    const other = new AbortController();
    const waiting = start("wait", other.signal);
    await sleep(50);
    other.abort();
    expect(await failureOf(waiting)).toMatchObject({ code: "ERR_ABORTED" });
    control.abort();
    for (const { code } of await ended) expect(code).toBe("ERR_ABORTED");
    const after = await Promise.all(Array.from({ length: 2 * most }, () => start("wait")));
    expect(after.map(({ code }) => code)).toEqual(after.map(() => 0));
  });

  it("free their places when they do not start", async () => {
    const broken = join(root, "broken");
    writeFileSync(broken, '#!/bin/sh\n[ "$1" = -version ] && echo "ffmpeg version 1"\n');
    chmodSync(broken, 0o755);
    await runFfmpeg([], { ffmpeg: broken });
    rmSync(broken);
    const failures = Array.from({ length: 2 * most }, () => failureOf(runFfmpeg([], { ffmpeg: broken })));
    for (const { code } of await Promise.all(failures)) expect(code).toBe("ERR_FFMPEG_MISSING");
    expect((await start("wait")).code).toBe(0);
  });
});

describe("the best without evaluation", () => {
  /** Mean losses of the epochs, and the epoch that best.safetensors holds. */
  async function means(options: Partial<TrainRunOptions>) {
    const output = newFolder();
    const losses: number[] = [];
    const { model, best } = await run({
      ...options,
      output,
      onEpoch: ({ meanLoss }) => losses.push(meanLoss),
    });
    model.dispose();
    return { losses, kept: (await noteOf(best as string)).best as number, output };
  }

  it("is of the epochs in which every loss has its final weight", async () => {
    const changing = {
      epochs: 5,
      losses: {
        pooled: { weight: 0.01, until: 2 },
        contrastive: { weight: 1, from: 1, ramp: 1.5 }, // until 2.5
        matching: { weight: 0, from: 4 }, // never on
        divergence: { weight: 1, from: 5 }, // nor this
        reconstruction: { weight: 0 },
      },
    };
    const { losses, kept, output } = await means(changing);
    expect(losses.indexOf(Math.min(...losses)), `means ${losses.join(", ")}`).toBeLessThan(3);
    expect(kept).toBe(4 + losses.slice(3).indexOf(Math.min(...losses.slice(3))));

    // The same when it is left and resumed at every epoch.
    const parts = newFolder();
    for (const at of [5, 11, 13]) {
      const control = new AbortController();
      const stop = ({ step }: { step: number }) => step === at && control.abort();
      const options = { ...changing, output: parts, resume: true, signal: control.signal, onStep: stop };
      expect(await failureOf(run(options))).toMatchObject({ code: "ERR_ABORTED" });
      expect(existsSync(join(parts, "best.safetensors")), `best after step ${at}`).toBe(at > 12);
    }
    (await run({ ...changing, output: parts, resume: true })).model.dispose();
    expect(await stateOf(parts)).toEqual(await stateOf(output));
    expect(await sameParameters(join(parts, "best.safetensors"), join(output, "best.safetensors"))).toBe(
      true,
    );
  });

  it("is the last epoch where the weights change to the end", async () => {
    const { losses, kept } = await means({
      epochs: 3,
      losses: { contrastive: { weight: 1, ramp: 9 }, matching: { weight: 0 } },
    });
    expect(losses.indexOf(Math.min(...losses))).toBe(0);
    expect(kept).toBe(3);
  });

  it("is of all epochs where nothing changes", async () => {
    const { losses, kept } = await means({ epochs: 3 });
    expect(kept).toBe(1 + losses.indexOf(Math.min(...losses)));
  });

  it("waits for false negatives to be excluded", async () => {
    const output = newFolder();
    const kept: boolean[] = [];
    const onEpoch = () => kept.push(existsSync(join(output, "best.safetensors")));
    (await run({ falseNegatives: { k: 2, from: 1 }, output, onEpoch })).model.dispose();
    expect(kept).toEqual([false, true]);
  });
});

describe("evaluation of a preset", () => {
  const small = {
    data: bars(4),
    model: { ...tiny, ...slots({ inferenceSharpening: 0.25 }) },
    epochs: 1,
    batchSize: 4,
  };

  it.each(["scratch", "paper"] as const)("is made by default with %s", async (preset) => {
    const { model, evaluation } = await train({ ...small, preset, evaluation: bars(3) });
    expect(evaluation?.samples).toBe(3);
    model.dispose();
  });

  it("is not made where that is asked for", async () => {
    const { model, evaluation } = await train({
      ...small,
      preset: "scratch",
      evaluation: bars(3),
      evaluateEvery: 0,
    });
    expect(evaluation).toBeUndefined();
    model.dispose();
  });
});

describe("a run that fails", () => {
  it.each([
    ["in the dataset", 4, { data: failing(18), strict: true }, "ERR_DATASET"],
    ["in a step's callback", 2, { onStep: failingAt(2) }, undefined],
    ["in an epoch's callback", 3, { onEpoch: failingAt(1) }, undefined],
  ] as const)(
    "%s has saved every step, and goes on as if nothing had been",
    async (_, step, options, code) => {
      const output = newFolder();
      const error = await failureOf(run({ ...options, queue: 1, checkpointEvery: 100, output }));
      expect(error.message).toBe("as intended");
      expect(error.code).toBe(code);
      expect((await stateOf(output)).step).toBe(step);
      expect(metricsOf(output).map((line) => line.step)).toEqual(
        Array.from({ length: step }, (__, i) => i + 1),
      );
      await expectSameAs(await undisturbed({ checkpointEvery: 100, queue: 1 }), output, {
        checkpointEvery: 100,
        queue: 1,
      });
    },
  );

  /** The samples, of which one load fails, counted from 0. */
  function failing(at: number): Dataset {
    let loads = 0;
    return {
      ...data,
      load: async (index) => {
        if (loads++ === at) throw new SoundspotError("ERR_DATASET", "as intended");
        return bar(index);
      },
    };
  }

  function failingAt(at: number): () => void {
    let calls = 0;
    return () => {
      if (++calls === at) throw new Error("as intended");
    };
  }

  it("in an evaluation evaluates when it goes on", async () => {
    const evaluation = bars(3);
    const whole = await undisturbed({ evaluation });
    const output = newFolder();
    let loads = 0;
    const broken: Dataset = {
      ...evaluation,
      load: async (index) => {
        if (loads++ === 4) throw new SoundspotError("ERR_DATASET", "as intended"); // in the second
        return bar(index);
      },
    };
    expect(await failureOf(run({ evaluation: broken, output }))).toMatchObject({ code: "ERR_DATASET" });
    expect(await stateOf(output)).toMatchObject({ epoch: 1, batch: 3, step: 6 });
    await expectSameAs(whole, output, { evaluation });
  });

  it("or is killed in an evaluation evaluates when it goes on, and notes it once", async () => {
    const evaluation = bars(3);
    const whole = await undisturbed({ evaluation });
    const [output, first, second] = [newFolder(), newFolder(), newFolder()];
    let loads = 0;
    const copying: Dataset = {
      ...evaluation,
      load: async (index) => {
        // What is on the disk in an evaluation is what a process leaves that is killed there.
        if (loads === 0) cpSync(output, first, { recursive: true });
        if (loads === 3) cpSync(output, second, { recursive: true });
        loads++;
        return bar(index);
      },
    };
    (await run({ evaluation: copying, output })).model.dispose();
    expect(await stateOf(first)).toMatchObject({ epoch: 0, batch: 3, step: 3 });
    expect(await stateOf(second)).toMatchObject({ epoch: 1, batch: 3, step: 6 });
    rmSync(join(first, "train.lock")); // its process is this one
    await expectSameAs(whole, first, { evaluation });
    // Killed later still: the best and the evaluation are written, the state behind them is not.
    cpSync(join(second, "last.safetensors"), join(output, "last.safetensors"));
    await expectSameAs(whole, output, { evaluation });
  });

  it("tells the first error when saving fails as well", async () => {
    const blocked = (error: unknown) => {
      const output = newFolder();
      const onStep = () => {
        mkdirSync(join(output, "last.safetensors", "in the way"), { recursive: true });
        throw error;
      };
      return failureOf(run({ output, onStep }));
    };
    const own = await blocked(new Error("as intended"));
    expect(own.message).toBe("as intended");
    expect(own.cause).toMatchObject({ code: "ERR_FILE_WRITE" });
    const typed = await blocked(new SoundspotError("ERR_DATASET", "as intended."));
    expect(typed.code).toBe("ERR_DATASET");
    expect(typed.message).toMatch(/^as intended\. .*last\.safetensors cannot be written/);
    expect(typed.cause).toMatchObject({ code: "ERR_FILE_WRITE" });
  });

  it("leaves the checkpoint of another run alone when no step was taken", async () => {
    const output = await undisturbed();
    const before = readFileSync(join(output, "last.safetensors"));
    const empty: Dataset = { ...data, load: () => Promise.reject(new Error("as intended")) };
    await failureOf(run({ data: empty, output }));
    expect(readFileSync(join(output, "last.safetensors")).equals(before)).toBe(true);
  });

  it("saves the steps though the metrics cannot be written, and writes them when it goes on", async () => {
    const output = newFolder();
    const metrics = join(output, "metrics.jsonl");
    const onStep = () => {
      rmSync(metrics, { force: true, recursive: true });
      mkdirSync(metrics);
    };
    const error = await failureOf(run({ output, onStep }));
    expect(error.code).toBe("ERR_FILE_WRITE");
    expect(error.message).toContain(metrics);
    expect(await stateOf(output)).toMatchObject({ epoch: 1, batch: 0, step: 3 });
    rmSync(metrics, { recursive: true });
    const { model, steps: taken } = await run({ output, resume: true });
    model.dispose();
    expect(taken).toBe(steps);
    expect(metricsOf(output).map(({ step }) => step)).toEqual([4, 5, 6]);
  });
});

describe("weights that are not finite", () => {
  it("never take the place of a checkpoint that is", async () => {
    const file = join(root, "finite.safetensors");
    using model = await Model.create(tiny);
    const trainer = new Trainer(model);
    await trainer.save(file);
    const before = readFileSync(file);
    const good = await model.parameters();
    // The first step makes infinite weights of it.
    const poisoned = join(root, "poisoned.safetensors");
    await trainer.step([0, 1].map((i) => bar(i)));
    await trainer.save(poisoned);
    const mean = "optimizer.exp_avg.imgnet.conv1.weight";
    writeFileSync(
      poisoned,
      withValues(readFileSync(poisoned), mean, (values) => values.fill(3e38)),
    );
    await trainer.restore(poisoned);
    await trainer.step([0, 1].map((i) => bar(i)));
    for (const save of [() => model.save(file), () => trainer.save(file)]) {
      const error = await failureOf(save());
      expect(error.code).toBe("ERR_INTERNAL");
      expect(error.message).toContain("imgnet.conv1.weight");
      expect(error.message).toContain(file);
    }
    expect(readFileSync(file).equals(before)).toBe(true);
    const error = await failureOf(model.localize(bar(0)));
    expect(error).toMatchObject({
      code: "ERR_INTERNAL",
      message: expect.stringMatching(/imgnet\.conv1.*not finite/),
    });
    await model.setParameters(good);
    await model.save(file);
  });

  it("do not come of an optimizer's state that none can have", async () => {
    const file = join(root, "impossible.safetensors");
    using model = await Model.create(tiny);
    const trainer = new Trainer(model);
    await trainer.step([0, 1].map((i) => bar(i)));
    await trainer.save(file);
    const whole = readFileSync(file);
    for (const [kind, value] of [
      ["exp_avg", Number.NaN],
      ["exp_avg_sq", Number.POSITIVE_INFINITY],
      ["exp_avg_sq", -1],
      ["step", -1],
    ] as const) {
      const state = withValues(whole, `optimizer.${kind}.imgnet.conv1.weight`, (values) =>
        values.fill(value, -1),
      );
      writeFileSync(file, state);
      expect(await failureOf(trainer.restore(file)), `${kind} ${value}`).toMatchObject({
        code: "ERR_CHECKPOINT_CORRUPT",
        message: expect.stringMatching(/impossible.*imgnet\.conv1\.weight/),
      });
    }
    // What is not of the training is of no interest to it.
    writeFileSync(
      file,
      withValues(whole, "imgnet.conv1.weight", (values) => values.fill(Number.NaN)),
    );
    await trainer.restore(file);
    await trainer.step([0, 1].map((i) => bar(i)));
    await model.save(file);
  });

  it("are not left by a step whose statistics overflow: it is not taken", async () => {
    using model = await Model.create(tiny);
    const trainer = new Trainer(model);
    // The squares of what comes out of this convolution are infinite, and with them the running variance.
    const { name, shape, data: values } = (await model.parameters())[0] as NamedTensor;
    await model.setParameters([{ name, shape, data: values.map((value) => 1e20 * value) }]);
    const before = await model.parameters();
    const error = await failureOf(trainer.step([0, 1].map((i) => bar(i))));
    expect(error).toMatchObject({
      code: "ERR_INTERNAL",
      message: expect.stringMatching(/imgnet\.bn1\.running_var.*not taken/),
    });
    expect(await model.parameters()).toEqual(before);
  });

  it("come of a run that diverges; what it leaves can be loaded", async () => {
    const output = newFolder();
    const diverging: Partial<TrainRunOptions> = { epochs: 100, learningRate: 10, weightDecay: 10 };
    const error = await failureOf(run({ ...diverging, output }));
    expect(error.code, error.message).toBe("ERR_INTERNAL");
    expect(error.message).toMatch(/not finite/);
    const left = readdirSync(output).filter((name) => name.endsWith(".safetensors"));
    expect(left).toContain("last.safetensors");
    for (const name of left) {
      using model = await Model.load(join(output, name));
      const parameters = await model.parameters();
      expect(
        parameters.every(({ data: own }) => own.every(Number.isFinite)),
        name,
      ).toBe(true);
    }
  });

  const all = (factor: number) => (_: string, data: Float32Array) => data.map((value) => factor * value);
  const some =
    (names: RegExp, change: (value: number, at: number) => number) => (name: string, data: Float32Array) =>
      names.test(name) ? data.map(change) : data;

  it.each([
    ["all, beyond float32", all(1e37), "imgnet.conv1 with imgnet.bn1"],
    ["the first convolution", some(/imgnet\.conv1/, (value) => 1e20 * value), "imgnet.conv1 with imgnet.bn1"],
    ["a norm", some(/audnet\.layer1\.0\.bn2\.weight/, () => 1e12), "audnet.layer1.0.conv2"],
    [
      "a negative variance",
      some(/audnet\.layer2\.0\.bn1\.running_var/, (value, at) => (at ? value : -1)),
      "audnet.layer2.0.conv1",
    ],
    ["the projection", some(/imgnet\.proj\.weight/, (value) => 1e25 * value), "imgnet.proj"],
    ["the slots", some(/slot_attn\.slots/, () => 1e20), "slot_attn.slots"],
    [
      "a layer of the slots",
      some(/img_mlp\.2\.weight/, (value) => 1e25 * value),
      "slot_attn.img_mlp.2.weight",
    ],
    [
      "many, each of a size that might be",
      some(/imgnet\..*bn\d\.weight/, (value) => 1e7 * value),
      "The output of imgnet",
    ],
  ] as const)("are reported where a map of them would mean nothing: %s", async (_, change, culprit) => {
    using model = await Model.create(tiny);
    const good = await model.parameters();
    const input = await bar(0);
    const before = await model.localize(input);
    await model.setParameters(
      good.map(({ name, shape, data: values }) => ({ name, shape, data: change(name, values) })),
    );
    for (const work of [
      () => model.localize(input, { precision: "float32" }),
      () => model.localize(input, { precision: "bfloat16" }),
      () => model.encode([input]),
      () => evaluate({ model, data }),
    ]) {
      const error = await failureOf(work());
      expect(error).toMatchObject({ code: "ERR_INTERNAL", message: expect.stringMatching(/too large/) });
      expect(error.message).toContain(culprit);
    }
    await model.setParameters(good);
    expect((await model.localize(input)).audioMap).toEqual(before.audioMap);
  });

  it("are not to blame for an image beyond all bounds", async () => {
    using model = await Model.create(tiny);
    const side = model.config.imageSize;
    const { audio } = bar(0);
    const shape = [3, side, side];
    for (const [size, code] of [
      [1e5, undefined],
      [1e7, "ERR_INPUT"],
      [3e38, "ERR_INPUT"],
    ] as const) {
      const tensor = Float32Array.from({ length: 3 * side * side }, (_, i) => (i % 3 ? size : -size));
      const work = model.localize({ image: { tensor, shape }, audio });
      if (code) expect(await failureOf(work), String(size)).toMatchObject({ code });
      else expect((await work).audioMap.every((value) => value >= 0 && value <= 1)).toBe(true);
    }
  });
});

describe("names and files", () => {
  it("rejects a loss that does not exist before anything is trained", async () => {
    const losses = { matchng: { weight: 1, from: 50 } };
    for (const work of [async () => parseTrainConfig({ losses }), () => run({ losses })]) {
      const error = await failureOf(work());
      expect(error.code).toBe("ERR_CONFIG");
      expect(error.message).toContain("train.losses.matchng");
      for (const name of lossNames()) expect(error.message).toContain(name);
    }
  });

  it("names a field that is a symbol", async () => {
    const losses = { [Symbol("odd")]: { weight: 1 } };
    const error = await failureOf((async () => parseTrainConfig({ losses }))());
    expect(error).toMatchObject({ code: "ERR_CONFIG", message: expect.stringMatching(/train\.losses.*odd/) });
  });

  it("knows no loss that the addon does not know", async () => {
    using model = await Model.create(tiny);
    const trainer = new Trainer(model, recipe);
    Object.assign(trainer, {
      config: { ...trainer.config, losses: { none: { weight: 1, from: 0, ramp: 0, temperature: 1 } } },
    });
    const { message } = await failureOf(trainer.step([0, 1].map((i) => bar(i))));
    const known = /Known losses: (.*)\.$/.exec(message)?.[1]?.split(", ");
    expect(known, message).toEqual(expect.arrayContaining(lossNames()));
  });

  it("rejects a preset that does not exist", async () => {
    for (const preset of ["typo", "toString"]) {
      const error = await failureOf(run({ preset: preset as "paper" }));
      expect(error.code).toBe("ERR_CONFIG");
      expect(error.message).toMatch(new RegExp(`"${preset}".*paper, scratch, lvs`));
    }
  });

  it.each(["{torn", "null", "3", "{}", '{"epoch":1,"batch":0,"step":3,"lossSum":1,"samples":14,"config":3}'])(
    "does not resume from the training state %s",
    async (state) => {
      const output = newFolder();
      mkdirSync(output);
      const file = join(output, "last.safetensors");
      using model = await Model.create(tiny);
      await new Trainer(model).save(file, { "soundspot.training": state });
      const error = await failureOf(run({ output, resume: true }));
      expect(error.code, error.message).toBe("ERR_CHECKPOINT_CORRUPT");
      expect(error.message).toContain(file);
      expect(error.message).toContain("without resume");
    },
  );

  it("tells of a damaged training state in `info --json`", async () => {
    const file = join(root, "damaged.safetensors");
    using model = await Model.create(tiny);
    await model.save(file, { metadata: { "soundspot.training": "{torn" } });
    const program = new Command();
    registerInfo(program);
    const error = await failureOf(program.parseAsync(["info", file, "--json"], { from: "user" }));
    expect(error.code).toBe("ERR_CHECKPOINT_CORRUPT");
  });

  it("rejects an output that cannot be a folder", async () => {
    const file = join(root, "a-file");
    writeFileSync(file, "mine");
    for (const output of [file, join(file, "run")]) {
      const error = await failureOf(run({ output }));
      expect(error.code, error.message).toBe("ERR_FILE_WRITE");
      expect(error.message).toContain(output);
    }
    expect(readFileSync(file, "utf8")).toBe("mine");
  });

  it("keeps metrics that it cannot read", async () => {
    const output = newFolder();
    mkdirSync(join(output, "metrics.jsonl"), { recursive: true });
    expect(await failureOf(run({ output }))).toMatchObject({ code: "ERR_FILE_WRITE" });
    expect(readdirSync(output)).toEqual(["metrics.jsonl"]);
  });
});

describe("one output", () => {
  it("is of one run at a time", async () => {
    const output = newFolder();
    let second: Promise<SoundspotError> | undefined;
    const onStep = () => {
      second ??= failureOf(run({ output }));
    };
    (await run({ output, onStep })).model.dispose();
    const error = (await second) as SoundspotError;
    expect(error.code, error.message).toBe("ERR_BUSY");
    expect(error.message).toContain(join(output, "train.lock"));
    (await run({ output })).model.dispose(); // given back
    await failureOf(run({ output, onStep: () => expect.fail("after a failure as well") }));
    expect(existsSync(join(output, "train.lock"))).toBe(false);
  });

  it("is rejected while another process is at work, and taken over when it has ended", async () => {
    const output = newFolder();
    mkdirSync(output);
    const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", 2] });
    const ended = new Promise((resolve) => child.on("close", resolve));
    writeFileSync(join(output, "train.lock"), JSON.stringify({ id: "x", pid: child.pid, host: hostname() }));
    const error = await failureOf(run({ output }));
    expect(error.code).toBe("ERR_BUSY");
    expect(error.message).toContain(`process ${child.pid}`);
    child.kill("SIGKILL");
    await ended;
    (await run({ output })).model.dispose();
    expect(readdirSync(output).sort()).toEqual(["best.safetensors", "last.safetensors", "metrics.jsonl"]);
  });

  it("may lie in a folder that is being prepared", async () => {
    const output = newFolder();
    mkdirSync(output);
    const unlock = await lockFolder(output);
    (await run({ output, epochs: 1 })).model.dispose();
    expect(existsSync(join(output, "prepare.lock"))).toBe(true);
    await unlock();
  });
});
