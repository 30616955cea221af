/** From what a caller gives (paths, buffers, raw media, tensors) to samples that the model takes. */
import { channel } from "node:diagnostics_channel";
import { type ModelConfig, parseModelConfig } from "../config/model.js";
import type { AugmentConfig } from "../config/train.js";
import {
  aCount,
  aList,
  aPath,
  aSignal,
  check,
  checkFields,
  isBytes,
  isFloats,
  kindOf,
  shown,
} from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { RawAudio, RawImage, TensorData } from "../core/types.js";
import { type AudioSource, checkRawSamples, decodePart, type SoundSpan } from "../media/audio.js";
import { checkRawImage, decodeImage, type ImageSource } from "../media/image.js";
import { type Media, openMedia } from "../media/media.js";
import { infoOf, windowAround } from "../media/video.js";
import { native, type PrepareInput, type SampleHandle } from "../native.js";
import { isSilent } from "./silence.js";

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

/**
 * A picture and a sound, whose middle is heard; or a video: the frame at `at` seconds and the sound around it.
 * Without `at` it is the middle, or where there is no sound then, the nearest moment that has it.
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
  /** The picture at its own size; absent where a tensor was given. */
  readonly image?: RawImage;
  /** Of a video: presentation time of the frame, in seconds. */
  readonly time?: number;
  /** Whether the audio window has no sample that reaches −60 dBFS. */
  readonly silent?: boolean;
}

/** What a video gave, as it goes to the model: published on the channel `soundspot:video-sample` of node:diagnostics_channel. */
export interface VideoSample {
  readonly video: string;
  /** Moment that was asked for or chosen, in seconds. */
  readonly at: number;
  /** Presentation time of the frame, in seconds. */
  readonly time: number;
  readonly image: RawImage;
  /** In seconds. */
  readonly from: number;
  readonly audio?: RawAudio;
}

const samplesOfVideos = channel("soundspot:video-sample");

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
 * A copy of a caller's tensor: the addon reads while the caller may already hand its memory to another thread.
 * @throws {SoundspotError} ERR_INPUT
 */
export function ownTensor({ data, shape }: TensorData): TensorData {
  if (!isFloats(data)) {
    throw new SoundspotError("ERR_INPUT", `A tensor's data must be a Float32Array, got ${kindOf(data)}.`);
  }
  check(shape, aList, "A tensor's shape");
  return { data: copied(data), shape: Array.from(shape) };
}

/** A copy; of memory that was handed on already, which has no length, an empty one. */
function copied(values: Float32Array): Float32Array {
  return values.length === 0 ? new Float32Array(0) : new Float32Array(values);
}

/** The same of a decoded picture. */
function ownImage({ data, width, height }: RawImage): RawImage {
  return { data: new Uint8Array(data), width, height };
}

/** The same of a decoded sound. */
function ownAudio({ samples, sampleRate, channels }: RawAudio): RawAudio {
  return { samples: copied(samples), sampleRate, ...(channels ? { channels } : {}) };
}

/** Of what is given by its samples or pixels, and not to be decoded. */
function isRaw(source: unknown): boolean {
  return typeof source === "object" && !isBytes(source);
}

/** Spectrogram frames of a configuration. */
export function frameCount(config: ModelConfig): number {
  return Math.floor(Math.round(config.audio.seconds * config.audio.sampleRate) / config.audio.hop) + 1;
}

