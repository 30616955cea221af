/** Outputs of the published implementation, reproduced through the public API. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  falseNegatives,
  type LocalizeInput,
  Model,
  metrics,
  parseModelConfig,
  preprocess,
  Trainer,
} from "../../../src/index.js";
import { enlarge } from "../../support/bicubic.js";
import {
  expected,
  largestDifference,
  norm,
  parameter,
  reference,
  tensor,
  uniform,
} from "../../support/formula.js";
import { needsBfloat16 } from "../../support/processor.js";
import { ofSlots } from "../../support/tiny.js";

function value(name: string): Float32Array {
  const found = expected.get(name);
  if (!found) throw new Error(`the fixture has no ${name}`);
  return found.data;
}

/** A batch of normalised images and spectrograms under the fixture's names. */
function batch(count: number, prefix = ""): LocalizeInput[] {
  const images = tensor(`${prefix}image`, [count, 3, 224, 224], 2).data;
  const spectrograms = tensor(`${prefix}spectrogram`, [count, 1, 257, 501]).data;
  const pixels = 3 * 224 * 224;
  const bins = 257 * 501;
  return Array.from({ length: count }, (_, i) => ({
    image: { tensor: images.slice(i * pixels, (i + 1) * pixels), shape: [3, 224, 224] },
    audio: { spectrogram: spectrograms.slice(i * bins, (i + 1) * bins), shape: [1, 257, 501] },
  }));
}

async function fixtureModel(): Promise<Model> {
  const model = await Model.create();
  const shapes = await model.parameters();
  await model.setParameters(shapes.map(({ name, shape }) => parameter(name, shape)));
  return model;
}

describe("the published model", () => {
  let model: Model;
  beforeAll(async () => {
    model = await fixtureModel();
  });
  afterAll(() => model.dispose());

  it("has 31,818,498 parameters, 29,708,288 of them at inference", async () => {
    const trainable = (await model.parameters()).filter((each) => each.trainable);
    const count = (list: typeof trainable) => list.reduce((sum, { data }) => sum + data.length, 0);
    expect(count(trainable)).toBe(31_818_498);
    expect(count(trainable.filter(({ name }) => !name.includes("_decoder")))).toBe(29_708_288);
  });

  it.each([
    ["image_features", "imageFeatures", 1e-3],
    ["audio_features", "audioFeatures", 1e-3],
    ["image_slots", "imageSlots", 1e-3],
    ["audio_slots", "audioSlots", 1e-3],
    ["image_queries", "imageQueries", 1e-3],
    ["audio_queries", "audioQueries", 1e-3],
    ["audio_on_image", "audioOnImage", 1e-5],
    ["image_on_image", "imageOnImage", 1e-5],
    ["audio_on_audio", "audioOnAudio", 1e-5],
    ["image_on_audio", "imageOnAudio", 1e-5],
  ] as const)("gives the published %s", async (name, key, tolerance) => {
    const encoding = ofSlots(await model.encode(batch(2), { sharpening: 1 }));
    expect(largestDifference(encoding[key].data, value(`eval.${name}`))).toBeLessThan(tolerance);
  });

  it.each(["0.1", "1.0"] as const)("gives the published maps at sharpening %s", async (text) => {
    const sharpening = Number(text);
    const precision = "float32";
    const audio = await model.localize(batch(2), { sharpening, precision });
    const iqr = await model.localize(batch(2), { sharpening, precision, refine: "iqr" });
    const pixels = reference[`eval.pixels_over_0.6.${text}`];
    for (const [i, spot] of audio.entries()) {
      const grid = (name: string) => value(`eval.${name}.${text}`).subarray(i * 49, (i + 1) * 49);
      expect(
        largestDifference(ofSlots(spot).attention.audioOnImage.data.subarray(0, 49), grid("audio_map")),
      ).toBeLessThan(1e-5);
      expect(
        largestDifference(ofSlots(spot).attention.imageOnImage.data.subarray(0, 49), grid("image_map")),
      ).toBeLessThan(1e-5);
      const every8th = (map: Float32Array) =>
        Float32Array.from(
          { length: 784 },
          (_, n) => map[Math.floor(n / 28) * 8 * 224 + (n % 28) * 8] as number,
        );
      const coarse = (name: string) => value(`eval.${name}.${text}`).subarray(i * 784, (i + 1) * 784);
      const refined = iqr[i] as typeof spot;
      expect(largestDifference(every8th(spot.heatmap), coarse("heatmap"))).toBeLessThan(2e-3);
      expect(largestDifference(every8th(refined.heatmap), coarse("heatmap_iqr"))).toBeLessThan(2e-3);
      const over = (mask: Uint8Array) => mask.reduce((sum, each) => sum + each, 0);
      expect(Math.abs(over(spot.mask) - (pixels.audio[i] as number))).toBeLessThan(0.005 * 224 * 224);
      expect(Math.abs(over(refined.mask) - (pixels.iqr[i] as number))).toBeLessThan(0.005 * 224 * 224);
    }
  });

  it.for([0.1, 1])(
    "gives maps in bfloat16 that stay near those of float32 at sharpening %s",
    async (sharpening, context) => {
      needsBfloat16(context);
      for (const refine of ["none", "iqr"] as const) {
        const [full, half] = await Promise.all(
          (["float32", "bfloat16"] as const).map((precision) =>
            model.localize(batch(2), { sharpening, precision, refine }),
          ),
        );
        for (const [i, spot] of (full ?? []).entries()) {
          const other = half?.[i] as typeof spot;
          const apart = largestDifference(spot.heatmap, other.heatmap);
          expect(apart).toBeGreaterThan(0);
          expect(apart).toBeLessThan(0.02);
        }
      }
    },
  );
});

