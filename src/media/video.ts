/** Video in, through ffmpeg: what it is, frames at given moments, and its sound. */
import { isSoundspotError, SoundspotError, throwIfAborted } from "../errors.js";
import type { RawAudio, RawImage } from "../types.js";
import { decodeAudio } from "./audio.js";
import { ffmpegReason, inputArgs, outputOf, runFfmpeg, startFfmpeg } from "./ffmpeg.js";
import { checkMediaFile } from "./image.js";
import { changing, limitOf } from "./limits.js";

export interface VideoInfo {
  /** In seconds, of the longest stream. */
  readonly duration: number;
  /** In pixels, as shown: after rotation. */
  readonly width: number;
  readonly height: number;
  /** Frames a second, on average. */
  readonly frameRate: number;
  readonly hasAudio: boolean;
}

export interface VideoOptions {
  readonly signal?: AbortSignal | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  /** What {@link probeVideo} said of this file, to spare probing it again. */
  readonly info?: VideoInfo | undefined;
  /** Beside other decoders that this one is read in step with. */
  readonly unlimited?: boolean | undefined;
}

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
  /** Length of the window, in seconds. Default 5 when `at` is given, else the whole sound. */
  readonly window?: number | undefined;
}

export interface VideoFrame {
  /** In seconds. */
  readonly time: number;
  readonly image: RawImage;
}

/** Seconds of sound that the model hears. */
const DEFAULT_WINDOW = 5;

/**
 * Reads a video's duration, size as shown, frame rate, and whether it has sound.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_MEDIA_DECODE when it is no video,
 * ERR_FFMPEG_MISSING, ERR_ABORTED
 */
export async function probeVideo(path: string, options: VideoOptions = {}): Promise<VideoInfo> {
  throwIfAborted(options.signal);
  await checkMediaFile(path);
  // Without an output ffmpeg describes the input and ends with an error.
  const { stderr } = await runFfmpeg(inputArgs(path), { ...options, name: path });
  const stream = videoStreamIn(stderr);
  const size = stream && /, (\d{1,6})x(\d{1,6})/.exec(stream);
  if (size) checkFrame(path, Number(size[1]), Number(size[2]));
  if (!stream || !size) {
    const reason = /^Input #0/m.test(stderr) ? "it has no video stream" : ffmpegReason(stderr);
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${path} cannot be decoded as video: ${reason}. Check that it is a whole video file.`,
    );
  }
  const [width, height] = [Number(size[1]), Number(size[2])];
  const turned = isQuarterTurn(stream);
  const stated = secondsIn(stderr, /Duration: (\d+):(\d+):([\d.]+)/);
  const duration = stated ?? (await measureDuration(path, options));
  if (duration > limitOf("SOUNDSPOT_MAX_VIDEO_SECONDS")) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${path} says that it lasts ${duration} s. Cut it. ${changing("SOUNDSPOT_MAX_VIDEO_SECONDS")}.`,
    );
  }
  return {
    duration,
    width: turned ? height : width,
    height: turned ? width : height,
    frameRate: frameRateIn(stream),
    hasAudio: /^\s*Stream #0:\d+.*: Audio: /m.test(stderr),
  };
}

/**
 * Decodes the frame that is shown at a moment, rotated as a player would.
 *
 * @param at In seconds, in [0, duration].
 * @throws {SoundspotError} as {@link probeVideo}, and ERR_INPUT when `at` is outside the video.
 */
