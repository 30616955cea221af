/** Audio input: WAV by our own parser, everything else by the reader of media files, as planar float samples. */

import { type FileHandle, open } from "node:fs/promises";
import { isBytes, isFloats, kindOf, ownBytes, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { inSlices } from "../core/pacer.js";
import type { RawAudio } from "../core/types.js";
import { checkMediaFile, unreadable } from "../files/media-file.js";
import { checkRate, decodeAlone, MAX_RATE } from "./decode-samples.js";
import { Media, temporaryCopy } from "./media.js";
import {
  type ByteSource,
  bytesInMemory,
  checkTimes,
  findWavHeader,
  frameRange,
  isWav,
  readWavSamples,
  startPastEnd,
} from "./wav.js";

/** A path, an encoded audio or video file, or raw samples. */
export type AudioSource = string | Uint8Array | RawAudio;

export interface DecodeAudioOptions {
  readonly signal?: AbortSignal | undefined;
  /** Path of ffmpeg; by default it is searched for. WAV does not need it. */
  readonly ffmpeg?: string | undefined;
  /** First moment wanted, in seconds, at least 0. Default 0. */
  readonly start?: number | undefined;
  /** Length wanted, in seconds; less when the audio ends before. Default to the end. */
  readonly duration?: number | undefined;
  /** Of a file with several, counted from 0. Default the one that the file marks, or else the first. */
  readonly audioTrack?: number | undefined;
}

/** The files that audio was decoded from. */
const files = new WeakMap<RawAudio, string>();

/** The file that audio was decoded from, where that is known. */
export function fileOf(audio: RawAudio): string | undefined {
  return files.get(audio);
}

/** Notes the file that audio was decoded from, for messages about it. */
export function ofFile(audio: RawAudio, file: string): RawAudio {
  files.set(audio, file);
  return audio;
}

/** Samples are nominally in [−1, 1]; beyond this they are in other units. */
const MAX_AMPLITUDE = 8;
/** What errors call raw samples. */
const RAW = "Raw audio";

/** Where audio begins and ends on its file's clock, in seconds. */
export interface AudioSpan {
  readonly start: number;
  readonly end: number;
  /** In hertz. */
  readonly sampleRate: number;
}

/** Audio, or a part of a long file. */
export interface AudioPart {
  readonly audio: RawAudio;
  /** Absent where `audio` is the whole. */
  readonly of?: AudioSpan;
}

/** Audio that takes no more than this when decoded is decoded whole: 3 minutes at 48 kHz in stereo. */
const WHOLE_BYTES = 2 ** 26;

/**
 * Decodes an audio file, or the audio of a video, at its own rate and with its own channels, to planar samples
 * `[channels, frames]`, nominally in [−1, 1]. A file with video keeps its clock: the samples last as long as the file,
 * with silence where there is no audio. Raw samples are checked and, without a range, returned as they are.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE when it is damaged or
 * not media; ERR_NO_AUDIO for a video without audio; ERR_AUDIO_EMPTY when it has no samples;
 * ERR_AUDIO_NOT_FINITE for NaN or infinite samples; ERR_MEDIA_DECODE, of raw samples ERR_INPUT, for samples beyond
 * ±8, which are in other units; ERR_INPUT for raw samples that do not fit their channels or a range outside the audio;
 * ERR_FFMPEG_MISSING; ERR_ABORTED.
 * @example
 * const { samples, sampleRate, channels } = await decodeAudio("dog.mp3", { start: 2, duration: 5 });
 */
export async function decodeAudio(source: AudioSource, options: DecodeAudioOptions = {}): Promise<RawAudio> {
  throwIfAborted(options.signal);
  checkTimes(options);
  const decoded = await withAudio(source, options, async (audio) =>
    checkSamples(await audio.decode(options), audio, options),
  );
  return typeof source === "string" ? ofFile(decoded, source) : decoded;
}

/**
 * Decodes audio of any length: a short file whole, of a long one the frames that `choose` picks, counted from its
 * start. Memory never holds all of a long file. Raw samples are in memory already, and returned as they are.
 *
 * @throws {SoundspotError} as {@link decodeAudio}.
 */
export async function decodePart(
  source: AudioSource,
  choose: (span: AudioSpan) => { readonly first: number; readonly count: number },
  options: Pick<DecodeAudioOptions, "signal" | "ffmpeg"> = {},
): Promise<AudioPart> {
  throwIfAborted(options.signal);
  return withAudio(source, options, async (opened) => {
    const whole = await opened.decodeShort();
    if (whole) return { audio: await checkSamples(whole, opened, options) };
    const of = await opened.span();
    const { first, count } = choose(of);
    const range = { start: of.start + first / of.sampleRate, duration: count / of.sampleRate };
    return { audio: await checkSamples(await opened.decode(range), opened, options), of };
  });
}

/** Audio that is open. */
interface OpenAudio {
  /** What errors call it. */
  readonly name: string;
  decode(range: {
    readonly start?: number | undefined;
    readonly duration?: number | undefined;
  }): Promise<RawAudio>;
  /** All of it when it is short. */
  decodeShort(): Promise<RawAudio | undefined>;
  span(): Promise<AudioSpan>;
}

async function withAudio<T>(
  source: AudioSource,
  options: Pick<DecodeAudioOptions, "signal" | "ffmpeg" | "audioTrack">,
  work: (audio: OpenAudio) => Promise<T>,
): Promise<T> {
  if (typeof source === "string") {
    const size = await checkMediaFile(source);
    // Only the requested part is read: a film stays on the disk.
    return withFile(source, size, async (file) => {
      const wav = await openWav(file, source, options);
      return work(wav ?? openEncoded(source, source, await isAudioOnly(file), options));
    });
  }
  if (isBytes(source)) {
    const bytes = ownBytes(source);
    const name = "The audio buffer";
    if (bytes.length === 0) {
      throw new SoundspotError("ERR_FILE_EMPTY", `${name} is empty (0 bytes). Give an encoded audio file.`);
    }
    const reader = bytesInMemory(bytes);
    const wav = await openWav(reader, name, options);
    if (wav) return work(wav);
    const { path, remove } = await temporaryCopy(bytes);
    try {
      return await work(openEncoded(path, name, await isAudioOnly(reader), options));
    } finally {
      await remove();
    }
  }
  return work(openRaw(checkRawAudio(source)));
}

function openRaw(audio: Required<RawAudio>): OpenAudio {
  const name = RAW;
  const { sampleRate } = audio;
  return {
    name,
    decode: async (range) => cutRawAudio(audio, name, range),
    decodeShort: async () => audio,
    span: async () => ({ start: 0, end: framesOf(audio) / sampleRate, sampleRate }),
  };
}

/** Nothing where the bytes are no WAV or one that needs ffmpeg. */
async function openWav(
  bytes: ByteSource,
  name: string,
  { signal }: Pick<DecodeAudioOptions, "signal">,
): Promise<OpenAudio | undefined> {
  if (!isWav(await bytes.read(0, 12))) return undefined;
  const header = await findWavHeader(bytes, name);
  if (header.encoding === "other") return undefined;
  checkRate(header.sampleRate, name);
  const { frames, channels, sampleRate } = header;
  const decode: OpenAudio["decode"] = ({ start, duration }) =>
    readWavSamples(bytes, header, { name, signal, start, duration });
  return {
    name,
    decode,
    decodeShort: async () =>
      frames * channels * Float32Array.BYTES_PER_ELEMENT <= WHOLE_BYTES ? decode({}) : undefined,
    span: async () => ({ start: 0, end: frames / sampleRate, sampleRate }),
  };
}

/** Whether a file begins as an audio format without video does. */
async function isAudioOnly(bytes: ByteSource): Promise<boolean> {
  const head = Buffer.from(await bytes.read(0, 12)).toString("latin1");
  return /^(ID3|fLaC|OggS|FORM|caff|wvpk|TTA1|MAC |#!AMR|ADIF|\xff[\xe0-\xff])|^....ftypM4A/s.test(head);
}

/**
 * On the clock of the file: silence where the audio has not begun, pauses or has ended.
 * @param alone Whether it seems to have audio alone, so that one pass may do.
 */
function openEncoded(
  path: string,
  name: string,
  alone: boolean,
  options: Pick<DecodeAudioOptions, "signal" | "ffmpeg" | "audioTrack">,
): OpenAudio {
  const { signal, ffmpeg, audioTrack } = options;
  let opening: Promise<Media> | undefined;
  const opened = () => {
    opening ??= Media.open(path, { ...options, name, wanted: "audio" });
    return opening;
  };
  const track = async () => {
    const { duration, audioTrack: own } = await opened();
    if (!own) {
      throw new SoundspotError("ERR_NO_AUDIO", `${name} has no audio stream. Give a file with audio.`);
    }
    checkRate(own.sampleRate, name);
    return { duration, sampleRate: own.sampleRate, channels: own.channels };
  };
  const inOnePass = async () =>
    alone && audioTrack === undefined ? decodeAlone(path, WHOLE_BYTES, { name, signal, ffmpeg }) : undefined;
  const decode: OpenAudio["decode"] = async ({ start, duration: length = Number.POSITIVE_INFINITY }) => {
    const whole = start === undefined && length === Number.POSITIVE_INFINITY && (await inOnePass());
    if (whole) return whole;
    const { duration } = await track();
    if (start && start >= duration)
      throw new SoundspotError("ERR_INPUT", startPastEnd(name, start, duration));
    return (await opened()).audio({ from: start ?? 0, to: Math.min((start ?? 0) + length, duration) });
  };
  return {
    name,
    decode,
    decodeShort: async () => {
      const whole = await inOnePass();
      if (whole) return whole;
      const { duration, sampleRate, channels } = await track();
      const bytes = duration * sampleRate * channels * Float32Array.BYTES_PER_ELEMENT;
      return bytes <= WHOLE_BYTES ? decode({ start: 0 }) : undefined;
    },
    span: async () => {
      const { duration, sampleRate } = await track();
      return { start: 0, end: duration, sampleRate };
    },
  };
}

/** Bytes of the beginning that are read at once: headers are read in small pieces. A small file is read whole. */
const [HEAD_BYTES, SMALL_BYTES] = [4096, 2 ** 18];

async function withFile<T>(path: string, size: number, work: (bytes: ByteSource) => Promise<T>): Promise<T> {
  const reading = <R>(work: Promise<R>) =>
    work.catch((cause: unknown) => {
      throw unreadable(path, cause);
    });
  const file = await reading(open(path));
  try {
    const head = await reading(readBytes(file, 0, size <= SMALL_BYTES ? size : HEAD_BYTES));
    return await work({
      size,
      blockBytes: 2 ** 22,
      read: async (offset, length) =>
        offset + length <= head.length || size <= head.length
          ? head.subarray(offset, offset + length)
          : reading(readBytes(file, offset, Math.max(0, Math.min(length, size - offset)))),
    });
  } finally {
    await file.close();
  }
}

/** Fewer bytes than requested where the file has become shorter. */
async function readBytes(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/**
 * Raw samples whose length fits their channels; the values are not checked.
 * @throws {SoundspotError} ERR_INPUT
 */
export function checkRawAudio(audio: RawAudio): Required<RawAudio> {
  if (typeof audio !== "object" || audio === null) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Audio must be a path, an encoded buffer or { samples: Float32Array, sampleRate, channels? }, got ${kindOf(audio)}.`,
    );
  }
  if (!isFloats(audio.samples)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: samples must be a Float32Array in [−1, 1], got ${kindOf(audio.samples)}.`,
    );
  }
  const { samples, sampleRate, channels = 1 } = audio;
  if (!(Number.isInteger(sampleRate) && sampleRate >= 1 && sampleRate <= MAX_RATE)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: sampleRate must be a whole number of hertz in 1 … ${MAX_RATE}, got ${shown(sampleRate)}.`,
    );
  }
  if (!Number.isInteger(channels) || channels < 1 || samples.length % channels !== 0) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: ${samples.length} samples do not divide into ${shown(channels)} channels. Samples are planar, channels × frames.`,
    );
  }
  return { samples, sampleRate, channels };
}

