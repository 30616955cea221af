/** Scores samples one by one: each map of a sample against its ground truth. */

import type { MapName } from "../config/methods.js";
import { SoundspotError } from "../core/errors.js";
import type { GroundTruthMap, Mask } from "../core/types.js";
import type { Sample } from "../datasets/dataset.js";
import { meanInside } from "../metrics/localization.js";
import { FCurve, type FCurveState, FrameScores } from "../metrics/segmentation.js";
import type { Spot } from "../model/spot.js";
import type { ProtocolSampleScores } from "./protocols.js";
import type { SampleRetrieval } from "./retrieve.js";

/** The maps that are scored: the audio and image queries' maps, and the refined ones. */
export const mapNames: readonly MapName[] = ["audio", "image", "iqr", "ogl", "combined"];
export type { MapName };

/** One map against the ground truth, at the threshold; each in [0, 1]. */
export interface MapScore {
  readonly ciou: number;
  readonly iou: number;
  /** F with β² = 0.3; NaN where the ground truth is empty. */
  readonly f: number;
  /** Where the ground truth is empty: IoU by AVSBench's own rule, the share of pixels that are not predicted. */
  readonly backgroundIou?: number;
}

/** One sample: a score for each requested map, and the fields that summaries group by. */
export interface SampleScore extends Partial<Readonly<Record<MapName, MapScore>>> {
  /** Index of the sample in its dataset. */
  readonly index: number;
  readonly id: string;
  readonly label?: string;
  /** Shared by the sources of one image. */
  readonly imageId?: string;
  /** Number of sources in the image, where the dataset knows. */
  readonly sources?: number;
  /** Shared by the frames of one clip. */
  readonly clip?: string;
  /** false: nothing in the image makes the sound, and no map is scored. */
  readonly sounding: boolean;
  /** Cosine of the embeddings of image and audio, in [−1, 1]. */
  readonly confidence: number;
  /** Share of the grid that the ground truth covers, in [0, 1]. */
  readonly area?: number;
  /** Mean of the audio map inside the sounding object and inside the first silent one, where both masks are known. */
  readonly insideSounding?: number;
  readonly insideSilent?: number;
  /** Nearest neighbours of its audio and its image; known when all samples are scored and have labels. */
  readonly retrieval?: SampleRetrieval;
  /** By protocol, where protocols were chosen: each map under it. */
  readonly protocols?: ProtocolSampleScores;
}

/**
 * Ground truth of a sample: the benchmark's own grid, or the mask or the union of the boxes at the image's size.
 * @throws {SoundspotError} ERR_DATASET when the sample has none of them.
 */
export function groundTruthOf(sample: Sample): GroundTruthMap | Mask {
  if (sample.groundTruth) return sample.groundTruth;
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

/** The scored part of a localization: of a Spot, or of a map from another source. */
export type ScoredMaps = Pick<Spot, "audioMap" | "refined" | "confidence"> & Partial<Pick<Spot, "imageMap">>;

/** The maps of a localization that evaluation scores. */
export const mapsOf = (spot: ScoredMaps): Partial<Record<MapName, Float32Array>> => ({
  audio: spot.audioMap,
  ...(spot.imageMap ? { image: spot.imageMap } : {}),
  ...spot.refined,
});

/** NaN without values. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}

/** Pixels of a map that are counted between two turns of the event loop: some 3 ms. */
export const PIXELS_A_TURN = 2 ** 17;

export const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Runs a generator to its end, and yields to the event loop between its steps. */
export async function inTurns<T>(steps: Generator<void, T>): Promise<T> {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    await nextTurn();
  }
}

/** State of a scorer, as plain data. */
export interface ScorerState {
  readonly samples: readonly SampleScore[];
  readonly curves: readonly (readonly [MapName, FCurveState])[];
  readonly clips: readonly (readonly [MapName, readonly (readonly [string, FCurveState])[]])[];
}

