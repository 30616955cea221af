/** Quantized convolutions against sums in float64 of the same steps, and the steps of weights. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TensorData } from "../../../src/index.js";
import { native } from "../../../src/native.js";
import { processor } from "../../support/processor.js";

interface Tensors {
  readonly x: TensorData;
  readonly weight: TensorData;
  readonly bias: TensorData;
  readonly sum?: TensorData;
}

const addon = native() as unknown as {
  quantizedWeight(weight: TensorData): { values: TensorData; scales: TensorData; levels: number };
  quantizedConvolution(
    tensors: Tensors,
    options: { step: number; resultStep: number; sumStep: number; stride: number },
  ): Promise<TensorData>;
};

const at = (data: ArrayLike<number>, index: number) => data[index] as number;
const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Numbers in [0, 1] that depend on the seed alone: the greatest are rounded up to 1. */
function uniform(shape: readonly number[], seed: number): TensorData {
  let state = (seed * 2654435761) >>> 0;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return { shape, data: Float32Array.from({ length: product(shape) }, draw) };
}
const mapped = (
  { shape, data }: TensorData,
  change: (value: number, index: number) => number,
): TensorData => ({
  shape,
  data: data.map(change),
});

const byte = (value: number) => Math.min(255, Math.floor(256 * value));

/** The convolution with padding k / 2 of bytes and quantized weights, float64, without rounding at the end. */
function exact({ x, weight, bias, sum }: Tensors, step: number, sumStep: number, stride: number) {
  const [batch = 0, inputs = 0, height = 0, width = 0] = x.shape;
  const [outputs = 0, , size = 0] = weight.shape;
  const { values, scales } = addon.quantizedWeight(weight);
  const padding = Math.floor(size / 2);
  const side = (length: number) => Math.floor((length + 2 * padding - size) / stride) + 1;
  const shape = [batch, outputs, side(height), side(width)];
  const [, , rows = 0, columns = 0] = shape;
  const data = new Float64Array(product(shape));
  for (let y = 0; y < data.length; y++) {
    const column = y % columns;
    const row = Math.floor(y / columns) % rows;
    const o = Math.floor(y / (columns * rows)) % outputs;
    const b = Math.floor(y / (columns * rows * outputs));
    let steps = 0;
    for (let place = 0; place < size * size; place++) {
      const r = row * stride + Math.floor(place / size) - padding;
      const c = column * stride + (place % size) - padding;
      if (r < 0 || r >= height || c < 0 || c >= width) continue;
      for (let i = 0; i < inputs; i++) {
        steps +=
          at(x.data, ((b * inputs + i) * height + r) * width + c) *
          at(values.data, (o * inputs + i) * size * size + place);
      }
    }
    data[y] = steps * step * at(scales.data, o) + at(bias.data, o) + (sum ? at(sum.data, y) * sumStep : 0);
  }
  return { shape, data };
}

const cases = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  inputs: fc.constantFrom(4, 16, 24, 32, 64),
  outputs: fc.constantFrom(4, 16, 32, 48),
  height: fc.integer({ min: 1, max: 12 }),
  width: fc.integer({ min: 1, max: 14 }),
  size: fc.constantFrom(1, 3),
  stride: fc.constantFrom(1, 2),
  seed: fc.nat(1e6),
});

function drawn({
  batch,
  inputs,
  outputs,
  height,
  width,
  size,
  seed,
}: typeof cases extends fc.Arbitrary<infer C> ? C : never) {
  return {
    x: mapped(uniform([batch, inputs, height, width], seed), byte),
    // Channels of sizes that differ by orders of magnitude: one scale would not serve them.
    weight: mapped(
      uniform([outputs, inputs, size, size], seed + 1),
      (value, i) => (value - 0.5) * 10 ** -(Math.floor(i / (inputs * size * size)) % 4),
    ),
    bias: mapped(uniform([outputs], seed + 2), (value) => value - 0.5),
  };
}

/** Steps that differ by more than the rounding of one in a tie: their number. */
function expectSteps(
  result: TensorData,
  { shape, data }: { shape: number[]; data: Float64Array },
  step: number,
) {
  expect(result.shape).toEqual(shape);
  for (const [i, value] of data.entries()) {
    const wanted = Math.min(255, Math.max(0, value / step));
    expect(Math.abs(at(result.data, i) - wanted), `element ${i}`).toBeLessThan(0.5 + 1e-3);
  }
}

