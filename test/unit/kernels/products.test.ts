/** Matrix products by every library, against sums in float64; and the table that chooses among them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { native, type ProductLibrary } from "../../../src/native.js";
import { processor } from "../../support/processor.js";

const libraries: readonly ProductLibrary[] = ["libtorch", "onednn", "panels", "stream"];

/** Numbers in [−1, 1] that depend on the seed alone. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const turned = (data: Float32Array, height: number, width: number) =>
  Float32Array.from(
    { length: data.length },
    (_, i) => data[(i % height) * width + Math.floor(i / height)] as number,
  );

/** Sizes around the borders of vectors, panels and blocks, and any between. */
const size = (most: number) =>
  fc.oneof(
    fc.integer({ min: 1, max: most }),
    fc.constantFrom(1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 64, 191, 192, 193),
  );

const cases = fc.record({
  rows: size(70),
  inner: size(600),
  columns: size(140),
  transposed: fc.constantFrom("none", "left", "right" as const),
  seed: fc.integer({ min: 1, max: 1 << 30 }),
});

describe("a matrix product", () => {
  it.each(libraries)("is the sum of products, of any sizes and orders: %s", async (library) => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ rows, inner, columns, transposed, seed }) => {
        const left = numbers(rows * inner, seed);
        const right = numbers(inner * columns, seed + 1);
        const { data, shape } = await native().multiply(
          transposed === "left"
            ? { data: turned(left, rows, inner), shape: [inner, rows] }
            : { data: left, shape: [rows, inner] },
          transposed === "right"
            ? { data: turned(right, inner, columns), shape: [columns, inner] }
            : { data: right, shape: [inner, columns] },
          { library, transposed },
        );
        expect(shape).toEqual([rows, columns]);
        for (let r = 0; r < rows; r++) {
          for (let c = 0; c < columns; c++) {
            let [sum, size] = [0, 0];
            for (let i = 0; i < inner; i++) {
              const product = (left[r * inner + i] as number) * (right[i * columns + c] as number);
              sum += product;
              size += Math.abs(product);
            }
            const value = data[r * columns + c] as number;
            // A sum of n rounded products is off by n · 2⁻²⁴ of their sizes at most.
            expect(Math.abs(value - sum), `row ${r}, column ${c}`).toBeLessThanOrEqual(
              (inner + 1) * 2 ** -24 * size + 1e-12,
            );
          }
        }
      }),
      { numRuns: 25 },
    );
  });

  it("gives the same bits again", async () => {
    const shape = [48, 512];
    const left = { data: numbers(48 * 512, 1), shape };
    const right = { data: numbers(512 * 512, 2), shape: [512, 512] };
    for (const library of libraries) {
      const once = await native().multiply(left, right, { library, transposed: "none" });
      const again = await native().multiply(left, right, { library, transposed: "none" });
      expect(again.data, library).toEqual(once.data);
    }
  });

  it("is rejected for a library that does not exist", async () => {
    const one = { data: new Float32Array(1), shape: [1, 1] };
    const wrong = { library: "mkl" as ProductLibrary, transposed: "none" as const };
    await expect(native().multiply(one, one, wrong)).rejects.toMatchObject({ code: "ERR_INPUT" });
  });
});

describe("the table of libraries", () => {
  const of = (rows: number, repeated: boolean) =>
    native().libraryFor({ rows, inner: 512, columns: 512, repeated });

  it("takes what was measured on this kind of processor", () => {
    const amd = processor.vendor === "amd" && processor.instructionSet !== "default";
    expect([2, 8, 32, 64, 512].map((rows) => of(rows, false))).toEqual(
      amd
        ? ["stream", "onednn", "onednn", "panels", "panels"]
        : ["libtorch", "libtorch", "libtorch", "libtorch", "libtorch"],
    );
    expect([2, 8, 32, 64, 512].map((rows) => of(rows, true))).toEqual(
      amd
        ? ["stream", "panels", "panels", "panels", "panels"]
        : ["libtorch", "libtorch", "panels", "panels", "libtorch"],
    );
  });
});
