/** The smallest model that still has every part, for tests that train or localize. */
import type { ModelOptions } from "../../src/index.js";

export const tiny: ModelOptions = {
  imageSize: 32,
  imageStages: 2,
  imageStride: 8,
  imageWidth: 4,
  audioStages: 2,
  audioWidth: 4,
  dim: 16,
  iterations: 2,
  audio: { seconds: 0.5 },
};
