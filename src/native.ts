/** The typed entry point of the addon: no other module loads it or knows the shapes of its functions. */
import { types } from "node:util";
import type { ModelConfig, TokenPlaces } from "./config/model.js";
import type { AugmentConfig } from "./config/train.js";
import { type CudaInfo, loadAddon } from "./core/addon.js";
import { type ErrorCode, isSoundspotError, SoundspotError } from "./core/errors.js";
import type { NamedTensor, StepOptions, StepResult } from "./core/training-step.js";
import type { Box, ComputedPrecision, ProcessorInfo, RawImage, TensorData } from "./core/types.js";

export type { NamedTensor, StepOptions, StepResult } from "./core/training-step.js";
export type { ComputedPrecision, ProcessorInfo } from "./core/types.js";

declare const brand: unique symbol;
/** Objects of the addon, opaque to JavaScript. */
export type ModelHandle = { readonly [brand]: "model" };
export type TrainerHandle = { readonly [brand]: "trainer" };
export type SampleHandle = { readonly [brand]: "sample" };
export type StagedHandle = { readonly [brand]: "staged" };
export type CheckpointHandle = { readonly [brand]: "checkpoint" };
export type CalibrationHandle = { readonly [brand]: "calibration" };
export type GroupHandle = { readonly [brand]: "group" };
export type StoreHandle = { readonly [brand]: "store" };

/** By whose queries and on whose tokens. */
export interface OfAttention {
  readonly imageOnImage: TensorData;
  readonly audioOnImage: TensorData;
  readonly audioOnAudio: TensorData;
  readonly imageOnAudio: TensorData;
}

/** Slots, queries and attentions; shapes start with the batch in `encode`, without it in `localize`. */
export interface NativeAttention extends OfAttention {
  readonly imageSlots: TensorData;
  readonly audioSlots: TensorData;
  readonly imageQueries: TensorData;
  readonly audioQueries: TensorData;
}

export interface NativeEncoding extends Partial<NativeAttention> {
  readonly imageFeatures: TensorData;
  readonly audioFeatures: TensorData;
  /** T unit vectors in a row, [B, T·D]. */
  readonly imageEmbedding: TensorData;
  readonly audioEmbedding: TensorData;
}

export interface NativeSpot extends Partial<NativeAttention> {
  readonly heatmap: TensorData;
  readonly audioMap: TensorData;
  /** Of methods that have one. */
  readonly imageMap?: TensorData;
  /** Target maps over the image's tokens, [T, h·w]. */
  readonly audioTargets: TensorData;
  readonly imageTargets?: TensorData;
  /** Lowest and highest value that `audioTargets` can have, where the method fixes them. */
  readonly range?: readonly [low: number, high: number];
  /** T unit vectors in a row, [T·D]. */
  readonly imageEmbedding: TensorData;
  readonly audioEmbedding: TensorData;
  /** Where requested. */
  readonly iqrMap?: TensorData;
  readonly oglMap?: TensorData;
  readonly combinedMap?: TensorData;
  /** Before sharpening and softmax; absent without slot attention. */
  readonly logits?: OfAttention;
  readonly mask: Uint8Array;
  readonly boxes: readonly (Box & { readonly score: number })[];
  readonly confidence: number;
}

/** What the audio map is blended with: the image map, objectness, or both. */
export type Refinement = "none" | "iqr" | "ogl" | "combined";

/**
 * How a map is enlarged, as torch's `interpolate` does it: by half-pixel centres, or so that the corners of both grids
 * lie on each other (`align_corners`).
 */
export type MapResize = "bicubic" | "bicubic-corners" | "bilinear" | "bilinear-corners";

/** Maps [height, width] by name; those that cannot be made are absent. */
export interface RenderedMaps {
  readonly audio: TensorData;
  readonly image?: TensorData;
  readonly iqr?: TensorData;
  readonly ogl?: TensorData;
  readonly combined?: TensorData;
}

