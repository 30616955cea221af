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
  hostKernel(options: Readonly<Record<string, number | boolean | string>>): Figures[];
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
/**
 * Both factors of every product rounded to bfloat16, as those of the reference are. A number that lies between two of
 * bfloat16 may be rounded to the other one, 2⁻⁸ away, and then pass ReLU or not: the worst of 2,000 cases was 6.5e-2,
 * the next 1.7e-2.
 */
const rounded = 0.1;

/**
 * Of the greatest gradient's length. A gradient whose terms cancel, such as that of a bias of keys, has the rounding of
 * its terms: LibTorch's own operators in float32 are as far from the double there.
 */
const cancelled = 0.01;

/**
 * Runs a kernel over generated cases; each tensor must be within `tolerance` of its length. "backwards": the same with
 * threads and blocks in the opposite order, which must not change a bit.
 */
function holds(
  kernel: string,
  cases: fc.Arbitrary<Case>,
  tolerance: (name: string, own: Case) => number,
  runs = 40,
): void {
  const seen = new Set<string>();
  fc.assert(
    fc.property(cases, fc.integer({ min: 1, max: 1e6 }), (own, seed) => {
      const figures = (addon as Addon).hostKernel({ kernel, seed, ...own });
      const gradients = figures.filter(({ name }) => name.startsWith("d "));
      const greatest = Math.max(0, ...gradients.map((each) => each.length));
      for (const { name, apart, length } of figures) {
        seen.add(name);
        const scale = length + (name.startsWith("d ") ? cancelled * greatest : 0) + 1e-3;
        const most = name.startsWith("backwards ") ? 0 : tolerance(name, own) * scale;
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
      (name, { bfloat16 }) => (bfloat16 && /^(y|clear y|d x|d residual)$/.test(name) ? stored : float32),
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

  const slots = fc.record({
    batch: whole(1, 9),
    slots: whole(1, 8),
    tokens: fc.oneof(whole(1, 60), whole(61, 400)),
    dim: fc.oneof(
      { weight: 4, arbitrary: whole(8, 70) },
      { weight: 1, arbitrary: fc.constantFrom(128, 512) },
    ),
    bfloat16: fc.boolean(),
  });
  const ofTokens = (name: string, { bfloat16 }: Case) => (bfloat16 && name === "d tokens" ? stored : float32);

  it("attend by slots over iterations, in one launch for up to eight samples, forward and backward", () => {
    holds(
      "slotAttention",
      fc
        .tuple(
          slots,
          fc.record({
            hidden: whole(1, 80),
            iterations: whole(1, 5),
            rounded: fc.constant(false),
            joined: fc.boolean(),
          }),
        )
        .map(([one, other]) => ({ ...one, ...other })),
      ofTokens,
    );
  });

  it("attend by slots with products in bfloat16", () => {
    holds(
      "slotAttention",
      fc.record({
        batch: whole(1, 9),
        slots: whole(2, 4),
        tokens: whole(16, 60),
        dim: fc.constantFrom(32, 64),
        bfloat16: fc.boolean(),
        hidden: fc.constantFrom(64, 96),
        iterations: whole(1, 2),
        rounded: fc.constant(true),
        joined: fc.boolean(),
      }),
      () => rounded,
    );
  });

  it("attend by the queries of the other modality, forward and backward", () => {
    holds(
      "crossAttention",
      fc.tuple(slots, whole(1, 10)).map(([own, sharpening]) => ({ ...own, sharpening })),
      ofTokens,
    );
  });

  it("match attentions, forward and backward", () => {
    holds(
      "matching",
      fc
        .record({ batch: whole(1, 9), slots: whole(1, 8), tokens: whole(1, 400), others: whole(1, 100) })
        .chain((own) => whole(1, own.slots).map((targets) => ({ ...own, targets }))),
      () => float32,
    );
  });

  it("reject a tensor of another type, which they would read past its end", () => {
    holds("types", fc.record({ odd: whole(0, 3), bfloat16: fc.boolean() }), () => 0, 20);
  });

  it("enlarge, scale and cut maps", () => {
    holds(
      "heatmap",
      fc.record({
        batch: whole(1, 4),
        targets: whole(1, 8),
        side: whole(1, 20),
        height: whole(1, 130),
        width: whole(1, 130),
        bicubic: fc.boolean(),
        corners: fc.boolean(),
        // Pixels from token to token, and by how many the last one reaches over the edge; 0 for equal parts.
        stride: fc.constantFrom(0, 4, 8, 32),
        missing: whole(0, 31),
        range: fc.boolean(),
        constant: fc.boolean(),
        // A value that is not a number, in the last target's map.
        damaged: fc.constantFrom(false, false, false, true),
      }),
      (name) => (/^(mask|lost)/.test(name) ? 0 : float32),
    );
  });

  it("augment and normalize images as the CPU does, bit for bit", () => {
    const hundredths = whole(0, 100);
    holds(
      "augment",
      fc.record({
        batch: whole(1, 5),
        size: whole(3, 80),
        blur: fc.constantFrom(0, 50, 100),
        pillow: fc.boolean(),
        sigma: whole(1, 12),
        jitter: fc.constantFrom(0, 50, 100),
        strength: whole(0, 300),
        hue: whole(0, 50),
        grey: fc.constantFrom(0, 20, 100),
        translate: hundredths,
        hide: fc.constantFrom(0, 0, 20, 100),
        grid: whole(1, 16),
        // One colour.
        plain: fc.constantFrom(false, false, true),
      }),
      () => 0,
      60,
    );
  });

  it("take the norm of gradients and a step of Adam or AdamW, or none where a number is not finite", () => {
    const adam = {
      tensors: whole(1, 130),
      most: whole(2, 40_000),
      steps: whole(1, 4),
      coupled: fc.boolean(),
      spoiled: fc.constantFrom(0, 0, 1, 2),
    };
    // Exact: flags and counts.
    const tolerance = (name: string) => (/^(finite|steps)$/.test(name) ? 0 : float32);
    holds("adam", fc.record({ ...adam, clip: whole(0, 50), great: fc.constant(false) }), tolerance, 20);
    holds("adam", fc.record({ ...adam, clip: whole(1, 50), great: fc.constant(true) }), tolerance, 10);
  });
});

describe.skipIf(!built)("work in parts", () => {
  it("is done once each, in parts of half the grain or more, and passes a failure on", () => {
    const own = { count: whole(0, 400), grain: fc.oneof(fc.constant(1), whole(1, 64)), threads: whole(1, 5) };
    holds("parts", fc.record({ ...own, failing: fc.constant(-1) }), () => 0, 200);
    holds("parts", fc.record({ ...own, failing: whole(0, 500) }), () => 0, 200);
  });
});
