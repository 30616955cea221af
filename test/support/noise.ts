/** Prepared inputs that need no decoding. */
import type { Model } from "../../src/index.js";

/** Where neighbours are equal, rounding decides which of them is the maximum; in noise they are not. */
export function noise(shape: readonly number[], seed: number): Float32Array {
  let state = seed;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 2 * (draw() + draw()));
}

/** An image and a spectrogram of noise, of the model's sizes. */
export function pair(model: Model, seed: number) {
  const { imageSize, audio } = model.config;
  const image = [3, imageSize, imageSize];
  const frames = Math.floor((audio.seconds * audio.sampleRate) / audio.hop) + 1;
  const shape = [1, audio.window / 2 + 1, frames];
  return {
    image: { tensor: noise(image, seed), shape: image },
    audio: { spectrogram: noise(shape, seed + 1000), shape },
  };
}
