/** From what a caller gives (paths, buffers, raw media, tensors) to samples that the model takes. */
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
} from "./arguments.js";
import { type AugmentConfig, type ModelConfig, parseModelConfig } from "./config.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "./errors.js";
import {
  type AudioSource,
  checkRawAudio,
  decodeAudio,
  decodePart,
  framesOf,
  measureSound,
  type SoundSpan,
} from "./media/audio.js";
import { checkRawImage, decodeImage, type ImageSource } from "./media/image.js";
import { decodeFrame, decodeVideoAudio, probeVideo, type VideoInfo } from "./media/video.js";
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

/**
 * A picture and a sound, whose middle is heard; or a video: the frame at `at` seconds and the sound around it.
 * Without `at` it is the middle, or where there is no sound then, the nearest moment that has it.
 */
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
  if (isRaw(source)) source = ownAudio(checkRawAudio(source as RawAudio));
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

/** Streams of one length end this close to each other, in seconds: packets and frames are not cut. */
const SAME_LENGTH = 0.25;
/** Sound on each side of what is heard, in seconds, for the resampling. */
const MARGIN = 0.1;

/** `wanted` where there is sound then, or else the nearest moment that has `seconds` of it around. */
function momentWithSound({ start, end }: SoundSpan, wanted: number, seconds: number): number {
  if (wanted >= start && wanted <= end) return wanted;
  const half = Math.min(seconds, end - start) / 2;
  return wanted < start ? start + half : end - half;
}

/** `seconds` around a moment, moved inside the sound, with the same margin on both sides: the middle is heard. */
function framesAround(
  { start, end, sampleRate }: SoundSpan,
  at: number,
  seconds: number,
): { readonly first: number; readonly count: number } {
  const from = Math.max(0, Math.min(at - start - seconds / 2, end - start - seconds));
  const margin = Math.max(0, Math.min(MARGIN, from, end - start - seconds - from));
  return {
    first: Math.round((from - margin) * sampleRate),
    count: Math.round((seconds + 2 * margin) * sampleRate),
  };
}

/** The moment of a video that is taken where none is asked for, and its sound. */
async function hearMiddle(
  path: string,
  { duration }: VideoInfo,
  { audio: { seconds } }: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<{ readonly at: number; readonly audio: RawAudio }> {
  const middle = duration / 2;
  const momentIn = (span: SoundSpan) => Math.min(momentWithSound(span, middle, seconds), duration);
  const { audio, of } = await decodePart(path, (span) => framesAround(span, momentIn(span), seconds), {
    signal,
  });
  if (of) return { at: momentIn(of), audio };
  if (duration - framesOf(audio) / audio.sampleRate <= SAME_LENGTH) return { at: middle, audio };
  const span = await measureSound(path, { signal });
  const { first, count } = framesAround(span, momentIn(span), seconds);
  const range = { start: first / audio.sampleRate, duration: count / audio.sampleRate };
  return { at: momentIn(span), audio: await decodeAudio(audio, { ...range, signal }) };
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
  const info = await probeVideo(path, { signal });
  const heard = await hearMiddle(path, info, config, signal).catch((error: unknown) => {
    if (isSoundspotError(error) && error.code === "ERR_NO_AUDIO") return { at: info.duration / 2 };
    throw error;
  });
  return { ...heard, image: await decodeFrame(path, heard.at, { info, signal }) };
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
    const info = await probeVideo(input.video, { signal });
    if (info.width * info.height > (maxPixels ?? Number.POSITIVE_INFINITY)) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${input.video} has frames of ${info.width} × ${info.height}. Give one of at most ${maxPixels} pixels.`,
      );
    }
    const { at, audio } =
      input.at === undefined
        ? await hearMiddle(input.video, info, config, signal)
        : { at: input.at, audio: undefined };
    const image = await decodeFrame(input.video, at, { info, signal });
    const heard =
      audio ?? (await decodeVideoAudio(input.video, { at, window: config.audio.seconds, info, signal }));
    throwIfAborted(signal);
    return { handle: await native().prepare({ image, audio: rawAudio(heard) }, config), image };
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
  const sound = isSpectrogram(input.audio)
    ? {
        spectrogram: checked(
          input.audio.spectrogram,
          input.audio.shape,
          [1, bins, frameCount(config)],
          "The spectrogram",
        ),
      }
    : { audio: await hear(input.audio, config, signal) };
  throwIfAborted(signal);
  const handle = await native().prepare({ ...picture, ...sound }, config);
  return image ? { handle, image } : { handle };
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
    audio: rawAudio(ownAudio(checkRawAudio(sample.audio))),
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
    return native().resample(rawAudio(ownAudio(checkRawAudio(audio))), sampleRate);
  },
};
