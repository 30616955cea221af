/** The interface that every dataset implements. */
import { type Check, isObject } from "../core/arguments.js";
import type { Box, GroundTruthMap, Mask, RawAudio, RawImage } from "../core/types.js";

/** One image–audio pair, decoded, with whatever annotation is known about it. */
export interface Sample {
  /** Unique within the dataset, stable between runs. */
  readonly id: string;
  readonly image: RawImage;
  readonly audio: RawAudio;
  /** Class of the sound source. */
  readonly label?: string;
  /** Boxes around the sound source, in pixels of `image`. */
  readonly boxes?: readonly Box[];
  /** What sounds, at the size of `image`. */
  readonly mask?: Mask;
  /** What sounds, on the grid that the benchmark scores on; it takes precedence over `mask` and `boxes`. */
  readonly groundTruth?: GroundTruthMap;
  /** Objects that could sound but do not in this sample, at the size of `image`. */
  readonly silentMasks?: readonly Mask[];
  /** false: nothing in the image makes this sound. Default true. */
  readonly sounding?: boolean;
  /** Shared by the frames of one clip: they are not independent, and resampled together. */
  readonly clip?: string;
  /** Shared by the samples of one image that has several sources, each a sample of its own. */
  readonly imageId?: string;
  /** How many sources that image has, including those whose files are missing. */
  readonly sources?: number;
}

/** A sample that a list names and whose files are missing. */
export interface MissingSample {
  readonly id: string;
  /** The missing files. */
  readonly files: readonly string[];
}

/** A file that could be read in part or not at all. */
export interface DamagedFile {
  readonly file: string;
  readonly reason: string;
}

/** Which batches of an epoch a process reads. */
export interface SequenceRequest {
  readonly epoch: number;
  readonly seed: number;
  /** Of all processes. */
  readonly batchSize: number;
  /** The first batch to read: earlier ones were used in an earlier part of the run. */
  readonly fromBatch: number;
  /** Of the process that asks, 0 ≤ rank < size; it gets its part of each batch. */
  readonly rank: number;
  readonly size: number;
  /**
   * "throw": a sample that cannot be read throws when it is loaded. The caller can then count it and take another.
   * Default "skip": the dataset may put another one in its place.
   */
  readonly unreadable?: "throw" | "skip";
  readonly signal?: AbortSignal | undefined;
}

/** A sample that was read and is not yet decoded. */
export interface LoadableSample {
  /** In the dataset. */
  readonly index: number;
  /** @throws {SoundspotError} as `Dataset.load` */
  load(signal: AbortSignal | undefined): Promise<Sample>;
}

/** An order of the dataset's own in which training reads it, where reading any sample at any time would be slow. */
export interface Sequence {
  /** Names the order: a run that is resumed within an epoch, and all processes of a group, need the same. */
  readonly order: string;
  /**
   * The batches of an epoch from `fromBatch` on, batchSize / size samples each. All processes together get each sample of
   * ⌊length / batchSize⌋ batches once, in an order that depends on seed and epoch.
   * @throws {SoundspotError} ERR_CONFIG when `size` processes cannot share it.
   */
  batches(request: SequenceRequest): AsyncIterable<readonly LoadableSample[]>;
}

/** How a sample is loaded. */
export interface LoadOptions {
  /** Endless datasets give other samples in another epoch; finite ones ignore it. Default 0. */
  readonly epoch?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Data to train on and to score: pairs by their index, decoded when they are loaded. */
export interface Dataset {
  readonly name: string;
  /** Samples an epoch. */
  readonly length: number;
  /** Known classes, if any. */
  readonly classes?: readonly string[];
  /** Samples of the list that are left out because their files are missing. */
  readonly missing?: readonly MissingSample[];
  /**
   * Loads sample `index`, 0 ≤ index < length. The same index and epoch give the same sample.
   * @throws {SoundspotError} when the sample cannot be read, such as ERR_DATASET or ERR_MEDIA_DECODE; the message names
   *   the file. Only such an error may be skipped, any other ends the work.
   */
  load(index: number, options?: LoadOptions): Promise<Sample>;
  /** The id of a sample without reading it, where that is known: lists of damaged samples name it. */
  idOf?(index: number): string | undefined;
  /**
   * What its samples depend on beside ids and lists, such as the folder of its media and options of decoding: another
   * text is other samples, for which a store of decoded samples is not used.
   */
  readonly variant?: string;
  /** Damaged files, including those found while samples were loaded. */
  readonly damaged?: readonly DamagedFile[];
  /** Lists, annotations and archives that it was opened from: no output is written over them. */
  readonly files?: readonly string[];
  /** Present where training is to read in this order, not in one of its own by `load`. */
  readonly sequence?: Sequence;
  /** Frees workers and handles, if there are any. */
  close?(): Promise<void>;
  /** Present on every dataset that this package makes; `samplesOf` goes through any. */
  [Symbol.asyncIterator]?(): AsyncIterator<Sample>;
  /** `close`, present on every dataset that this package makes. */
  [Symbol.asyncDispose]?(): PromiseLike<void>;
}

/** Of a dataset; the order of an epoch lists them all. */
const MOST_SAMPLES = 2 ** 28;

/** @internal */
export const aDataset: Check = [
  (value) =>
    isObject(value) &&
    typeof (value as Dataset).name === "string" &&
    Number.isSafeInteger((value as Dataset).length) &&
    (value as Dataset).length <= MOST_SAMPLES &&
    typeof (value as Dataset).load === "function",
  "a dataset: { name, length, load }, of at most 2^28 samples",
];
