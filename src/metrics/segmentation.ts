/** Segmentation metrics, as AVSBench (Zhou et al., ECCV 2022) reports them: IoU and F-measure of binary maps. */

/**
 * IoU of a frame with an empty mask. `plain`: 1 when nothing is predicted, else 0. `background`: the share
 * of pixels that are not predicted, which is AVSBench's own rule.
 */
export type SilentFrame = "plain" | "background";

/** Pixels of the prediction, of the ground truth, and of both. Pixels above 0 count. */
function areas(prediction: ArrayLike<number>, groundTruth: ArrayLike<number>) {
  let predicted = 0;
  let object = 0;
  let shared = 0;
  for (let i = 0; i < groundTruth.length; i++) {
    const p = (prediction[i] as number) > 0 ? 1 : 0;
    const g = (groundTruth[i] as number) > 0 ? 1 : 0;
    predicted += p;
    object += g;
    shared += p & g;
  }
  return { predicted, object, shared };
}

/**
 * IoU = |P ∩ G| / |P ∪ G|. The default is plain IoU, also where nothing sounds: a min–max scaled map predicts something
 * in every frame, and the `background` rule would reward it for being small, not for being silent. The two rules differ
 * only in frames with an empty mask.
 * @param prediction binary, row-major
 * @param groundTruth binary, same length
 * @returns in [0, 1]; 1 when both are empty, 0 when exactly one is
 */
export function iou(
  prediction: ArrayLike<number>,
  groundTruth: ArrayLike<number>,
  silentFrame: SilentFrame = "plain",
): number {
  const { predicted, object, shared } = areas(prediction, groundTruth);
  if (object === 0 && silentFrame === "background" && groundTruth.length > 0)
    return 1 - predicted / groundTruth.length;
  const union = predicted + object - shared;
  return union > 0 ? shared / union : 1;
}

/** (1 + β²)·PR / (β²·P + R), with precision and recall written out; 0 when nothing is shared. */
function fOf(shared: number, predicted: number, object: number, betaSquared: number): number {
  return shared > 0 ? ((1 + betaSquared) * shared) / (betaSquared * object + predicted) : 0;
}

/**
 * F = (1 + β²)·precision·recall / (β²·precision + recall) of one binary prediction.
 * @param prediction binary, row-major
 * @param groundTruth binary, same length
 * @returns in [0, 1]; 0 when precision and recall are both 0 or undefined
 */
export function fMeasure(
  prediction: ArrayLike<number>,
  groundTruth: ArrayLike<number>,
  betaSquared = 0.3,
): number {
  const { predicted, object, shared } = areas(prediction, groundTruth);
  return fOf(shared, predicted, object, betaSquared);
}

const STEPS = 255;

/**
 * The 255 thresholds of AVSBench, `torch.linspace(0, 1 - 1e-10, 255)` in float32 to the last bit: torch counts up from
 * the start in the first half and down from the end in the second, each with one rounding (a fused multiply-add). The
 * end rounds to 1: only pixels of exactly 1 reach the last threshold.
 */
export const fThresholds: readonly number[] = (() => {
  const end = Math.fround(1 - 1e-10);
  const step = Math.fround(end / (STEPS - 1));
  return Array.from({ length: STEPS }, (_, i) =>
    Math.fround(i < Math.floor(STEPS / 2) ? step * i : end - step * (STEPS - 1 - i)),
  );
})();

/** fThresholds once more, for a loop over pixels. */
const reachable = Float64Array.from(fThresholds);

/** Where the pixels inside the object begin in a histogram. */
const INSIDE = 256;

/**
 * One map against its ground truth, in one pass over the pixels: every metric of the prediction `map ≥ threshold`, and
 * F at AVSBench's 255 thresholds. Pixels can be added in pieces: a large map does not block the event loop.
 */
export class FrameScores {
  readonly #threshold: number;
  /** Pixels by the highest of the 255 thresholds that they reach, those outside of the object and those inside. */
  readonly #reached = new Uint32Array(2 * INSIDE);
  /** ΣG and ΣPG, G in [0, 1]. */
  #object = 0;
  #shared = 0;
  #pixels = 0;
  /** Pixels of the prediction, of the ground truth, and of both; those of the ground truth are above 0. */
  #predicted = 0;
  #inObject = 0;
  #inBoth = 0;

