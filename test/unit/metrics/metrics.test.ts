/** The metrics against small cases by hand, against plain computations, and properties that hold for all inputs. */
import { describe, expect, it } from "vitest";
import { uniform } from "../../../src/core/random.js";
import {
  auc,
  averagePrecision,
  bestF1,
  bootstrapInterval,
  bootstrapStatistic,
  byArea,
  byLabel,
  ciou,
  type ExtendedScore,
  FCurve,
  FrameScores,
  fMeasure,
  frameFCurve,
  fThresholds,
  hitRanks,
  iiou,
  iou,
  localizationAccuracy,
  meanInside,
  nearestNeighbours,
  operatingPoints,
  recallAt,
  successCurve,
  successRate,
  successThresholds,
} from "../../../src/metrics/index.js";

const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);
const numbers = (count: number, draw: () => number) => Array.from({ length: count }, draw);
const whole = (draw: () => number, below: number) => Math.floor(draw() * below);
const binary = (count: number, share: number, draw: () => number) =>
  numbers(count, () => (draw() < share ? 1 : 0));
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const zeros = (count: number) => new Array<number>(count).fill(0);
const ones = (count: number) => new Array<number>(count).fill(1);

function expectShare(value: number) {
  expect(value).toBeGreaterThanOrEqual(0);
  expect(value).toBeLessThanOrEqual(1 + 1e-12);
}

/** Each value is at most `slack` above the one before it. */
function expectFalling(values: readonly number[], slack = 0) {
  for (let i = 1; i < values.length; i++) {
    expect(values[i], `value ${i}`).toBeLessThanOrEqual((values[i - 1] as number) + slack);
  }
}

/** The next float32 below a positive one. */
function below(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0] = (bits[0] as number) - 1;
  return new Float32Array(bits.buffer)[0] as number;
}

describe("cIoU over a set", () => {
  it("weighs a consensus map by its agreement", () => {
    // ΣPG = 1.5, ΣG = 2, ΣP·[G = 0] = 1
    expect(ciou([1, 1, 1, 0], [1, 0.5, 0, 0.5])).toBeCloseTo(0.5, 15);
    expect(ciou([1, 0, 1], [1, 0, 1])).toBe(1);
    expect(ciou([0, 0, 0], [1, 0, 1])).toBe(0);
    expect(ciou([0, 0], [0, 0])).toBe(0);
  });

  it("has an AUC of 1 for perfect scores and of half a step for scores of 0", () => {
    expect(auc([1, 1, 1])).toBeCloseTo(1, 12);
    expect(auc([0, 0])).toBeCloseTo(0.025, 12);
    expect(successRate([0.5, 0.49, 1, 0])).toBe(0.5);
    expect(successRate([])).toBeNaN();
  });

  it.each(SEEDS)("gives a success curve that never rises, seed %i", (seed) => {
    const draw = uniform(seed);
    const scores = numbers(1 + whole(draw, 50), draw);
    const curve = successCurve(scores);
    expect(curve).toEqual(successThresholds.map((at) => mean(scores.map((score) => (score >= at ? 1 : 0)))));
    expect(curve[0]).toBe(1);
    expectFalling(curve);
    expectShare(auc(scores));
    expect(auc(scores)).toBeCloseTo(mean(scores.map((score) => auc([score]))), 12);
  });

  it("averages a map inside a mask", () => {
    expect(meanInside([0.1, 0.5, 0.7, 0.2], [0, 1, 1, 0])).toBeCloseTo(0.6, 12);
    expect(meanInside([0.1, 0.5], [0, 0])).toBeNaN();
  });
});

