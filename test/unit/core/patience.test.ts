/** Time limits of tests grow with the machine's load and are always ample on the reference machine. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { factorOf, measuredPace, paceEnvironment, patience } from "../../support/patience.js";

it("scales with the machine's time for the reference work, from 1 to 20 times", () => {
  expect([1, 70, 140, 700, 1400, 1e6].map(factorOf)).toEqual([1, 1, 2, 10, 20, 20]);
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (milliseconds) => {
      const factor = factorOf(milliseconds);
      expect(factor).toBeGreaterThanOrEqual(1);
      expect(factor).toBeLessThanOrEqual(20);
      if (milliseconds >= 70 && milliseconds <= 1400) expect(factor * 70).toBeCloseTo(milliseconds);
    }),
  );
});

it("is measured once for all processes of a run", () => {
  expect(process.env.SOUNDSPOT_TEST_PACE).toBe(String(measuredPace()));
  expect(paceEnvironment()).toEqual({ SOUNDSPOT_TEST_PACE: process.env.SOUNDSPOT_TEST_PACE });
  expect(patience(60)).toBe(Math.ceil(60_000 * measuredPace()));
  expect(patience(60)).toBeGreaterThanOrEqual(60_000);
});
