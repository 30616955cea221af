/** Evaluation of a model on a dataset with masks or boxes: cIoU@0.5, AUC and retrieval. */
import type { Dataset, Sample } from "./datasets/dataset.js";
import { SoundspotError, throwIfAborted } from "./errors.js";
import { localizePrepared, type Spot } from "./localize.js";
import { auc, ciou, meanInside, successCurve, successRate } from "./metrics/localization.js";
import { recallAt } from "./metrics/retrieval.js";
import type { Model } from "./model.js";
import { prepareSample } from "./prepare.js";
import type { Mask } from "./types.js";

export interface EvaluateOptions {
  readonly model: Model;
  readonly data: Dataset;
  /** Samples from the start of the dataset; default all. */
  readonly limit?: number;
  /** Default 16. */
  readonly batchSize?: number;
  /** Default the checkpoint's. */
  readonly sharpening?: number;
  /** Default 0.6. */
  readonly threshold?: number;
  readonly precision?: "float32" | "bfloat16";
  /** Sample i hears the sound of sample i + shift: a control in which sound and picture do not belong together. */
  readonly soundShift?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (done: number, total: number) => void;
  /** Called for every sample, in order. */
  readonly onSample?: (sample: Sample, spot: Spot, score: SampleScore) => void | Promise<void>;
}

export interface SampleScore {
  readonly id: string;
  readonly label?: string;
  /** cIoU of the audio map, the image map and their refinement. */
  readonly audio: number;
  readonly image: number;
  readonly iqr: number;
  readonly confidence: number;
  /** Mean of the audio map inside what is heard and inside the first silent object, where both masks are known. */
  readonly insideHeard?: number;
  readonly insideSilent?: number;
}

export interface MapScores {
  /** Share of samples with cIoU ≥ 0.5. */
  readonly ciou: number;
  readonly auc: number;
  /** Success rate at thresholds 0, 0.05, …, 1. */
  readonly curve: readonly number[];
}

export interface Evaluation {
  readonly samples: number;
  readonly audio: MapScores;
  readonly image: MapScores;
  readonly iqr: MapScores;
  /** R@1, 5, 10; absent without labels. */
  readonly retrieval?: { readonly audioToImage: number[]; readonly imageToAudio: number[] };
  /** Share of samples where the audio map is hotter inside what is heard than inside the first silent object. */
  readonly heardOverSilent?: number;
  readonly perSample: readonly SampleScore[];
}

/** Truth at the picture's size: the mask, or the union of the boxes. */
export function truthOf(sample: Sample): Mask {
  if (sample.mask) return sample.mask;
  if (!sample.boxes?.length) {
    throw new SoundspotError(
      "ERR_DATASET",
      `Sample ${sample.id} has neither mask nor boxes. Evaluation needs one of them.`,
    );
  }
  const { width, height } = sample.image;
  const data = new Uint8Array(width * height);
  for (const box of sample.boxes) {
    const bottom = Math.min(height, Math.trunc(box.y + box.height));
    const right = Math.min(width, Math.trunc(box.x + box.width));
    for (let y = Math.max(0, Math.trunc(box.y)); y < bottom; y++) {
      data.fill(1, y * width + Math.max(0, Math.trunc(box.x)), y * width + Math.max(0, right));
    }
  }
  return { data, width, height };
}

/** minmax(α·audio + (1−α)·image), α = 0.4. */
function refined(audio: Float32Array, image: Float32Array): Float32Array {
  const blend = new Float32Array(audio.length);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < blend.length; i++) {
    blend[i] = 0.4 * (audio[i] as number) + 0.6 * (image[i] as number);
    const value = blend[i] as number;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (high > low)
    for (let i = 0; i < blend.length; i++) blend[i] = ((blend[i] as number) - low) / (high - low);
  return blend;
}