describe("IoU and F-measure", () => {
  it("scores small masks as by hand", () => {
    const prediction = [1, 1, 1, 0, 0, 0];
    const groundTruth = [0, 1, 1, 1, 0, 0];
    expect(iou(prediction, groundTruth)).toBe(0.5);
    // precision = recall = 2/3, so every F is 2/3
    expect(fMeasure(prediction, groundTruth)).toBeCloseTo(2 / 3, 12);
    expect(fMeasure(prediction, groundTruth, 1)).toBeCloseTo(2 / 3, 12);
    // precision 1, recall 1/3: 1.3 · (1/3) / (0.3 + 1/3)
    expect(fMeasure([0, 1, 0, 0, 0, 0], groundTruth)).toBeCloseTo(1.3 / 3 / (0.3 + 1 / 3), 12);
  });

  it("scores empty maps", () => {
    expect(iou([0, 0], [0, 0])).toBe(1);
    expect(iou([0, 0], [0, 1])).toBe(0);
    expect(iou([0, 1], [0, 0])).toBe(0);
    expect(fMeasure([0, 0], [0, 1])).toBe(0);
    expect(fMeasure([0, 1], [0, 0])).toBe(0);
    expect(fMeasure([0, 0], [0, 0])).toBe(0);
  });

  it("gives the share of background in a silent frame where that is asked for", () => {
    expect(iou([1, 0, 0, 0], [0, 0, 0, 0], "background")).toBe(0.75);
    expect(iou([0, 0, 0, 0], [0, 0, 0, 0], "background")).toBe(1);
    expect(iou([1, 1, 0, 0], [1, 0, 0, 0], "background")).toBe(0.5);
  });

  it.each(SEEDS)("agrees with sets of pixels, seed %i", (seed) => {
    const draw = uniform(seed);
    const prediction = binary(60, draw(), draw);
    const groundTruth = binary(60, draw(), draw);
    const pixels = (map: readonly number[]) => map.flatMap((value, i) => (value ? [i] : []));
    const [p, g] = [new Set(pixels(prediction)), new Set(pixels(groundTruth))];
    const shared = [...p].filter((pixel) => g.has(pixel)).length;
    const union = new Set([...p, ...g]).size;
    expect(iou(prediction, groundTruth)).toBeCloseTo(union ? shared / union : 1, 12);
    expectShare(fMeasure(prediction, groundTruth));
    if (g.size) {
      expect(iou(groundTruth, groundTruth)).toBe(1);
      expect(fMeasure(groundTruth, groundTruth)).toBeCloseTo(1, 12);
      expect(ciou(prediction, groundTruth)).toBeCloseTo(iou(prediction, groundTruth), 12);
    }
  });
});

describe("all metrics of one threshold in one pass", () => {
  it.each(SEEDS)("are those of the functions, in pieces of any size, seed %i", (seed) => {
    const draw = uniform(seed);
    const count = 1 + whole(draw, 300);
    const map = Float32Array.from(numbers(count, draw));
    const groundTruths = [
      binary(count, draw(), draw),
      numbers(count, () => whole(draw, 3) / 2),
      zeros(count),
      ones(count),
    ];
    for (const groundTruth of groundTruths) {
      for (const threshold of [0, 0.6, 1.1]) {
        const prediction = [...map].map((value) => (value >= threshold ? 1 : 0));
        const frame = new FrameScores(threshold);
        for (let from = 0; from < count; ) {
          const to = Math.min(count, from + 1 + whole(draw, 100));
          frame.take(map, groundTruth, from, to);
          from = to;
        }
        expect(frame.ciou).toBe(ciou(prediction, groundTruth));
        expect(frame.iou).toBe(iou(prediction, groundTruth));
        expect(frame.f()).toBe(fMeasure(prediction, groundTruth));
      }
    }
  });
});

