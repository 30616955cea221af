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

/** A prepared picture and spectrogram. */
export function pair(seed) {
  return {
    image: { tensor: numbers(shapes.image, seed), shape: shapes.image },
    audio: { spectrogram: numbers(shapes.audio, seed + 1000), shape: shapes.audio },
  };
}
