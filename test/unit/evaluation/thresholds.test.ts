/** Cuts of maps and the sparse detection metrics, each against a plain implementation. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cutOf,
  type ExtendedScore,
  meanOfHighest,
  nthSmallest,
  precisionOfAll,
  sparseAveragePrecision,
  sparseBestF1,
  type Threshold,
} from "../../../src/metrics/index.js";
import { FrameScores, iou } from "../../../src/metrics/segmentation.js";
import { leastOf, nextFloat32 } from "../../../src/metrics/threshold.js";

const float = fc.float({ noNaN: true });
/** Few values, so that many are equal. */
const tied = fc.integer({ min: -4, max: 4 }).map((value) => Math.fround(value / 3));
const values = fc
  .oneof(
    fc.array(float, { minLength: 1, maxLength: 300 }),
    fc.array(tied, { minLength: 1, maxLength: 300 }),
    fc.array(fc.constantFrom(0, -0, 2 ** -149, -(2 ** -149), Number.POSITIVE_INFINITY), { minLength: 1 }),
  )
  .map((list) => Float32Array.from(list));
const ascending = (map: Float32Array) => Array.from(map).sort((a, b) => a - b);

describe("cuts of a map", () => {
  it("select the element of a rank without sorting", () => {
    fc.assert(
      fc.property(values, fc.nat(), (map, at) => {
        const rank = at % map.length;
        // 0 and −0 are one value.
        expect(nthSmallest(map, rank) + 0).toBe((ascending(map)[rank] as number) + 0);
      }),
      { numRuns: 500 },
    );
  });

  it("lie where each threshold says, also for shares of 0 and 1 and masks of any size", () => {
    fc.assert(
      fc.property(
        values,
        fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.5, 1)),
        fc.constantFrom(">" as const, "≥" as const),
        fc.array(fc.constantFrom(0, 0.5, 1), { minLength: 300, maxLength: 300 }),
        fc.boolean(),
        (map, share, comparison, drawn, empty) => {
          const sorted = ascending(map);
          const n = sorted.length;
          const groundTruth = drawn.slice(0, n).map((value) => (empty ? 0 : value));
          const size = groundTruth.filter((value) => value > 0).length || Math.floor(n / 2);
          const wanted = (threshold: Threshold) => {
            if (threshold.by === "value") return map.map((value) => (value >= threshold.at ? 1 : 0));
            if (threshold.by === "adaptive") {
              const cut = sorted[Math.min(n - 1, n - size)] as number;
              return map.map((value) => (value > cut ? 1 : 0));
            }
            const cut = sorted[Math.min(n - 1, Math.floor(n * (1 - share)))] as number;
            return map.map((value) => ((comparison === ">" ? value > cut : value >= cut) ? 1 : 0));
          };
          for (const threshold of [
            { by: "value", at: share },
            { by: "area", share, comparison },
            { by: "adaptive" },
          ] as const) {
            const least = leastOf(cutOf(map, groundTruth, threshold));
            expect(map.map((value) => (value >= least ? 1 : 0))).toEqual(wanted(threshold));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("take the next float32 for a comparison by >", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), float, (value, other) => {
        expect(other >= nextFloat32(value)).toBe(other > value);
        expect(nextFloat32(value)).toBeGreaterThan(value);
      }),
      { numRuns: 1000 },
    );
  });

  it("mean the highest values of a map", () => {
    const finite = fc.array(fc.oneof(tied, fc.float({ noNaN: true, min: -10, max: 10 })), { minLength: 1 });
    fc.assert(
      fc.property(finite, fc.double({ min: 1e-3, max: 1, noNaN: true }), (list, share) => {
        const map = Float32Array.from(list);
        const highest = ascending(map).slice(-Math.ceil(share * map.length));
        const mean = highest.reduce((sum, value) => sum + value, 0) / highest.length;
        expect(meanOfHighest(map, share)).toBeCloseTo(mean, 10);
      }),
    );
  });
});

