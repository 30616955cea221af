/** A method is one file: that of the tests trains, localizes, saves, loads, evaluates, and appears in no other code. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { methodNames, registerMethod } from "../../../src/config/methods.js";
import { evaluate, Model, type ModelOptions, Trainer, train } from "../../../src/index.js";
import { native } from "../../../src/native.js";
import { bar, bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const addon = vi.hoisted(() => {
  const build = process.env.SOUNDSPOT_VARIANT === "cuda" ? "build/cuda" : "build";
  process.env.SOUNDSPOT_PREBUILD = `${process.cwd()}/${build}/test`;
  return `${process.env.SOUNDSPOT_PREBUILD}/build/Release/soundspot_test.node`;
});
const built = existsSync(addon);
if (!built)
  console.warn(`test/integration/methods is skipped: there is no ${addon}. Run npm run build:addon.`);

registerMethod({
  title: "Scaled cosine",
  schema: z.strictObject({ name: z.literal("scaled-cosine") }),
  losses: ["scaledContrast"],
  defaultLosses: { scaledContrast: { weight: 1, temperature: 0.1 } },
  maps: ["audio"],
  defaultMap: "audio",
});
const options = { ...tiny, method: { name: "scaled-cosine" } } as unknown as ModelOptions;
const folder = mkdtempSync(join(tmpdir(), "soundspot-method-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!built)("a method of one file", () => {
  it("is registered beside those of the package", () => {
    expect(native().methods()).toEqual(
      ["scaled-cosine", ...methodNames().filter((name) => name !== "scaled-cosine")].sort(),
    );
  });

  it("trains, keeps the best by its own map, logs its own terms, and resumes to the same weights", async () => {
    const run = {
      ...{ data: bars(8), evaluation: bars(4), model: options, epochs: 4, batchSize: 4 },
      ...{ learningRate: 1e-2, augment: false as const, seed: 2 },
    } as const;
    const whole = await train({ ...run, output: join(folder, "whole") });
    const lines = readFileSync(join(folder, "whole/metrics.jsonl"), "utf8").trim().split("\n");
    const steps = lines.map((line) => JSON.parse(line)).filter(({ losses }) => losses);
    expect(steps.map(({ losses }) => Object.keys(losses))).toEqual(
      steps.map(() => ["scaledContrast", "total"]),
    );
    for (const { diagnostics } of steps) expect(diagnostics).toEqual({ imageLength: expect.closeTo(1, 5) });
    expect(steps.at(-1).losses.total).toBeLessThan(0.7 * steps[0].losses.total);
    expect(whole.best).toBe(join(folder, "whole/best.safetensors"));
    expect(whole.evaluation?.defaultMap).toBe("audio");

    const stop = new AbortController();
    const output = join(folder, "parts");
    const first = train({ ...run, output, signal: stop.signal, onEpoch: () => stop.abort() });
    await expect(first).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const rest = await train({ ...run, output, resume: true });
    const values = async (model: Model) =>
      (await model.parameters()).map(({ name, data }) => [name, [...data]]);
    expect(await values(rest.model)).toEqual(await values(whole.model));
    expect((await rest.model.parameters()).map(({ name }) => name)).toContain("scaled_cosine.scale");
    await rest.model.save(join(folder, "trained.safetensors"));
    for (const { model } of [whole, rest]) model.dispose();
  });

  it("localizes, embeds and evaluates from its file, in both engines alike", async () => {
    using model = await Model.load(join(folder, "trained.safetensors"), { precision: "float32" });
    const spot = await model.localize(bar(1));
    expect(spot.heatmap).toHaveLength(40 * 40);
    expect([Math.min(...spot.heatmap), Math.max(...spot.heatmap)]).toEqual([0, 1]);
    expect([spot.attention, spot.slots, spot.imageMap]).toEqual([undefined, undefined, undefined]);
    const image = await model.embed({ image: bar(1).image });
    const audio = await model.embed({ audio: bar(1).audio });
    const cosine = image.reduce((sum, value, i) => sum + value * (audio[i] as number), 0);
    expect(cosine).toBeCloseTo(spot.confidence, 5);
    const { targets } = spot;
    expect(targets.range).toEqual([-1, 1]);
    const [lowest, highest] = [Math.min(...targets.audio.data), Math.max(...targets.audio.data)];
    expect(lowest).toBeGreaterThanOrEqual(-1);
    const { protocols, perSample } = await evaluate({
      model,
      data: { ...bars(1), load: async () => bar(1) },
      protocol: ["slavc-extended", "area"],
    });
    // On the range of a cosine, not stretched to the map's own minimum and maximum.
    const { confidence = Number.NaN } = perSample[0]?.protocols?.["slavc-extended"]?.audio ?? {};
    const mean = targets.audio.data.reduce((sum, value) => sum + value) / targets.audio.data.length;
    expect(confidence).toBeGreaterThan((mean + 1) / 2);
    expect(confidence).toBeLessThan((highest + 0.1 * (highest - lowest) + 1) / 2);
    expect(Object.keys(protocols?.area ?? {})).toEqual(["audio"]);
    const scores = await evaluate({ model, data: bars(8) });
    expect([scores.defaultMap, scores.iqr, scores.image]).toEqual(["audio", undefined, undefined]);
    expect(scores.audio.curve[0]).toBe(1);
    expect(scores.retrieval?.audioToImage[2]).toBeGreaterThan(0);
  });

  it("moves its average once a step, whatever the parts, and not in a step that fails", async () => {
    const values = async (model: Model) =>
      Object.fromEntries((await model.parameters()).map(({ name, data }) => [name, [...data]]));
    const scale = "scaled_cosine.scale";
    const average = "scaled_cosine.average";
    for (const microBatchSize of [0, 1, 3]) {
      using model = await Model.create(options, { seed: 4 });
      using trainer = new Trainer(model, { learningRate: 1e-2, precision: "float32", microBatchSize });
      const kinds = new Map((await model.parameters()).map(({ name, trainable }) => [name, trainable]));
      expect([kinds.get(scale), kinds.get(average)]).toEqual([true, false]);
      for (let step = 0; step < 3; step++) {
        const before = await values(model);
        await trainer.step([0, 1, 2, 3].map((i) => bar(4 * step + i)));
        const after = await values(model);
        const moved = before[average]?.map((value, i) => 0.9 * value + 0.1 * (before[scale]?.[i] as number));
        expect(after[average]).toEqual(moved?.map((value) => expect.closeTo(value, 6)));
        expect(after[scale]).not.toEqual(before[scale]);
      }
      const before = await values(model);
      const wild = { tensor: new Float32Array(3 * 32 * 32).fill(1e38), shape: [3, 32, 32] };
      const broken = [0, 1].map((i) => ({ ...bar(i), image: wild }));
      await expect(trainer.step(broken)).rejects.toMatchObject({ code: "ERR_INTERNAL" });
      expect(await values(model)).toEqual(before);
    }
  });

  it("rejects the losses of other methods, and is rejected where it is not", async () => {
    const losses = { matching: { weight: 1 } };
    await expect(train({ data: bars(8), model: options, batchSize: 4, losses })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("scaledContrast"),
    });
    await expect(Model.create({ ...tiny, method: { name: "none" } } as never)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("scaled-cosine"),
    });
  });
});