/** What a process handed to exchanges with others. */
export interface Traffic {
  readonly calls: number;
  /** Of payload. A ring of processes sends each byte of a sum about twice. */
  readonly bytes: number;
  /** From the start of each exchange to its end, those that ran beside the backward pass counted. */
  readonly seconds: number;
}

export type NativeImage =
  | RawImage
  | { readonly data: Uint8Array; readonly width: number; readonly height: number };

export interface PrepareInput {
  readonly image?: NativeImage;
  readonly tensor?: TensorData;
  readonly audio?: { readonly samples: Float32Array; readonly channels: number; readonly sampleRate: number };
  readonly spectrogram?: TensorData;
}

/** The forward pass of a convolution, or the gradient of its input or weight. */
export type ConvolutionPass = "forward" | "input" | "weight";
type ConvolutionHow = { readonly pass: ConvolutionPass; readonly side: 0 | 2 | 4 };

/** Who computes a product of float32: LibTorch's BLAS, oneDNN, or one of this package's kernels. */
export type ProductLibrary = "libtorch" | "onednn" | "panels" | "stream";

export interface Native {
  info(): {
    libtorch: string;
    cpuCapability: string;
    threads: number;
    /** Names of what models can be on. */
    devices: string[];
    /** What each of them multiplies. */
    precisions: Readonly<Record<string, readonly ComputedPrecision[]>>;
    /** Of a build with CUDA: what it says of this machine. */
    cuda?: CudaInfo;
    cpu: ProcessorInfo;
  };
  setThreads(count: number): void;
  /**
   * The most bytes on the CPU that tensors of 256 KiB and more held at one time since the last call with `restart`, of
   * all models of the process.
   */
  tensorMemory(restart: boolean): number;
  /**
   * One pass of a 3 × 3 convolution with stride and padding 1, float32: by Winograd's tiles of `side` × `side` results,
   * or direct where it is 0. `x` [B, in, h, w], `weight` [out, in, 3, 3], `gradient` of the result [B, out, h, w].
   */
  convolution(
    tensors: { readonly x: TensorData; readonly weight: TensorData; readonly gradient: TensorData },
    options: ConvolutionHow,
  ): Promise<TensorData>;
  /** The product of two matrices by one of the libraries, for tests; one of them may lie transposed. */
  multiply(
    a: TensorData,
    b: TensorData,
    options: { readonly library: ProductLibrary; readonly transposed: "none" | "left" | "right" },
  ): Promise<TensorData>;
  /** Random numbers of a training step, for tests: [count, each] in [0, 1), of samples `first` and on. */
  draws(options: {
    readonly seed: number;
    readonly step: number;
    readonly place: number;
    readonly first: number;
    readonly count: number;
    readonly each: number;
  }): Promise<TensorData>;
  /** All losses, with the features that each needs. */
  losses(): Record<string, string[]>;
  /** A loss of features [B, N, D], float32 or float64, and its gradients by feature where they are asked for. */
  lossTerm(
    loss: {
      readonly name: string;
      readonly temperature: number;
      readonly targets: number;
      readonly gradients: boolean;
    },
    features: Record<
      string,
      { readonly data: Float32Array | Float64Array; readonly shape: readonly number[] }
    >,
  ): Promise<{ value: number; gradients: Record<string, Float64Array> }>;
  /** Which library the table takes for a product. */
  libraryFor(shape: {
    readonly rows: number;
    readonly inner: number;
    readonly columns: number;
    /** Whether the right factor serves several products. */
    readonly repeated: boolean;
  }): ProductLibrary;
  prepare(
    input: PrepareInput,
    config: ModelConfig,
    augment?: AugmentConfig,
    seed?: bigint,
    /** What its device does to images itself is left to it. */
    model?: ModelHandle,
    /** Given what augmentation starts from, as sample `index`. */
    store?: StoreHandle,
    index?: number,
  ): Promise<SampleHandle>;
  /** A store in a folder, whose part `part` the caller has locked and this process appends to. */
  openStore(
    folder: string,
    options: {
      readonly part: number;
      /** Of the dataset. */
      readonly samples: number;
      /** What is kept of an image: its square, its short side at `side`, or all of it. */
      readonly images: "square" | "short" | "whole";
      readonly side: number;
    },
    config: ModelConfig,
  ): Promise<StoreHandle>;
  /** Closes its files, once no running job holds it; the handle is of no use any more. */
  closeStore(store: StoreHandle): void;
  /** What the store has; `failure` is why nothing is written to it any more. */
  storeStatus(store: StoreHandle): {
    readonly samples: number;
    readonly bytes: number;
    readonly failure?: string;
  };
  /** 1 for each sample that is there. The system is asked to fetch them from the disk. */
  findStored(store: StoreHandle, indices: Uint32Array): Promise<Uint8Array>;
  /** As `prepare` makes them of the samples themselves; empty where one is absent or no longer as it was written. */
  readStored(
    store: StoreHandle,
    indices: Uint32Array,
    config: ModelConfig,
    augment: AugmentConfig | undefined,
    seeds: BigUint64Array | undefined,
    model: ModelHandle,
  ): Promise<(SampleHandle | undefined)[]>;
  /** Frees it, once no running job holds it; the handle is of no use any more. */
  releaseSample(sample: SampleHandle): void;
  /** A side that was not given is absent. */
  tensors(sample: SampleHandle): { image?: TensorData; spectrogram?: TensorData };
  resample(
    audio: { samples: Float32Array; channels: number; sampleRate: number },
    rate: number,
  ): Promise<TensorData>;
  /** Image · keep + add, in 1/256, at the heat of each pixel, to `out` of the image's length; `keep` [256], `add` [256, 3]. */
  blendHeat(
    image: Uint8Array,
    heat: Float32Array,
    keep: Uint16Array,
    add: Uint16Array,
    out: Uint8Array,
  ): Promise<unknown>;
  createModel(config: ModelConfig, seed: number, device: string): Promise<ModelHandle>;
  /** The name of the device that the model is on. */
  deviceOf(model: ModelHandle): string;
  release(model: ModelHandle): void;
  parameters(model: ModelHandle): Promise<(NamedTensor & { trainable: boolean })[]>;
  setParameters(model: ModelHandle, tensors: readonly NamedTensor[]): Promise<void>;
  encode(
    model: ModelHandle,
    samples: readonly SampleHandle[],
    options: { sharpening: number; precision: ComputedPrecision; plain: boolean },
  ): Promise<NativeEncoding>;
  /** Unit vectors [B, T·D] of one side of each sample. */
  embed(
    model: ModelHandle,
    samples: readonly SampleHandle[],
    options: { modality: "image" | "audio"; precision: ComputedPrecision },
  ): Promise<TensorData>;
  startCalibration(model: ModelHandle): Promise<CalibrationHandle>;
  calibrate(calibration: CalibrationHandle, samples: readonly SampleHandle[]): Promise<void>;
  /** A model of its own, which computes in int8. */
  quantize(calibration: CalibrationHandle): Promise<ModelHandle>;
  isQuantized(model: ModelHandle): boolean;
  /** Names of all methods. */
  methods(): string[];
  localize(
    model: ModelHandle,
    samples: readonly SampleHandle[],
    options: {
      sharpening: number;
      threshold: number;
      /** Share of the audio map in a refinement. */
      alpha: number;
      refine: Refinement;
      /** Give every map that can be made. */
      allMaps: boolean;
      /** Of each sample: [B, side, side]. */
      objectness?: TensorData;
      precision: ComputedPrecision;
      /** Height and width of each map. */
      sizes: readonly (readonly [number, number])[];
      places?: TokenPlaces;
    },
  ): Promise<NativeSpot[]>;
  /**
   * A map each [T, height, width] of the attention [T, side, side] of target slots, and where there is a threshold its
   * regions; audio and image maps are blended where `alpha` is given.
   */
  slotMaps(options: {
    audio: TensorData;
    image?: TensorData;
    alpha?: number;
    height: number;
    width: number;
    threshold?: number;
    places?: TokenPlaces;
  }): Promise<{ readonly maps: TensorData; readonly boxes: readonly NativeSpot["boxes"][] }>;
  /**
   * All maps that can be made of raw target maps [T, side, side] and raw objectness [side, side], each [height, width].
   * A range maps its ends to 0 and 1; without one a map is scaled to its own minimum and maximum. With
   * `objectnessRange` refinements are not scaled.
   */
  renderMaps(options: {
    audio: TensorData;
    image?: TensorData;
    objectness?: TensorData;
    height: number;
    width: number;
    resize: MapResize;
    objectnessResize: MapResize;
    /** Share of the audio map in a refinement. */
    alpha: number;
    range?: readonly [low: number, high: number];
    objectnessRange?: readonly [low: number, high: number];
    places?: TokenPlaces;
  }): Promise<RenderedMaps>;
  /** [B, h, w] of the image encoder's last stage. */
  objectness(model: ModelHandle, samples: readonly SampleHandle[]): Promise<TensorData>;
  /** Milliseconds of joint slot attention on random tokens, `times` times, for bench/. */
  timeSlotAttention(
    model: ModelHandle,
    options: { batch: number; times: number; fused: boolean; backward: boolean; bfloat16: boolean },
  ): Promise<TensorData>;
  /** The same of both encoders, with convolutions by Winograd's filtering where they gain, or direct ones only. */
  timeEncoders(
    model: ModelHandle,
    options: { batch: number; times: number; winograd: boolean; bfloat16: boolean },
  ): Promise<TensorData>;
  /** The same of one pass of a 3 × 3 convolution, as `convolution` takes it, of random numbers. */
  timeConvolution(
    options: Readonly<Record<"batch" | "in" | "out" | "height" | "width" | "times", number>> & ConvolutionHow,
  ): Promise<TensorData>;
  /** The same of a product of two square matrices. */
  timeProducts(options: { size: number; times: number; bfloat16: boolean }): Promise<TensorData>;
  falseNegatives(imageSlots: TensorData, audioSlots: TensorData, k: number): Promise<TensorData>;
  /** [N, depth] indices into the gallery, nearest first, −1 where fewer were found. */
  nearest(queries: TensorData, gallery: TensorData, depth: number, device: string): Promise<TensorData>;
  /** A batch of images or maps [B, C, h, w] as the training of SSL-TIE moves it, [B, C, side, side]; for tests. */
  transform(
    input: TensorData,
    options: { angles: readonly number[]; scale: number; flip: boolean; frame: number; side: number },
  ): Promise<TensorData>;
  joinGroup(options: {
    rank: number;
    size: number;
    address: string;
    port: number;
    /** The launcher runs the store; otherwise rank 0 does. */
    storeIsThere: boolean;
    /** Of the keys in the store. */
    prefix: string;
    /** Empty: chosen. */
    interface: string;
    /** Seconds. */
    timeout: number;
  }): Promise<GroupHandle>;
  gatherBytes(group: GroupHandle, own: Uint8Array): Promise<Uint8Array[]>;
  groupTraffic(group: GroupHandle): Traffic;
  leaveGroup(group: GroupHandle): Promise<void>;
  createTrainer(model: ModelHandle, seed: number, group?: GroupHandle): TrainerHandle;
  releaseTrainer(trainer: TrainerHandle): void;
  /** Rank 0's to every process: the statistics of batch norm, or with them parameters, moments and random state. */
  broadcastTrainer(trainer: TrainerHandle, statisticsAlone: boolean): Promise<void>;
  /** A batch on its way to the device of the trainer's model, for one step; `views` as in `step`. */
  stage(
    trainer: TrainerHandle,
    samples: readonly SampleHandle[],
    views: Readonly<Record<string, readonly SampleHandle[]>>,
  ): Promise<StagedHandle>;
  /**
   * `views` are the same samples in the same order, for each name that the method asks for. A staged batch brings its
   * own.
   */
  step(
    trainer: TrainerHandle,
    samples: readonly SampleHandle[] | StagedHandle,
    options: StepOptions,
    views: Readonly<Record<string, readonly SampleHandle[]>>,
  ): Promise<StepResult>;
  readCheckpoint(path: string): Promise<{
    handle: CheckpointHandle;
    metadata: Record<string, string>;
    /** `key` is the place of a tensor in the file; "" at its top. */
    tensors: { key: string; name: string; shape: number[]; type: string }[];
  }>;
  /** Frees the tensors that were read; the handle is of no use any more. */
  releaseCheckpoint(checkpoint: CheckpointHandle): void;
  /** Compares the file's tensors with the configuration before it takes any memory. */
  loadModel(
    config: ModelConfig,
    checkpoint: CheckpointHandle,
    file: string,
    device: string,
  ): Promise<{ handle: ModelHandle; report: BindingReport }>;
  /** What `loadModel` would take from a file, with its errors about names and shapes. */
  bindCheckpoint(config: ModelConfig, checkpoint: CheckpointHandle, file: string): Promise<BindingReport>;
  loadImageWeights(model: ModelHandle, checkpoint: CheckpointHandle, file: string): Promise<BindingReport>;
  saveCheckpoint(
    model: ModelHandle,
    trainer: TrainerHandle | undefined,
    path: string,
    metadata: Record<string, string>,
  ): Promise<void>;
  restoreTrainer(trainer: TrainerHandle, checkpoint: CheckpointHandle, file: string): Promise<void>;
}

