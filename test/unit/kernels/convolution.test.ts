/** 3 × 3 convolutions of training by Winograd's filtering: the result and both gradients against sums in float64. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConvolutionPass, native } from "../../../src/native.js";

/** Nearly normal numbers that depend on the seed alone. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return Float32Array.from({ length: count }, () => uniform() + uniform() + uniform());
}

interface Shape {
  readonly batch: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly height: number;
  readonly width: number;
}

/** Calls `visit` for every product of the convolution: of which input, weight and result. */
function overProducts(
  { batch, inputs, outputs, height, width }: Shape,
  visit: (x: number, weight: number, y: number) => void,
): void {
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < outputs; o++) {
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          const y = ((b * outputs + o) * height + row) * width + column;
          for (let place = 0; place < 9; place++) {
            const r = row + Math.floor(place / 3) - 1;
            const c = column + (place % 3) - 1;
            if (r < 0 || r >= height || c < 0 || c >= width) continue;
            for (let i = 0; i < inputs; i++) {
              visit(((b * inputs + i) * height + r) * width + c, (o * inputs + i) * 9 + place, y);
            }
          }
        }
      }
    }
  }
}

const at = (data: ArrayLike<number>, index: number) => data[index] as number;

/** Length of the difference over the length of the exact one. */
function apart(data: Float32Array, exact: Float64Array): number {
  let [difference, length] = [0, 0];
  for (const [i, value] of exact.entries()) {
    difference += (at(data, i) - value) ** 2;
    length += value ** 2;
  }
  return Math.sqrt(difference / length);
}

const shapes = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  inputs: fc.constantFrom(32, 64, 96),
  outputs: fc.constantFrom(32, 64),
  height: fc.integer({ min: 1, max: 13 }),
  width: fc.integer({ min: 1, max: 13 }),
});

/** Of the direct convolution's error, at most. */
const FACTOR = 8;

describe("a 3 × 3 convolution by tiles", () => {
  it.each([2, 4] as const)(
    "with sides of %i has the float64 result and gradients of any shape, nearly as exactly as a direct one",
    async (side) => {
      await fc.assert(
        fc.asyncProperty(shapes, fc.integer({ min: 1, max: 1 << 30 }), async (shape, seed) => {
          const { batch, inputs, outputs, height, width } = shape;
          const tensors = {
            x: {
              data: numbers(batch * inputs * height * width, seed),
              shape: [batch, inputs, height, width],
            },
            weight: { data: numbers(outputs * inputs * 9, seed + 1), shape: [outputs, inputs, 3, 3] },
            gradient: {
              data: numbers(batch * outputs * height * width, seed + 2),
              shape: [batch, outputs, height, width],
            },
          };
          const exact: Record<ConvolutionPass, Float64Array> = {
            forward: new Float64Array(tensors.gradient.data.length),
            input: new Float64Array(tensors.x.data.length),
            weight: new Float64Array(tensors.weight.data.length),
          };
          overProducts(shape, (x, weight, y) => {
            const [value, factor, gradient] = [
              at(tensors.x.data, x),
              at(tensors.weight.data, weight),
              at(tensors.gradient.data, y),
            ];
            exact.forward[y] = at(exact.forward, y) + value * factor;
            exact.input[x] = at(exact.input, x) + factor * gradient;
            exact.weight[weight] = at(exact.weight, weight) + value * gradient;
          });
          for (const pass of ["forward", "input", "weight"] as const) {
            const tiled = await native().convolution(tensors, { pass, side });
            const direct = await native().convolution(tensors, { pass, side: 0 });
            expect(tiled.shape, pass).toEqual(direct.shape);
            const [own, plain] = [apart(tiled.data, exact[pass]), apart(direct.data, exact[pass])];
            // A direct sum of one or two products is exact to its last bit.
            expect(own, `${pass}: ${own}, direct ${plain}`).toBeLessThan(FACTOR * Math.max(plain, 2 ** -24));
          }
        }),
        { numRuns: 25 },
      );
    },
    120_000,
  );
});