function rawAudio(audio: RawAudio): NonNullable<PrepareInput["audio"]> {
  return { samples: audio.samples, channels: audio.channels ?? 1, sampleRate: audio.sampleRate };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/**
 * The frames that the middle `count` samples of the resampled sound are made of, and how many samples come before
 * those when only these frames are resampled. They begin with a period of the resampling, so that nothing differs.
 */
function middleOf(
  { start, end, sampleRate }: SoundSpan,
  rate: number,
  count: number,
): { readonly first: number; readonly count: number; readonly before: number } {
  const frames = Math.round((end - start) * sampleRate);
  const divisor = gcd(sampleRate, rate);
  const [from, to] = [sampleRate / divisor, rate / divisor];
  const begin = Math.floor((Math.ceil((frames * to) / from) - count) / 2);
  if (begin <= 0) return { first: 0, count: frames, before: 0 };
  // The filter reaches over 6.1 samples of the lower rate to each side.
  const reach = Math.ceil((7 * from) / Math.min(from, to)) + 4;
  const period = Math.max(0, Math.floor((Math.floor((begin * from) / to) - reach) / from));
  const first = period * from;
  const last = Math.min(frames, Math.ceil(((begin + count) * from) / to) + reach);
  return { first, count: last - first, before: begin - period * to };
}

/** A sound as the addon takes it: whole, or of a long one what the model hears. */
async function hear(
  source: AudioSource,
  { audio: config }: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<NonNullable<PrepareInput["audio"]>> {
  const rate = config.sampleRate;
  const count = Math.round(config.seconds * rate);
  if (isRaw(source)) source = ownAudio(checkRawSamples(source as RawAudio));
  const { audio, of } = await decodePart(source, (span) => middleOf(span, rate, count), { signal });
  if (!of || audio.sampleRate !== of.sampleRate) return rawAudio(audio);
  const { before } = middleOf(of, rate, count);
  const { data, shape } = await native().resample(rawAudio(audio), rate);
  const [channels = 1, length = 0] = shape;
  // Damaged towards its end: the middle of what there is.
  if (length < before + count) return rawAudio(audio);
  const samples = new Float32Array(channels * count);
  for (let channel = 0; channel < channels; channel++) {
    const at = channel * length + before;
    samples.set(data.subarray(at, at + count), channel * count);
  }
  return { samples, channels, sampleRate: rate };
}

/** The middle where there is audio then, or else the nearest moment that has `seconds` of it around. */
function momentWithAudio({ duration, audioSpans }: Media, seconds: number): number {
  const middle = duration / 2;
  const [start, end] = [audioSpans[0]?.[0], audioSpans.at(-1)?.[1]];
  if (start === undefined || end === undefined || (middle >= start && middle <= end)) return middle;
  const half = Math.min(seconds, end - start) / 2;
  return Math.min(duration, middle < start ? start + half : end - half);
}

/**
 * The frame and the audio that a video is taken for; without a moment, of its middle. Without audio the frame alone.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
async function sampleOfVideo(
  media: Media,
  video: string,
  { audio: { seconds } }: ModelConfig,
  asked: number | undefined,
): Promise<VideoSample> {
  const at = asked ?? momentWithAudio(media, seconds);
  const { from, to } = windowAround(at, seconds, media.duration);
  const [{ image, time }, audio] = await Promise.all([
    media.frameAt(at),
    media.audioTrack ? media.audio({ from, to }) : undefined,
  ]);
  const sample = { video, at, time, image, from, ...(audio ? { audio } : {}) };
  if (samplesOfVideos.hasSubscribers) samplesOfVideos.publish(sample);
  return sample;
}

/**
 * The frame and the sound that a video is taken for where no moment is asked for; of one without sound the middle frame.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function middleOfVideo(
  path: string,
  config: ModelConfig,
  signal?: AbortSignal | undefined,
): Promise<{ readonly at: number; readonly image: RawImage; readonly audio?: RawAudio }> {
  const media = await openMedia(path, { signal });
  infoOf(media, path);
  return sampleOfVideo(media, path, config, undefined);
}

/**
 * Decodes one input and prepares it as section 1.9 describes.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function prepareInput(
  input: LocalizeInput,
  config: ModelConfig,
  options: {
    readonly signal?: AbortSignal | undefined;
    /** An encoded picture or a video with more is refused. */
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
      throw new SoundspotError("ERR_NO_AUDIO", `${video} has no audio stream. Give a video with sound.`);
    }
    if (at !== undefined) media.checkMoment("at", at);
    const { image, time, audio } = await sampleOfVideo(media, video, config, at);
    throwIfAborted(signal);
    if (!audio) throw new SoundspotError("ERR_INTERNAL", "A video with audio gave none.");
    const handle = await native().prepare({ image, audio: rawAudio(audio) }, config);
    return { handle, image, time, silent: isSilent(audio) };
  }
  if (input.image === undefined || input.audio === undefined) {
    throw new SoundspotError("ERR_INPUT", "Give both image and audio, or a video.");
  }

  const image = isImageTensor(input.image)
    ? undefined
    : isRaw(input.image)
      ? ownImage(checkRawImage(input.image as RawImage))
      : await decodeImage(input.image, { signal, maxPixels });
  const size = config.imageSize;
  const picture = isImageTensor(input.image)
    ? { tensor: checked(input.image.tensor, input.image.shape, [3, size, size], "The image tensor") }
    : { image: image as RawImage };
  const bins = Math.floor(config.audio.window / 2) + 1;
  const heard = isSpectrogram(input.audio) ? undefined : await hear(input.audio, config, signal);
  const sound = isSpectrogram(input.audio)
    ? {
        spectrogram: checked(
          input.audio.spectrogram,
          input.audio.shape,
          [1, bins, frameCount(config)],
          "The spectrogram",
        ),
      }
    : heard && { audio: heard };
  throwIfAborted(signal);
  const handle = await native().prepare({ ...picture, ...sound } as PrepareInput, config);
  const silent = heard !== undefined && isSilent(heard, config.audio.seconds);
  return { handle, silent, ...(image ? { image } : {}) };
}

