/** A video file made of frames and the audio of another, through ffmpeg. */
import { once } from "node:events";
import { rename, rm } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import type { Writable } from "node:stream";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { RawImage } from "../core/types.js";
import { checkReplaceable, makeFolderOf, temporaryIn } from "../files/atomic-writes.js";
import { type ColorTags, shownColors } from "./display-filters.js";
import { type FfmpegProcess, ffmpegReason, startFfmpeg } from "./ffmpeg.js";
import type { Media } from "./media.js";

export interface VideoWriterOptions {
  readonly width: number;
  readonly height: number;
  /** Frames a second. */
  readonly frameRate: number;
  /** File whose audio is taken, from `from` to `to` seconds, and whose colours are kept. */
  readonly media: Media;
  readonly from: number;
  readonly to: number;
  readonly signal?: AbortSignal | undefined;
  readonly ffmpeg?: string | undefined;
}

/** The encoders take even sides only. */
function encodingFilters({ matrix }: ColorTags): string[] {
  return [
    "pad=ceil(iw/2)*2:ceil(ih/2)*2",
    `scale=flags=bicubic:out_color_matrix=${matrix.scaling}:out_range=tv`,
    "format=yuv420p",
  ];
}

function colorArgs({ matrix, primaries, transfer }: ColorTags): string[] {
  const named = ["-colorspace", matrix.name, "-color_primaries", primaries, "-color_trc", transfer];
  return [...named, "-color_range", "tv"];
}

const mpeg4 = [
  ...["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"],
  ...["-c:a", "aac", "-b:a", "160k"],
];
/** By the ending of the file. */
const codecs: Readonly<Record<string, readonly string[]>> = {
  ".mp4": [...mpeg4, "-movflags", "+faststart"],
  ".mov": [...mpeg4, "-movflags", "+faststart"],
  ".mkv": mpeg4,
  ".webm": [
    ...["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-crf", "32", "-b:v", "0"],
    ...["-pix_fmt", "yuv420p", "-c:a", "libopus", "-b:a", "128k"],
  ],
};

/** Endings of files that can be written, such as ".mp4". */
export const videoEndings: readonly string[] = Object.keys(codecs);

/** Messages in the log when the end of a file could not be written: ffmpeg before 5 ends as if all were well. */
const TORN = /Error writing trailer|Error closing file|Unable to re-open|No space left on device/;

/** Takes frames in order. The file appears, whole, when it is closed; until then there is another beside it. */
export class VideoWriter {
  readonly #path: string;
  readonly #partial: string;
  readonly #ffmpeg: FfmpegProcess;
  readonly #options: VideoWriterOptions;
  readonly #removeFolder: () => Promise<void>;
  /** The audio on its way to the encoder. */
  #audio: Promise<void> = Promise.resolve();

  private constructor(
    path: string,
    partial: string,
    ffmpeg: FfmpegProcess,
    options: VideoWriterOptions,
    removeFolder: () => Promise<void>,
  ) {
    this.#path = path;
    this.#partial = partial;
    this.#ffmpeg = ffmpeg;
    this.#options = options;
    this.#removeFolder = removeFolder;
  }

