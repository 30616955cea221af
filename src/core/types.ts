/** Values that cross module borders: decoded media, boxes, masks. */

/** An image in 8-bit RGB, row-major, interleaved: `data.length === width * height * 3`. */
export interface RawImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Audio as samples in [−1, 1]. */
export interface RawAudio {
  /** Planar: all samples of channel 0, then of channel 1, … Length is `channels × frames`. */
  readonly samples: Float32Array;
  /** In hertz. */
  readonly sampleRate: number;
  /** Default 1. */
  readonly channels?: number;
}

/** Rectangle in pixels of its image, origin top left. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Binary mask, row-major, 0 or 1 per pixel. */
export interface Mask {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** How far annotators agree that a pixel belongs to the sounding object, row-major, in [0, 1]. */
export interface GroundTruthMap {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
}

/** A tensor as JavaScript sees it: row-major data and its shape. */
export interface TensorData {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}
