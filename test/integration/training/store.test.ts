/** Runs with a store of decoded samples: they are the runs without one, whatever comes in the way. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  type Dataset,
  Model,
  SoundspotError,
  Trainer,
  type TrainOptions,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { native, type SampleHandle } from "../../../src/native.js";
import { small } from "../../support/comparison.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const dist = fileURLToPath(new URL("../../../dist/index.js", import.meta.url));
const built = existsSync(dist);
if (!built) console.warn("test/integration/training/store.test.ts leaves out killed runs: there is no dist.");

const root = mkdtempSync(join(tmpdir(), "soundspot-stored-runs-"));
const mounted: string[] = [];
const newFolder = () => mkdtempSync(join(root, "folder-"));
const mounts = (...args: string[]) => spawnSync("mount", args).status === 0;
const canMount =
  process.platform === "linux" &&
  process.getuid?.() === 0 &&
  (() => {
    const probe = newFolder();
    return (
      mounts("-t", "tmpfs", "-o", "size=64k", "tmpfs", probe) && spawnSync("umount", [probe]).status === 0
    );
  })();
if (!canMount)
  console.warn("test/integration/training/store.test.ts leaves out full disks: they take root on Linux.");
afterAll(() => {
  for (const path of mounted) spawnSync("umount", ["-l", path]);
  rmSync(root, { recursive: true, force: true });
});

const count = 14;
const recipe: TrainOptions = { epochs: 3, batchSize: 4, learningRate: 2e-3, falseNegatives: { k: 1 } };

/** Bars; `damaged` ones cannot be read. */
function bars(loaded: number[] = [], damaged: readonly number[] = []): Dataset {
  return {
    name: "bars",
    length: count,
    idOf: (index) => `bar ${index}`,
    load: async (index) => {
      loaded.push(index);
      if (damaged.includes(index)) throw new SoundspotError("ERR_MEDIA_DECODE", `bar ${index} is damaged.`);
      return bar(index);
    },
  };
}

/** The parameters that a run ends with, as bytes, and what it skipped. */
async function outcomeOf(options: Partial<TrainRunOptions>) {
  const { model, skipped } = await train({ model: tiny, data: bars(), ...recipe, ...options });
  using held = model;
  const parameters = await held.parameters();
  const bytes = Buffer.concat(
    parameters.map(({ data: { buffer, byteOffset, byteLength } }) =>
      Buffer.from(buffer, byteOffset, byteLength),
    ),
  );
  return { parameters: bytes.toString("base64"), skipped };
}

