/** The one reader of media files: streams, duration, frames and audio on one clock. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aPath, aSignal, aText, check, checkFields, isBytes, ownBytes, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { RawImage } from "../core/types.js";
import { writing } from "../files/atomic-writes.js";
import { checkMediaFile } from "../files/media-file.js";
import {
  type DecodedFrame,
  type DecodeOptions,
  decodeFrameAt,
  decodeFramesBetween,
  TIME_SLACK,
} from "./decode-frames.js";
import {
  type DecodedSamples,
  decodeBlocks,
  decodeSamplesBetween,
  type SampleBlock,
  type SampleFormat,
} from "./decode-samples.js";
import { type AudioTrack, type MediaIndex, readIndex, type VideoTrack } from "./media-index.js";
import type { Span } from "./packet-scan.js";

/** Options of {@link openMedia}. */
export interface OpenMediaOptions {
  /** Which audio track is decoded, counted from 0. Default the one with the default flag, or else the first. */
  readonly audioTrack?: number | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One stream of a file. */
export interface MediaStream {
  /** In the file, counted from 0. */
  readonly index: number;
  readonly type: "video" | "audio" | "subtitle" | "data" | "attachment";
  /** As ffmpeg names it, such as "h264". */
  readonly codec: string;
  /** Whether the file marks it as the default of its type. */
  readonly isDefault: boolean;
  /** Whether frames or audio are decoded from it. */
  readonly used: boolean;
  /** Of an audio stream: its number among them, counted from 0, as `audioTrack` takes it. */
  readonly track?: number;
  /** Three letters, such as "deu". */
  readonly language?: string;
  readonly title?: string;
  /** Of video: cover art, not moving images. */
  readonly attachedPicture?: boolean;
  /** Of video, in pixels, as shown: upright and with square pixels. */
  readonly width?: number;
  readonly height?: number;
  /** Of video: frames per second. Of one with uneven frames what most of them keep to. */
  readonly frameRate?: number;
  /** Of audio, in hertz. */
  readonly sampleRate?: number;
  readonly channels?: number;
  /** First moment and end, in seconds from the start of the file's earliest stream. */
  readonly start?: number;
  readonly end?: number;
}

/** A frame and when it is shown. */
export interface MediaFrame {
  /** Presentation time of the frame, in seconds from the start of the file's earliest stream. */
  readonly time: number;
  readonly image: RawImage;
}

/** A frame of {@link Media.frames}. */
export interface MediaFrameAt extends MediaFrame {
  /** The moment that it is given for: with `rate` the requested moment, otherwise the frame's own time. */
  readonly at: number;
}

/** Which frames. Times are in seconds. */
export interface FramesOptions {
  /** First moment. Default 0. */
  readonly from?: number | undefined;
  /** End, not included. Default the duration. */
  readonly to?: number | undefined;
  /** Moments a second, beginning with `from`: each gives the frame shown then. Default every frame once. */
  readonly rate?: number | undefined;
}

/** Which samples. Times are in seconds. */
export interface AudioRange extends SampleFormat {
  /** Default 0. */
  readonly from?: number | undefined;
  /** Default the duration. */
  readonly to?: number | undefined;
}

/** @internal Frames of {@link Media.frames} for the package's own readers. */
export interface InternalFramesOptions extends FramesOptions {
  /** How much later than its moment a frame may be, in seconds. */
  readonly slack?: number | undefined;
  /** Beside other decoders that this one is read in step with. */
  readonly unlimited?: boolean | undefined;
}

/**
 * Opens a video or audio file. Frames and audio are on one clock: 0 is the first time stamp of the earliest stream.
 *
 * @param source A path, or the bytes of a file, which are kept in a temporary file until `close`.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE when it is no media; ERR_INPUT when there
 * is no audio track of that number; ERR_FFMPEG_MISSING; ERR_ABORTED.
 * @example
 * await using media = await openMedia("clip.mp4");
 * const { image, time } = await media.frameAt(2.5);
 * const { samples, sampleRate } = await media.audio({ from: 0, to: 5 });
 */
export async function openMedia(source: string | Uint8Array, options: OpenMediaOptions = {}): Promise<Media> {
  checkFields(options, { signal: aSignal, ffmpeg: aText });
  const { audioTrack, signal } = options;
  if (audioTrack !== undefined && !(Number.isSafeInteger(audioTrack) && audioTrack >= 0)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `audioTrack must be a whole number from 0, the number among the audio tracks, got ${shown(audioTrack)}.`,
    );
  }
  throwIfAborted(signal);
  if (isBytes(source)) return openBytes(ownBytes(source), options);
  check(source, aPath, "The media file");
  await checkMediaFile(source);
  return Media.open(source, { ...options, name: source });
}

