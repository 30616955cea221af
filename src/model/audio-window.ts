/** The audio window: which part of audio or of a video the model takes, the middle or around a moment. */

import { channel } from "node:diagnostics_channel";
import type { ModelConfig } from "../config/model.js";
import type { RawAudio, RawImage } from "../core/types.js";
import { type AudioSource, type AudioSpan, checkRawSamples, decodePart } from "../media/audio.js";
import { type Media, openMedia } from "../media/media.js";
import { rawAudio, resample } from "../media/resample.js";
import { infoOf, windowAround } from "../media/video.js";
import type { PrepareInput } from "../native.js";
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

/**
 * The frames that the middle `count` samples of the resampled audio are made of, and how many samples come before
 * those when only these frames are resampled. They begin with a period of the resampling: the result is the same.
 */
function middleOf(
  { start, end, sampleRate }: AudioSpan,
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

/** Audio as the addon takes it: whole, or of a long one the window in its middle. */
export async function audioWindow(
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
  const { data, shape } = await resample(audio, rate);
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
 * The frame and the audio of a video at a moment, by default in its middle. Without audio the frame alone.
 * @throws {SoundspotError} naming the file that cannot be read and why.
 */
export async function sampleOfVideo(
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
