/** From what a caller gives (paths, buffers, raw media, tensors) to samples that the model takes. */
import type { AugmentConfig, ModelConfig } from "./config.js";
import { SoundspotError, throwIfAborted } from "./errors.js";
import { type AudioSource, decodeAudio } from "./media/audio.js";
import { decodeImage, type ImageSource } from "./media/image.js";
import { decodeFrame, decodeVideoAudio, probeVideo } from "./media/video.js";
import { native, type PrepareInput, type SampleHandle } from "./native.js";
import type { RawAudio, RawImage, TensorData } from "./types.js";

/** A picture, already normalised: [3, size, size]. */
export interface ImageTensor {
  readonly tensor: Float32Array;
  readonly shape: readonly number[];
}

/** A log spectrogram, already scaled: [1, F, T]. */
export interface SpectrogramTensor {
  readonly spectrogram: Float32Array;
  readonly shape: readonly number[];
}

/** A picture and a sound, or a video: the frame at `at` seconds and the sound around it, or the whole sound. */
export type LocalizeInput =
  | { readonly image: ImageSource | ImageTensor; readonly audio: AudioSource | SpectrogramTensor }
  | { readonly video: string; readonly at?: number };

/** Decoded, and ready for the model. */
export interface PreparedSample {
  readonly handle: SampleHandle;
  /** The picture at its own size; absent where a tensor was given. */
  readonly image?: RawImage;
}

function isImageTensor(value: unknown): value is ImageTensor {
  return typeof value === "object" && value !== null && "tensor" in value;
}

function isSpectrogram(value: unknown): value is SpectrogramTensor {
  return typeof value === "object" && value !== null && "spectrogram" in value;
}

function checked(
  data: unknown,
  shape: readonly number[],
  expected: readonly number[],
  what: string,
): TensorData {
  const count = expected.reduce((product, size) => product * size, 1);
  const squeezed = shape[0] === 1 && shape.length === expected.length + 1 ? shape.slice(1) : shape;
  const same = squeezed.length === expected.length && squeezed.every((size, i) => size === expected[i]);
  if (!(data instanceof Float32Array) || data.length !== count || !same) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${what} must be a Float32Array of shape [${expected.join(", ")}] for this model; it was given [${shape.join(", ")}].`,
    );
  }
  if (data.some((value) => !Number.isFinite(value))) {
    throw new SoundspotError(
      "ERR_INPUT",
      `${what} has values that are not finite. Look where they come from.`,
    );
  }
  return { data, shape: expected };
}

/** Spectrogram frames of a configuration. */
export function frameCount(config: ModelConfig): number {
  return Math.floor(Math.round(config.audio.seconds * config.audio.sampleRate) / config.audio.hop) + 1;
}

function rawAudio(audio: RawAudio): NonNullable<PrepareInput["audio"]> {
  return { samples: audio.samples, channels: audio.channels ?? 1, sampleRate: audio.sampleRate };
}

/**
 * Decodes one input and prepares it as section 1.9 describes.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function prepareInput(
  input: LocalizeInput,
  config: ModelConfig,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<PreparedSample> {
  const { signal } = options;
  throwIfAborted(signal);
  if (typeof input !== "object" || input === null) {
    throw new SoundspotError("ERR_INPUT", "Give { image, audio } or { video, at }.");
  }
  if ("video" in input) {
    const at = input.at ?? (await probeVideo(input.video, { signal })).duration / 2;
    const image = await decodeFrame(input.video, at, { signal });
    const window = input.at === undefined ? {} : { at, window: config.audio.seconds };
    const audio = await decodeVideoAudio(input.video, { ...window, signal });
    throwIfAborted(signal);
    return { handle: await native().prepare({ image, audio: rawAudio(audio) }, config), image };
  }
  if (input.image === undefined || input.audio === undefined) {
    throw new SoundspotError("ERR_INPUT", "Give both image and audio, or a video.");
  }

  const image = isImageTensor(input.image) ? undefined : await decodeImage(input.image, { signal });
  const size = config.imageSize;
  const picture = isImageTensor(input.image)
    ? { tensor: checked(input.image.tensor, input.image.shape, [3, size, size], "The image tensor") }
    : { image: image as RawImage };
  const bins = Math.floor(config.audio.window / 2) + 1;
  const sound = isSpectrogram(input.audio)
    ? {
        spectrogram: checked(
          input.audio.spectrogram,
          input.audio.shape,
          [1, bins, frameCount(config)],
          "The spectrogram",
        ),
      }
    : { audio: rawAudio(await decodeAudio(input.audio, { signal })) };
  throwIfAborted(signal);
  const handle = await native().prepare({ ...picture, ...sound }, config);
  return image ? { handle, image } : { handle };
}

/** Prepares a decoded pair, with the augmentations of training where they are given. */
export function prepareSample(
  sample: { readonly image: RawImage; readonly audio: RawAudio },
  config: ModelConfig,
  augment?: { readonly options: AugmentConfig; readonly seed: bigint },
): Promise<SampleHandle> {
  const input = { image: sample.image, audio: rawAudio(sample.audio) };
  return augment
    ? native().prepare(input, config, augment.options, augment.seed)
    : native().prepare(input, config);
}

/** The preprocessing by itself, for comparisons with other implementations. */
export const preprocess = {
  /** Resized to the square and normalised: [3, size, size]. */
  async image(source: ImageSource, config: ModelConfig): Promise<TensorData> {
    const silence = { samples: new Float32Array(1), channels: 1, sampleRate: config.audio.sampleRate };
    const handle = await native().prepare({ image: await decodeImage(source), audio: silence }, config);
    return native().tensors(handle).image;
  },
  /** Log spectrogram: [1, F, T]. */
  async audio(source: AudioSource, config: ModelConfig): Promise<TensorData> {
    const pixel = { data: new Uint8Array(3), width: 1, height: 1 };
    const audio = rawAudio(await decodeAudio(source));
    return native().tensors(await native().prepare({ image: pixel, audio }, config)).spectrogram;
  },
  /** Resampled as torchaudio does: [channels, frames]. */
  resample(audio: RawAudio, sampleRate: number): Promise<TensorData> {
    return native().resample(rawAudio(audio), sampleRate);
  },
};