async function openBytes(bytes: Uint8Array, options: OpenMediaOptions): Promise<Media> {
  const name = "The media buffer";
  if (bytes.length === 0) {
    throw new SoundspotError("ERR_FILE_EMPTY", `${name} is empty (0 bytes). Give a video or audio file.`);
  }
  const { path, remove } = await temporaryCopy(bytes);
  try {
    return await Media.open(path, { ...options, name, remove });
  } catch (error) {
    await remove();
    throw error;
  }
}

/** @internal In a file, not a pipe: MP4 keeps its index at the end, which a pipe cannot reach. */
export async function temporaryCopy(
  bytes: Uint8Array,
): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const temporary = tmpdir();
  const folder = await writing(temporary, () => mkdtemp(join(temporary, "soundspot-")));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, "media");
    await writing(path, () => writeFile(path, bytes));
    return { path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

interface OpenOptions extends OpenMediaOptions {
  readonly name: string;
  readonly wanted?: "audio" | undefined;
  readonly wholeBytes?: number | undefined;
  readonly remove?: (() => Promise<void>) | undefined;
}

/** An open file. Reading it concurrently is allowed. */
export class Media implements AsyncDisposable {
  /** In seconds: from the start of the earliest to the end of the latest of the video and all audio streams. */
  readonly duration: number;
  readonly streams: readonly MediaStream[];
  readonly #index: MediaIndex;
  readonly #options: OpenOptions;
  readonly #audio: AudioTrack | undefined;
  #closed = false;

  private constructor(index: MediaIndex, options: OpenOptions) {
    this.#index = index;
    this.#options = options;
    this.#audio = chosenTrack(index, options);
    this.duration = index.duration;
    this.streams = describe(index, this.#audio);
  }

  /** @internal */
  static async open(path: string, options: OpenOptions): Promise<Media> {
    return new Media(await readIndex(path, options), options);
  }

  /** @internal The stream that frames are decoded from. */
  get video(): VideoTrack | undefined {
    return this.#index.video;
  }

  /** @internal Where the chosen audio track has packets, on the clock; one span where that is not known. */
  get audioSpans(): readonly Span[] {
    const { zero } = this.#index;
    const { span, spans = span[1] >= span[0] ? [span] : [] } = this.#audio ?? { span: [1, 0] as const };
    return spans.map(([from, to]) => [from - zero, to - zero] as const);
  }

  /** @internal */
  get audioTrack(): AudioTrack | undefined {
    return this.#audio;
  }

  /** @internal When the first frame is shown, on the clock. */
  get firstFrame(): number {
    return this.#video().span[0] - this.#index.zero;
  }

  /**
   * The frame shown at a moment: the last whose presentation time is not after it, before the first frame the first.
   * @param at In seconds, in [0, duration].
   * @throws {SoundspotError} ERR_INPUT when `at` is outside the file; ERR_MEDIA_DECODE; ERR_ABORTED; ERR_DISPOSED.
   */
  async frameAt(at: number): Promise<MediaFrame> {
    const video = this.#video();
    this.checkMoment("at", at);
    const { zero } = this.#index;
    const frame = await decodeFrameAt(this.#index, video, zero + at, this.#decoding());
    return this.#onClock(frame);
  }

  /**
   * Frames in order, in one pass. The first is the one shown at `from`. Memory holds a few; leaving the loop ends the
   * decoder.
   * @throws {SoundspotError} ERR_INPUT when the range is outside the file or the rate is not above 0; ERR_MEDIA_DECODE;
   * ERR_ABORTED; ERR_DISPOSED.
   * @example for await (const { time, image } of media.frames({ from: 2, to: 4 })) console.log(time, image.width);
   */
  async *frames(options: FramesOptions = {}): AsyncGenerator<MediaFrameAt, void, void> {
    const {
      from = 0,
      to = this.duration,
      rate,
      slack = TIME_SLACK,
      unlimited,
    } = options as InternalFramesOptions;
    const video = this.#video();
    this.checkMoment("from", from);
    if (!(typeof to === "number" && to > from)) {
      throw new SoundspotError("ERR_INPUT", `to must be after from (${from} s), got ${shown(to)}.`);
    }
    if (rate !== undefined && !(Number.isFinite(rate) && rate > 0)) {
      throw new SoundspotError(
        "ERR_INPUT",
        `rate must be a number of moments a second above 0, got ${shown(rate)}.`,
      );
    }
    const end = Math.min(to, this.duration);
    const { zero } = this.#index;
    const range = {
      from: zero + from + (rate === undefined ? 0 : slack - TIME_SLACK),
      to: zero + end + slack,
    };
    const decoded = decodeFramesBetween(this.#index, video, range, this.#decoding("each", unlimited));
    if (rate === undefined) yield* this.#each(decoded, from, end);
    else yield* this.#sampled(decoded, { from, end, rate, slack });
    throwIfAborted(this.#options.signal);
  }

  /**
   * The samples of an interval, all of it: what the stream does not have, before its start, in its gaps and after its
   * end, is silence.
   * @returns planar samples, channels × frames, in [−1, 1], of `round((to − from) · sampleRate)` frames.
   * @throws {SoundspotError} ERR_NO_AUDIO; ERR_INPUT when the interval or the format is not valid; ERR_MEDIA_DECODE;
   * ERR_ABORTED; ERR_DISPOSED.
   */
  async audio(range: AudioRange = {}): Promise<DecodedSamples> {
    const { from = 0, to = this.duration, sampleRate, channels } = range;
    const track = this.#track();
    if (!(Number.isFinite(from) && Number.isFinite(to) && to >= from)) {
      throw new SoundspotError(
        "ERR_INPUT",
        `to must be after from, in seconds, got ${shown(from)} and ${shown(to)}.`,
      );
    }
    if (
      sampleRate !== undefined &&
      !(Number.isSafeInteger(sampleRate) && sampleRate >= 1000 && sampleRate <= 768_000)
    ) {
      throw new SoundspotError(
        "ERR_INPUT",
        `sampleRate must be in 1000 … 768000 Hz, got ${shown(sampleRate)}.`,
      );
    }
    if (channels !== undefined && channels !== 1 && channels !== 2) {
      throw new SoundspotError("ERR_INPUT", `channels must be 1 or 2, got ${shown(channels)}.`);
    }
    const { zero } = this.#index;
    const raw = { from: zero + from, to: zero + to };
    return decodeSamplesBetween(this.#index, track, raw, { sampleRate, channels }, this.#decoding());
  }

  /** @internal Blocks of samples on the clock, in order, through one decoder. */
  async *audioBlocks({ from, to }: { from: number; to: number }): AsyncGenerator<SampleBlock, void, void> {
    const { zero } = this.#index;
    const raw = { from: zero + from, to: zero + to };
    const track = this.#track();
    // How many channels there will be must be known to the reader.
    const format = track.channels > 0 ? {} : { channels: 1 };
    const blocks = decodeBlocks(this.#index, track, raw, format, this.#decoding("each", true));
    for await (const block of blocks) yield { ...block, time: block.time - zero };
  }

  /** @internal Rate and channels of the chosen audio track, as it is decoded. */
  get audioFormat(): { readonly sampleRate: number; readonly channels: number } {
    const { sampleRate, channels } = this.#track();
    return { sampleRate: sampleRate || 16_000, channels: channels || 1 };
  }

  /** @internal All samples of an interval in order, interleaved, with silence where there is none. */
  async *audioStream({ from, to }: { from: number; to: number }): AsyncGenerator<Float32Array, void, void> {
    const { sampleRate, channels } = this.audioFormat;
    const frames = Math.round((to - from) * sampleRate);
    let done = 0;
    const silence = function* (till: number): Generator<Float32Array> {
      for (; done < till; ) {
        const count = Math.min(till - done, 65_536);
        done += count;
        yield new Float32Array(count * channels);
      }
    };
    for await (const { time, samples } of this.audioBlocks({ from, to })) {
      const at = Math.round((time - from) * sampleRate);
      yield* silence(Math.min(at, frames));
      const own = samples.subarray(Math.max(0, done - at) * channels, Math.max(0, frames - at) * channels);
      if (own.length === 0) continue;
      done += own.length / channels;
      yield own;
    }
    yield* silence(frames);
  }

  /** Removes what the file needed. Harmless when it is closed already. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#options.remove?.();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal @throws {SoundspotError} ERR_INPUT */
  checkMoment(field: string, value: number): void {
    if (typeof value === "number" && value >= 0 && value <= this.duration) return;
    throw new SoundspotError(
      "ERR_INPUT",
      `${field} must be in [0, ${this.duration}] s, the length of ${this.#options.name}, got ${shown(value)}.`,
    );
  }

  #video(): VideoTrack {
    this.#checkOpen();
    const { video } = this.#index;
    if (video) return video;
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${this.#options.name} cannot be decoded as video: it has no video stream. Give a video file.`,
    );
  }

  #track(): AudioTrack {
    this.#checkOpen();
    if (this.#audio) return this.#audio;
    throw new SoundspotError(
      "ERR_NO_AUDIO",
      `${this.#options.name} has no audio stream. Give a file with audio.`,
    );
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new SoundspotError("ERR_DISPOSED", `${this.#options.name} was closed. Open it again.`);
  }

  #decoding(counted: "each" | "all" = "all", unlimited = false): DecodeOptions {
    const { signal, ffmpeg, name } = this.#options;
    return { signal, ffmpeg, name, counted, unlimited };
  }

  #onClock({ time, image }: DecodedFrame): MediaFrame {
    return { time: Math.max(0, Math.round((time - this.#index.zero) * 1e6) / 1e6), image };
  }

  async *#each(
    decoded: AsyncGenerator<DecodedFrame>,
    from: number,
    to: number,
  ): AsyncGenerator<MediaFrameAt, void, void> {
    /** The frame that may be the one shown at `from`. */
    let shownFirst: MediaFrame | undefined;
    for await (const raw of decoded) {
      const frame = this.#onClock(raw);
      if (frame.time <= from + TIME_SLACK) {
        shownFirst = frame;
        continue;
      }
      if (shownFirst) yield { ...shownFirst, at: shownFirst.time };
      shownFirst = undefined;
      if (frame.time >= to) return;
      yield { ...frame, at: frame.time };
    }
    if (shownFirst) yield { ...shownFirst, at: shownFirst.time };
  }

  async *#sampled(
    decoded: AsyncGenerator<DecodedFrame>,
    { from, end, rate, slack }: { from: number; end: number; rate: number; slack: number },
  ): AsyncGenerator<MediaFrameAt, void, void> {
    const count = Math.max(1, Math.ceil((end - from) * rate - 1e-6));
    let current: MediaFrame | undefined;
    let n = 0;
    const moment = () => from + n / rate;
    for await (const raw of decoded) {
      const frame = this.#onClock(raw);
      for (; current && n < count && moment() + slack < frame.time; n++) yield { ...current, at: moment() };
      current = frame;
      if (n >= count) return;
    }
    // The frames ended before the audio: the last one stays.
    current ??= await this.frameAt(from);
    for (; n < count; n++) {
      throwIfAborted(this.#options.signal);
      yield { ...current, at: moment() };
    }
  }
}

function chosenTrack({ audio }: MediaIndex, { audioTrack, name }: OpenOptions): AudioTrack | undefined {
  if (audioTrack === undefined) return audio.find(({ isDefault }) => isDefault) ?? audio[0];
  const chosen = audio[audioTrack];
  if (chosen || audio.length === 0) return chosen;
  const tracks = audio.length === 1 ? "one audio track, 0" : `audio tracks 0 to ${audio.length - 1}`;
  throw new SoundspotError("ERR_INPUT", `audioTrack is ${audioTrack}, and ${name} has ${tracks}.`);
}

function describe(index: MediaIndex, chosen: AudioTrack | undefined): MediaStream[] {
  const { zero, video } = index;
  const range = (span: Span) =>
    span[1] >= span[0] ? { start: rounded(span[0] - zero), end: rounded(span[1] - zero) } : {};
  return index.streams.map(({ index: number, type, codec, isDefault, language, title, ...rest }) => {
    const common = {
      ...{ index: number, type, codec, isDefault, used: number === video?.index || number === chosen?.index },
      ...(language === undefined ? {} : { language }),
      ...(title === undefined ? {} : { title }),
    };
    const track = index.audio.find((each) => each.index === number);
    if (track) {
      const { sampleRate, channels, span } = track;
      return { ...common, track: track.track, sampleRate, channels, ...range(span) };
    }
    if (number === video?.index) {
      const { shownWidth: width, shownHeight: height, frameRate, span } = video;
      return { ...common, attachedPicture: false, width, height, frameRate, ...range(span) };
    }
    return "attachedPicture" in rest
      ? { ...common, attachedPicture: rest.attachedPicture, width: rest.width, height: rest.height }
      : common;
  });
}

const rounded = (seconds: number) => Math.round(seconds * 1e6) / 1e6;
