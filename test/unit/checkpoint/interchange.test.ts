/**
 * Files from and for other programs. tiny.pth was written by torch.save: a state_dict with the published names,
 * in it transposed, strided and offset views, and float16, bfloat16, float64 and int64 tensors; tiny.json has
 * torch's sums over each.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { Model, type ModelOptions } from "../../../src/index.js";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const { config, tensors } = JSON.parse(readFileSync(fixture("tiny.json"), "utf8")) as {
  readonly config: ModelOptions;
  /** Σ x and Σ i·x over the values in row-major order, i from 1, in float64. */
  readonly tensors: Readonly<Record<string, { shape: number[]; sum: number; weighted: number }>>;
};

const folder = mkdtempSync(join(tmpdir(), "soundspot-interchange-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function expectPublishedValues(model: Model): Promise<void> {
  const parameters = await model.parameters();
  expect(parameters.map(({ name }) => name).sort()).toEqual(Object.keys(tensors).sort());
  for (const { name, shape, data } of parameters) {
    const published = tensors[name];
    expect(shape, name).toEqual(published?.shape);
    const sum = data.reduce((total, x) => total + x, 0);
    const weighted = data.reduce((total, x, i) => total + (i + 1) * x, 0);
    expect(Math.abs(sum - (published?.sum ?? 0)), `sum of ${name}`).toBeLessThan(1e-9 * data.length);
    expect(Math.abs(weighted - (published?.weighted ?? 0)), `weighted sum of ${name}`).toBeLessThan(
      1e-9 * data.length ** 2,
    );
  }
}

describe("a .pth of torch.save", () => {
  it("loads with the values that torch gave it", async () => {
    const model = await Model.load(fixture("tiny.pth"), { config });
    await expectPublishedValues(model);
    model.dispose();
  });

  it("keeps them through safetensors", async () => {
    const model = await Model.load(fixture("tiny.pth"), { config });
    const path = join(folder, "tiny.safetensors");
    await model.save(path, { metadata: { note: "grüße" } });
    const again = await Model.load(path);
    expect(again.metadata.note).toBe("grüße");
    expect(again.config).toEqual(model.config);
    await expectPublishedValues(again);
    expect(await again.parameters()).toEqual(await model.parameters());
  });

  it("is rejected with the paper's configuration, which it carries none to replace", async () => {
    await expect(Model.load(fixture("tiny.pth"))).rejects.toMatchObject({
      code: "ERR_CHECKPOINT_MISMATCH",
      message: expect.stringContaining("tiny.pth"),
    });
  });
});

describe("a safetensors file", () => {
  it("is laid out as the format says: every tensor aligned, named once and without a gap", async () => {
    const model = await Model.create(config);
    const path = join(folder, "layout.safetensors");
    await model.save(path);
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const { __metadata__: metadata, ...entries } = header;
    expect(metadata).toMatchObject({ format: "pt" });
    expect((8 + length) % 8).toBe(0);
    let end = 0;
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(entries).sort(
      ([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
    )) {
      const size = { F32: 4, I64: 8 }[dtype] ?? Number.NaN;
      expect(data_offsets[0], name).toBe(end);
      end = data_offsets[1];
      expect(end - data_offsets[0], name).toBe(size * shape.reduce((product, n) => product * n, 1));
      expect(data_offsets[0] % size, name).toBe(0);
    }
    expect(end).toBe(bytes.length - 8 - length);
    for (const { name, data } of await model.parameters()) {
      const entry = entries[name];
      if (entry?.dtype !== "F32") continue;
      const from = 8 + length + entry.data_offsets[0];
      const stored = new Float32Array(
        bytes.buffer.slice(bytes.byteOffset + from, bytes.byteOffset + from + data.byteLength),
      );
      expect(stored, name).toEqual(data);
    }
  });
});