/** Samples a channel. */
export function framesOf({ samples, channels = 1 }: RawAudio): number {
  return samples.length / channels;
}

function cutRawAudio(audio: Required<RawAudio>, name: string, options: DecodeAudioOptions): RawAudio {
  if (options.start === undefined && options.duration === undefined) return audio;
  const { samples, sampleRate, channels } = audio;
  const frames = samples.length / channels;
  const { first, count } = frameRange(frames, sampleRate, options, name);
  const cut = new Float32Array(channels * count);
  for (let channel = 0; channel < channels; channel++) {
    const from = channel * frames + first;
    cut.set(samples.subarray(from, from + count), channel * count);
  }
  return { samples: cut, sampleRate, channels };
}

async function checkSamples(
  audio: RawAudio,
  { name }: OpenAudio,
  { signal }: Pick<DecodeAudioOptions, "signal">,
): Promise<RawAudio> {
  const { samples } = audio;
  if (samples.length === 0) {
    throw new SoundspotError(
      "ERR_AUDIO_EMPTY",
      `${name} has no samples: its audio is 0 s long. Give another file.`,
    );
  }
  let sum = 0;
  await inSlices(samples.length, 65536, signal, (from, to) => {
    sum += sumOfZeros(samples, from, to);
    if (isAnyTooLarge(samples, from, to) && sum === 0)
      throw tooLarge(samples, name, name === RAW ? "ERR_INPUT" : "ERR_MEDIA_DECODE");
  });
  if (sum !== 0) {
    const bad = samples.findIndex((sample) => !Number.isFinite(sample));
    throw new SoundspotError(
      "ERR_AUDIO_NOT_FINITE",
      `${name}: sample ${bad} is ${samples[bad]}. Samples must be finite; export the audio again.`,
    );
  }
  return audio;
}