describe("F over 255 thresholds", () => {
  /** A threshold at a time, precision and recall written out. */
  function plainCurve(map: ArrayLike<number>, groundTruth: readonly number[]): number[] {
    return fThresholds.map((threshold) => {
      const prediction = Array.from(map, (value) => (Math.fround(value) >= threshold ? 1 : 0));
      const shared = prediction.filter((p, i) => p && groundTruth[i]).length;
      const precision = shared / (prediction.filter(Boolean).length + 1e-20);
      const recall = shared / groundTruth.filter(Boolean).length;
      const f = (1.3 * precision * recall) / (0.3 * precision + recall);
      return Number.isNaN(f) ? 0 : f;
    });
  }

  it("has torch's thresholds", () => {
    expect(fThresholds).toHaveLength(255);
    expect(fThresholds[0]).toBe(0);
    expect(fThresholds[1]).toBe(0.003937007859349251);
    expect(fThresholds[125]).toBe(0.4921259880065918);
    expect(fThresholds[127]).toBe(0.5);
    expect(fThresholds[129]).toBe(0.5078740119934082);
    expect(fThresholds[143]).toBe(0.5629921555519104); // two roundings would give one bit less
    expect(fThresholds[253]).toBe(0.9960629940032959);
    expect(fThresholds[254]).toBe(1);
    for (const threshold of fThresholds) expect(Math.fround(threshold)).toBe(threshold);
  });

  it("takes a pixel at a threshold as reaching it, and the next float32 below as not", () => {
    for (let i = 1; i < fThresholds.length; i++) {
      const threshold = fThresholds[i] as number;
      for (const [value, last] of [
        [threshold, i],
        [below(threshold), i - 1],
      ] as const) {
        const curve = frameFCurve(Float32Array.of(value), [1]) as Float64Array;
        expect(
          curve.findLastIndex((f) => f > 0),
          `${value}`,
        ).toBe(last);
      }
    }
  });

  it("rounds a float64 map to float32 before it compares", () => {
    expect(frameFCurve([0.5 - 1e-12], [1])?.[127]).toBeCloseTo(1, 12);
    expect(frameFCurve([1 - 1e-12], [1])?.[254]).toBeCloseTo(1, 12);
  });

  it.each(SEEDS)("equals the plain computation on random maps, seed %i", (seed) => {
    const draw = uniform(seed);
    const set = new FCurve();
    const curves: number[][] = [];
    for (let frame = 0; frame < 4; frame++) {
      // Some maps lie on the thresholds, where the comparison matters; some leave [0, 1] or are not numbers.
      const exact = () => fThresholds[whole(draw, 255)] as number;
      const odd = () => [Number.NaN, -0.1, 1.5, -0, 1][whole(draw, 5)] as number;
      const pixel = [draw, exact, () => below(exact() || 1), odd][frame] as () => number;
      const map = Float32Array.from(numbers(80, pixel));
      const groundTruth = binary(80, seed % 5 === 0 && frame === 1 ? 0 : 0.3, draw);
      const own = set.add(map, groundTruth);
      if (!groundTruth.includes(1)) {
        expect(own).toBeUndefined();
        continue;
      }
      const plain = plainCurve(map, groundTruth);
      curves.push(plain);
      for (const [i, f] of plain.entries()) expect(own?.[i], `threshold ${i}`).toBeCloseTo(f, 12);
    }
    expect(set.frames).toBe(curves.length);
    const means = fThresholds.map((_, i) => mean(curves.map((curve) => curve[i] as number)));
    for (const [i, f] of set.curve().entries()) {
      expect(f).toBeCloseTo(means[i] as number, 12);
      expectShare(f);
    }
    expect(set.max()).toBeCloseTo(Math.max(...means), 12);
  });

  it("is 1 for a perfect map, and 0 above threshold 0 for an empty one", () => {
    const groundTruth = [0, 1, 1, 0];
    const perfect = new FCurve();
    perfect.add(groundTruth, groundTruth);
    expect(perfect.max()).toBeCloseTo(1, 12);
    const empty = frameFCurve(zeros(4), groundTruth) as Float64Array;
    expect(empty[0]).toBeCloseTo(fMeasure(ones(4), groundTruth), 12); // 0 ≥ 0: all of the image
    expect(Math.max(...empty.subarray(1))).toBe(0);
  });

  it("has at a threshold the F-measure of the map cut there", () => {
    const draw = uniform(7);
    const map = Float32Array.from(numbers(100, draw));
    const groundTruth = binary(100, 0.4, draw);
    const curve = frameFCurve(map, groundTruth, 1) as Float64Array;
    for (const i of [0, 60, 152, 254]) {
      const cut = map.map((value) => (value >= (fThresholds[i] as number) ? 1 : 0));
      expect(curve[i]).toBeCloseTo(fMeasure(cut, groundTruth, 1), 12);
    }
  });

  it("is NaN without a frame that counts", () => {
    const set = new FCurve();
    set.add([0.5], [0]);
    expect(set.frames).toBe(0);
    expect(set.max()).toBeNaN();
    expect(set.curve()).toHaveLength(255);
  });
});