/**
 * Prepares a decoded pair, with the augmentations of training where they are given.
 * @throws {SoundspotError} ERR_INPUT when picture or sound are not of the types and lengths that they say.
 */
export async function prepareSample(
  sample: { readonly image: RawImage; readonly audio: RawAudio },
  config: ModelConfig,
  augment?: { readonly options: AugmentConfig; readonly seed: bigint },
): Promise<SampleHandle> {
  if (typeof sample !== "object" || sample === null) {
    throw new SoundspotError("ERR_INPUT", `A sample must be { id, image, audio }, got ${kindOf(sample)}.`);
  }
  const input = {
    image: ownImage(checkRawImage(sample.image)),
    audio: rawAudio(ownAudio(checkRawSamples(sample.audio))),
  };
  return augment
    ? native().prepare(input, config, augment.options, augment.seed)
    : native().prepare(input, config);
}

/** The preprocessing by itself, for comparisons with other implementations. */
export const preprocess = {
  /** Resized to the square and normalised: [3, size, size]. */
  async image(
    source: ImageSource,
    config: ModelConfig,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<TensorData> {
    config = parseModelConfig(config);
    checkFields(options, { signal: aSignal });
    const { signal } = options;
    const silence = { samples: new Float32Array(1), channels: 1, sampleRate: config.audio.sampleRate };
    const decoded = await decodeImage(source, { signal });
    const image = isRaw(source) ? ownImage(decoded) : decoded;
    const handle = await native().prepare({ image, audio: silence }, config);
    throwIfAborted(signal);
    return native().tensors(handle).image;
  },
  /** Log spectrogram of the middle: [1, F, T]. */
  async audio(
    source: AudioSource,
    config: ModelConfig,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<TensorData> {
    config = parseModelConfig(config);
    checkFields(options, { signal: aSignal });
    const { signal } = options;
    const pixel = { data: new Uint8Array(3), width: 1, height: 1 };
    const handle = await native().prepare(
      { image: pixel, audio: await hear(source, config, signal) },
      config,
    );
    throwIfAborted(signal);
    return native().tensors(handle).spectrogram;
  },
  /** Resampled as torchaudio does: [channels, frames]. */
  async resample(audio: RawAudio, sampleRate: number): Promise<TensorData> {
    check(sampleRate, aCount, "sampleRate");
    return native().resample(rawAudio(ownAudio(checkRawSamples(audio))), sampleRate);
  },
};