describe("a run with a store", () => {
  it("ends with the parameters of one without, and decodes each sample once", async () => {
    const loaded: number[] = [];
    const store = newFolder();
    const without = await outcomeOf({});
    expect(await outcomeOf({ data: bars(loaded), store })).toEqual(without);
    const [measured, ...decoded] = loaded; // the first, for the size of the store
    expect(measured).toBe(0);
    expect(new Set(decoded).size).toBe(decoded.length);
    loaded.length = 0;
    expect(await outcomeOf({ data: bars(loaded), store })).toEqual(without);
    expect(loaded).toEqual([]);
  });

  it("reports what the store has and how large it is with all samples", async () => {
    const store = newFolder();
    const seen: unknown[] = [];
    const onStore = (event: unknown) => seen.push(event);
    await outcomeOf({ store, onStore });
    await outcomeOf({ store, onStore });
    const each = 35 * 35 * 3 + 4 * 257 * 51; // short side 35, half a second
    const bytes = count * each;
    expect(seen).toEqual([
      { folder: store, samples: 0, total: count, bytes },
      { folder: store, samples: count, total: count, bytes },
    ]);
    expect(statSync(join(store, "part-0.data")).size).toBe(bytes);
  });

  it("resumes where it was stopped, in an epoch that is stored in part", async () => {
    const without = await outcomeOf({});
    for (const last of [2, 5]) {
      const [store, output] = [newFolder(), newFolder()];
      const stop = new AbortController();
      const onStep: TrainRunOptions["onStep"] = ({ step }) => step === last && stop.abort();
      await expect(outcomeOf({ store, output, onStep, signal: stop.signal })).rejects.toMatchObject({
        code: "ERR_ABORTED",
      });
      expect(await outcomeOf({ store, output, resume: true })).toEqual(without);
    }
  });

  it("skips damaged samples as one without", async () => {
    const options = { maxDamaged: 0.5 };
    const without = await outcomeOf({ ...options, data: bars([], [3, 8]) });
    expect(without.skipped.map(({ index }) => index).sort()).toEqual([3, 8]);
    expect(await outcomeOf({ ...options, data: bars([], [3, 8]), store: newFolder() })).toEqual(without);
  });

  it("trains methods with views of neighbours alike", async () => {
    const options: Partial<TrainRunOptions> = {
      model: small("alignment"),
      neighbours: Array.from({ length: count }, (_, i) => [(i + 1) % count, (i + 5) % count]),
    };
    const without = await outcomeOf(options);
    expect(await outcomeOf({ ...options, store: newFolder() })).toEqual(without);
  });

  it("frees samples and views of a batch as soon as its step is taken, decoded or stored", async () => {
    const stepPrepared = vi.spyOn(Trainer.prototype, "stepPrepared");
    onTestFinished(() => stepPrepared.mockRestore());
    const disposed = expect.objectContaining({ code: "ERR_DISPOSED" });
    let steps = 0;
    await outcomeOf({
      model: small("alignment"),
      device: "cpu", // on others, samples are staged
      neighbours: Array.from({ length: count }, (_, i) => [(i + 1) % count]),
      store: newFolder(),
      onStep: () => {
        steps++;
        const [samples, , views] = stepPrepared.mock.lastCall as Parameters<Trainer["stepPrepared"]>;
        const handles = [samples as readonly SampleHandle[], ...Object.values(views ?? {})].flat();
        expect(handles).toHaveLength(12); // a batch of 4 with two views
        for (const handle of handles) expect(() => native().tensors(handle)).toThrow(disposed);
      },
    });
    expect(steps).toBe(9);
  });
});

describe.skipIf(!canMount)("a store on a disk that is full", () => {
  /** A disk of its own, so many KiB large. */
  function disk(kibibytes: number): string {
    const path = newFolder();
    expect(mounts("-t", "tmpfs", "-o", `size=${kibibytes}k`, "tmpfs", path)).toBe(true);
    mounted.push(path);
    return path;
  }
  /** Fills what is left of a disk, but for some KiB. */
  function fill(path: string, left: number): void {
    const file = openSync(join(path, "filler"), "w");
    try {
      for (;;) writeSync(file, Buffer.alloc(4096));
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
    } finally {
      closeSync(file);
    }
    const filler = readFileSync(join(path, "filler"));
    writeFileSync(join(path, "filler"), filler.subarray(0, filler.length - left * 1024));
  }

  it("is rejected before the first step where it lacks the space", async () => {
    const error = await outcomeOf({ store: disk(400) }).then(
      () => undefined,
      (reason: SoundspotError) => reason,
    );
    expect(error?.code).toBe("ERR_FILE_WRITE");
    expect(error?.message).toMatch(
      /needs 0\.001 GB for the 14 samples of bars .* Give a folder on another disk/,
    );
  });

  it("keeps what it has when it becomes full, warns once, and the run goes on", async () => {
    const store = disk(2000);
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    onTestFinished(() => void process.off("warning", onWarning));
    const without = await outcomeOf({});
    const loaded: number[] = [];
    expect(await outcomeOf({ data: bars(loaded), store, onStore: () => fill(store, 300) })).toEqual(without);
    const own = warnings.filter((each) => (each as NodeJS.ErrnoException).code === "SOUNDSPOT_STORE");
    expect(own).toHaveLength(1);
    expect(own[0]?.message).toMatch(/keeps the [1-9] samples that it has.*No space left on device/);
    expect(loaded.length).toBeGreaterThan(count);
    // With space again it is filled to the end.
    rmSync(join(store, "filler"));
    expect(await outcomeOf({ data: bars(), store })).toEqual(without);
    loaded.length = 0;
    expect(await outcomeOf({ data: bars(loaded), store })).toEqual(without);
    expect(loaded).toEqual([]);
  });
});