describe("lists with audio that has no source in the image", () => {
  const pair = (confidence: number, ciou: number, sounding = true): ExtendedScore => ({
    confidence,
    ciou,
    sounding,
  });
  const five = [pair(0.9, 0.8), pair(0.8, 0, false), pair(0.7, 0.2), pair(0.6, 0.6), pair(0.5, 0.9, false)];

  const random = (seed: number, distinct = 8): ExtendedScore[] => {
    const draw = uniform(seed);
    const list = numbers(1 + whole(draw, 40), draw).map((u) => pair(whole(draw, distinct), u, draw() < 0.6));
    return [...list, pair(whole(draw, distinct), draw())];
  };

  /** Counts at each distinct confidence, by going through the whole list each time. */
  function plainPoints(scores: readonly ExtendedScore[]) {
    const thresholds = [...new Set(scores.map(({ confidence }) => confidence))].sort((a, b) => b - a);
    return thresholds.map((threshold) => {
      let [tp, fp, fn] = [0, 0, 0];
      for (const { confidence, ciou, sounding } of scores) {
        if (confidence >= threshold) {
          if (sounding && ciou >= 0.5) tp++;
          else fp++;
        } else if (sounding) fn++;
      }
      return { threshold, precision: tp / (tp + fp), recall: tp + fn ? tp / (tp + fn) : 1 };
    });
  }

  it("scores five pairs as by hand", () => {
    // precision, recall: 1, 1/3 | 1/2, 1/3 | 1/3, 1/2 | 1/2, 1 | 2/5, 1
    expect(averagePrecision(five)).toBeCloseTo(1 / 3 + (1 / 2 - 1 / 3) / 2 + 1 / 2 / 2, 12);
    expect(bestF1(five)).toEqual({ f1: expect.closeTo(2 / 3, 12), threshold: 0.6 });
    expect(localizationAccuracy(five)).toBeCloseTo(2 / 3, 12);
    // with cIoU ≥ 0.7 only the first is right
    expect(averagePrecision(five, 0.7)).toBeCloseTo(1 / 3 + (1 / 2 - 1 / 3) / 3 + 1 / 2 / 4, 12);
    expect(localizationAccuracy(five, 0.7)).toBeCloseTo(1 / 3, 12);
  });

  it("is perfect when all sounding pairs are right and come before the silent ones", () => {
    const perfect = [pair(3, 0.9), pair(2, 0.5), pair(1, 0, false)];
    expect(averagePrecision(perfect)).toBeCloseTo(1, 12);
    expect(bestF1(perfect)).toEqual({ f1: 1, threshold: 2 });
    expect(localizationAccuracy(perfect)).toBe(1);
  });

  it("is 0 when nothing is right", () => {
    const wrong = [pair(2, 0.1), pair(1, 0.4), pair(0, 0, false)];
    expect(averagePrecision(wrong)).toBe(0);
    expect(bestF1(wrong)).toEqual({ f1: 0, threshold: 2 });
    expect(localizationAccuracy(wrong)).toBe(0);
  });

  it.each([
    ["no pair", []],
    ["no sounding pair", [pair(1, 0.9, false), pair(0, 0, false)]],
  ])("is NaN with %s", (_, scores) => {
    expect(operatingPoints(scores)).toEqual([]);
    expect(averagePrecision(scores)).toBeNaN();
    expect(bestF1(scores)).toEqual({ f1: Number.NaN, threshold: Number.NaN });
    expect(localizationAccuracy(scores)).toBeNaN();
  });

  it("takes pairs of one confidence together", () => {
    const tied = [pair(1, 0.9), pair(1, 0, false), pair(1, 0.9), pair(1, 0.1)];
    expect(operatingPoints(tied)).toEqual([{ threshold: 1, precision: 0.5, recall: 1, f1: 2 / 3 }]);
    expect(averagePrecision(tied)).toBe(0.5);
    expect(averagePrecision([...tied].reverse())).toBe(0.5);
  });

  it.each(SEEDS)("equals the plain computation, seed %i", (seed) => {
    const scores = random(seed);
    const plain = plainPoints(scores);
    const points = operatingPoints(scores);
    expect(points.map(({ threshold, precision, recall }) => ({ threshold, precision, recall }))).toEqual(
      plain,
    );
    let area = 0;
    for (const [k, { recall }] of plain.entries()) {
      const best = Math.max(...plain.slice(k).map(({ precision }) => precision));
      area += (recall - (plain[k - 1]?.recall ?? 0)) * best;
    }
    expect(averagePrecision(scores)).toBeCloseTo(area, 12);
    const f1 = plain.map(({ precision: p, recall: r }) => (p + r > 0 ? (2 * p * r) / (p + r) : 0));
    expect(bestF1(scores).f1).toBeCloseTo(Math.max(...f1), 12);
    for (const [k, each] of points.entries()) expect(each.f1).toBeCloseTo(f1[k] as number, 12);
  });

  it.each(SEEDS)("stays in range, and keeps to the order of confidences alone, seed %i", (seed) => {
    const scores = random(seed, 1000);
    expectShare(averagePrecision(scores));
    expectShare(bestF1(scores).f1);
    expectShare(localizationAccuracy(scores));
    const recalls = operatingPoints(scores).map(({ recall }) => -recall);
    expectFalling(recalls);
    const other = scores.map((score) => ({ ...score, confidence: Math.exp(score.confidence / 100) - 7 }));
    expect(averagePrecision(other)).toBe(averagePrecision(scores));
    expect(bestF1(other).f1).toBe(bestF1(scores).f1);
    const draw = uniform(seed + 1000);
    const shuffled = scores
      .map((score) => ({ score, key: draw() }))
      .sort((a, b) => a.key - b.key)
      .map(({ score }) => score);
    expect(averagePrecision(shuffled)).toBe(averagePrecision(scores));
    expect(bestF1(shuffled)).toEqual(bestF1(scores));
  });
});