export async function decodeFrame(path: string, at: number, options: VideoOptions = {}): Promise<RawImage> {
  const info = options.info ?? (await probeVideo(path, options));
  checkMoment(path, "at", at, info.duration);
  for await (const image of streamFrames(path, seekTo(at, info), ["-frames:v", "1"], options)) {
    return image;
  }
  // Sound may outlast the pictures: then the last frame stays on the screen.
  for (const lookBack of [5, Number.POSITIVE_INFINITY]) {
    let last: RawImage | undefined;
    const from = Math.max(0, at - lookBack);
    for await (const image of streamFrames(path, from, ["-t", (at - from + 1).toFixed(6)], options)) {
      last = image;
    }
    if (last) return last;
  }
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${path} gave no frame at ${at} s: it is damaged or cut off there.`,
  );
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
  const { every, start = 0 } = options;
  if (!(Number.isFinite(every) && every > 0)) {
    throw new SoundspotError("ERR_INPUT", `every must be a number of seconds above 0, got ${every}.`);
  }
  const info = options.info ?? (await probeVideo(path, options));
  const { end = info.duration } = options;
  checkMoment(path, "start", start, info.duration);
  if (!(end > start)) {
    throw new SoundspotError("ERR_INPUT", `end must be after start (${start} s), got ${end} s.`);
  }
  const count = Math.max(1, Math.ceil((Math.min(end, info.duration) - start) / every - 1e-6));
  const seek = seekTo(start, info);
  const filter = [
    // A fine clock, or the shift would round to whole frames.
    "settb=1/90000",
    `setpts=PTS-${(start - seek + slack(info)).toFixed(6)}/TB`,
    // Rounding up makes frame n the last one whose time is not after n · every.
    `fps=fps=1/${every}:round=up:start_time=0`,
  ].join(",");
  let last: RawImage | undefined;
  let n = 0;
  for await (const image of streamFrames(
    path,
    seek,
    ["-vf", filter, "-frames:v", String(count)],
    options,
    "each",
  )) {
    last = image;
    yield { time: start + n * every, image };
    if (++n >= count) return;
  }
  if (!last) {
    last = await decodeFrame(path, start, { ...options, info });
  }
  // The pictures ended before the sound: the last one stays.
  for (; n < count; n++) {
    throwIfAborted(options.signal);
    yield { time: start + n * every, image: last };
  }
}

/**
 * Decodes a video's sound: all of it, or a window around a moment. At the ends the window is moved,
 * not shortened, as long as the video is at least that long.
 *
 * @throws {SoundspotError} as `decodeAudio`, ERR_NO_AUDIO when it has none among them, and ERR_INPUT
 * when `at` is outside the video.
 */
export async function decodeVideoAudio(
  path: string,
  options: DecodeVideoAudioOptions = {},
): Promise<RawAudio> {
  const { signal, ffmpeg, at, window = at === undefined ? undefined : DEFAULT_WINDOW } = options;
  if (window === undefined) return decodeAudio(path, { signal, ffmpeg });
  if (!(window > 0)) {
    throw new SoundspotError("ERR_INPUT", `window must be a number of seconds above 0, got ${window}.`);
  }
  const info = options.info ?? (await probeVideo(path, options));
  if (!info.hasAudio) {
    throw new SoundspotError("ERR_NO_AUDIO", `${path} has no audio stream. Give a video with sound.`);
  }
  if (at !== undefined) checkMoment(path, "at", at, info.duration);
  const middle = at ?? info.duration / 2;
  const start = Math.max(0, Math.min(middle - window / 2, info.duration - window));
  return decodeAudio(path, { signal, ffmpeg, start, duration: window }).catch((error: unknown) => {
    if (!(isSoundspotError(error) && error.code === "ERR_AUDIO_EMPTY")) throw error;
    throw new SoundspotError(
      "ERR_AUDIO_EMPTY",
      `${path} has no sound from ${start} s on, where ${window} s were wanted. Give a moment at which it sounds.`,
      { cause: error },
    );
  });
}

function checkFrame(path: string, width: number, height: number): void {
  if (width * height <= limitOf("SOUNDSPOT_MAX_FRAME_PIXELS")) return;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${path} has frames of ${width} × ${height} pixels. Scale it down. ${changing("SOUNDSPOT_MAX_FRAME_PIXELS")}.`,
  );
}

function checkMoment(path: string, field: string, value: number, duration: number): void {
  if (!(value >= 0 && value <= duration)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `${field} must be in [0, ${duration}] s, the length of ${path}, got ${value}.`,
    );
  }
}

/** Absorbs the rounding of time stamps, so that a frame counts as shown at its own time. */
function slack(info: VideoInfo): number {
  return Math.min(0.001, 0.25 / info.frameRate);
}

