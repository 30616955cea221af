/** From what a caller gives (paths, buffers, raw media, tensors) to samples that the model takes. */

import { frameCount, type ModelConfig, rowCount } from "../config/model.js";
import type { AugmentConfig } from "../config/train.js";
import { aPath, check, isFloats, kindOf, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { checkRawImage } from "../core/raw-image.js";
import { copied } from "../core/tensors.js";
import type { RawAudio, RawImage, TensorData } from "../core/types.js";
import { type AudioSource, checkRawSamples, fileOf } from "../media/audio.js";
import { decodeImage, type ImageSource } from "../media/image.js";
import { openMedia } from "../media/media.js";
import { rawAudio } from "../media/resample.js";
import { infoOf } from "../media/video.js";
import {
  type ModelHandle,
  native,
  type PrepareInput,
  type SampleHandle,
  type StoreHandle,
} from "../native.js";
import { asWindow, audioWindow, sampleOfVideo } from "./audio-window.js";
import { checkFileRate } from "./file-rate.js";
import { isRaw, ownAudio, ownImage } from "./raw.js";
import { isSilent } from "./silence.js";

/** An image, already normalised: [3, size, size]. */
export interface ImageTensor {
  readonly tensor: Float32Array;
  readonly shape: readonly number[];
}

/** A log spectrogram, already scaled: [1, F, T]. */
export interface SpectrogramTensor {
  readonly spectrogram: Float32Array;
  readonly shape: readonly number[];
}

/**
 * An image and audio, of which the window at `audio.placement` is used; or a video: the frame at `at` seconds and the audio around
 * it. Without `at` it is the middle, or where there is no audio then, the nearest moment that has it.
 */
export type LocalizeInput =
  | { readonly image: ImageSource | ImageTensor; readonly audio: AudioSource | SpectrogramTensor }
  | {
      readonly video: string;
      readonly at?: number;
      /** Counted from 0. Default the track that the file marks as default, or else the first. */
      readonly audioTrack?: number;
    };

/** Decoded, and ready for the model. */
export interface PreparedSample {
  readonly handle: SampleHandle;
  /** The image at its own size; absent where a tensor was given. */
  readonly image?: RawImage;
  /** In a video, presentation time of the frame, in seconds. */
  readonly time?: number;
  /** Whether the audio window has no sample that reaches −60 dBFS. */
  readonly silent?: boolean;
}

function isImageTensor(value: unknown): value is ImageTensor {
  return typeof value === "object" && value !== null && "tensor" in value;
}

function isSpectrogram(value: unknown): value is SpectrogramTensor {
  return typeof value === "object" && value !== null && "spectrogram" in value;
}

function checked(data: unknown, shape: unknown, expected: readonly number[], what: string): TensorData {
  if (!Array.isArray(shape)) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${what} needs its shape, [${expected.join(", ")}] for this model; shape was given as ${kindOf(shape)}.`,
    );
  }
  const count = expected.reduce((product, size) => product * size, 1);
  const squeezed = shape[0] === 1 && shape.length === expected.length + 1 ? shape.slice(1) : shape;
  const same = squeezed.length === expected.length && squeezed.every((size, i) => size === expected[i]);
  if (!isFloats(data) || data.length !== count || !same) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${what} must be a Float32Array of shape [${expected.join(", ")}] for this model; it was given ${kindOf(data)} of [${shape.map(shown).join(", ")}].`,
    );
  }
  return { data: copied(data), shape: expected };
}