describe("a quantized convolution", () => {
  it("gives the nearest step of relu(convolution)", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (shape) => {
        const tensors = drawn(shape);
        const wanted = exact(tensors, 0.01, 0, shape.stride);
        const resultStep = Math.max(1e-3, ...wanted.data) / 200; // some are cut off at 255
        const options = { step: 0.01, resultStep, sumStep: 0, stride: shape.stride };
        expectSteps(await addon.quantizedConvolution(tensors, options), wanted, resultStep);
      }),
      { numRuns: 40 },
    );
  });

  it("adds what the sum holds in steps of its own", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (shape) => {
        const alone = drawn(shape);
        const places = exact(alone, 0.02, 0, shape.stride).shape;
        const sum = mapped(uniform(places, shape.seed + 3), byte);
        const wanted = exact({ ...alone, sum }, 0.02, 0.03, shape.stride);
        const resultStep = Math.max(1e-3, ...wanted.data) / 300;
        const options = { step: 0.02, resultStep, sumStep: 0.03, stride: shape.stride };
        expectSteps(await addon.quantizedConvolution({ ...alone, sum }, options), wanted, resultStep);
      }),
      { numRuns: 40 },
    );
  });

  it("gives real numbers, with and without a real sum", async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.boolean(), async (shape, withSum) => {
        const alone = drawn(shape);
        const places = exact(alone, 0.02, 0, shape.stride).shape;
        const sum = mapped(uniform(places, shape.seed + 3), (value) => 8 * (value - 0.5));
        const tensors = withSum ? { ...alone, sum } : alone;
        const { data } = exact(tensors, 0.02, 1, shape.stride);
        const result = await addon.quantizedConvolution(tensors, {
          step: 0.02,
          resultStep: 0,
          sumStep: 0,
          stride: shape.stride,
        });
        const most = data.reduce((high, value) => Math.max(high, Math.abs(value)), 1);
        for (const [i, value] of data.entries()) {
          const wanted = withSum ? Math.max(0, value) : value;
          expect(Math.abs(at(result.data, i) - wanted) / most).toBeLessThan(1e-5);
        }
      }),
      { numRuns: 40 },
    );
  });

  it.each([1, -1])("sums the greatest bytes without saturation, weights of sign %i", async (sign) => {
    const tensors = {
      x: mapped(uniform([1, 64, 6, 6], 1), () => 255),
      weight: mapped(uniform([32, 64, 3, 3], 2), () => 0.25 * sign),
      bias: mapped(uniform([32], 3), () => 0),
    };
    const result = await addon.quantizedConvolution(tensors, {
      step: 1,
      resultStep: 0,
      sumStep: 0,
      stride: 1,
    });
    // Of an inner pixel: 9 · 64 products.
    expect(at(result.data, 7) / (sign * 255 * 0.25 * 9 * 64)).toBeCloseTo(1, 4);
  });
});

describe("a quantized weight", () => {
  const vnni = ["avx_vnni", "avx512_vnni", "amx_int8", "arm_int8"];

  it("has 8 bits where the processor sums products of bytes in 32 bits, else 7", () => {
    const { levels } = addon.quantizedWeight(uniform([1, 1, 1, 1], 1));
    expect(levels).toBe(processor.features.some((feature) => vnni.includes(feature)) ? 127 : 64);
  });

  it("is within half a step of the weight, with a scale for each output channel, and exact on its own results", () => {
    fc.assert(
      fc.property(cases, (shape) => {
        const { weight } = drawn(shape);
        const { values, scales, levels } = addon.quantizedWeight(weight);
        const each = weight.data.length / shape.outputs;
        for (const [i, value] of weight.data.entries()) {
          const scale = at(scales.data, Math.floor(i / each));
          expect(Math.abs(at(values.data, i))).toBeLessThanOrEqual(levels);
          expect(Math.abs(value - at(values.data, i) * scale)).toBeLessThanOrEqual(scale * 0.5001);
        }
        for (let o = 0; o < shape.outputs; o++) {
          const own = weight.data.subarray(o * each, (o + 1) * each);
          const most = own.reduce((high, value) => Math.max(high, Math.abs(value)), 0);
          expect(at(scales.data, o) / (most / levels)).toBeCloseTo(1, 3);
        }
        const again = mapped(values, (value, i) => value * at(scales.data, Math.floor(i / each)));
        if (levels < 127) return; // what files hold has 8 bits on every processor
        const second = addon.quantizedWeight(again);
        expect(second.values.data).toEqual(values.data);
        expect(second.scales.data).toEqual(scales.data);
      }),
      { numRuns: 20 },
    );
  });

  it("of nothing but zeros has a positive scale", () => {
    const { values, scales } = addon.quantizedWeight(
      mapped(uniform([2, 4, 3, 3], 1), (value, i) => (i < 36 ? 0 : value)),
    );
    expect(values.data.subarray(0, 36).every((value) => value === 0)).toBe(true);
    expect(scales.data.every((scale) => scale > 0)).toBe(true);
  });
});