/** Which tensors of a file became which parameters. */
export interface BindingReport {
  /** Where in the file the tensors lie; "" at its top. */
  key: string;
  /** Of other groups of tensors, which were skipped. */
  otherKeys: string[];
  /** Parameters, and in the same order what they are called in the file. */
  loaded: string[];
  sources: string[];
  /** Names in the file. */
  ignored: string[];
  /** Parameters. */
  missing: string[];
}

/** Functions whose second argument is a batch: its samples, or what `stage` made of them. */
const BATCHED: ReadonlySet<string | symbol> = new Set([
  "calibrate",
  "encode",
  "embed",
  "localize",
  "objectness",
  "stage",
  "step",
] satisfies (keyof Native)[]);

/** Samples of each staged batch. */
const staged = new WeakMap<object, number>();

function sizeOfBatch(name: string | symbol, [, batch]: readonly unknown[]): number | undefined {
  if (!BATCHED.has(name)) return undefined;
  if (Array.isArray(batch)) return batch.length;
  return typeof batch === "object" && batch !== null ? staged.get(batch) : undefined;
}

/** @internal `name` and `values` are the function that failed and its arguments. */
export function translate(error: unknown, name: string | symbol, values: readonly unknown[]): SoundspotError {
  if (isSoundspotError(error)) return error;
  const { code, message } = error as { code?: unknown; message?: string };
  const known = typeof code === "string" && code.startsWith("ERR_") ? (code as ErrorCode) : "ERR_INTERNAL";
  const text = message ?? String(error);
  const size = known === "ERR_OUT_OF_MEMORY" ? sizeOfBatch(name, values) : undefined;
  const whole = size ? text.replace("does not suffice.", `does not suffice for a batch of ${size}.`) : text;
  return new SoundspotError(known, whole, { cause: error });
}

async function settle(result: Promise<unknown>, name: string | symbol, values: readonly unknown[]) {
  try {
    const value = await result;
    if (name === "stage") staged.set(value as object, sizeOfBatch(name, values) ?? 0);
    return value;
  } catch (error) {
    throw translate(error, name, values);
  }
}

/** Every function of the addon, its failures turned into SoundspotError. */
function translated(addon: Native): Native {
  return new Proxy(addon, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...values: unknown[]) => {
        try {
          const result: unknown = value(...values);
          return types.isPromise(result) ? settle(result, name, values) : result;
        } catch (error) {
          throw translate(error, name, values);
        }
      };
    },
  });
}

let loaded: Native | undefined;

/**
 * The addon, loaded on first use.
 * @throws {SoundspotError} ERR_ADDON_MISSING or ERR_LIBTORCH_MISSING.
 */
export function native(): Native {
  loaded ??= translated(loadAddon() as Native);
  return loaded;
}
