/** Predicted false negatives by themselves, for analysis and tests (section 1.6). */
import { native } from "./native.js";
import type { TensorData } from "./types.js";

/**
 * Pairs that are among each other's k nearest neighbours, self counted, in both modalities.
 * @param slots target slots [B, D] of images and sounds, any length; they are normalised here
 * @returns ordered pairs [i, j], i ≠ j, sorted
 */
export async function falseNegatives(
  slots: { readonly image: TensorData; readonly audio: TensorData },
  k: number,
): Promise<[number, number][]> {
  const { data } = await native().falseNegatives(slots.image, slots.audio, k);
  return Array.from({ length: data.length / 2 }, (_, i) => [
    data[2 * i] as number,
    data[2 * i + 1] as number,
  ]);
}