/**
 * Raw samples whose length fits their channels, and whose values are in the units that they must be in. Values that are
 * not finite are left to the check after decoding.
 * @throws {SoundspotError} ERR_INPUT
 */
export function checkRawSamples(audio: RawAudio): Required<RawAudio> {
  const checked = checkRawAudio(audio);
  const { samples } = checked;
  if (isAnyTooLarge(samples, 0, samples.length)) throw tooLarge(samples, RAW, "ERR_INPUT");
  return checked;
}

function tooLarge(
  samples: Float32Array,
  name: string,
  code: "ERR_INPUT" | "ERR_MEDIA_DECODE",
): SoundspotError {
  const at = samples.findIndex((sample) => Math.abs(sample) > MAX_AMPLITUDE && Number.isFinite(sample));
  return new SoundspotError(
    code,
    `${name}: sample ${at} is ${samples[at]}, far outside [−1, 1] (the limit is ±${MAX_AMPLITUDE}). ` +
      "Divide 16-bit integers by 32,768 first (24-bit ones by 8,388,608).",
  );
}

/** Whether a finite sample is beyond ±8. In a loop of its own, which is compiled as a whole. */
function isAnyTooLarge(samples: Float32Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const sample = samples[i] as number;
    if ((sample > MAX_AMPLITUDE || sample < -MAX_AMPLITUDE) && Number.isFinite(sample)) return true;
  }
  return false;
}

/** 0 where all samples are finite, and NaN where one is not: x − x. In a loop of its own, which is compiled as a whole. */
function sumOfZeros(samples: Float32Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) {
    const sample = samples[i] as number;
    sum += sample - sample;
  }
  return sum;
}
