/** Means and intervals over seeds, and the trainings behind them. */
import { describe, expect, it } from "vitest";
import { overSeeds, tQuantile } from "../../../src/ablation/seeds.js";

describe("tQuantile", () => {
  // Two-sided 95 % and 99 %, from published tables of Student's t.
  it.each([
    [1, 12.706, 63.657],
    [2, 4.303, 9.925],
    [3, 3.182, 5.841],
    [4, 2.776, 4.604],
    [5, 2.571, 4.032],
    [9, 2.262, 3.25],
    [10, 2.228, 3.169],
    [29, 2.045, 2.756],
    [30, 2.042, 2.75],
    [120, 1.98, 2.617],
  ])("of %i degrees of freedom is %f and %f", (degrees, at95, at99) => {
    expect(tQuantile(degrees)).toBeCloseTo(at95, 3);
    expect(tQuantile(degrees, 0.99)).toBeCloseTo(at99, 3);
  });

  it("falls with the degrees of freedom to that of the normal distribution", () => {
    let before = Number.POSITIVE_INFINITY;
    for (let degrees = 1; degrees <= 400; degrees++) {
      const value = tQuantile(degrees);
      expect(value).toBeLessThan(before);
      before = value;
    }
    expect(tQuantile(5000)).toBeCloseTo(1.96, 3);
  });
});

describe("overSeeds", () => {
  it("gives the mean and its t interval", () => {
    const { mean, interval } = overSeeds([40, 42, 41]);
    expect(mean).toBeCloseTo(41, 12);
    // s = 1, n = 3: 4.3027 / √3.
    expect(interval?.[0]).toBeCloseTo(41 - 2.4841, 4);
    expect(interval?.[1]).toBeCloseTo(41 + 2.4841, 4);
  });

  it("gives no interval for one value, and a point for equal values", () => {
    expect(overSeeds([40.5])).toEqual({ mean: 40.5 });
    expect(overSeeds([2, 2, 2])).toEqual({ mean: 2, interval: [2, 2] });
    expect(overSeeds([1, Number.NaN]).mean).toBeNaN();
  });

  it("covers the mean of normal values about 95 times in 100", () => {
    let state = 1;
    const uniform = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state + 0.5) / 2 ** 32;
    };
    const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    for (const count of [2, 3, 5]) {
      let covered = 0;
      for (let i = 0; i < 4000; i++) {
        const { interval } = overSeeds(Array.from({ length: count }, normal));
        const [low, high] = interval as readonly [number, number];
        if (low <= 0 && 0 <= high) covered++;
      }
      expect(covered / 4000, `${count} values`).toBeGreaterThan(0.935);
      expect(covered / 4000, `${count} values`).toBeLessThan(0.965);
    }
  });
});