describe("interactive IoU", () => {
  it("takes the worst source of an image", () => {
    const scores = [
      { imageId: "a", ciou: 0.9 },
      { imageId: "b", ciou: 0.8 },
      { imageId: "a", ciou: 0.5 },
      { imageId: "b", ciou: 0.49 },
    ];
    const { images, iiou: share, curve } = iiou(scores);
    expect([images, share]).toEqual([2, 0.5]);
    expect([curve[9], curve[10], curve[11]]).toEqual([1, 0.5, 0]);
    expect(iiou([]).iiou).toBeNaN();
    expect(iiou(scores.map((score) => ({ ...score, ciou: 1 }))).auc).toBeCloseTo(1, 12);
  });

  it.each(SEEDS)("equals the plain computation, seed %i", (seed) => {
    const draw = uniform(seed);
    const scores = numbers(30, draw).map((ciou) => ({ imageId: `image ${whole(draw, 12)}`, ciou }));
    const images = [...new Set(scores.map(({ imageId }) => imageId))];
    const curve = successThresholds.map((at) =>
      mean(
        images.map((name) => (scores.every(({ imageId, ciou }) => imageId !== name || ciou >= at) ? 1 : 0)),
      ),
    );
    const ours = iiou(scores);
    expect(ours.curve).toEqual(curve);
    expect(ours.iiou).toBe(curve[10]);
    expect(ours.auc).toBeCloseTo(
      mean(curve.slice(1).map((share, i) => (share + (curve[i] as number)) / 2)),
      12,
    );
    expectFalling(ours.curve);
    const alone = iiou(scores.map(({ ciou }, i) => ({ imageId: `${i}`, ciou })));
    expect(alone.iiou).toBe(successRate(scores.map(({ ciou }) => ciou)));
  });
});

