/** The baseline that looks at no image: what lies in the middle is the sound source. */

import type { Dataset } from "../datasets/dataset.js";
import { type Evaluation, groundTruthOf, type ProtocolChoice } from "../evaluation/evaluate.js";
import { Evaluator } from "../evaluation/evaluator.js";

/** Share of the image that the disc covers at the threshold of the package's own protocol. */
export const DISC_AREA = 0.12;
const THRESHOLD = 0.6;

/** A map that falls from 1 in the middle; its disc at 0.6 covers {@link DISC_AREA} of a square of that size. */
export function discMap(width: number, height: number): Float32Array {
  const radius = Math.sqrt((DISC_AREA * width * height) / Math.PI);
  return Float32Array.from({ length: width * height }, (_, pixel) => {
    const [x, y] = [(pixel % width) + 0.5, Math.floor(pixel / width) + 0.5];
    const distance = Math.hypot(x - width / 2, y - height / 2);
    return Math.max(0, 1 - ((1 - THRESHOLD) * distance) / radius);
  });
}

/** Scores of the disc on a dataset, as of a method's audio map. */
export async function scoreDisc(
  data: Dataset,
  options: {
    readonly protocol?: ProtocolChoice;
    /** false makes no intervals. */
    readonly bootstrap?: false;
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: (done: number, total: number) => void;
  } = {},
): Promise<Evaluation> {
  const { protocol, bootstrap, signal, onProgress } = options;
  await using evaluator = new Evaluator({
    name: data.name,
    signal,
    ...(protocol === undefined ? {} : { protocol }),
    ...(bootstrap === undefined ? {} : { bootstrap }),
  });
  for (let index = 0; index < data.length; index++) {
    const sample = await data.load(index, { signal });
    const { width, height } = sample.sounding === false ? sample.image : groundTruthOf(sample);
    await evaluator.add(sample, { map: discMap(width, height) });
    onProgress?.(index + 1, data.length);
  }
  return await evaluator.result();
}