describe("one published training step", () => {
  it("gives the losses, gradients, updates and running statistics", async () => {
    const model = await fixtureModel();
    const trainer = new Trainer(model, { falseNegatives: { k: 3 } });
    const before = new Map((await model.parameters()).map((each) => [each.name, each.data]));
    const result = await trainer.step(batch(8, "train."), { gradients: true, masking: false });
    const after = new Map((await model.parameters()).map((each) => [each.name, each.data]));

    for (const [name, loss] of Object.entries(reference["train.losses"])) {
      expect(Math.abs((result.losses[name] as number) / loss - 1), `loss ${name}`).toBeLessThan(1e-4);
    }
    const gradients = new Map(result.gradients.map((each) => [each.name, each.data]));
    for (const [name, published] of Object.entries(reference["train.grad_norms"])) {
      if (published <= 1e-6) continue;
      expect(
        Math.abs(norm(gradients.get(name) as Float32Array) / published - 1),
        `gradient of ${name}`,
      ).toBeLessThan(0.01);
      const [from, to] = [before.get(name), after.get(name)] as [Float32Array, Float32Array];
      const update = norm(to.map((each, i) => each - (from[i] as number)));
      const publishedUpdate = reference["train.update_norms"][name] as number;
      expect(Math.abs(update / publishedUpdate - 1), `update of ${name}`).toBeLessThan(0.01);
    }
    expect(
      largestDifference(
        gradients.get("slot_attn.slots") as Float32Array,
        value("train.grad.slot_attn.slots"),
      ),
    ).toBeLessThan(1e-4);
    for (const kind of ["mean", "var"] as const) {
      for (const [name, published] of Object.entries(reference[`train.running_${kind}_norms`])) {
        expect(Math.abs(norm(after.get(name) as Float32Array) / published - 1), name).toBeLessThan(1e-4);
      }
    }
    model.dispose();
  });
});

describe("published details", () => {
  it("predicts the same false negatives", async () => {
    const { k, pairs } = reference.false_negatives;
    const base = uniform("fn.base", 48);
    const slots = (name: string) => {
      const noise = uniform(name, 192);
      return { data: noise.map((each, i) => (base[i % 48] as number) + 0.8 * each), shape: [24, 8] };
    };
    expect(await falseNegatives({ image: slots("fn.image"), audio: slots("fn.audio") }, k)).toEqual(pairs);
  });

  it("resizes as Pillow does, within 2/255", async () => {
    const data = Uint8Array.from(uniform("resize.image", 90 * 120 * 3), (u) => Math.floor((u + 1) * 127.99));
    const { data: pixels } = await preprocess.image({ data, width: 120, height: 90 }, parseModelConfig());
    const deviations = [0.229, 0.224, 0.225];
    let worst = 0;
    for (const [i, published] of value("resize.224").entries()) {
      const channel = Math.floor(i / 784);
      const ours = pixels[
        channel * 224 * 224 + Math.floor((i % 784) / 28) * 8 * 224 + (i % 28) * 8
      ] as number;
      worst = Math.max(worst, Math.abs(ours - published) * (deviations[channel] as number));
    }
    expect(worst).toBeLessThan(2 / 255);
  });

  it("resamples as torchaudio does, within 1e-5", async () => {
    const audio = { samples: uniform("audio.long", 7 * 44_100), sampleRate: 44_100 };
    const { data } = await preprocess.resample(audio, 16_000);
    expect(largestDifference(data.subarray(0, 4000), value("audio.resampled"))).toBeLessThan(1e-5);
  });

  it.each([
    ["long", 7 * 44_100, 1, 44_100],
    ["short", 2 * 48_000, 2, 48_000],
  ])(
    "makes the published spectrogram of the %s audio, within 1e-3",
    async (name, frames, channels, sampleRate) => {
      const audio = { samples: uniform(`audio.${name}`, frames * channels), sampleRate, channels };
      const { data } = await preprocess.audio(audio, parseModelConfig());
      const every4th = Float32Array.from(
        { length: 65 * 126 },
        (_, i) => data[Math.floor(i / 126) * 4 * 501 + (i % 126) * 4] as number,
      );
      expect(largestDifference(every4th, value(`audio.spectrogram.${name}`))).toBeLessThan(1e-3);
    },
  );

  it("scores the published maps with the published cIoU, success rate and AUC", () => {
    const { threshold, ciou, ap50, auc } = reference.metrics;
    const scores = ciou.map((_, i) => {
      const map = enlarge(uniform(`metric.map.${i}`, 49), 7, 224);
      const [level, down, right] = uniform(`metric.gt.${i}`, 3) as unknown as [number, number, number];
      const [rows, columns] = [Math.trunc(40 * down), Math.trunc(40 * right)];
      const groundTruth = map.map((_, pixel) => {
        const [y, x] = [Math.floor(pixel / 224) - rows, (pixel % 224) - columns];
        const source = ((y + 224) % 224) * 224 + ((x + 224) % 224);
        return (map[source] as number) >= 0.5 + 0.25 * level ? 1 : 0;
      });
      const prediction = map.map((value) => (value >= threshold ? 1 : 0));
      return metrics.ciou(prediction, groundTruth);
    });
    expect(largestDifference(scores, ciou)).toBeLessThan(1e-12);
    expect(metrics.successRate(scores)).toBe(ap50);
    expect(metrics.auc(scores)).toBeCloseTo(auc, 12);
  });
});