describe.skipIf(!built)("several processes with a store", () => {
  it("fill it together, and end with the parameters of those without", async () => {
    const folder = newFolder();
    const rows: string[] = [];
    for (let index = 0; index < count; index++) {
      const { image, audio } = bar(index);
      writeFileSync(join(folder, `${index}.png`), await encodeImage(image, { format: "png" }));
      writeFileSync(join(folder, `${index}.wav`), encodeWav(audio));
      rows.push(JSON.stringify({ image: `${index}.png`, audio: `${index}.wav` }));
    }
    writeFileSync(join(folder, "list.jsonl"), rows.join("\n"));
    writeFileSync(join(folder, "tiny.yaml"), JSON.stringify({ model: tiny, train: recipe }));
    const cli = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
    const store = join(folder, "store");
    const trained = async (output: string, ...more: string[]) => {
      const own = ["--data", "list.jsonl", "--config", "tiny.yaml", "--output", output, "--processes", "2"];
      const { status, stderr } = spawnSync(process.execPath, [cli, "train", ...own, ...more], {
        cwd: folder,
        encoding: "utf8",
        env: { ...process.env, OMP_NUM_THREADS: "1" },
      });
      expect(status, stderr).toBe(0);
      using model = await Model.load(join(folder, output, "last.safetensors"));
      return { parameters: await model.parameters(), stderr };
    };
    const without = await trained("without");
    const filling = await trained("filling", "--store", store);
    expect(filling.parameters).toEqual(without.parameters);
    expect(filling.stderr).toContain(`store ${store}: 0 of 14 samples are there; 0.00 GB with all`);
    expect(readdirSync(store).filter((name) => name.endsWith(".data"))).toEqual([
      "part-0.data",
      "part-1.data",
    ]);
    const reading = await trained("reading", "--store", store);
    expect(reading.parameters).toEqual(without.parameters);
    expect(reading.stderr).toContain(`store ${store}: 14 of 14 samples are there`);
  });
});

describe.skipIf(!built)("a run with a store that is killed", () => {
  const running = new Set<ChildProcess>();
  afterAll(() => {
    for (const child of running) child.kill("SIGKILL");
  });
  const script = join(root, "run.mjs");
  writeFileSync(
    script,
    `
import { train } from ${JSON.stringify(pathToFileURL(dist).href)};
const data = {
  name: "noise",
  length: ${count},
  idOf: (index) => "noise " + index,
  async load(index) {
    const image = new Uint8Array(36 * 36 * 3).map((_, i) => (i * (index + 3) * 31) % 256);
    const samples = Float32Array.from({ length: 8000 }, (_, i) => Math.sin(i * 0.02 * (index + 1)));
    process.stdout.write("load " + index + "\\n");
    return { id: "noise " + index, image: { data: image, width: 36, height: 36 }, audio: { samples, sampleRate: 16000 } };
  },
};
const [output, store] = process.argv.slice(2);
const onStep = ({ step }) => process.stdout.write("step " + step + "\\n");
await train({ ...${JSON.stringify({ ...recipe, checkpointSteps: 1 })}, model: ${JSON.stringify(tiny)}, data, output, resume: true, onStep, ...(store ? { store } : {}) });
`,
  );
  /** @returns what it printed; it is killed when that has \`until\` in it */
  function run(args: readonly string[], until?: string): Promise<string> {
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    running.add(child);
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += String(chunk);
      if (until !== undefined && output.includes(until)) child.kill("SIGKILL");
    });
    return new Promise((resolve) => {
      child.on("close", () => {
        running.delete(child);
        resolve(output);
      });
    });
  }
  const tensorsOf = async (folder: string) => {
    using model = await Model.load(join(folder, "last.safetensors"));
    return (await model.parameters()).map(({ name, data }) => [
      name,
      Buffer.from(data.buffer).toString("base64"),
    ]);
  };

  it.each(["load 5\n", "step 2\n", "step 4\n"])("goes on with the same results, after %j", async (until) => {
    const [plain, output, store] = [newFolder(), newFolder(), newFolder()] as const;
    await run([plain]);
    await run([output, store], until);
    expect(readdirSync(store)).toContain("part-0.lock");
    await run([output, store]);
    expect(await tensorsOf(output)).toEqual(await tensorsOf(plain));
    expect(readdirSync(store).sort()).toEqual(["part-0.data", "part-0.index", "store.json"]);
    // Whatever the killed run left, all is stored in the end.
    expect(await run([newFolder(), store])).not.toContain("load");
  });
});
