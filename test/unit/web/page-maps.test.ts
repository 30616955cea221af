import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderScene } from "../../../src/datasets/drawn/scene/scene.js";
import { Model, type Spot } from "../../../src/index.js";
import { allAttention, attentionOf, between, boxesOf, enlarge, heatMap } from "../../../web/src/maps.js";
import { ofSlots, slots, tiny } from "../../support/tiny.js";

const TARGETS = 2;
const settings = { sharpening: 0.9, threshold: 0.55, alpha: 0.3 };

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
}

describe("the page's maps", () => {
  let model: Model;
  let spot: Spot;
  let refined: Spot;
  const logits = () => {
    if (!spot.logits) throw new Error("The spot has no logits.");
    return spot.logits;
  };

  beforeAll(async () => {
    model = await Model.create({ ...tiny, ...slots({ targetSlots: TARGETS }) }, { seed: 3 });
    const { image, audio } = renderScene(
      { size: 90, seconds: 1, sampleRate: 16_000, sources: 1, props: 2, offscreen: 0 },
      { seed: 0, split: "test", epoch: 0, index: 4 },
    );
    // Not square, so that rows and columns cannot be taken for each other.
    const cut = { data: image.data.slice(0, 90 * 61 * 3), width: 90, height: 61 };
    spot = await model.localize({ image: cut, audio }, { ...settings, precision: "float32" });
    refined = await model.localize(
      { image: cut, audio },
      { ...settings, refine: "iqr", precision: "float32" },
    );
  });
  afterAll(() => model.dispose());

  it("give the engine's attention from its logits", () => {
    const attention = allAttention(logits(), settings.sharpening);
    const { attention: expected } = ofSlots(spot);
    for (const name of Object.keys(expected) as (keyof typeof attention)[]) {
      expect(attention[name].shape).toEqual(expected[name].shape);
      expect(furthest(attention[name].data, expected[name].data), name).toBeLessThan(1e-6);
    }
  });

  it("give the engine's heatmap and boxes, of the audio map and of the refined one", () => {
    for (const [refine, expected] of [
      ["none", spot],
      ["iqr", refined],
    ] as const) {
      const map = heatMap(logits(), TARGETS, { ...settings, refine }, 61, 90);
      expect(furthest(map.data, expected.heatmap), refine).toBeLessThan(1e-4);
      // The engine's own map: a pixel within rounding of the threshold may fall on either side.
      const boxes = boxesOf({ ...map, data: expected.heatmap }, settings.threshold);
      expect(boxes.length).toBeGreaterThan(0);
      expect(boxes.map(({ score: _, ...box }) => box)).toEqual(
        expected.boxes.map(({ x, y, width, height }) => ({ x, y, width, height })),
      );
      const scores = [boxes, expected.boxes].map((all) => all.map(({ score }) => score));
      expect(furthest(scores[0] ?? [], scores[1] ?? [])).toBeLessThan(1e-5);
    }
    expect(furthest(spot.heatmap, refined.heatmap)).toBeGreaterThan(0.01);
  });

  it("stay finite at any sharpening, and the shares of a slot sum to 1", () => {
    for (const sharpening of [1e-6, 1, 1e6]) {
      const { data, shape } = attentionOf(logits().audioOnImage, sharpening);
      const tokens = data.length / (shape[0] ?? 1);
      const sum = data.subarray(0, tokens).reduce((a, b) => a + b, 0);
      expect(Number.isFinite(sum)).toBe(true);
      if (sharpening <= 1) expect(sum).toBeCloseTo(1, 5);
    }
  });

  it("join regions that touch at a corner and order them by area", () => {
    const rows = ["1000011", "0100011", "0000011", "0000000", "0001000"];
    const data = Float32Array.from(rows.join(""), Number);
    const boxes = boxesOf({ width: 7, height: 5, data }, 0.5);
    expect(boxes).toEqual([
      { x: 5, y: 0, width: 2, height: 3, score: 1 },
      { x: 0, y: 0, width: 2, height: 2, score: 1 },
      { x: 3, y: 4, width: 1, height: 1, score: 1 },
    ]);
  });

  it("keep a constant map constant, and interpolate between two moments", () => {
    expect(
      furthest(enlarge(new Float32Array(6).fill(0.25), 2, 3, 5, 7), new Float32Array(35).fill(0.25)),
    ).toBeLessThan(1e-7);
    const a = { shape: [1, 2], data: [0, 4] };
    const b = { shape: [1, 2], data: [2, 0] };
    expect(Array.from(between(a, b, 0.25).data)).toEqual([0.5, 3]);
  });
});
