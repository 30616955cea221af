/** A processor without the requested instructions: another path, a warning, the same answer. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model } from "../../../src/index.js";
import { processor } from "../../support/processor.js";
import { tiny } from "../../support/tiny.js";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "soundspot-processor-"));
const checkpoint = join(folder, "model.safetensors");
const worker = fileURLToPath(new URL("../../support/precision-worker.mjs", import.meta.url));

/** Of x86: caps that every such processor accepts, and the instruction set that remains. */
const caps = [
  [{ ATEN_CPU_CAPABILITY: "default" }, "default"],
  [{ ONEDNN_MAX_CPU_ISA: "SSE41" }, "default"],
  [{ ATEN_CPU_CAPABILITY: "avx2" }, "avx2"],
  [{ ONEDNN_MAX_CPU_ISA: "AVX2" }, "avx2"],
  [{ ONEDNN_MAX_CPU_ISA: "avx2_vnni" }, "avx2"],
  [{ ATEN_CPU_CAPABILITY: "avx2", ONEDNN_MAX_CPU_ISA: "AVX2" }, "avx2"],
  [{ ONEDNN_MAX_CPU_ISA: "AVX512_CORE" }, "avx512"],
] as const;
const order = ["default", "avx2", "avx512", "avx512_bf16"];
const uncapped = {
  ATEN_CPU_CAPABILITY: undefined,
  ONEDNN_MAX_CPU_ISA: undefined,
  DNNL_MAX_CPU_ISA: undefined,
};

interface Answer {
  readonly cpu: typeof processor;
  readonly compute: Model["compute"];
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  /** Greatest differences of the maps in float32 from those in bfloat16 and in "auto". */
  readonly bfloat16: number;
  readonly auto: number;
  readonly losses: Readonly<Record<"float32" | "bfloat16", number>>;
  readonly resumed: readonly { readonly code: string }[];
}

const answers = new Map<string, Promise<Answer>>();

/** Output of a process under these caps. */
function under(env: Readonly<Record<string, string | undefined>>): Promise<Answer> {
  const key = JSON.stringify(env);
  const found = answers.get(key);
  if (found) return found;
  const asked = run(process.execPath, [worker, checkpoint, mkdtempSync(join(folder, "run-"))], {
    env: { ...process.env, ...uncapped, ...env },
  }).then(({ stdout }) => JSON.parse(stdout) as Answer);
  answers.set(key, asked);
  return asked;
}

beforeAll(async () => {
  using model = await Model.create(tiny);
  await model.save(checkpoint);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(process.arch !== "x64")("under a cap", () => {
  it.each(caps)("%o the kernels are of the lesser kind", async (env, most) => {
    const { cpu } = await under(env);
    const whole = (await under({})).cpu;
    expect(cpu.hardware).toEqual(whole.hardware);
    const widest = Math.min(order.indexOf(most), order.indexOf(whole.instructionSet));
    expect(cpu.instructionSet).toBe(order[widest]);
    expect(cpu.features.every((feature) => whole.features.includes(feature))).toBe(true);
    expect(cpu.features.includes("avx512")).toBe(widest >= 2);
    expect(cpu.features.includes("avx2")).toBe(widest >= 1);
    expect(cpu.bfloat16).toBe(false);
  });

  it.each(caps)("%o bfloat16 is computed in float32, with one warning", async (env) => {
    const { compute, warnings, bfloat16, auto, losses, resumed } = await under(env);
    expect(compute).toMatchObject({ device: "cpu", requested: "bfloat16", precision: "float32" });
    expect(bfloat16).toBe(0);
    expect(auto).toBe(0);
    expect(losses.bfloat16).toBe(losses.float32);
    expect(warnings.map(({ code }) => code)).toEqual(["SOUNDSPOT_PRECISION"]);
    expect(warnings[0]?.message).toMatch(/bfloat16 .* float32/s);
    expect(resumed.map(({ code }) => code)).toEqual(["SOUNDSPOT_PRECISION"]);
  });
});

describe("without a cap", () => {
  it("bfloat16 is computed where the processor multiplies it", async () => {
    const { cpu, compute, warnings, bfloat16, losses } = await under({});
    expect(compute.precision).toBe(cpu.bfloat16 ? "bfloat16" : "float32");
    expect(warnings.length).toBe(cpu.bfloat16 ? 0 : 1);
    expect(bfloat16 > 0).toBe(cpu.bfloat16);
    expect(losses.bfloat16 !== losses.float32).toBe(cpu.bfloat16);
  });

  it("a model reports the requested precision", async () => {
    using model = await Model.load(checkpoint, { precision: "float32" });
    expect(model.compute).toMatchObject({ requested: "float32", precision: "float32", processor });
    using automatic = await Model.create(tiny);
    expect(automatic.compute).toMatchObject({
      requested: "auto",
      precision: processor.bfloat16 ? "bfloat16" : "float32",
    });
    await expect(Model.load(checkpoint, { precision: "half" as "auto" })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(/precision must be one of auto, float32, tf32, bfloat16/),
    });
  });
});
