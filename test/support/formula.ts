/** Weights and inputs of the parity fixture, rebuilt as test/fixtures/FORMULA.md describes. */
import { readFileSync } from "node:fs";
import type { TensorData } from "../../src/core/types.js";
import type { NamedTensor } from "../../src/native.js";

const folder = new URL("../fixtures/reference/", import.meta.url);

export interface Reference {
  readonly salt: string;
  readonly "train.losses": Record<string, number>;
  readonly "train.grad_norms": Record<string, number>;
  readonly "train.update_norms": Record<string, number>;
  readonly "train.running_mean_norms": Record<string, number>;
  readonly "train.running_var_norms": Record<string, number>;
  readonly false_negatives: { readonly k: number; readonly pairs: [number, number][] };
  readonly metrics: {
    readonly threshold: number;
    readonly ciou: number[];
    readonly ap50: number;
    readonly auc: number;
  };
  readonly "eval.pixels_over_0.6.0.1": { readonly audio: number[]; readonly iqr: number[] };
  readonly "eval.pixels_over_0.6.1.0": { readonly audio: number[]; readonly iqr: number[] };
}

export const reference = JSON.parse(readFileSync(new URL("reference.json", folder), "utf8")) as Reference;

/** Tensors of reference.safetensors, all float32. */
export const expected: ReadonlyMap<string, TensorData> = (() => {
  const file = readFileSync(new URL("reference.safetensors", folder));
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerLength)) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, TensorData>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = entry.data_offsets.map((offset) => offset + 8 + headerLength) as [number, number];
    tensors.set(name, {
      data: new Float32Array(file.buffer.slice(file.byteOffset + from, file.byteOffset + to)),
      shape: entry.shape,
    });
  }
  return tensors;
})();

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** Uniform numbers in [−1, 1). */
export function uniform(name: string, count: number): Float32Array {
  const seed = fnv1a(`${reference.salt}:${name}`);
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let x = (i + seed) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
    x = (x ^ (x >>> 16)) >>> 0;
    numbers[i] = (x >>> 8) * 2 ** -23 - 1;
  }
  return numbers;
}

export function tensor(name: string, shape: readonly number[], scale = 1, offset = 0): TensorData {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = uniform(name, count);
  const [a, b] = [Math.fround(scale), Math.fround(offset)];
  for (let i = 0; i < count; i++) data[i] = Math.fround(Math.fround((data[i] as number) * a) + b);
  return { data, shape };
}

/** The fixture's value for a parameter or buffer of the model. */
export function parameter(name: string, shape: readonly number[]): NamedTensor {
  const [scale, offset] = scaleOf(name, shape);
  return { name, ...tensor(name, shape, scale, offset) };
}

function scaleOf(name: string, shape: readonly number[]): [number, number] {
  if (name.endsWith("num_batches_tracked")) return [0, 0];
  if (name.endsWith("running_mean")) return [0.1, 0];
  if (name.endsWith("running_var")) return [0.4, 1];
  if (name.endsWith("slots") || name.includes("mask_token") || name.includes("_embed")) return [1, 0];
  if (shape.length >= 2)
    return [Math.sqrt(3 / shape.slice(1).reduce((product, size) => product * size, 1)), 0];
  if (name.endsWith("bias") || name.includes("bias_")) return [0.1, 0];
  return [0.1, 1];
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths differ: ${a.length} and ${b.length}`);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    if (!(difference <= largest)) largest = difference; // NaN counts as different
  }
  return largest;
}

export function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) ** 2;
  return Math.sqrt(sum);
}
