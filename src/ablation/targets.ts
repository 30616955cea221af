/** Scores the map of each target slot by itself, beside their maximum, which localization answers with. */

import type { MapName } from "../config/methods.js";
import type { Sample } from "../datasets/dataset.js";
import { groundTruthOf } from "../evaluation/evaluate.js";
import { successRate } from "../metrics/localization.js";
import { FCurve, FrameScores } from "../metrics/segmentation.js";
import type { Spot } from "../model/spot.js";
import { native } from "../native.js";

/** Scores of one target slot's map over a dataset, each in [0, 1]. */
export interface TargetScores {
  /** Share of samples with cIoU ≥ 0.5. */
  readonly ciou: number;
  readonly meanIou: number;
  /** AVSBench's F; NaN where every mask is empty. */
  readonly maxF: number;
}

/** Of every target slot in order, by map: its own, and after IQR where the method has the image's map. */
export type ByTarget = Readonly<Partial<Record<Extract<MapName, "audio" | "iqr">, readonly TargetScores[]>>>;

class Collected {
  readonly cious: number[] = [];
  readonly ious: number[] = [];
  readonly curve = new FCurve();
}

/** Collects the scores of each target slot, sample by sample. */
export class TargetScorer {
  readonly #threshold: number;
  readonly #alpha: number;
  readonly #maps = new Map<"audio" | "iqr", Collected[]>();

  /** @param alpha the audio map's share after IQR */
  constructor(threshold: number, alpha: number) {
    this.#threshold = threshold;
    this.#alpha = alpha;
  }

  /** Adds a sample at the size of its ground truth; samples without a source are left out, as in evaluation. */
  async add(sample: Sample, { targets }: Pick<Spot, "targets">): Promise<void> {
    if (sample.sounding === false) return;
    const { data, width, height } = groundTruthOf(sample);
    const { audio, places } = targets;
    const options = { audio, height, width, ...(places ? { places } : {}) };
    const { maps } = await native().slotMaps(options);
    this.#take("audio", maps.data, data);
    if (!targets.image) return;
    const refined = await native().slotMaps({ ...options, image: targets.image, alpha: this.#alpha });
    this.#take("iqr", refined.maps.data, data);
  }

  #take(name: "audio" | "iqr", maps: Float32Array, groundTruth: ArrayLike<number>): void {
    const count = maps.length / groundTruth.length;
    const collected = this.#maps.get(name) ?? Array.from({ length: count }, () => new Collected());
    this.#maps.set(name, collected);
    for (const [target, { cious, ious, curve }] of collected.entries()) {
      const frame = new FrameScores(this.#threshold);
      frame.take(maps.subarray(target * groundTruth.length, (target + 1) * groundTruth.length), groundTruth);
      cious.push(frame.ciou);
      ious.push(frame.iou);
      curve.addCurve(frame.curve());
    }
  }

  scores(): ByTarget {
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    return Object.fromEntries(
      Array.from(this.#maps, ([name, collected]) => [
        name,
        collected.map(({ cious, ious, curve }) => ({
          ciou: successRate(cious),
          meanIou: mean(ious),
          maxF: curve.max(),
        })),
      ]),
    );
  }
}
