/** Videos to training data: the frame and the audio of each, and a manifest of all. */

import { setMaxListeners } from "node:events";
import { realpath } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import * as z from "zod";
import { aFunction, aSignal, aText, checkFields } from "../core/arguments.js";
import { isError, isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { checkOutputs } from "../files/outputs.js";
import { findFfmpeg } from "../media/ffmpeg.js";
import { readLabels } from "./labels.js";
import { type FailedVideo, isPreparedFile, PreparedFolder } from "./prepared-folder.js";
import { assignIds, stemOf } from "./sample-ids.js";
import type { PreparedSample } from "./sample-store.js";
import { makeSample, type SampleSettings } from "./video-sample.js";
import { checkInputs, type FoundVideo, findVideos, type OpenedVideo, openVideos } from "./video-sources.js";

export type { FailedVideo } from "./prepared-folder.js";

/** What is prepared, where to, and how. */
export interface PrepareVideosOptions {
  /**
   * Folders, videos, tar archives of videos (`.tar`, `.tar.gz`, `.tgz`), and lists of any of them
   * (`.txt`, one path per line, relative to the list).
   */
  readonly input: string | readonly string[];
  /** Folder for the samples, the manifest and the logs. */
  readonly output: string;
  /** Videos at a time, 1 … 256. Default one per processor. */
  readonly workers?: number | undefined;
  /** Writes tar archives in the form of WebDataset, not loose files. Default false. */
  readonly shards?: boolean | undefined;
  /** Samples in a shard. Default 1000. */
  readonly shardSize?: number | undefined;
  /** Moment of the frame, in seconds. Default the middle. */
  readonly frameAt?: number | undefined;
  /** Of the audio, in hertz, 1000 … 192,000. Default 16,000. */
  readonly sampleRate?: number | undefined;
  /** Longer audio is cut to this many seconds around the frame. Default all of it. */
  readonly maxSeconds?: number | undefined;
  /** Averages the channels of the audio; otherwise it keeps up to two. Default false. */
  readonly mono?: boolean | undefined;
  /** Of videos with several, counted from 0. Default the one that each marks as default, or else its first. */
  readonly audioTrack?: number | undefined;
  /** 1 … 100. Default 95. */
  readonly jpegQuality?: number | undefined;
  /** Larger videos fail. Default 2³¹ bytes. */
  readonly maxBytes?: number | undefined;
  /**
   * Classes for the manifest: the name of the folder that a video lies in, or a CSV of ids (or names of
   * files) and labels, among them VGG-Sound's own `vggsound.csv`.
   */
  readonly labels?: "folder" | { readonly csv: string } | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called once at the start with those that are there already, then after every video. */
  readonly onProgress?: ((done: number, total: number, failed: number) => void) | undefined;
}

/** What a run has made, and what it could not make. */
export interface PreparedVideos {
  /** Samples made by this run. */
  readonly prepared: number;
  /** Samples that were there already. */
  readonly skipped: number;
  readonly failed: readonly FailedVideo[];
  /** Samples of this run's audio that were clipped to 16 bits. */
  readonly clipped: number;
  /** Path of the manifest, `manifest.jsonl`. */
  readonly manifest: string;
}

const schema = z.object({
  workers: z.int().min(1).max(256).default(availableParallelism),
  shards: z.boolean().default(false),
  shardSize: z.int().min(1).default(1000),
  frameAt: z.number().min(0).nullable().default(null),
  sampleRate: z.int().min(1000).max(192_000).default(16_000),
  maxSeconds: z.number().positive().nullable().default(null),
  mono: z.boolean().default(false),
  audioTrack: z.int().min(0).optional(),
  jpegQuality: z.int().min(1).max(100).default(95),
  maxBytes: z
    .number()
    .positive()
    .default(2 ** 31),
});

/** What ends a run; other errors are about one video. */
const FATAL = [
  "ERR_ABORTED",
  "ERR_ADDON_MISSING",
  "ERR_FFMPEG_MISSING",
  "ERR_FILE_WRITE",
  "ERR_LIBTORCH_MISSING",
];

/** A video with its id and, where it has one, its label. */
type Task = FoundVideo & { readonly id: string; readonly label?: string };

/**
 * Extracts the middle frame and the audio of every video: `frames/ID.jpg` and `audio/ID.wav`, as the
 * loaders of VGG-Sound and Flickr-SoundNet read them, or with `shards` archives of `ID.jpg`, `ID.wav`
 * and `ID.json`. `manifest.jsonl` lists the samples for `datasets.manifest`.
 *
 * A video that cannot be read is logged in `failed.jsonl` and the run goes on. Another run on the same
 * folder skips what is done, tries again what failed, and adds what is new; it may follow a run that
 * was aborted or killed at any moment. Audio is resampled as torchaudio does, keeps up to two channels
 * and is rounded to 16 bits.
 *
 * @throws {SoundspotError} ERR_CONFIG for an option out of range, or when the folder holds samples of
 * other settings; ERR_OUTPUT_IS_INPUT when an input or the CSV is a file that the folder's own would replace;
 * ERR_FILE_NOT_FOUND when an input or the CSV is missing; ERR_INPUT when there are no
 * videos; ERR_DATASET when the CSV is wrong or labels none of them; ERR_FILE_WRITE when the folder cannot
 * be written or another run is at work there; ERR_FFMPEG_MISSING, ERR_ADDON_MISSING; ERR_ABORTED, after
 * the manifest of what is done was written.
 * @example
 * const { manifest, failed } = await prepareVideos({ input: "videos", output: "data", labels: "folder" });
 * const data = await datasets.manifest({ path: manifest });
 */
export async function prepareVideos(options: PrepareVideosOptions): Promise<PreparedVideos> {
  checkFields(
    options,
    { signal: aSignal, onProgress: aFunction, ffmpeg: aText },
    "prepareVideos: the options",
    "ERR_CONFIG",
  );
  const { output, signal, ffmpeg } = options;
  throwIfAborted(signal);
  const input = [options.input].flat();
  if (input.length === 0 || [...input, output].some((path) => typeof path !== "string" || path === "")) {
    throw new SoundspotError("ERR_CONFIG", "Give input, one or more paths, and output, a folder.");
  }
  const { workers, shards, shardSize, maxBytes, ...sample } = check(options);
  await findFfmpeg(ffmpeg);
  await checkInputs(input);
  await checkOutputs({
    inputs: [
      ...input.map((path) => ({ name: "input", path })),
      { name: "labels", path: typeof options.labels === "object" ? options.labels?.csv : undefined },
      { name: "ffmpeg", path: ffmpeg },
    ],
    folders: [{ name: "output", path: output, writes: isPreparedFile }],
  });
  const labels = await labelsFor(options);
  const settings = { layout: shards ? ("shards" as const) : ("files" as const), ...sample };
  const folder = await PreparedFolder.open(resolve(output), { settings, shardSize, signal });
  const stop = new AbortController();
  const forward = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", forward, { once: true });
  // Every program that is started listens.
  setMaxListeners(0, stop.signal);
  const run = new Run(options, folder, sample, stop);
  try {
    throwIfAborted(signal);
    const videos = await findVideos(input, { output: await realpath(output), maxBytes, signal: stop.signal });
    if (videos.length === 0) {
      throw new SoundspotError(
        "ERR_INPUT",
        `There are no videos in ${input.join(", ")}. Give a folder that has.`,
      );
    }
    const tasks = named(videos, folder, labels, !shards);
    checkLabelled(tasks, options);
    await run.work(tasks, workers);
  } finally {
    signal?.removeEventListener("abort", forward);
    run.manifest = await folder.close();
  }
  return run.result;
}

function check(options: PrepareVideosOptions): z.output<typeof schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const lines = result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new SoundspotError("ERR_CONFIG", `The options of prepareVideos are not valid. ${lines.join("; ")}.`);
}