  /** Pixels of at least `threshold`, in [0, 1], are the prediction. */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /**
   * Adds the pixels from `from` up to `to`.
   * @param map in [0, 1], row-major; compared with the 255 thresholds as float32
   * @param groundTruth in [0, 1], same length
   */
  take(map: ArrayLike<number>, groundTruth: ArrayLike<number>, from = 0, to = groundTruth.length): void {
    const [reached, threshold] = [this.#reached, this.#threshold];
    let [object, shared] = [0, 0];
    let [predicted, inObject, inBoth] = [0, 0, 0];
    for (let i = from; i < to; i++) {
      const g = groundTruth[i] as number;
      const inside = g > 0 ? 1 : 0;
      object += g;
      inObject += inside;
      if ((map[i] as number) >= threshold) {
        predicted++;
        inBoth += inside;
        shared += g;
      }
      const value = Math.fround(map[i] as number);
      if (!(value >= 0)) continue;
      // Threshold i is i / 254 but for rounding, and no float32 lies between the two: at most the guess is one too low.
      let highest = value >= 1 ? STEPS - 1 : (value * (STEPS - 1)) | 0;
      if (value < 1 && value >= (reachable[highest + 1] as number)) highest++;
      const bin = highest + INSIDE * inside;
      reached[bin] = (reached[bin] as number) + 1;
    }
    this.#pixels += to - from;
    this.#object += object;
    this.#shared += shared;
    this.#predicted += predicted;
    this.#inObject += inObject;
    this.#inBoth += inBoth;
  }

  /** As `ciou` of localization.ts. */
  get ciou(): number {
    const union = this.#object + this.#predicted - this.#inBoth;
    return union > 0 ? this.#shared / union : 0;
  }

  /** As `iou`, plain. */
  get iou(): number {
    const union = this.#predicted + this.#inObject - this.#inBoth;
    return union > 0 ? this.#inBoth / union : 1;
  }

  /** Whether the mask marks no pixel. */
  get silent(): boolean {
    return this.#inObject === 0;
  }

  /** As `iou` with "background". */
  get backgroundIou(): number {
    return this.silent && this.#pixels > 0 ? 1 - this.#predicted / this.#pixels : this.iou;
  }

  /** As `fMeasure`. */
  f(betaSquared = 0.3): number {
    return fOf(this.#inBoth, this.#predicted, this.#inObject, betaSquared);
  }

  /**
   * F-measure at the 255 thresholds, the prediction being `map ≥ threshold`; 0 where nothing is shared.
   * @returns 255 values in [0, 1]; undefined when the mask is empty
   */
  curve(betaSquared = 0.3): Float64Array | undefined {
    if (this.#inObject === 0) return undefined;
    const curve = new Float64Array(STEPS);
    let predicted = 0;
    let shared = 0;
    for (let i = STEPS - 1; i >= 0; i--) {
      const inside = this.#reached[INSIDE + i] as number;
      predicted += (this.#reached[i] as number) + inside;
      shared += inside;
      curve[i] = fOf(shared, predicted, this.#inObject, betaSquared);
    }
    return curve;
  }
}

/**
 * F-measure of one frame at the 255 thresholds, as {@link FrameScores.curve} gives it.
 * @param map in [0, 1], row-major; compared as float32
 * @param groundTruth binary, same length
 */
export function frameFCurve(
  map: ArrayLike<number>,
  groundTruth: ArrayLike<number>,
  betaSquared = 0.3,
): Float64Array | undefined {
  const frame = new FrameScores(Number.NaN);
  frame.take(map, groundTruth);
  return frame.curve(betaSquared);
}

/** State of an FCurve, to continue from in another process. */
export interface FCurveState {
  readonly sums: Float64Array;
  readonly frames: number;
  readonly betaSquared: number;
}

/**
 * F-measure over a set as AVSBench defines it: per frame at 255 thresholds, averaged over the frames whose mask is not
 * empty, then the maximum over thresholds. AVSBench's test script takes that maximum for each batch and averages the
 * maxima, which depends on the batch size and tends to be higher. Here it is taken once, over all frames. Sums are
 * float64 where AVSBench's are float32, a difference of about 1e-7.
 */
export class FCurve {
  readonly #sums = new Float64Array(STEPS);
  readonly #betaSquared: number;
  #frames = 0;

  /** With `betaSquared` below 1 precision counts more than recall. */
  constructor(betaSquared = 0.3) {
    this.#betaSquared = betaSquared;
  }

  /** Frames that count: those whose mask was not empty. */
  get frames(): number {
    return this.#frames;
  }

  /**
   * Adds a frame to the sums.
   * @param map in [0, 1], row-major
   * @param groundTruth binary, same length
   * @returns the frame's own curve; undefined when the mask is empty and the frame not counted
   */
  add(map: ArrayLike<number>, groundTruth: ArrayLike<number>): Float64Array | undefined {
    return this.addCurve(frameFCurve(map, groundTruth, this.#betaSquared));
  }

  /** Adds a frame's own curve; undefined, the curve of a frame with an empty mask, is not counted. */
  addCurve(curve: Float64Array | undefined): Float64Array | undefined {
    if (!curve) return undefined;
    for (let i = 0; i < STEPS; i++) this.#sums[i] = (this.#sums[i] as number) + (curve[i] as number);
    this.#frames++;
    return curve;
  }

  /** Adds all frames of another set. */
  addAll(other: FCurve): void {
    for (let i = 0; i < STEPS; i++) this.#sums[i] = (this.#sums[i] as number) + (other.#sums[i] as number);
    this.#frames += other.#frames;
  }

  /** The sums, as plain data. */
  state(): FCurveState {
    return { sums: this.#sums, frames: this.#frames, betaSquared: this.#betaSquared };
  }

  /** A curve that continues from a state. */
  static from({ sums, frames, betaSquared }: FCurveState): FCurve {
    const curve = new FCurve(betaSquared);
    curve.#sums.set(sums);
    curve.#frames = frames;
    return curve;
  }

  /** Mean over the frames at each of `fThresholds`. NaN without frames. */
  curve(): number[] {
    return Array.from(this.#sums, (sum) => sum / this.#frames);
  }

  /** The highest mean over all thresholds, in [0, 1]. NaN without frames. */
  max(): number {
    return Math.max(...this.curve());
  }
}
