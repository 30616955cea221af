/** `soundspot quantize`: from a checkpoint to an int8 file, what other commands say of it, and its errors. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { datasets, Model } from "../../../src/index.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-quantize-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const main = new URL("../../../dist/cli/main.js", import.meta.url).pathname;
const built = existsSync(main);
if (!built) console.warn("test/integration/evaluation/quantize.test.ts is skipped: there is no dist.");

const checkpoint = join(folder, "model.safetensors");
const output = join(folder, "model.int8.safetensors");
const scenes = "scenes:size=32,seconds=1,length=8";

async function soundspot(...args: string[]) {
  const run = promisify(execFile)(process.execPath, [main, ...args]);
  return run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
      code,
      stdout,
      stderr,
    }),
  );
}

describe.skipIf(!built)("soundspot quantize (skipped without dist)", () => {
  beforeAll(async () => {
    using model = await Model.create({ ...tiny, imageWidth: 16 }, { seed: 1 });
    await model.save(checkpoint);
    const result = await soundspot(
      ...["quantize", checkpoint, "--data", scenes, "--pairs", "6", "--evaluation", `${scenes},split=test`],
      "--json",
    );
    expect(result, result.stderr).toMatchObject({ code: 0 });
    written = JSON.parse(result.stdout);
  });
  let written: { output: string; pairs: number; bytes: number; ciou: Record<string, Record<string, number>> };

  it("writes a file beside the checkpoint, and reports the scores of both", async () => {
    expect(written).toMatchObject({ output, pairs: 6, bytes: readFileSync(output).byteLength });
    expect(Object.keys(written.ciou)).toEqual(["before", "after"]);
    expect(Object.keys(written.ciou.after ?? {})).toEqual(["audio", "iqr"]);
    expect(readdirSync(folder).sort()).toEqual(["model.int8.safetensors", "model.safetensors"]);
    using int8 = await Model.load(output, { device: "cpu" });
    expect(int8.compute.precision).toBe("int8");
    await using data = datasets.scenes({ size: 32, seconds: 1, length: 1 });
    const [scene] = [await data.load(0)];
    expect((await int8.localize(scene)).heatmap).toHaveLength(32 * 32);
  });

  it("is what info says of the file", async () => {
    const { stdout } = await soundspot("info", output);
    expect(stdout).toMatch(/^quantized +int8, \d+ convolutions, calibrated with \{"data":"scenes:/m);
    const { quantization } = JSON.parse((await soundspot("info", output, "--json")).stdout);
    const { data } = { data: readFileSync(output, "latin1") };
    expect(quantization.convolutions).toBe(data.match(/\.weight_scale"/g)?.length);
    expect((await soundspot("info", checkpoint)).stdout).not.toMatch(/quantized/);
  });

  it("is evaluated in int8, in float32 where that is named", async () => {
    for (const [flags, precision] of [
      [[], "int8"],
      [["--precision", "int8"], "int8"],
      [["--precision", "float32"], "float32"],
    ] as const) {
      const { stdout } = await soundspot("evaluate", output, "--data", scenes, "--json", ...flags);
      expect(JSON.parse(stdout)[0].settings.precision).toBe(precision);
    }
  });

  it("names the command for a checkpoint that is not quantized", async () => {
    const { code, stderr } = await soundspot("evaluate", checkpoint, "--data", scenes, "--precision", "int8");
    expect(code).toBe(1);
    expect(stderr).toContain("soundspot quantize MODEL --data LIST");
    expect(stderr).toContain("ERR_INPUT");
  });

  it("does not write over the checkpoint", async () => {
    const before = readFileSync(checkpoint);
    const { code, stderr } = await soundspot(
      "quantize",
      checkpoint,
      "--data",
      scenes,
      "--output",
      checkpoint,
    );
    expect(code).toBe(2);
    expect(stderr).toContain("ERR_OUTPUT_IS_INPUT");
    expect(readFileSync(checkpoint)).toEqual(before);
  });
});