/**
 * ffmpeg gives the first frame at or after the point it seeks; the one shown at `at` began up to a
 * frame earlier. Half a frame is kept from the end, whose time ffmpeg rounds to hundredths.
 */
function seekTo(at: number, info: VideoInfo): number {
  const frame = 1 / info.frameRate;
  return Math.max(0, Math.min(at - frame + slack(info), info.duration - 1.5 * frame));
}

/** Frames in order, from `seek` seconds on, each a picture of its own. */
async function* streamFrames(
  path: string,
  seek: number,
  args: readonly string[],
  options: VideoOptions,
  counted: "each" | "all" = "all",
): AsyncGenerator<RawImage, void, void> {
  const ffmpeg = await startFfmpeg(
    [
      ...inputArgs(path, seek),
      ...["-map", "0:v:0", "-an", "-sn", "-dn", ...args],
      ...["-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24"],
      // PPM frames carry their size, which rotation changes.
      ...["-c:v", "ppm", "-f", "image2pipe", "pipe:1"],
    ],
    options,
  );
  yield* parsePpm(outputOf(ffmpeg, path, counted));
  await ffmpeg.finished;
  throwIfAborted(options.signal);
}

/** Splits ffmpeg's `P6\n<width> <height>\n255\n<pixels>` stream into pictures. */
async function* parsePpm(stream: AsyncIterable<Buffer>): AsyncGenerator<RawImage, void, void> {
  let header = "";
  let image: RawImage | undefined;
  let filled = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      if (!image) {
        header += String.fromCharCode(chunk[at++] ?? 0);
        const match = /^P6\n(\d+) (\d+)\n255\n$/.exec(header);
        if (!match) continue;
        const [width, height] = [Number(match[1]), Number(match[2])];
        image = { data: new Uint8Array(width * height * 3), width, height };
        header = "";
        filled = 0;
      }
      const part = chunk.subarray(at, at + image.data.length - filled);
      image.data.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled === image.data.length) {
        yield image;
        image = undefined;
      }
    }
  }
}

/** The description of the first real video stream with the metadata lines under it; not cover art. */
function videoStreamIn(stderr: string): string | undefined {
  const input = stderr.slice(stderr.search(/^Input #0/m));
  return input
    .split(/^(?=\s*Stream #)/m)
    .find((section) => /^\s*Stream #0:\d+.*: Video: /.test(section) && !isCoverArt(section));
}

/** Old versions of ffmpeg do not say so, but give a still picture the clock's rate. */
function isCoverArt(stream: string): boolean {
  return stream.includes("(attached pic)") || /Video: (mjpeg|png|bmp)\b.* 90k tbr/.test(stream);
}

function isQuarterTurn(stream: string): boolean {
  const match = /rotation of (-?[\d.]+) degrees/.exec(stream) ?? /^\s*rotate\s*: (-?\d+)/m.exec(stream);
  return match !== null && Math.abs(Math.round(Number(match[1]) / 90)) % 2 === 1;
}

function frameRateIn(stream: string): number {
  const match = /, ([\d.]+)(k?) fps/.exec(stream) ?? /, ([\d.]+)(k?) tbr/.exec(stream);
  const rate = match ? Number(match[1]) * (match[2] ? 1000 : 1) : 0;
  // A rate far beyond any camera's is the container's clock, of frames at uneven times.
  return rate > 0 && rate <= 1000 ? rate : 25;
}

function secondsIn(text: string, pattern: RegExp): number | undefined {
  const match = pattern.exec(text);
  return match ? Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3]) : undefined;
}

/** For containers that do not state it: reads the file to its end without decoding. */
async function measureDuration(path: string, options: VideoOptions): Promise<number> {
  const { stderr } = await runFfmpeg(["-stats", ...inputArgs(path), "-c", "copy", "-f", "null", "-"], {
    ...options,
    name: path,
  });
  const times = [...stderr.matchAll(/time=\s*(\d+:\d+:[\d.]+)/g)];
  const seconds = secondsIn(times.at(-1)?.[1] ?? "", /(\d+):(\d+):([\d.]+)/);
  if (seconds === undefined) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${path} does not tell its duration: ${ffmpegReason(stderr)}.`,
    );
  }
  return seconds;
}
