/** The one interface behind which every dataset stands. */
import type { Box, Mask, RawAudio, RawImage } from "../types.js";

/** One image–sound pair, decoded, with whatever truth is known about it. */
export interface Sample {
  /** Unique within the dataset, stable between runs. */
  readonly id: string;
  readonly image: RawImage;
  readonly audio: RawAudio;
  /** Class of what sounds. */
  readonly label?: string;
  /** Boxes around what sounds, in pixels of `image`. */
  readonly boxes?: readonly Box[];
  /** What sounds, at the size of `image`. */
  readonly mask?: Mask;
  /** Objects that could sound but do not in this sample, at the size of `image`. */
  readonly silentMasks?: readonly Mask[];
}

export interface LoadOptions {
  /** Endless datasets give other samples in another epoch; finite ones ignore it. Default 0. */
  readonly epoch?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Dataset {
  readonly name: string;
  /** Samples an epoch. */
  readonly length: number;
  /** Known classes, if any. */
  readonly classes?: readonly string[];
  /**
   * Loads sample `index`, 0 ≤ index < length. The same index and epoch give the same sample.
   * @throws {SoundspotError} when the sample cannot be read; the message names the file.
   */
  load(index: number, options?: LoadOptions): Promise<Sample>;
  /** Frees workers and handles, if there are any. */
  close?(): Promise<void>;
}
