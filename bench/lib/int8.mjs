// int8 on both sides: a quantized model of ours, and ONNX Runtime's own of the same weights and calibration.
import { join } from "node:path";
import { datasets, preprocess, quantize } from "../../dist/index.js";
import { writeTensors } from "./tensors.mjs";

/** Pairs of the calibration; a multiple of every batch. */
const PAIRS = 32;

/** A quantized copy of the model, and the prepared pairs of its calibration in a file. */
export async function quantized(model, folder) {
  const data = datasets.scenes({ length: PAIRS, size: model.config.imageSize, seconds: 5 });
  const int8 = await quantize({ model, data, pairs: PAIRS });
  const all = { image: [], audio: [] };
  for await (const { image, audio } of data) {
    all.image.push(await preprocess.image(image, model.config));
    all.audio.push(await preprocess.audio(audio, model.config));
  }
  await data.close?.();
  const stacked = (tensors) => {
    const size = tensors[0].data.length;
    const joined = new Float32Array(PAIRS * size);
    for (const [i, { data: values }] of tensors.entries()) joined.set(values, i * size);
    return { data: joined, shape: [PAIRS, ...tensors[0].shape] };
  };
  const calibration = join(folder, "calibration.safetensors");
  writeTensors(calibration, { image: stacked(all.image), audio: stacked(all.audio) });
  return { int8, calibration };
}

/** Correlation of two maps: they are compared on any scale. */
export function correlation(one, other) {
  const centred = (values) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return Array.from(values, (value) => value - mean);
  };
  const [a, b] = [centred(one), centred(other)];
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** Below this, two implementations of one quantized model do not compute the same. */
const LEAST = 0.9;

/**
 * How near maps in int8 come to those in float32, and to the baseline's in int8, as a line of text.
 * @param maps `float32`, `ours`, `theirs`: for each input a map's values
 * @throws Error when they are not of one model
 */
export function nearness({ float32, ours, theirs }) {
  const mean = (one, other) => one.reduce((sum, map, i) => sum + correlation(map, other[i]), 0) / one.length;
  const shown = { ours: mean(float32, ours), theirs: mean(float32, theirs), both: mean(ours, theirs) };
  for (const [name, value] of Object.entries(shown)) {
    if (!(value >= LEAST)) throw new Error(`The maps in int8 (${name}) correlate by ${value} only.`);
  }
  const text = (value) => value.toFixed(4);
  return `maps in int8, mean correlation: ours with float32 ${text(shown.ours)}, onnxruntime-node's with float32 ${text(shown.theirs)}, both ${text(shown.both)}`;
}
