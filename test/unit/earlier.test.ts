/** Files that earlier versions wrote go on working: checkpoints of both methods, a run, a search index. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { datasets, Model, SearchIndex, train } from "../../src/index.js";
import { tiny } from "../support/tiny.js";

const earlier = join(import.meta.dirname, "../fixtures/earlier");
const expected = JSON.parse(readFileSync(join(earlier, "expected.json"), "utf8"));
const root = mkdtempSync(join(tmpdir(), "soundspot-earlier-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const scenes = (length: number) => datasets.scenes({ length, size: 32, seconds: 1, seed: 5 });

function near(values: Float32Array | undefined, wanted: readonly number[]): void {
  expect(values).toHaveLength(wanted.length);
  const furthest = Math.max(
    ...wanted.map((value, i) => Math.abs(value - ((values as Float32Array)[i] as number))),
  );
  expect(furthest).toBeLessThan(1e-5);
}

describe("files of an earlier version", () => {
  it.each(["slots", "similarity"])("load: a checkpoint of %s gives what it gave", async (name) => {
    using model = await Model.load(join(earlier, `${name}.safetensors`), { precision: "float32" });
    const { image, audio } = await scenes(1).load(0);
    const { audioOnImage, imageSlots } = await model.encode([{ image, audio }]);
    if (name === "slots") {
      near(audioOnImage?.data, expected.slots.audioOnImage);
      near(imageSlots?.data, expected.slots.imageSlots);
    }
    const { confidence, targets } = await model.localize({ image, audio });
    const { data } = targets.audio;
    near(data, expected[name].audioOnImage.slice(0, data.length));
    expect(confidence).toBeCloseTo(expected[name].confidence, 5);
  });

  it("resume: a run goes on after its first epoch", async () => {
    const output = join(root, "run");
    cpSync(join(earlier, "run"), output, { recursive: true });
    const epochs: number[] = [];
    const { model, steps } = await train({
      ...{
        data: scenes(8),
        model: tiny,
        batchSize: 4,
        seed: 1,
        epochs: 2,
        precision: "float32",
        output,
        resume: true,
      },
      onStep: ({ epoch }) => epochs.push(epoch),
    });
    model.dispose();
    expect(steps).toBe(4);
    expect(epochs).toEqual([1, 1]);
  });

  it("search: an index finds what it found", async () => {
    const folder = join(root, "index");
    cpSync(join(earlier, "index"), folder, { recursive: true });
    using model = await Model.load(join(earlier, "slots.safetensors"), { precision: "float32" });
    using index = await SearchIndex.open(folder);
    const { audio } = await scenes(1).load(0);
    const found = await index.search({ audio, model, k: 4 });
    expect(found.map(({ path, label }) => [path.split("/").slice(-2).join("/"), label])).toEqual(
      expected.search.map(({ path, label }: { path: string; label: string }) => [path, label]),
    );
    near(
      Float32Array.from(found, ({ score }) => score),
      expected.search.map(({ score }: { score: number }) => score),
    );
  });
});
