/** Precisions and devices by name, and the GPU of each process that a launcher started. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { processCount } from "../../../src/cli/options.js";
import { processesFor } from "../../../src/cli/processes.js";
import { Model, SoundspotError, Trainer, type TrainOptions } from "../../../src/index.js";
import { computedPrecision, type Device, placeOf } from "../../../src/model/compute.js";
import { native } from "../../../src/native.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const machine = (gpus: number) => ["cpu", ...Array.from({ length: gpus }, (_, i) => `cuda:${i}`)];
const member = (more: Record<string, string> = {}) => ({
  RANK: "5",
  WORLD_SIZE: "8",
  MASTER_ADDR: "10.0.0.1",
  MASTER_PORT: "29500",
  ...more,
});

describe("the device of a process", () => {
  it("is the GPU of its rank on the machine, or an error where there is none", () => {
    const rank = fc.nat(9);
    fc.assert(
      fc.property(fc.nat(8), rank, fc.constantFrom<Device>("auto", "cuda"), (gpus, own, wanted) => {
        const place = () => placeOf(wanted, machine(gpus), member({ LOCAL_RANK: String(own) }));
        if (gpus === 0) expect(place()).toBe(wanted);
        else if (own < gpus) expect(place()).toBe(`cuda:${own}`);
        else {
          expect(place).toThrow(SoundspotError);
          expect(place).toThrow(expect.objectContaining({ code: "ERR_DEVICE" }));
          expect(place).toThrow(`LOCAL_RANK is ${own}`);
          expect(place).toThrow(gpus === 1 ? "has one GPU:" : `has ${gpus} GPUs:`);
        }
      }),
    );
  });

  it("is the one that was named, whatever the rank", () => {
    for (const wanted of ["cpu", "cuda:0", "cuda:7"] as const) {
      expect(placeOf(wanted, machine(2), member({ LOCAL_RANK: "1" }))).toBe(wanted);
    }
  });

  it("is not chosen for a process on its own, nor without a rank on the machine", () => {
    expect(placeOf("auto", machine(4), { LOCAL_RANK: "2" })).toBe("auto");
    expect(placeOf("auto", machine(4), member({ WORLD_SIZE: "1", LOCAL_RANK: "2" }))).toBe("auto");
    expect(placeOf("cuda", machine(4), member())).toBe("cuda");
  });

  it("is that of SLURM's rank, or the only GPU that a task is bound to", () => {
    const slurm = { MASTER_ADDR: "n1", MASTER_PORT: "29500", SLURM_PROCID: "5", SLURM_STEP_NUM_TASKS: "8" };
    expect(placeOf("auto", machine(4), { ...slurm, SLURM_LOCALID: "1" })).toBe("cuda:1");
    expect(placeOf("auto", machine(1), { ...slurm, SLURM_LOCALID: "1" })).toBe("cuda:0");
    expect(() => placeOf("auto", machine(2), { ...slurm, SLURM_LOCALID: "2" })).toThrow("SLURM_LOCALID is 2");
    expect(placeOf("auto", machine(4), { ...slurm, SLURM_LOCALID: "1", LOCAL_RANK: "3" })).toBe("cuda:3");
  });

  it("is not made of a rank that is no number", () => {
    for (const text of ["", "one", "-1", "1.5", "0x1"]) {
      const place = () => placeOf("auto", machine(4), member({ LOCAL_RANK: text }));
      expect(place, text).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
      expect(place, text).toThrow(`LOCAL_RANK is "${text}"`);
    }
  });
});

describe("--processes", () => {
  it("is a number or auto, which is one for each GPU and one without", () => {
    expect([processCount("auto"), processCount("3")]).toEqual(["auto", 3]);
    for (const text of ["0", "-2", "1.5", "all", ""])
      expect(() => processCount(text), text).toThrow(/whole number/);
    expect([0, 1, 2, 8].map((gpus) => processesFor("auto", machine(gpus)))).toEqual([1, 1, 2, 8]);
    expect(processesFor(3, machine(8))).toBe(3);
    expect(processesFor(undefined, machine(8))).toBeUndefined();
  });
});

describe("precision tf32", () => {
  it("is computed in float32 on the CPU, with one warning, and the model reports it", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on("warning", listen);
    using model = await Model.create(tiny, { seed: 2, precision: "tf32" });
    using plain = await Model.create(tiny, { seed: 2, precision: "float32" });
    expect(model.compute).toMatchObject({ device: "cpu", requested: "tf32", precision: "float32" });
    expect(computedPrecision("tf32", "cpu")).toBe("float32");
    expect(native().info().precisions.cpu).not.toContain("tf32");
    expect(native().info().precisions.cpu).toContain("float32");
    const [spot, other] = await Promise.all([model.localize(bar(0)), plain.localize(bar(0))]);
    expect(spot.heatmap).toEqual(other.heatmap);

    const train = (precision: TrainOptions["precision"]) =>
      ({ precision, seed: 3, learningRate: 1e-3 }) as const;
    using trainer = new Trainer(model, train("tf32"));
    using plainTrainer = new Trainer(plain, train("float32"));
    expect(trainer.config.precision).toBe("tf32");
    const batch = [0, 1, 2, 3].map((i) => bar(i));
    expect(await trainer.step(batch)).toEqual(await plainTrainer.step(batch));
    await new Promise((done) => setImmediate(done));
    process.off("warning", listen);
    expect(warnings.filter((message) => message.includes("tf32 was requested"))).toHaveLength(1);
  });

  it("is no other name", async () => {
    await expect(Model.create(tiny, { precision: "tf16" as "tf32" })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringContaining("tf32"),
    });
    using model = await Model.create(tiny);
    expect(() => new Trainer(model, { precision: "half" as "tf32" })).toThrow(
      expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringContaining("train.precision") }),
    );
  });
});
