/** Nearest neighbours of a dataset: found, written, read, and used by a run. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  type Dataset,
  findNeighbours,
  Model,
  readNeighbours,
  type Sample,
  SoundspotError,
  train,
  writeNeighbours,
} from "../../../src/index.js";
import { pairs, small } from "../../support/comparison.js";
import { slots, tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-neighbours-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const inputs = pairs(14) as unknown as readonly Omit<Sample, "id">[];
const dataset = (length = 14, damaged: readonly number[] = []): Dataset => ({
  name: "pairs",
  length,
  idOf: (index) => `pair ${index}`,
  async load(index) {
    if (damaged.includes(index)) throw new SoundspotError("ERR_DATASET", `pair ${index} is damaged.`);
    return { id: `pair ${index}`, ...(inputs[index] as Omit<Sample, "id">) };
  },
});

describe("neighbours", () => {
  it.each(["image", "audio"] as const)(
    "are the k greatest cosines of the %s embeddings, without the sample",
    async (modality) => {
      using model = await Model.create({ ...tiny, ...slots() }, { seed: 1, precision: "float32" });
      const vectors = await model.embed(
        inputs.map(({ image, audio }) => (modality === "image" ? { image } : { audio })) as never,
      );
      const cosine = (a: number, b: number) =>
        (vectors as unknown as Float32Array[])[a]?.reduce(
          (sum, value, i) => sum + value * ((vectors as unknown as Float32Array[])[b]?.[i] as number),
          0,
        ) as number;
      const found = await findNeighbours({ model, data: dataset(), k: 4, modality });
      expect(found).toHaveLength(14);
      for (const [i, own] of found.entries()) {
        const others = Array.from({ length: 14 }, (_, j) => j).filter((j) => j !== i);
        const wanted = others.sort((a, b) => cosine(i, b) - cosine(i, a)).slice(0, 4);
        for (const [rank, j] of own.entries())
          expect(cosine(i, j)).toBeCloseTo(cosine(i, wanted[rank] as number), 5);
        expect(own).not.toContain(i);
        expect(new Set(own).size).toBe(4);
      }
    },
  );

  it("are at most all others; a sample that cannot be read has none and is nobody's", async () => {
    using model = await Model.create(tiny, { precision: "float32" });
    const found = await findNeighbours({ model, data: dataset(5, [2]), k: 99 });
    expect(found[2]).toEqual([]);
    for (const i of [0, 1, 3, 4])
      expect([...(found[i] ?? [])].sort()).toEqual([0, 1, 3, 4].filter((j) => j !== i));
    await expect(findNeighbours({ model, data: dataset(1) })).rejects.toMatchObject({ code: "ERR_DATASET" });
  });

  it("go through a file by the ids of the samples", async () => {
    const path = join(folder, "list.json");
    const lists = [[1, 2], [0, 2], [1], [0]];
    await writeNeighbours(path, lists, dataset(4), "encoder.safetensors");
    expect(await readNeighbours(path, dataset(4))).toEqual(lists);
    const { encoder, dataset: name } = JSON.parse(readFileSync(path, "utf8"));
    expect([encoder, name]).toEqual(["encoder.safetensors", "pairs"]);
    // Of a part of the data, neighbours outside of it are left out.
    expect(await readNeighbours(path, dataset(2))).toEqual([[1], [0]]);
    await expect(readNeighbours(path, dataset(5))).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringContaining("pair 4"),
    });
  });

  it.each(["", "{torn", "[]", "{}", '{"dataset":"a","encoder":"b","neighbours":{"pair 0":[3]}}'])(
    "are not read from %j",
    async (text) => {
      const path = join(folder, "hostile.json");
      writeFileSync(path, text);
      await expect(readNeighbours(path, dataset(2))).rejects.toBeInstanceOf(SoundspotError);
    },
  );
});

describe("a run of Alignment", () => {
  const run = {
    preset: "alignment" as const,
    model: small("alignment"),
    batchSize: 6,
    epochs: 2,
    seed: 3,
    precision: "float32" as const,
  };
  const lists = Array.from({ length: 12 }, (_, i) => [(i + 1) % 12, (i + 5) % 12]);
  const values = async (model: Model) =>
    (await model.parameters()).map(({ name, data }) => [name, [...data]]);

  it("needs them, and says how to make them", async () => {
    await expect(train({ ...run, data: dataset(12) })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("soundspot neighbours"),
    });
    for (const neighbours of [
      [[0]],
      Array.from({ length: 12 }, () => [12]),
      Array.from({ length: 12 }, () => "0"),
    ]) {
      await expect(
        train({ ...run, data: dataset(12), neighbours: neighbours as never }),
      ).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringContaining("neighbours"),
      });
    }
  });

  it("trains with those it is given, from a file alike, and resumes to the same weights", async () => {
    const path = join(folder, "run.json");
    await writeNeighbours(path, lists, dataset(12), "none");
    const whole = await train({ ...run, data: dataset(12), neighbours: lists });
    const others = await train({ ...run, data: dataset(12), neighbours: lists.map((own) => own.slice(1)) });
    const stop = new AbortController();
    const output = join(folder, "run");
    const first = train({
      ...run,
      data: dataset(12),
      neighbours: path,
      output,
      signal: stop.signal,
      onEpoch: () => stop.abort(),
    });
    await expect(first).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(existsSync(join(output, "last.safetensors"))).toBe(true);
    const rest = await train({ ...run, data: dataset(12), neighbours: path, output, resume: true });
    expect(await values(rest.model)).toEqual(await values(whole.model));
    expect(await values(others.model)).not.toEqual(await values(whole.model));
    for (const { model } of [whole, others, rest]) model.dispose();
  });

  it("goes on where a neighbour is damaged", async () => {
    const { model, skipped } = await train({
      ...run,
      data: dataset(12, [3]),
      neighbours: lists,
      maxDamaged: 0.1,
    });
    model.dispose();
    // Counted once, at its own place.
    expect([...new Set(skipped.map(({ index }) => index))]).toEqual([3]);
  });
});