/** Gives a video's label: by its id, the name of its file without ending, or that with ending. */
type LabelOf = (video: FoundVideo, id: string) => string | undefined;

async function labelsFor({ labels, signal }: PrepareVideosOptions): Promise<LabelOf> {
  if (labels === undefined) return () => undefined;
  if (labels === "folder") return ({ parent }) => parent;
  const table = await readLabels(labels.csv, signal);
  return ({ file }, id) => table.get(id) ?? table.get(stemOf(file)) ?? table.get(file);
}

function named(
  videos: readonly FoundVideo[],
  folder: PreparedFolder,
  labelOf: LabelOf,
  dots: boolean,
): Task[] {
  const ids = assignIds(videos, [...folder.samples.values()], { dots });
  return videos.map((video, i) => {
    const id = ids[i] as string;
    const label = labelOf(video, id);
    return { ...video, id, ...(label === undefined ? {} : { label }) };
  });
}

/** A list of other ids is a mistake that is reported before the work. */
function checkLabelled(tasks: readonly Task[], { labels }: PrepareVideosOptions): void {
  if (labels === undefined || labels === "folder" || tasks.some(({ label }) => label !== undefined)) return;
  throw new SoundspotError(
    "ERR_DATASET",
    `${labels.csv} has no label for any of the ${tasks.length} videos, the first of them ${tasks[0]?.id}. ` +
      "Give the names of the files without their endings.",
  );
}