  /**
   * @param path Its ending chooses the format: .mp4, .mov, .mkv or .webm.
   * @throws {SoundspotError} ERR_INPUT for another ending; ERR_FILE_WRITE when its folder cannot be made; ERR_FFMPEG_MISSING, ERR_ABORTED.
   */
  static async open(path: string, options: VideoWriterOptions): Promise<VideoWriter> {
    const ending = extname(path).toLowerCase();
    const encoding = codecs[ending];
    if (!encoding) {
      throw new SoundspotError(
        "ERR_INPUT",
        `${path} must end in ${videoEndings.join(", ")} to be written as video.`,
      );
    }
    await checkReplaceable(path);
    const { width, height, frameRate, media, from, to, signal, ffmpeg } = options;
    const colors = shownColors(media.video);
    const { sampleRate, channels } = media.audioFormat;
    const file = resolve(path);
    const partial = temporaryIn(dirname(file), ending);
    const removeFolder = await makeFolderOf(file);
    const started = await startFfmpeg(
      [
        ...["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${width}x${height}`, "-r", String(frameRate)],
        ...["-i", "pipe:0"],
        ...["-f", "f32le", "-ar", String(sampleRate), "-ac", String(channels), "-i", "pipe:3"],
        ...["-map", "0:v:0", "-map", "1:a:0", "-t", (to - from).toFixed(6), "-map_metadata", "-1"],
        ...["-vf", encodingFilters(colors).join(",")],
        ...encoding,
        ...colorArgs(colors),
        ...["-y", partial],
      ],
      { signal, ffmpeg, writable: true, secondInput: true, unlimited: true },
    ).catch(async (error: unknown) => {
      await removeFolder();
      throw error;
    });
    const writer = new VideoWriter(file, partial, started, options, removeFolder);
    // Errors are reported at the program's end.
    writer.#input.on("error", () => undefined);
    started.stdout.resume();
    writer.#audio = writer.#writeAudio();
    // Reported where it is awaited.
    writer.#audio.catch(() => undefined);
    return writer;
  }

  get #input(): Writable {
    if (!this.#ffmpeg.stdin)
      throw new SoundspotError("ERR_INTERNAL", "ffmpeg was started without an input pipe.");
    return this.#ffmpeg.stdin;
  }

  /**
   * Waits until the encoder has taken the frame, whose memory may be used again then.
   * @param frame Of the size that was given.
   * @throws {SoundspotError} ERR_SHAPE; ERR_FILE_WRITE when the encoder has ended; ERR_ABORTED.
   */
  async write(frame: RawImage): Promise<void> {
    const { width, height, signal } = this.#options;
    if (frame.width !== width || frame.height !== height) {
      throw new SoundspotError(
        "ERR_SHAPE",
        `A frame is ${frame.width} × ${frame.height} in a video of ${width} × ${height}.`,
      );
    }
    throwIfAborted(signal);
    const input = this.#input;
    if (input.destroyed || input.writableEnded) await this.#failed();
    // An encoder that ends breaks the pipe, which fails what waits in it.
    const broken = await new Promise((resolve) => input.write(frame.data, resolve));
    if (broken) await this.#failed();
    throwIfAborted(signal);
  }

  /** @throws {SoundspotError} ERR_FILE_WRITE with the encoder's message; then there is no file. */
  async close(): Promise<void> {
    this.#input.end();
    // Not all of it is taken where the frames end before.
    await Promise.race([this.#audio, this.#ffmpeg.finished]);
    const { code, stderr } = await this.#ffmpeg.finished;
    if (code !== 0 || TORN.test(stderr)) await this.#failed();
    await rename(this.#partial, this.#path).catch(async (cause: Error) => {
      await this.discard();
      throw this.#unwritten(cause.message);
    });
  }

  /** Gives up: no file is left. Harmless after `close`. */
  async discard(): Promise<void> {
    this.#ffmpeg.stop();
    await this.#ffmpeg.finished.catch(() => undefined);
    await this.#audio.catch(() => undefined);
    await rm(this.#partial, { force: true });
    await this.#removeFolder();
  }

  /** Audio on the clock: as long as the range, with silence where there is none. */
  async #writeAudio(): Promise<void> {
    const { media, from, to } = this.#options;
    const pipe = this.#ffmpeg.secondInput;
    if (!pipe) throw new SoundspotError("ERR_INTERNAL", "ffmpeg was started without a second input pipe.");
    // Closed by the encoder when it has enough.
    pipe.on("error", () => undefined);
    const ended = this.#ffmpeg.finished.then(() => undefined).catch(() => undefined);
    let over = false;
    void ended.then(() => {
      over = true;
    });
    try {
      for await (const samples of media.audioStream({ from, to })) {
        if (over || pipe.destroyed) return;
        if (pipe.write(Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength))) continue;
        const waited = new AbortController();
        await Promise.race([once(pipe, "drain", { signal: waited.signal }).catch(() => undefined), ended]);
        waited.abort();
      }
    } catch (error) {
      // Without its audio the file must not look complete.
      this.#ffmpeg.stop();
      throw error;
    } finally {
      pipe.end();
    }
  }

  async #failed(): Promise<never> {
    const { stderr } = await this.#ffmpeg.finished;
    await this.discard();
    throwIfAborted(this.#options.signal);
    await this.#audio;
    // What follows in the log is that the conversion failed.
    const ofDisk = /No space left on device|Disk quota exceeded|File too large|Input\/output error/.exec(
      stderr,
    );
    throw this.#unwritten(ofDisk?.[0] ?? ffmpegReason(stderr));
  }

  #unwritten(reason: string): SoundspotError {
    return new SoundspotError(
      "ERR_FILE_WRITE",
      `${this.#path} cannot be written: ${reason}. Check that its folder exists, may be written and has free space.`,
    );
  }
}
