/**
 * The variant for NVIDIA GPUs on a machine without one: `node scripts/test-cuda.mjs` builds it and runs this. On a
 * machine with a GPU the tests of what is missing are skipped.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildFolders, chooseAddon, hasDriver, recordOf } from "../../scripts/locate.mjs";
import { freePort } from "../../src/cli/processes.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const addon = join(buildFolders(root, "cuda")[0] as string, "Release/soundspot.node");
const built = existsSync(addon) && existsSync(join(root, "dist/index.js"));
if (!built)
  console.warn(
    `test/slow/cuda.test.ts is skipped: it needs dist/ and ${addon} (node scripts/test-cuda.mjs).`,
  );
const without = built && !hasDriver();

const env = (variant?: "cpu" | "cuda") => {
  const { SOUNDSPOT_VARIANT, SOUNDSPOT_PREBUILD, ...rest } = process.env;
  return variant === undefined ? rest : { ...rest, SOUNDSPOT_VARIANT: variant };
};

/** Runs a script with a variant, in a process of its own; it prints JSON. */
function run(script: string, variant: "cpu" | "cuda", more: object = {}): unknown {
  const program = `import { Model, Trainer } from "./dist/index.js";\n${script}`;
  const options = { cwd: root, env: { ...env(variant), ...more }, encoding: "utf8" } as const;
  return JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", program], options));
}

const doctor = (variant?: "cpu" | "cuda") => {
  const args = [join(root, "dist/cli/main.js"), "doctor", "--json"];
  const { stdout } = spawnSync(process.execPath, args, { env: env(variant), encoding: "utf8" });
  return JSON.parse(stdout) as {
    ok: boolean;
    findings: {
      name: string;
      status: string;
      found: string;
      fix?: string;
      details: Record<string, unknown>;
    }[];
  };
};

const create = `
  const options = { imageSize: 64, imageWidth: 8, audioWidth: 4, dim: 16, method: { name: "joint-slot-attention" }, audio: { seconds: 1 } };
  const input = (i) => ({
    image: { data: new Uint8Array(64 * 64 * 3).map((_, at) => (at * (i + 3)) % 251), width: 64, height: 64 },
    audio: { samples: Float32Array.from({ length: 16000 }, (_, at) => Math.sin(at / (9 + i))), sampleRate: 16000 },
  });
`;

describe.skipIf(!built)("the variant cuda (skipped where it is not built)", () => {
  it("is linked to LibTorch's and CUDA's libraries, and says what it is compiled for", () => {
    const linked = execFileSync("readelf", ["-d", addon], { encoding: "utf8" });
    for (const name of ["libtorch_cuda.so", "libcudart.so"]) expect(linked).toContain(name);
    expect(recordOf(addon)).toMatchObject({ variant: "cuda" });
  });

  it("computes on the CPU what the variant cpu computes, in localization and in a step", () => {
    const script = `${create}
      const model = await Model.create(options, { seed: 1, device: "cpu", precision: "float32" });
      const spot = await model.localize(input(1));
      const step = await new Trainer(model, { learningRate: 1e-3, precision: "float32", augment: false, batchSize: 2 }).step([input(0), input(1)]);
      console.log(JSON.stringify({ heatmap: [...spot.heatmap], total: step.losses.total }));`;
    const [ours, others] = [run(script, "cuda"), run(script, "cpu")] as {
      heatmap: number[];
      total: number;
    }[];
    const far = Math.max(
      ...(ours?.heatmap ?? []).map((value, i) => Math.abs(value - (others?.heatmap[i] ?? 9))),
    );
    expect(others?.heatmap.length).toBe(64 * 64);
    expect(far).toBeLessThan(1e-4);
    expect(ours?.total).toBeCloseTo(others?.total ?? Number.NaN, 4);
  });

  it("trains in a group of processes, on Gloo where there is no GPU", async () => {
    // A group of one goes through the same store and backends.
    const script = `
      import { ProcessGroup } from "./dist/index.js";
      const group = await ProcessGroup.join({ rank: 0, size: 1, address: "127.0.0.1", port: ${await freePort()} });
      ${create}
      const model = await Model.create(options, { seed: 1, device: "cpu" });
      const trainer = new Trainer(model, { precision: "float32", augment: false, batchSize: 2 }, group);
      const { losses } = await trainer.step([input(0), input(1)]);
      console.log(JSON.stringify(losses.total));
      process.exit(0);`;
    expect(run(script, "cuda")).toBeGreaterThan(0);
  });
});