/** Collects scores sample by sample; it keeps three numbers per map, and the summed F curves of each clip's frames. */
export class Scorer {
  readonly samples: SampleScore[] = [];
  readonly #curves = new Map<MapName, FCurve>();
  readonly #clips = new Map<MapName, Map<string, FCurve>>();
  readonly #threshold: number;

  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** Yields to the event loop between maps: one of a large image takes milliseconds. */
  async add(
    index: number,
    sample: Sample,
    groundTruth: GroundTruthMap | Mask | undefined,
    spot: ScoredMaps,
    protocols?: ProtocolSampleScores,
  ): Promise<SampleScore> {
    const maps: Partial<Record<MapName, MapScore>> = {};
    for (const [name, map] of Object.entries(groundTruth ? mapsOf(spot) : {}) as [MapName, Float32Array][]) {
      maps[name] = await this.#scoreMap(name, map, (groundTruth as GroundTruthMap | Mask).data, sample.clip);
    }
    const silent = sample.silentMasks?.[0];
    const sameSize = groundTruth?.width === silent?.width && groundTruth?.height === silent?.height;
    const { id, label, imageId, sources, clip } = sample;
    const score: SampleScore = {
      index,
      id,
      ...(label === undefined ? {} : { label }),
      ...(imageId === undefined ? {} : { imageId }),
      ...(sources === undefined ? {} : { sources }),
      ...(clip === undefined ? {} : { clip }),
      sounding: sample.sounding !== false,
      ...maps,
      confidence: spot.confidence,
      ...(groundTruth ? { area: mean(groundTruth.data) } : {}),
      ...(groundTruth && silent && sameSize
        ? {
            insideSounding: meanInside(spot.audioMap, groundTruth.data),
            insideSilent: meanInside(spot.audioMap, silent.data),
          }
        : {}),
      ...(protocols ? { protocols } : {}),
    };
    this.samples.push(score);
    return score;
  }

  async #scoreMap(
    name: MapName,
    map: Float32Array,
    groundTruth: ArrayLike<number>,
    clip: string | undefined,
  ): Promise<MapScore> {
    const frame = new FrameScores(this.#threshold);
    for (let from = 0; from < map.length; from += PIXELS_A_TURN) {
      await nextTurn();
      frame.take(map, groundTruth, from, Math.min(map.length, from + PIXELS_A_TURN));
    }
    const curve = frame.curve();
    curveOf(this.#curves, name).addCurve(curve);
    if (clip !== undefined) {
      const clips = this.#clips.get(name) ?? new Map<string, FCurve>();
      this.#clips.set(name, clips);
      curveOf(clips, clip).addCurve(curve);
    }
    return {
      ciou: frame.ciou,
      iou: frame.iou,
      f: curve ? frame.f() : Number.NaN,
      ...(frame.silent ? { backgroundIou: frame.backgroundIou } : {}),
    };
  }

  state(): ScorerState {
    const states = <Key>(curves: Iterable<readonly [Key, FCurve]>) =>
      Array.from(curves, ([key, curve]) => [key, curve.state()] as const);
    return {
      samples: this.samples,
      curves: states(this.#curves),
      clips: Array.from(this.#clips, ([name, clips]) => [name, states(clips)] as const),
    };
  }

  /** Adds the state of another scorer, of later samples. */
  addState({ samples, curves, clips }: ScorerState): void {
    for (const sample of samples) this.samples.push(sample);
    for (const [name, state] of curves) curveOf(this.#curves, name).addAll(FCurve.from(state));
    for (const [name, list] of clips) {
      const own = this.#clips.get(name) ?? new Map<string, FCurve>();
      this.#clips.set(name, own);
      for (const [clip, state] of list) curveOf(own, clip).addAll(FCurve.from(state));
    }
  }

  /** AVSBench's F of a map. */
  maxF(name: MapName): number {
    return this.#curves.get(name)?.max() ?? Number.NaN;
  }

  /** Summed curves of each clip's frames; AVSBench's F of some clips is made of them. Empty without clips. */
  clipCurves(name: MapName): readonly FCurve[] {
    return [...(this.#clips.get(name)?.values() ?? [])];
  }
}

/** The curve under a key, a new one where there is none. */
function curveOf<Key>(curves: Map<Key, FCurve>, key: Key): FCurve {
  const curve = curves.get(key) ?? new FCurve();
  curves.set(key, curve);
  return curve;
}
