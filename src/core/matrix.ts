/** Vectors in the addon's format. */
import { isFloats, kindOf } from "./arguments.js";
import { SoundspotError } from "./errors.js";
import type { TensorData } from "./types.js";

/**
 * Vectors as the rows of a matrix.
 * @throws {SoundspotError} ERR_SHAPE when one is not of length `width`.
 */
export function matrixOf(vectors: readonly Float32Array[], width: number): TensorData {
  const data = new Float32Array(vectors.length * width);
  for (const [i, vector] of vectors.entries()) {
    if (!isFloats(vector)) {
      throw new SoundspotError("ERR_INPUT", `Vector ${i} must be a Float32Array, got ${kindOf(vector)}.`);
    }
    if (vector.length !== width) {
      throw new SoundspotError(
        "ERR_SHAPE",
        `All vectors must have one length; number ${i} has ${vector.length} values, the first ${width}.`,
      );
    }
    data.set(vector, i * width);
  }
  return { data, shape: [vectors.length, width] };
}
