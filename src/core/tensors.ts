/** Tensors from callers. */

import { aList, check, isFloats, kindOf } from "./arguments.js";
import { SoundspotError } from "./errors.js";
import type { TensorData } from "./types.js";

/**
 * A copy of a caller's tensor: while the addon reads, the caller may already transfer its memory to another thread.
 * @throws {SoundspotError} ERR_INPUT
 */
export function ownTensor({ data, shape }: TensorData): TensorData {
  if (!isFloats(data)) {
    throw new SoundspotError("ERR_INPUT", `A tensor's data must be a Float32Array, got ${kindOf(data)}.`);
  }
  check(shape, aList, "A tensor's shape");
  return { data: copied(data), shape: Array.from(shape) };
}

/** A copy; empty for a transferred buffer, which has no length. */
export function copied(values: Float32Array): Float32Array {
  return values.length === 0 ? new Float32Array(0) : new Float32Array(values);
}