/** 1 where the map reaches the threshold. A loop: `Uint8Array.from` takes 20 times as long. */
function reaching(map: Float32Array, threshold: number): Uint8Array {
  const mask = new Uint8Array(map.length);
  for (let i = 0; i < map.length; i++) mask[i] = (map[i] as number) >= threshold ? 1 : 0;
  return mask;
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

function summary(scores: readonly number[]): MapScores {
  return { ciou: successRate(scores), auc: auc(scores), curve: successCurve(scores) };
}

/** Lets the event loop turn between maps: one of a large picture takes milliseconds. */
async function score(sample: Sample, spot: Spot, threshold: number): Promise<SampleScore> {
  const truth = truthOf(sample).data;
  const of = async (map: Float32Array) => {
    await nextTurn();
    return ciou(reaching(map, threshold), truth);
  };
  const silent = sample.silentMasks?.[0];
  return {
    id: sample.id,
    ...(sample.label === undefined ? {} : { label: sample.label }),
    audio: await of(spot.audioMap),
    image: await of(spot.imageMap),
    iqr: await of(refined(spot.audioMap, spot.imageMap)),
    confidence: spot.confidence,
    ...(silent
      ? {
          insideHeard: meanInside(spot.audioMap, truth),
          insideSilent: meanInside(spot.audioMap, silent.data),
        }
      : {}),
  };
}

/**
 * Scores a model. Maps are compared at the size of each sample's picture.
 * @throws {SoundspotError} ERR_DATASET when a sample has no truth, ERR_ABORTED.
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { model, data, signal } = options;
  const total = Math.min(options.limit ?? data.length, data.length);
  const batchSize = options.batchSize ?? 16;
  const threshold = options.threshold ?? 0.6;
  const perSample: SampleScore[] = [];
  const images: Float32Array[] = [];
  const sounds: Float32Array[] = [];
  const targetLength = model.config.targetSlots * model.config.dim;

  const load = (from: number) =>
    Promise.all(
      Array.from({ length: Math.min(batchSize, total - from) }, async (_, i) => {
        const sample = await data.load(from + i, { signal });
        const shift = options.soundShift ?? 0;
        const other = shift ? await data.load((from + i + shift) % total, { signal }) : sample;
        const pair = { image: sample.image, audio: other.audio };
        return { sample, prepared: { handle: await prepareSample(pair, model.config), image: sample.image } };
      }),
    );

  const loadQuietly = (from: number) => {
    const batch = load(from);
    batch.catch(() => undefined); // reported when it is awaited
    return batch;
  };

  let next = loadQuietly(0);
  for (let from = 0; from < total; from += batchSize) {
    throwIfAborted(signal);
    const batch = await next;
    if (from + batchSize < total) next = loadQuietly(from + batchSize);
    const spots = await localizePrepared(
      model,
      batch.map(({ prepared }) => prepared),
      {
        ...(options.sharpening === undefined ? {} : { sharpening: options.sharpening }),
        ...(options.precision === undefined ? {} : { precision: options.precision }),
        threshold,
      },
    );
    for (const [i, spot] of spots.entries()) {
      const { sample } = batch[i] as (typeof batch)[number];
      const result = await score(sample, spot, threshold);
      perSample.push(result);
      images.push(spot.slots.image.data.slice(0, targetLength));
      sounds.push(spot.slots.audio.data.slice(0, targetLength));
      await options.onSample?.(sample, spot, result);
      await nextTurn();
    }
    options.onProgress?.(perSample.length, total);
  }

  const labels = perSample.map(({ label }) => label);
  const labelled = labels.every((label): label is string => label !== undefined);
  const both = perSample.filter(({ insideSilent }) => insideSilent !== undefined);
  return {
    samples: perSample.length,
    audio: summary(perSample.map(({ audio }) => audio)),
    image: summary(perSample.map(({ image }) => image)),
    iqr: summary(perSample.map(({ iqr }) => iqr)),
    ...(labelled
      ? {
          retrieval: {
            audioToImage: await recallAt(sounds, images, labels, [1, 5, 10]),
            imageToAudio: await recallAt(images, sounds, labels, [1, 5, 10]),
          },
        }
      : {}),
    ...(both.length
      ? {
          heardOverSilent:
            both.filter(({ insideHeard, insideSilent }) => (insideHeard ?? 0) > (insideSilent ?? 0)).length /
            both.length,
        }
      : {}),
    perSample,
  };
}
