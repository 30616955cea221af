/** The smallest model that still has every part, for tests that train or localize. */
import type { MethodOptions } from "../../src/config/methods.js";
import type { ModelOptions, TrainOptions } from "../../src/index.js";

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

/** Every loss of joint slot attention. */
export const everyLoss = {
  contrastive: { weight: 1, temperature: 0.5 },
  matching: { weight: 100 },
  divergence: { weight: 0.1 },
  reconstruction: { weight: 0.1 },
  crossAttention: { weight: 1, temperature: 1 },
  pooled: { weight: 1, temperature: 1 },
  maxSimilarity: { weight: 1, temperature: 1 },
} satisfies TrainOptions["losses"];

/** What a model with slots gives has every field. */
export const ofSlots = <T>(value: T) => value as { readonly [K in keyof T]-?: NonNullable<T[K]> };