/**
 * Decodes one input and prepares it as docs/method.md, "Preprocessing", describes.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function prepareInput(
  input: LocalizeInput,
  config: ModelConfig,
  options: {
    readonly signal?: AbortSignal | undefined;
    /** An encoded image or a video with more is rejected. */
    readonly maxPixels?: number | undefined;
  } = {},
): Promise<PreparedSample> {
  const { signal, maxPixels } = options;
  throwIfAborted(signal);
  if (typeof input !== "object" || input === null) {
    throw new SoundspotError("ERR_INPUT", "Give { image, audio } or { video, at }.");
  }
  if ("video" in input) {
    check(input.video, aPath, "video");
    const { video, at, audioTrack } = input;
    const media = await openMedia(video, { signal, audioTrack });
    const { width, height, hasAudio } = infoOf(media, video);
    if (width * height > (maxPixels ?? Number.POSITIVE_INFINITY)) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${video} has frames of ${width} × ${height}. Give one of at most ${maxPixels} pixels.`,
      );
    }
    if (!hasAudio) {
      throw new SoundspotError("ERR_NO_AUDIO", `${video} has no audio stream. Give a video with audio.`);
    }
    if (at !== undefined) media.checkMoment("at", at);
    const { image, time, audio } = await sampleOfVideo(media, video, config, at);
    throwIfAborted(signal);
    if (!audio) throw new SoundspotError("ERR_INTERNAL", "A video with audio gave none.");
    const handle = await native().prepare({ image, audio: rawAudio(audio) }, asWindow(config));
    return { handle, image, time, silent: isSilent(audio) };
  }
  if (input.image === undefined || input.audio === undefined) {
    throw new SoundspotError("ERR_INPUT", "Give both image and audio, or a video.");
  }

  // Raw audio is copied before anything is awaited: its memory is the caller's.
  const copying = isRaw(input.audio) ? audioPart(input.audio, config, signal) : undefined;
  copying?.catch(() => undefined); // reported where it is awaited
  const image = await imagePart(input.image, config, options);
  const audio = await (copying ?? audioPart(input.audio, config, signal));
  throwIfAborted(signal);
  const handle = await native().prepare({ ...image.part, ...audio.part }, audio.config);
  return { handle, silent: audio.silent, ...(image.decoded ? { image: image.decoded } : {}) };
}

/**
 * @internal Frees samples that nothing will take any more; work that took them before keeps them until it ends. The
 * garbage collector does not know how large they are: left to it, the samples of many batches stay in memory, and those
 * of each lie in new memory.
 */
export function releaseSamples(handles: Iterable<SampleHandle>): void {
  for (const handle of handles) native().releaseSample(handle);
}

/** One side of a pair. */
export type EmbedInput =
  | { readonly image: ImageSource | ImageTensor; readonly audio?: undefined }
  | { readonly audio: AudioSource | SpectrogramTensor; readonly image?: undefined };

/**
 * @internal One side of a pair, ready for `embed` alone.
 * @throws {SoundspotError} ERR_INPUT when it is not one side; naming the file that cannot be read and why.
 */
export async function prepareSide(
  input: EmbedInput,
  config: ModelConfig,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<SampleHandle> {
  throwIfAborted(options.signal);
  const { image, audio } = Object(input) as { image?: ImageSource; audio?: AudioSource };
  if ((image === undefined) === (audio === undefined)) {
    throw new SoundspotError("ERR_INPUT", "Give { image } or { audio }, one of them.");
  }
  const side =
    image === undefined
      ? await audioPart(audio as AudioSource, config, options.signal)
      : { ...(await imagePart(image, config, options)), config };
  throwIfAborted(options.signal);
  return native().prepare(side.part, side.config);
}

async function imagePart(
  source: ImageSource | ImageTensor,
  config: ModelConfig,
  options: { readonly signal?: AbortSignal | undefined; readonly maxPixels?: number | undefined },
): Promise<{ readonly part: PrepareInput; readonly decoded?: RawImage }> {
  if (isImageTensor(source)) {
    const size = config.imageSize;
    return { part: { tensor: checked(source.tensor, source.shape, [3, size, size], "The image tensor") } };
  }
  const { signal, maxPixels } = options;
  const decoded = isRaw(source)
    ? ownImage(checkRawImage(source as RawImage))
    : await decodeImage(source, { signal, maxPixels });
  return { part: { image: decoded }, decoded };
}

async function audioPart(
  source: AudioSource | SpectrogramTensor,
  config: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<{ readonly part: PrepareInput; readonly silent: boolean; readonly config: ModelConfig }> {
  if (isSpectrogram(source)) {
    const shape = [1, rowCount(config), frameCount(config)];
    const spectrogram = checked(source.spectrogram, source.shape, shape, "The spectrogram");
    return { part: { spectrogram }, silent: false, config };
  }
  const { audio, config: own } = await audioWindow(source, config, signal);
  return { part: { audio }, silent: isSilent(audio, own.audio), config: own };
}

/**
 * Prepares a decoded pair, with the augmentations of training where they are given. `trained` is the model that takes a
 * step with it: what its device does to images is left to that step. `kept` is a store that is given the sample.
 * @throws {SoundspotError} ERR_INPUT when image or audio are not of the types and lengths that they state; ERR_CONFIG
 *   when the rate of the audio is not that of `audio.rate: "file"`, and for augmentations that do not fit the model.
 */
export async function prepareSample(
  sample: { readonly id?: string; readonly image: RawImage; readonly audio: RawAudio },
  config: ModelConfig,
  augment?: { readonly options: AugmentConfig; readonly seed: bigint },
  trained?: ModelHandle,
  kept?: { readonly store: StoreHandle; readonly index: number },
): Promise<SampleHandle> {
  if (typeof sample !== "object" || sample === null) {
    throw new SoundspotError("ERR_INPUT", `A sample must be { id, image, audio }, got ${kindOf(sample)}.`);
  }
  const input = {
    image: ownImage(checkRawImage(sample.image)),
    audio: rawAudio(ownAudio(checkRawSamples(sample.audio))),
  };
  const name = fileOf(sample.audio) ?? (sample.id === undefined ? "The audio" : `The audio of ${sample.id}`);
  checkFileRate(input.audio.sampleRate, config, name, "ERR_CONFIG");
  return native().prepare(input, config, augment?.options, augment?.seed, trained, kept?.store, kept?.index);
}