describe.skipIf(!without)("the variant cuda without a GPU (skipped with one)", () => {
  it("takes the CPU where the device is auto", () => {
    const script = `${create}
      const model = await Model.create(options, { seed: 1 });
      console.log(JSON.stringify(model.compute.device));`;
    expect(run(script, "cuda")).toBe("cpu");
  });

  it("rejects every CUDA device by a typed error that says what to do, and lives on", () => {
    const script = `${create}
      const outcomes = {};
      for (const device of ["cuda", "cuda:0", "cuda:7"]) {
        outcomes[device] = await Model.create(options, { device }).then(() => "done", ({ name, code, message }) => ({ name, code, message }));
      }
      const model = await Model.create(options, { device: "auto" });
      outcomes.pixels = (await model.localize(input(0))).heatmap.length;
      console.log(JSON.stringify(outcomes));`;
    const { pixels, ...outcomes } = run(script, "cuda") as Record<string, unknown>;
    expect(pixels).toBe(64 * 64);
    for (const device of ["cuda", "cuda:0", "cuda:7"]) {
      expect(outcomes[device]).toEqual({
        name: "SoundspotError",
        code: "ERR_DEVICE",
        message:
          `There is no device "${device}". No NVIDIA driver is installed here, or this container has no access to it ` +
          "(`docker run --gpus all`). Use one of: auto, cpu.",
      });
    }
  });

  it("is described by doctor", () => {
    const { ok, findings } = doctor("cuda");
    expect(ok).toBe(true);
    const of = (name: string) => findings.find((each) => each.name === name);
    expect(of("addon")).toMatchObject({ status: "ok", details: { variant: "cuda", loads: true } });
    expect(of("libtorch")).toMatchObject({ status: "ok", details: { variant: "cuda" } });
    expect(of("gpu")).toMatchObject({
      status: "warning",
      found: expect.stringMatching(
        /^no GPU, no NVIDIA driver; auto is cpu: No NVIDIA driver is installed here/,
      ),
      details: {
        auto: "cpu",
        driver: null,
        cudaOfDriver: null,
        cudaOfBuild: expect.stringMatching(/^1[23]\.\d$/),
      },
    });
  });

  it("is not loaded by default, beside the variant cpu", () => {
    expect(chooseAddon({ root, env: env() }).variant).toBe("cpu");
    expect(chooseAddon({ root, env: env(), driver: () => true })).toMatchObject({ variant: "cuda", addon });
  });
});

const FAKE = `
#include <stdlib.h>
int cuInit(unsigned flags) { return atoi(getenv("FAKE_INIT")); }
int cuDriverGetVersion(int* version) { *version = atoi(getenv("FAKE_DRIVER")); return 0; }
`;

describe.skipIf(!without)("the variant cuda with a driver that cannot be used (skipped with a GPU)", () => {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-driver-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeAll(() => {
    // What CUDA asks a driver for first, in place of NVIDIA's.
    writeFileSync(join(folder, "cuda.c"), FAKE);
    execFileSync("gcc", ["-shared", "-fPIC", "-o", "libcuda.so.1", "cuda.c"], { cwd: folder });
  });
  const outcome = (driver: number, init: number) => {
    const script = `${create}
      const { code, message } = await Model.create(options, { device: "cuda" }).catch((error) => error);
      const { device } = (await Model.create(options, { device: "auto" })).compute;
      console.log(JSON.stringify({ code, message, device }));`;
    const more = { LD_LIBRARY_PATH: folder, FAKE_DRIVER: String(driver), FAKE_INIT: String(init) };
    return run(script, "cuda", more) as { code: string; message: string; device: string };
  };

  it("says that it is too old, with both versions", () => {
    const { code, message, device } = outcome(12_040, 100);
    expect([code, device]).toEqual(["ERR_DEVICE", "cpu"]);
    expect(message).toMatch(
      /^There is no device "cuda"\. The NVIDIA driver is too old: it runs CUDA up to 12\.4, this build needs 1[3-9]\.\d\. Install a newer driver/,
    );
  });

  it("says that no GPU answers, or what the driver says", () => {
    const none = outcome(99_000, 100);
    expect([none.code, none.device]).toEqual(["ERR_DEVICE", "cpu"]);
    expect(none.message).toContain("No NVIDIA GPU answers: look at the output of nvidia-smi");
    const broken = outcome(99_000, 999);
    expect([broken.code, broken.device]).toEqual(["ERR_DEVICE", "cpu"]);
    expect(broken.message).toContain("NVIDIA's driver fails: ");
  });
});