/** The work on all videos, and its count. */
class Run {
  manifest = "";
  readonly #options: PrepareVideosOptions;
  readonly #folder: PreparedFolder;
  readonly #settings: SampleSettings;
  /** Fires when the caller's signal does, and when a worker has an error that ends the run. */
  readonly #stop: AbortController;
  readonly #failed: FailedVideo[] = [];
  #prepared = 0;
  #skipped = 0;
  #clipped = 0;
  #total = 0;

  constructor(
    options: PrepareVideosOptions,
    folder: PreparedFolder,
    settings: SampleSettings,
    stop: AbortController,
  ) {
    this.#options = options;
    this.#folder = folder;
    this.#settings = settings;
    this.#stop = stop;
  }

  get result(): PreparedVideos {
    const { manifest } = this;
    const counts = { prepared: this.#prepared, skipped: this.#skipped, clipped: this.#clipped };
    return { ...counts, failed: this.#failed, manifest };
  }

  async work(tasks: readonly Task[], workers: number): Promise<void> {
    this.#total = tasks.length;
    const left = await this.#skipDone(tasks);
    this.#report();
    const videos = openVideos(left, this.#folder.partial, this.#stop.signal);
    let fatal: unknown;
    const worker = async () => {
      try {
        for (let next = await videos.next(); !next.done; next = await videos.next()) {
          await this.#prepare(next.value);
        }
      } catch (error) {
        // What the others meet when they are stopped is not the reason.
        fatal ??= error;
        this.#stop.abort(error);
      }
    };
    await Promise.all(Array.from({ length: Math.min(workers, left.length) }, worker));
    await videos.return();
    if (fatal !== undefined) throw fatal;
  }

  async #skipDone(tasks: readonly Task[]): Promise<Task[]> {
    const left: Task[] = [];
    for (const task of tasks) {
      throwIfAborted(this.#stop.signal);
      const { id, label } = task;
      if (this.#folder.samples.has(id)) {
        if (label !== undefined) this.#folder.relabel(id, label);
      } else if (!(await this.#folder.adopt(sampleOf(task)))) {
        left.push(task);
        continue;
      }
      this.#skipped++;
    }
    return left;
  }

  async #prepare({ video, path, problem, close }: OpenedVideo<Task>): Promise<void> {
    const { signal } = this.#stop;
    const { ffmpeg } = this.#options;
    try {
      if (problem) throw problem;
      const { clipped, ...media } = await makeSample(path, this.#settings, { ffmpeg, signal });
      await this.#folder.add({ ...sampleOf(video), ...(clipped > 0 ? { clipped } : {}) }, media);
      this.#prepared++;
      this.#clipped += clipped;
    } catch (error) {
      throwIfAborted(signal);
      if (isSoundspotError(error) && FATAL.includes(error.code)) throw error;
      await this.#fail(video, path, error);
    } finally {
      await close();
    }
    this.#report();
  }

  async #fail(video: Task, path: string, error: unknown): Promise<void> {
    const { id, name: file } = video;
    const code = isSoundspotError(error) ? error.code : "ERR_INTERNAL";
    const said = isError(error) ? error.message : String(error);
    // The file that an archive's video is unpacked to means nothing to users.
    const message = path === video.path ? said : said.replaceAll(path, file);
    const failure = { id, file, code, message };
    this.#failed.push(failure);
    await this.#folder.fail(failure);
  }

  #report(): void {
    const done = this.#prepared + this.#skipped + this.#failed.length;
    this.#options.onProgress?.(done, this.#total, this.#failed.length);
  }
}

function sampleOf({ id, source, bytes, label }: Task): PreparedSample {
  return { id, source, bytes, ...(label === undefined ? {} : { label }) };
}
