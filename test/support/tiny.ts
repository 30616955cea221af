/** The smallest model that still has every part, for tests that train or localize. */
import type { MethodOptions } from "../../src/config/methods.js";
import type { ModelOptions } from "../../src/index.js";

type Slots = Omit<Extract<MethodOptions, { name: "joint-slot-attention" }>, "name">;

/** Joint slot attention with these numbers, for `{ ...tiny, ...slots({ targetSlots: 2 }) }`. */
export const slots = (numbers: Slots = {}): Pick<ModelOptions, "method"> => ({
  method: { name: "joint-slot-attention", iterations: 2, ...numbers },
});

export const tiny: ModelOptions = {
  imageSize: 32,
  imageStages: 2,
  imageStride: 8,
  imageWidth: 4,
  audioStages: 2,
  audioWidth: 4,
  dim: 16,
  ...slots(),
  audio: { seconds: 0.5 },
};

/** What a model with slots gives has every field. */
export const ofSlots = <T>(value: T) => value as { readonly [K in keyof T]-?: NonNullable<T[K]> };
