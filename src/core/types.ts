/** Values that cross module borders: decoded media, boxes, masks, what the processor is and computes in. */

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

/** What of the processor is used. Caps of the environment (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) are taken off. */
export interface ProcessorInfo {
  readonly vendor: "intel" | "amd" | "arm" | "other";
  /** The name that it reports; empty where it has none. */
  readonly model: string;
  /** The widest instructions that the kernels use. */
  readonly instructionSet: "default" | "avx2" | "avx512" | "avx512_bf16";
  /** Such as "avx2", "fma", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon". */
  readonly features: readonly string[];
  /** The same without the caps. */
  readonly hardware: readonly string[];
  /** Whether it multiplies bfloat16 itself. */
  readonly bfloat16: boolean;
}

/** What products are computed in; a device without one computes float32, int8 excepted. */
export type ComputedPrecision = "float32" | "tf32" | "bfloat16" | "int8";