describe("IoU of silent frames", () => {
  it("is by both rules the same as of `iou`", () => {
    const pixel = fc.record({ value: tied, mask: fc.constantFrom(0, 1) });
    fc.assert(
      fc.property(fc.array(pixel, { minLength: 1 }), fc.boolean(), tied, (pixels, empty, threshold) => {
        const map = Float32Array.from(pixels, ({ value }) => value);
        const groundTruth = pixels.map(({ mask }) => (empty ? 0 : mask));
        const frame = new FrameScores(threshold);
        frame.take(map, groundTruth);
        const prediction = Array.from(map, (value) => (value >= threshold ? 1 : 0));
        expect(frame.iou).toBeCloseTo(iou(prediction, groundTruth), 12);
        expect(frame.backgroundIou).toBeCloseTo(iou(prediction, groundTruth, "background"), 12);
        expect(frame.silent).toBe(!groundTruth.includes(1));
      }),
    );
  });
});

/** Also where there is no value. */
function near(value: number, wanted: number): void {
  if (Number.isNaN(wanted)) expect(value).toBeNaN();
  else expect(value).toBeCloseTo(wanted, 10);
}

/** Precision and recall at a threshold, pair by pair. */
function point(scores: readonly ExtendedScore[], threshold: number, success: number) {
  let [right, wrong, missed] = [0, 0, 0];
  for (const { confidence, ciou, sounding } of scores) {
    if (confidence < threshold) missed += sounding ? 1 : 0;
    else if (sounding && ciou >= success) right++;
    else wrong++;
  }
  return {
    precision: right + wrong === 0 ? 1 : right / (right + wrong),
    recall: right + missed === 0 ? 1 : right / (right + missed),
  };
}

function plainAveragePrecision(scores: readonly ExtendedScore[], success: number): number {
  if (!scores.some(({ sounding }) => sounding)) return Number.NaN;
  const confidences = scores.map(({ confidence }) => confidence).sort((a, b) => a - b);
  const step = Math.max(1, Math.floor(scores.length / 200));
  const points = confidences
    .slice(0, -1)
    .reverse()
    .filter((_, i) => i % step === 0)
    .map((threshold) => point(scores, threshold, success));
  let area = 0;
  for (let i = 0; i + 1 < points.length; i++) {
    const best = Math.max(...points.slice(i).map(({ precision }) => precision));
    area += best * ((points[i + 1]?.recall as number) - (points[i]?.recall as number));
  }
  return area;
}

function plainBestF1(scores: readonly ExtendedScore[], success: number): number {
  if (!scores.some(({ sounding }) => sounding)) return Number.NaN;
  const step = Math.max(1, Math.floor(scores.length / 10));
  const f1s = scores
    .map(({ confidence }) => confidence)
    .sort((a, b) => a - b)
    .filter((_, i) => i % step === 0)
    .map((threshold) => {
      const { precision, recall } = point(scores, threshold, success);
      return precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0;
    });
  return Math.max(...f1s);
}

describe("detection on few thresholds", () => {
  const pair = fc.record({
    confidence: fc.oneof(tied, fc.double({ min: -1, max: 1, noNaN: true })),
    ciou: fc.constantFrom(0, 0.3, 0.5, 0.7, 0.75, 1),
    sounding: fc.boolean(),
  });

  it.each([
    [40, 200],
    [900, 30],
  ])("agrees with the definition on lists of up to %i pairs", (maxLength, numRuns) => {
    const pairs = fc.array(pair, { minLength: 1, maxLength, size: "max" });
    fc.assert(
      fc.property(pairs, fc.constantFrom(0.5, 0.75), (scores, success) => {
        near(sparseAveragePrecision(scores, success), plainAveragePrecision(scores, success));
        near(sparseBestF1(scores, success), plainBestF1(scores, success));
        const { precision } = point(scores, Number.NEGATIVE_INFINITY, success);
        expect(precisionOfAll(scores, success)).toBeCloseTo(precision, 12);
      }),
      { numRuns },
    );
  });

  it("has no value without sounding pairs", () => {
    const silent = [{ confidence: 1, ciou: 0, sounding: false }];
    expect([sparseAveragePrecision(silent), sparseBestF1(silent), precisionOfAll([])]).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ]);
  });
});
