/** The audio window: which part of audio the model takes, by its placement, and of a video around a moment. */

import { channel } from "node:diagnostics_channel";
import type { ModelConfig } from "../config/model.js";
import type { RawAudio, RawImage } from "../core/types.js";
import { type AudioSource, type AudioSpan, checkRawSamples, decodePart } from "../media/audio.js";
import { type Media, openMedia } from "../media/media.js";
import { rawAudio, resample } from "../media/resample.js";
import { infoOf, windowAround } from "../media/video.js";
import type { PrepareInput } from "../native.js";
import { checkFileRate } from "./file-rate.js";
import { firstOf } from "./placement.js";
import { isRaw, ownAudio } from "./raw.js";

/** What a video gave, as it goes to the model: published on the channel `soundspot:video-sample` of node:diagnostics_channel. */
export interface VideoSample {
  readonly video: string;
  /** Requested or chosen moment, in seconds. */
  readonly at: number;
  /** Presentation time of the frame, in seconds. */
  readonly time: number;
  readonly image: RawImage;
  /** Start of the audio window, in seconds. */
  readonly from: number;
  readonly audio?: RawAudio;
}

const samplesOfVideos = channel("soundspot:video-sample");

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** A configuration for audio that is the window already. */
export function asWindow(config: ModelConfig): ModelConfig {
  return { ...config, audio: { ...config.audio, placement: "middle" } };
}

/** Frames of a file to decode. */
interface Part {
  readonly first: number;
  readonly count: number;
  /** Samples before the window once these frames are resampled; absent where the frames are all that there are. */
  readonly before?: number;
}

/**
 * The frames that the audio window is made of, in audio that is to be resampled. They begin with a period of the
 * resampling: the result is the same as from all frames.
 */
function partOf({ start, end, sampleRate }: AudioSpan, config: ModelConfig["audio"]): Part {
  const rate = config.sampleRate;
  const count = Math.round(config.seconds * rate);
  const frames = Math.round((end - start) * sampleRate);
  const divisor = gcd(sampleRate, rate);
  const [from, to] = [sampleRate / divisor, rate / divisor];
  const spare = Math.ceil((frames * to) / from) - count;
  const begin = firstOf(config.placement, spare, rate);
  if (spare <= 0 || begin > spare) return { first: 0, count: frames };
  // The filter reaches over 6.1 samples of the lower rate to each side.
  const reach = Math.ceil((7 * from) / Math.min(from, to)) + 4;
  const period = Math.max(0, Math.floor((Math.floor((begin * from) / to) - reach) / from));
  const first = period * from;
  const last = Math.min(frames, Math.ceil(((begin + count) * from) / to) + reach);
  return { first, count: last - first, before: begin - period * to };
}

/** Audio as the addon takes it, and the configuration by which it finds the window there. */
export interface AudioInput {
  readonly audio: NonNullable<PrepareInput["audio"]>;
  readonly config: ModelConfig;
}

/**
 * Audio whole, or of a long one the window.
 * @throws {SoundspotError} as `decodeAudio`, and ERR_INPUT when its rate is not that of `audio.rate: "file"`.
 */
export async function audioWindow(
  source: AudioSource,
  config: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<AudioInput> {
  const { sampleRate: rate, seconds } = config.audio;
  if (isRaw(source)) source = ownAudio(checkRawSamples(source as RawAudio));
  const { audio, of } = await decodePart(source, (span) => partOf(span, config.audio), { signal });
  const name = typeof source === "string" ? source : isRaw(source) ? "Raw audio" : "The audio buffer";
  checkFileRate(audio.sampleRate, config, name, "ERR_INPUT");
  const before = of && partOf(of, config.audio).before;
  if (!of || before === undefined) return { audio: rawAudio(audio), config };
  // Damaged towards its end, or of another rate than its header: the middle of what there is.
  const rest = { audio: rawAudio(audio), config: asWindow(config) };
  if (audio.sampleRate !== of.sampleRate) return rest;
  const { data, shape } = await resample(audio, rate);
  const [channels = 1, length = 0] = shape;
  const count = Math.round(seconds * rate);
  if (length < before + count) return rest;
  const samples = new Float32Array(channels * count);
  for (let channel = 0; channel < channels; channel++) {
    const at = channel * length + before;
    samples.set(data.subarray(at, at + count), channel * count);
  }
  return { audio: { samples, channels, sampleRate: rate }, config: asWindow(config) };
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
 * The frame and the audio of a video at a moment, by default in its middle. Without audio the frame alone.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function sampleOfVideo(
  media: Media,
  video: string,
  config: ModelConfig,
  asked: number | undefined,
): Promise<VideoSample> {
  const { seconds } = config.audio;
  const at = asked ?? momentWithAudio(media, seconds);
  const { from, to } = windowAround(at, seconds, media.duration);
  const [{ image, time }, audio] = await Promise.all([
    media.frameAt(at),
    media.audioTrack ? media.audio({ from, to }) : undefined,
  ]);
  if (audio) checkFileRate(audio.sampleRate, config, video, "ERR_INPUT");
  const sample = { video, at, time, image, from, ...(audio ? { audio } : {}) };
  if (samplesOfVideos.hasSubscribers) samplesOfVideos.publish(sample);
  return sample;
}

/**
 * The frame and the audio of a video without a requested moment; without audio the middle frame.
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
