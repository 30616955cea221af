// The matrix-product peak of this machine, in this process, and the arithmetic of the default model.
import { addon } from "../../scripts/addon.mjs";

const SIZE = 2048;
const TIMES = 12;

/** GFLOP/s of the fastest of some products of two large square matrices, by the library that the table chooses. */
export async function matrixPeak(type) {
  const shape = { rows: SIZE, inner: SIZE, columns: SIZE };
  const library = addon.libraryFor({ ...shape, repeated: false });
  const options = { ...shape, transposed: "none", library, times: TIMES, bfloat16: type === "bfloat16" };
  const { data } = await addon.timeProducts(options);
  return (2 * SIZE ** 3) / 1e6 / Math.min(...data);
}

export const peakNote = (type, peak) =>
  `matrix products of ${SIZE} × ${SIZE}, ${type}: ${peak.toFixed(0)} GFLOP/s`;

/** GFLOP of a ResNet-18 without pooling and classifier, then a 1 × 1 projection to 512, on h × w with `channels`. */
function encoderGflop(channels, h, w) {
  let flop = 0;
  const convolve = (cin, cout, size, stride) => {
    [h, w] = [Math.ceil(h / stride), Math.ceil(w / stride)];
    flop += 2 * cin * cout * size ** 2 * h * w;
  };
  convolve(channels, 64, 7, 2);
  [h, w] = [Math.ceil(h / 2), Math.ceil(w / 2)];
  for (const [i, width] of [64, 128, 256, 512].entries()) {
    const before = i === 0 ? 64 : width / 2;
    convolve(before, width, 3, i === 0 ? 1 : 2);
    if (i > 0) flop += 2 * before * width * h * w; // the shortcut
    for (let n = 0; n < 3; n++) convolve(width, width, 3, 1);
  }
  convolve(512, 512, 1, 1);
  return flop / 1e9;
}

/** GFLOP of a pair's forward pass in the encoders of the default model, by direct convolutions. */
export const PAIR_GFLOP = encoderGflop(3, 224, 224) + encoderGflop(1, 257, 501);
