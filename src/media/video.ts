/** Video in, in single steps: what it is, frames at given moments, and its audio. Each opens the file by `openMedia`. */
import { SoundspotError } from "../core/errors.js";
import type { RawAudio, RawImage } from "../core/types.js";
import { checkFrameSize } from "./decode-frames.js";
import { type Media, type OpenMediaOptions, openMedia } from "./media.js";

export interface VideoInfo {
  /** In seconds, from the start of the earliest to the end of the latest stream. */
  readonly duration: number;
  /** In pixels, as shown: upright and with square pixels. */
  readonly width: number;
  readonly height: number;
  /** Frames a second; of uneven ones what most keep to. */
  readonly frameRate: number;
  readonly hasAudio: boolean;
}

export type VideoOptions = OpenMediaOptions;

export interface DecodeFramesOptions extends VideoOptions {
  /** Seconds between frames, above 0. */
  readonly every: number;
  /** First moment, in seconds. Default 0. */
  readonly start?: number | undefined;
  /** Moments are before this one, in seconds. Default the duration. */
  readonly end?: number | undefined;
}

export interface DecodeVideoAudioOptions extends VideoOptions {
  /** Middle of the window, in seconds, in [0, duration]. Default the middle of the video. */
  readonly at?: number | undefined;
  /** Length of the window, in seconds. Default 5 when `at` is given, else the whole audio. */
  readonly window?: number | undefined;
}

export interface VideoFrame {
  /** Moment that it is shown at, in seconds. */
  readonly time: number;
  readonly image: RawImage;
}

/** Seconds of audio that the model takes. */
const DEFAULT_WINDOW = 5;

/** @throws {SoundspotError} ERR_MEDIA_DECODE when it has no moving images. */
export function infoOf(media: Media, path: string): VideoInfo {
  const { video, duration, audioTrack } = media;
  if (!video) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${path} cannot be decoded as video: it has no video stream. Check that it is a whole video file.`,
    );
  }
  checkFrameSize(video, path);
  const { shownWidth: width, shownHeight: height, frameRate } = video;
  return { duration, width, height, frameRate, hasAudio: audioTrack !== undefined };
}

/**
 * Reads a video's duration, size as shown, frame rate, and whether it has audio.
 *
 * @throws {SoundspotError} as `openMedia`, and ERR_MEDIA_DECODE when it has no moving images.
 */
export async function probeVideo(path: string, options: VideoOptions = {}): Promise<VideoInfo> {
  return infoOf(await openMedia(path, options), path);
}

/**
 * Decodes the frame that is shown at a moment.
 *
 * @param at In seconds, in [0, duration].
 * @throws {SoundspotError} as {@link probeVideo}, and ERR_INPUT when `at` is outside the video.
 */
export async function decodeFrame(path: string, at: number, options: VideoOptions = {}): Promise<RawImage> {
  const media = await openMedia(path, options);
  return (await media.frameAt(at)).image;
}

/**
 * Decodes the frames shown at `start`, `start + every`, … before `end`, in one pass. Memory holds a
 * frame or two; leaving the loop ends ffmpeg.
 *
 * @throws {SoundspotError} as {@link probeVideo}, and ERR_INPUT when the range is outside the video
 * or `every` is not above 0.
 * @example
 * for await (const { time, image } of decodeFrames("clip.mp4", { every: 0.5 })) …
 */
export async function* decodeFrames(
  path: string,
  options: DecodeFramesOptions,
): AsyncGenerator<VideoFrame, void, void> {
  const { every, start: from = 0, end: to } = options;
  if (!(Number.isFinite(every) && every > 0)) {
    throw new SoundspotError("ERR_INPUT", `every must be a number of seconds above 0, got ${every}.`);
  }
  const media = await openMedia(path, options);
  for await (const { at, image } of media.frames({ from, to, rate: 1 / every })) yield { time: at, image };
}

/**
 * Decodes a video's audio: all of it, or a window around a moment. At the ends the window is moved,
 * not shortened, as long as the video is at least that long.
 *
 * @throws {SoundspotError} as `decodeAudio`, ERR_NO_AUDIO when it has none among them, and ERR_INPUT
 * when `at` is outside the video.
 */
export async function decodeVideoAudio(
  path: string,
  options: DecodeVideoAudioOptions = {},
): Promise<RawAudio> {
  const { at, window = at === undefined ? undefined : DEFAULT_WINDOW } = options;
  if (window !== undefined && !(window > 0)) {
    throw new SoundspotError("ERR_INPUT", `window must be a number of seconds above 0, got ${window}.`);
  }
  const media = await openMedia(path, options);
  if (window === undefined) return media.audio();
  if (at !== undefined) media.checkMoment("at", at);
  return media.audio(windowAround(at ?? media.duration / 2, window, media.duration));
}

/** `seconds` with a moment in their middle, moved inside the file as far as it is that long. */
export function windowAround(
  at: number,
  seconds: number,
  duration: number,
): { readonly from: number; readonly to: number } {
  const from = Math.max(0, Math.min(at - seconds / 2, duration - seconds));
  return { from, to: Math.min(from + seconds, Math.max(duration, from)) };
}
