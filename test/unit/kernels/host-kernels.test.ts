/**
 * The GPU's kernels, run on the host block by block, against ATen in double: values and gradients over generated shapes.
 * The tests' addon has them (test/native/addon/host_*.cc).
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

interface Figures {
  readonly name: string;
  /** Euclidean lengths of the difference and of what is expected. */
  readonly apart: number;
  readonly length: number;
  /** Greatest magnitudes of the difference and of what is expected. */
  readonly most: number;
  readonly greatest: number;
}
type Case = Readonly<Record<string, number | boolean>>;
interface Addon {
  hostKernel(options: Case & { kernel: string }): Figures[];
}

const path = `${process.cwd()}/build/test/build/Release/soundspot_test.node`;
const built = existsSync(path) && process.platform !== "win32";
if (!built) console.warn(`test/unit/kernels/host-kernels.test.ts is skipped: there is no ${path}.`);
const addon = built ? (createRequire(import.meta.url)(path) as Addon) : undefined;

/**
 * float32 has a relative rounding of 6e-8. Sums of up to 20,000 products, in blocks, lose two digits more at most.
 * A result that is stored as bfloat16 is rounded by 2⁻⁹ of its value at most, and by 1.7e-3 of its length on average.
 */
const float32 = 2e-5;
const stored = 3e-3;

/** Runs a kernel over generated cases; each tensor must be within `tolerance` of its length. */
function holds(
  kernel: string,
  cases: fc.Arbitrary<Case>,
  tolerance: (name: string, own: Case) => number,
  runs = 60,
): void {
  const seen = new Set<string>();
  fc.assert(
    fc.property(cases, fc.integer({ min: 1, max: 1e6 }), (own, seed) => {
      for (const { name, apart, length } of (addon as Addon).hostKernel({ kernel, seed, ...own })) {
        seen.add(name);
        const most = tolerance(name, own) * (length + 1e-3);
        expect(apart, `${name} of ${JSON.stringify({ seed, ...own })}`).toBeLessThanOrEqual(most);
      }
    }),
    { numRuns: runs, seed: 26 },
  );
  expect(seen.size).toBeGreaterThan(0);
}

const whole = (min: number, max: number) => fc.integer({ min, max });

describe.skipIf(!built)("kernels of the GPU, on the host", () => {
  it("normalize a batch, add a residual and rectify, forward and backward", () => {
    holds(
      "batchNorm",
      fc.record({
        batch: whole(1, 9),
        channels: fc.oneof(whole(1, 40), fc.constantFrom(64, 128, 136, 512)),
        height: whole(3, 20),
        width: whole(4, 12),
        bfloat16: fc.boolean(),
        relu: fc.boolean(),
        residual: fc.boolean(),
        fixed: fc.boolean(),
        shared: fc.constant(false),
      }),
      (name, { bfloat16 }) => (bfloat16 && /^(y|d x|d residual)$/.test(name) ? stored : float32),
    );
  });

  it("normalize by the statistics of two processes", () => {
    holds(
      "batchNorm",
      fc.record({
        batch: fc.constantFrom(2, 4, 6),
        channels: whole(1, 40),
        height: whole(3, 9),
        width: whole(4, 9),
        bfloat16: fc.constant(false),
        relu: fc.boolean(),
        residual: fc.boolean(),
        fixed: fc.constant(false),
        shared: fc.constant(true),
      }),
      () => float32,
      20,
    );
  });
});
