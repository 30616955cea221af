/** A video with the heatmap over every frame, and what was found in each as lines of JSON. */
import { rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { aFunction, aPath, aSignal, aText, check, checkFields } from "../core/arguments.js";
import { checkReplaceable, makeFolderOf, temporaryIn, writing } from "../files/atomic-writes.js";
import { JsonlLog } from "../files/jsonl-log.js";
import { checkOutputs } from "../files/outputs.js";
import { type Media, openMedia } from "../media/media.js";
import { VideoWriter } from "../media/video-writer.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import type { LocalizeVideoOptions, VideoOverlayOptions, VideoRange, VideoSpot } from "../model/video.js";
import { localizeMedia } from "./localize-video.js";

/** Options of {@link renderVideo}. */
export interface RenderVideoOptions extends LocalizeVideoOptions, Pick<VideoOverlayOptions, "opacity"> {
  /** Video to write: .mp4, .mov, .mkv or .webm, with the audio of the original. Its folder is made where it is missing. */
  readonly output?: string | undefined;
  /** Lines of JSON to write, one per frame: `index`, `time`, `source`, `silent`, `confidence`, `localized`, `boxes`. Its folder likewise. */
  readonly track?: string | undefined;
  /** Called after each frame, with how many are done and how many there are. */
  readonly onFrame?: (spot: VideoSpot, done: number, total: number) => void;
}

/** What {@link renderVideo} did. */
export interface RenderedVideo {
  readonly frames: number;
  /** In which a source was in view. */
  readonly framesWithSource: number;
  /** Of the range, in seconds. */
  readonly duration: number;
  /** That it took. */
  readonly seconds: number;
}

/**
 * Localizes over a video and writes overlay and track. Both appear whole when all is done, or not at all. Memory is
 * that of {@link localizeVideo} and the encoder's.
 *
 * @throws {SoundspotError} as `localizeVideo`; ERR_OUTPUT_IS_INPUT when an output is the video itself, by whatever path
 * or link; ERR_CONFIG when both outputs are one file; ERR_FILE_WRITE.
 * @example
 * await renderVideo(model, "clip.mp4", { output: "where.mp4", track: "where.jsonl" });
 */
export async function renderVideo(
  model: Model,
  path: string,
  options: RenderVideoOptions,
): Promise<RenderedVideo> {
  check(model, aModel, "model");
  check(path, aPath, "The video");
  const own = { output: aPath, track: aPath, onFrame: aFunction };
  checkFields(options, { ...own, signal: aSignal, onStart: aFunction, ffmpeg: aText });
  const { output, track, opacity, onFrame, signal } = options;
  const started = performance.now();
  await checkOutputs({
    inputs: [
      { name: "the video", path },
      { name: "ffmpeg", path: options.ffmpeg },
    ],
    outputs: [
      { name: "output", path: output },
      { name: "track", path: track },
    ],
  });
  let range: VideoRange | undefined;
  let [frames, framesWithSource] = [0, 0];
  // One for all frames: memory outside the heap makes the garbage collector run every few of them.
  let canvas: Uint8Array | undefined;
  let [media, video]: [Media | undefined, VideoWriter | undefined] = [undefined, undefined];
  const lines = track === undefined ? undefined : await TrackFile.open(track);
  try {
    const opened = async () => {
      media = await openMedia(path, options);
      return media;
    };
    const spots = localizeMedia(model, path, opened, {
      ...options,
      onStart: (found) => {
        range = found;
        options.onStart?.(found);
      },
    });
    for await (const spot of spots) {
      const { from, to, frameRate, frames: total } = range as VideoRange;
      if (output !== undefined) {
        const { width, height } = spot.image;
        video ??= await VideoWriter.open(output, {
          ...{ width, height, frameRate, from, to },
          ...{ media: media as unknown as Media, signal, ffmpeg: options.ffmpeg },
        });
        if (canvas?.length !== spot.image.data.length) canvas = new Uint8Array(spot.image.data.length);
        await video.write(await spot.drawOverlay({ opacity, signal }, canvas));
      }
      await lines?.write(spot);
      frames++;
      if (spot.source) framesWithSource++;
      onFrame?.(spot, frames, total);
    }
    await video?.close();
    await lines?.close();
  } catch (error) {
    await video?.discard();
    await lines?.discard();
    throw error;
  }
  const { from, to } = range as unknown as VideoRange;
  return { frames, framesWithSource, duration: to - from, seconds: (performance.now() - started) / 1000 };
}

class TrackFile {
  readonly #path: string;
  readonly #partial: string;
  readonly #log: JsonlLog;
  readonly #removeFolder: () => Promise<void>;

  private constructor(path: string, partial: string, removeFolder: () => Promise<void>) {
    this.#path = path;
    this.#partial = partial;
    this.#log = new JsonlLog(partial, { name: path });
    this.#removeFolder = removeFolder;
  }

  static async open(path: string): Promise<TrackFile> {
    await checkReplaceable(path);
    const removeFolder = await makeFolderOf(path);
    const partial = temporaryIn(dirname(path), ".jsonl");
    await writing(path, () => writeFile(partial, "", { flag: "wx" })).catch(async (error: unknown) => {
      await removeFolder();
      throw error;
    });
    return new TrackFile(path, partial, removeFolder);
  }

  async write({ index, time, source, silent, confidence, localized, boxes }: VideoSpot): Promise<void> {
    const found = { confidence: rounded(confidence), localized, boxes };
    const line = { index, time: rounded(time), source, silent, ...found };
    await this.#log.append([line]);
  }

  async close(): Promise<void> {
    await writing(this.#path, () => rename(this.#partial, this.#path));
  }

  async discard(): Promise<void> {
    await rm(this.#partial, { force: true });
    await this.#removeFolder();
  }
}

const rounded = (value: number) => Math.round(value * 1e6) / 1e6;