describe("groups of samples", () => {
  it("are classes in order, without unlabelled samples", () => {
    const samples = [{ label: "dog", id: 1 }, { label: "cat", id: 2 }, { id: 3 }, { label: "dog", id: 4 }];
    expect(byLabel(samples)).toEqual([
      { label: "cat", samples: [samples[1]] },
      { label: "dog", samples: [samples[0], samples[3]] },
    ]);
    expect(byLabel([])).toEqual([]);
  });

  it("are quarters by area of nearly one size, the smallest first", () => {
    const areas = [0.5, 0.1, 0.4, 0.2, 0.3, 0.6].map((area) => ({ area }));
    const quarters = byArea([...areas, {}]);
    expect(quarters.map(({ samples }) => samples.length)).toEqual([2, 1, 2, 1]);
    expect(quarters.map(({ from, to }) => [from, to])).toEqual([
      [0.1, 0.2],
      [0.3, 0.3],
      [0.4, 0.5],
      [0.6, 0.6],
    ]);
    expect(byArea([{ area: 0.2 }])).toHaveLength(1);
    expect(byArea([{}])).toEqual([]);
  });
});

describe("recall at K", () => {
  const vectors = (rows: readonly number[][]) => rows.map((row) => Float32Array.from(row));

  it("ranks equal cosines in the gallery's order", async () => {
    const same = vectors([
      [1, 0],
      [1, 0],
      [1, 0],
    ]);
    expect(await recallAt(same, same, ["a", "b", "c"], [1, 2, 3])).toEqual([1 / 3, 2 / 3, 1]);
  });

  it("counts ranks from 1, and those past the last as Infinity", async () => {
    const queries = vectors([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    const gallery = vectors([
      [1, 0],
      [2, 1],
      [1, 1],
    ]);
    const labels = ["a", "b", "c"];
    expect([...(await hitRanks(queries, gallery, labels, 3))]).toEqual([1, 2, 1]);
    expect([...(await hitRanks(queries, gallery, labels, 1))]).toEqual([1, Number.POSITIVE_INFINITY, 1]);
    expect([...(await hitRanks(queries, gallery, ["a", "a", "a"], 3))]).toEqual([1, 1, 1]);
  });

  it("goes by angle, not by length", async () => {
    const queries = vectors([
      [1, 0],
      [0, 1],
    ]);
    const gallery = vectors([
      [0.1, 0],
      [50, 60],
    ]);
    expect(await recallAt(queries, gallery, ["a", "b"], [1])).toEqual([1]);
  });

  it("lists the nearest by cosine, over a gallery of many tiles", async () => {
    const draw = uniform(11);
    const dim = 5;
    const gallery = vectors(Array.from({ length: 9000 }, () => numbers(dim, () => draw() - 0.5)));
    const queries = vectors(Array.from({ length: 7 }, () => numbers(dim, () => draw() - 0.5)));
    const length = (v: Float32Array) => Math.hypot(...v);
    const plain = queries.map((query) =>
      gallery
        .map((row, j) => ({
          j,
          cosine: row.reduce((s, x, d) => s + x * (query[d] as number), 0) / length(row),
        }))
        .sort((a, b) => b.cosine - a.cosine)
        .slice(0, 12)
        .map(({ j }) => j),
    );
    expect(await nearestNeighbours(queries, gallery, 12)).toEqual(plain);
    expect(plain.flat().some((j) => j >= 4096)).toBe(true);
  });

  it("gives all of a small gallery, and rejects input that it cannot rank", async () => {
    const two = vectors([
      [0, 1],
      [1, 0],
    ]);
    expect(await nearestNeighbours(two, two, 10)).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(await nearestNeighbours(two, [], 3)).toEqual([[], []]);
    expect(await nearestNeighbours([], two, 3)).toEqual([]);
    for (const depth of [0, 1.5, Number.NaN]) {
      await expect(nearestNeighbours(two, two, depth)).rejects.toMatchObject({ code: "ERR_INPUT" });
    }
    await expect(nearestNeighbours(two, vectors([[1, 2, 3]]), 1)).rejects.toMatchObject({
      code: "ERR_SHAPE",
    });
  });

  it("never finds a vector that holds NaN", async () => {
    const queries = vectors([
      [1, 0],
      [0, 1],
    ]);
    const gallery = vectors([
      [Number.NaN, 0],
      [0, 1],
    ]);
    expect(await recallAt(queries, gallery, ["a", "b"], [1, 2])).toEqual([0.5, 0.5]);
  });

  it.each(SEEDS)("equals sorting, and never falls with K, seed %i", async (seed) => {
    const draw = uniform(seed);
    const count = 3 + whole(draw, 20);
    // Few directions of length 1: many cosines are equal.
    const directions = [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [-1, 0, 0],
      [0, 0, 0],
    ];
    const drawn = () => vectors(numbers(count, () => whole(draw, 5)).map((i) => directions[i] as number[]));
    const [queries, gallery] = [drawn(), drawn()];
    const labels = numbers(count, () => whole(draw, 6)).map(String);
    const ks = [1, 2, 5, 10, 100];
    const plain = ks.map((k) =>
      mean(
        queries.map((query, i) => {
          const dots = gallery.map((row, j) => ({
            j,
            dot: row.reduce((s, x, d) => s + x * (query[d] as number), 0),
          }));
          const first = dots.sort((a, b) => b.dot - a.dot || a.j - b.j).slice(0, k);
          return first.some(({ j }) => labels[j] === labels[i]) ? 1 : 0;
        }),
      ),
    );
    const recalls = await recallAt(queries, gallery, labels, ks);
    expect(recalls).toEqual(plain);
    expectFalling([...recalls].reverse());
    expect(recalls.at(-1)).toBe(1); // its own pair is among all of them
  });
});

describe("F of sets that are put together", () => {
  it("is F of all their frames", () => {
    const draw = uniform(5);
    const all = new FCurve();
    const together = new FCurve();
    for (let part = 0; part < 3; part++) {
      const own = new FCurve();
      for (let frame = 0; frame < 4; frame++) {
        const map = numbers(50, draw);
        const mask = numbers(50, () => (draw() < 0.3 ? 1 : 0));
        all.add(map, mask);
        own.add(map, mask);
      }
      together.addAll(own);
    }
    expect(together.frames).toBe(all.frames);
    expect(together.max()).toBeCloseTo(all.max(), 12);
  });
});

describe("bootstrap intervals", () => {
  const values = numbers(400, uniform(3));

  it("contain the mean, and agree with the normal approximation", async () => {
    const { estimate, low, high } = await bootstrapInterval(values);
    expect(estimate).toBeCloseTo(mean(values), 12);
    expect(low).toBeLessThan(estimate);
    expect(high).toBeGreaterThan(estimate);
    const deviation = Math.sqrt(mean(values.map((value) => (value - estimate) ** 2)));
    const half = (1.96 * deviation) / Math.sqrt(values.length);
    expect(Math.abs((estimate - low) / half - 1)).toBeLessThan(0.1);
    expect(Math.abs((high - estimate) / half - 1)).toBeLessThan(0.1);
  });

  it("are the same for the same seed, and others for another", async () => {
    const first = await bootstrapInterval(values, { seed: 5 });
    expect(await bootstrapInterval(values, { seed: 5 })).toEqual(first);
    expect(await bootstrapInterval(values, { seed: 6 })).not.toEqual(first);
  });

  it("narrow with more samples and with a lower level", async () => {
    const width = async (count: number, level = 0.95) => {
      const { low, high } = await bootstrapInterval(numbers(count, uniform(9)), { level });
      return high - low;
    };
    const widths = [await width(50), await width(200), await width(800), await width(3200)];
    expectFalling(widths);
    expect((widths[3] as number) / (widths[0] as number)).toBeLessThan(0.2);
    expect(await width(800, 0.5)).toBeLessThan(await width(800, 0.8));
  });

  it("hold the true mean about as often as they say", async () => {
    let held = 0;
    const runs = 400;
    for (let run = 0; run < runs; run++) {
      const draw = uniform(run);
      const { low, high } = await bootstrapInterval(binary(120, 0.3, draw), { resamples: 200, seed: run });
      if (low <= 0.3 && high >= 0.3) held++;
    }
    expect(held / runs).toBeGreaterThan(0.9);
    expect(held / runs).toBeLessThan(0.98);
  });

  it("are a point for equal values, and NaN for none or for NaN", async () => {
    const point = await bootstrapInterval(ones(20));
    expect(point).toEqual({ estimate: 1, low: 1, high: 1 });
    const nothing = { estimate: Number.NaN, low: Number.NaN, high: Number.NaN };
    expect(await bootstrapInterval([])).toEqual(nothing);
    expect(await bootstrapInterval([1, Number.NaN])).toEqual(nothing);
  });

  it("are the same through the general form", async () => {
    const groups = values.map((_, i) => `clip ${Math.floor(i ** 0.7)}`); // groups of different sizes
    const meanOf = (indices: Uint32Array) => mean(Array.from(indices, (i) => values[i] as number));
    for (const options of [{ seed: 2 }, { seed: 2, groups }]) {
      const special = await bootstrapInterval(values, options);
      const general = await bootstrapStatistic(values.length, meanOf, options);
      for (const key of ["estimate", "low", "high"] as const) {
        expect(general[key], key).toBeCloseTo(special[key], 12);
      }
    }
  });

  it("draw the samples of a group together", async () => {
    // Five equal frames a clip say no more than one, though there are five times as many.
    const clips = values.slice(0, 80);
    const frames = clips.flatMap((value) => [value, value, value, value, value]);
    const groups = frames.map((_, i) => Math.floor(i / 5));
    const [one, grouped, naive] = await Promise.all([
      bootstrapInterval(clips),
      bootstrapInterval(frames, { groups }),
      bootstrapInterval(frames),
    ]);
    expect(grouped.low).toBeCloseTo(one.low, 12);
    expect(grouped.high).toBeCloseTo(one.high, 12);
    expect(naive.high - naive.low).toBeLessThan(0.6 * (one.high - one.low));
  });

  it("hand the statistic whole groups, in ascending order", async () => {
    const groups = [0, 1, 0, 2, 1, 0];
    await bootstrapStatistic(
      groups.length,
      (indices) => {
        const times = zeros(groups.length);
        for (const [n, i] of indices.entries()) {
          times[i] = (times[i] as number) + 1;
          if (n > 0) expect(i).toBeGreaterThanOrEqual(indices[n - 1] as number);
        }
        expect([times[2], times[5], times[4]]).toEqual([times[0], times[0], times[1]]);
        expect((times[0] as number) + (times[1] as number) + (times[3] as number)).toBe(3);
        return 0;
      },
      { groups, resamples: 50 },
    );
  });

  it("leave out resamples without a score", async () => {
    const scores = Array.from({ length: 6 }, (_, i) => ({ confidence: -i, ciou: 0.2 * i, sounding: i < 2 }));
    const accuracy = (indices: Uint32Array) =>
      localizationAccuracy(
        Array.from(indices, (i) => scores[i] as ExtendedScore),
        0.1,
      );
    const { estimate, low, high } = await bootstrapStatistic(scores.length, accuracy);
    expect([estimate, low, high]).toEqual([0.5, 0, 1]);
  });

  it("let the event loop turn", async () => {
    let turns = 0;
    let running = true;
    const count = () => {
      turns++;
      if (running) setImmediate(count);
    };
    setImmediate(count);
    await bootstrapInterval(binary(10_000, 0.4, uniform(1)));
    running = false;
    expect(turns).toBeGreaterThan(5);
  });

  it("stop at their signal and reject options out of range", async () => {
    const signal = AbortSignal.abort();
    await expect(bootstrapInterval(values, { signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    for (const options of [{ resamples: 0 }, { level: 1 }, { seed: 0.5 }, { groups: [1, 2] }]) {
      await expect(bootstrapInterval(values, options)).rejects.toMatchObject({ code: "ERR_INPUT" });
    }
  });
});
