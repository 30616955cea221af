// Inputs of the default model that need no decoding.

export const shapes = { image: [3, 224, 224], audio: [1, 257, 501] };

/** Numbers that look normal, the same in every run. */
function numbers(shape, seed) {
  let state = seed;
  const draw = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return Float32Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    () => draw() + draw() + draw() + draw(),
  );
}

/** A prepared image and spectrogram. @param of shapes of both */
export function pair(seed, of = shapes) {
  return {
    image: { tensor: numbers(of.image, seed), shape: of.image },
    audio: { spectrogram: numbers(of.audio, seed + 1000), shape: of.audio },
  };
}

/** A batch of a training step: `pairs`, and by name the further views of each. */
export function batchOf(count, of = shapes, views = []) {
  const some = (first) => Array.from({ length: count }, (_, i) => pair(first + i, of));
  return Object.fromEntries(["pairs", ...views].map((name, i) => [name, some(10_000 * i + 1)]));
}
