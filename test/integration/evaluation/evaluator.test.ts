/** Evaluator: the results of evaluate(), sample by sample, and scores of maps from another source. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Evaluator, evaluate, Model, metrics, type Sample } from "../../../src/index.js";
import { bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

let model: Model;
beforeAll(async () => {
  model = await Model.create(tiny, { seed: 3 });
});
afterAll(() => model.dispose());

const data = bars(11);
const samples = (): Promise<Sample[]> =>
  Promise.all(Array.from({ length: data.length }, (_, i) => data.load(i)));

describe("Evaluator", () => {
  it.each([1, 3, 4, 16])("gives the results of evaluate, in batches of %i", async (batchSize) => {
    const wanted = await evaluate({ model, data, batchSize: 5 });
    await using evaluator = new Evaluator({ model, name: data.name, batchSize });
    for (const sample of await samples()) await evaluator.add(sample);
    const { settings, ...scores } = await evaluator.result();
    const { settings: wantedSettings, ...others } = wanted;
    expect(settings).toEqual(wantedSettings);
    expect(scores.perSample.map(({ id }) => id)).toEqual(others.perSample.map(({ id }) => id));
    for (const [i, own] of scores.perSample.entries()) {
      const other = others.perSample[i];
      expect(own.confidence).toBeCloseTo(other?.confidence as number, 5);
      expect(own.iqr?.ciou).toBeCloseTo(other?.iqr?.ciou as number, 4);
    }
    expect(Object.keys(scores).sort()).toEqual(Object.keys(others).sort());
  });

  it("takes samples that are added at the same time", async () => {
    await using evaluator = new Evaluator({ model, batchSize: 2, bootstrap: false });
    await Promise.all((await samples()).map((sample) => evaluator.add(sample)));
    const { perSample } = await evaluator.result();
    const ids = Array.from({ length: data.length }, (_, i) => String(i));
    expect(perSample.map(({ id }) => id).sort()).toEqual(ids.sort());
  });

  it("gives results at any time, and accepts more samples", async () => {
    await using evaluator = new Evaluator({ model, batchSize: 4, bootstrap: false });
    const seen: number[] = [];
    for (const sample of await samples()) {
      await evaluator.add(sample);
      seen.push((await evaluator.result()).samples);
    }
    expect(seen).toEqual(Array.from({ length: data.length }, (_, i) => i + 1));
    const whole = await evaluate({ model, data, bootstrap: false });
    expect((await evaluator.result()).audio.ciou).toBe(whole.audio.ciou);
  });

  it("scores maps from another source, without a model", async () => {
    await using evaluator = new Evaluator({ bootstrap: false });
    const cious: number[] = [];
    for (const [i, sample] of (await samples()).entries()) {
      const { width, height } = sample.image;
      const [box] = sample.boxes ?? [];
      const inBox = (x: number, y: number) =>
        box !== undefined && x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
      // Right for two samples of three, the opposite for the third.
      const map = Float32Array.from({ length: width * height }, (_, at) =>
        inBox(at % width, Math.floor(at / width)) === i % 3 < 2 ? 1 : 0,
      );
      await evaluator.add(sample, { map });
      cious.push(i % 3 < 2 ? 1 : 0);
    }
    const scores = await evaluator.result();
    expect(scores.perSample.map(({ audio }) => audio?.ciou)).toEqual(cious);
    expect(scores.audio.ciou).toBe(metrics.successRate(cious, 0.5));
    expect(scores.defaultMap).toBe("audio");
    expect([scores.iqr, scores.image, scores.retrieval]).toEqual([undefined, undefined, undefined]);
  });

  it("rejects invalid samples, and continues after them", async () => {
    const [first] = (await samples()) as [Sample];
    await using evaluator = new Evaluator({ bootstrap: false });
    await expect(evaluator.add(first)).rejects.toMatchObject({ code: "ERR_INPUT" });
    const map = new Float32Array(3);
    await expect(evaluator.add(first, { map })).rejects.toMatchObject({ code: "ERR_SHAPE" });
    const { boxes, mask, groundTruth, ...bare } = first;
    await expect(evaluator.add(bare as Sample)).rejects.toMatchObject({ code: "ERR_DATASET" });
    expect(() => new Evaluator({ model: {} as Model })).toThrow(/model/);
    const { width, height } = first.image;
    await evaluator.add(first, { map: new Float32Array(width * height) });
    expect((await evaluator.result()).samples).toBe(1);
  });

  it("fails with a batch's error, and after dispose with ERR_DISPOSED", async () => {
    const control = new AbortController();
    const evaluator = new Evaluator({ model, batchSize: 2, bootstrap: false, signal: control.signal });
    const [first, second] = (await samples()) as [Sample, Sample];
    await evaluator.add(first);
    control.abort();
    await expect(evaluator.add(second)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    await expect(evaluator.result()).rejects.toMatchObject({ code: "ERR_ABORTED" });
    await evaluator.dispose();
    await expect(evaluator.add(first)).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  });
});
