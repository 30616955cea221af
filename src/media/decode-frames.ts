/** Frames of a file's video with their time stamps, in order, through one ffmpeg. */
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { RawImage } from "../core/types.js";
import { displayFilters } from "./display-filters.js";
import { eachFrameOnce, ffmpegReason, findFfmpeg, inputArgs, outputOf, startFfmpeg } from "./ffmpeg.js";
import { changing, limitOf } from "./limits.js";
import { FrameLog, SHOW_FRAMES } from "./log-times.js";
import type { MediaIndex, VideoTrack } from "./media-index.js";
import { PartClock } from "./packet-scan.js";

export interface DecodeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  /** What errors call the file. */
  readonly name: string;
  /** Beside other decoders that this one is read in step with. */
  readonly unlimited?: boolean | undefined;
  /** Whether each wait for ffmpeg counts by itself, where much is read slowly, or all of them together. */
  readonly counted?: "each" | "all" | undefined;
}

/** A frame with its raw time. */
export interface DecodedFrame {
  readonly time: number;
  readonly image: RawImage;
}

/** Time stamps differ by less than this from what they are meant to be: they are rounded to milliseconds in some files. */
export const TIME_SLACK = 0.00051;
/** Rounding of one time stamp that is read twice. */
const SAME = 1e-5;
/** Seconds before a frame that decoding begins, where it is not known where it can begin. */
const BLIND_LEAD = 2;
const BLIND_LEADS = [BLIND_LEAD, 15];
/** ffmpeg seeks to 3/23 s before, where frames are stored in another order than shown; less would be a keyframe earlier. */
const DECODING_DELAY = 0.14;
/** MPEG streams have no index: seeking finds about the place, not a keyframe. */
const EARLY_IN_STREAM = 1.5;

/**
 * The frame shown at a raw time: the last that is not after it, or the first of all.
 * @throws {SoundspotError} ERR_MEDIA_DECODE when no frame can be decoded there.
 */
export async function decodeFrameAt(
  index: MediaIndex,
  video: VideoTrack,
  at: number,
  options: DecodeOptions,
): Promise<DecodedFrame> {
  const { times } = video;
  if (times) {
    const wanted = times[shownAt(times, at)] as number;
    for (const seek of seeksFor(index, video, wanted)) {
      for await (const frame of pass(
        index,
        video,
        { seek, from: wanted, to: wanted + 1, only: 1 },
        options,
      )) {
        if (Math.abs(frame.time - wanted) <= SAME) return frame;
        break;
      }
    }
  }
  // Not every frame can be decoded: the last of those that can.
  let last: DecodedFrame | undefined;
  const begin = video.span[0];
  for (const lead of [...BLIND_LEADS, Number.POSITIVE_INFINITY]) {
    const from = Math.max(begin, at - lead);
    const seek = from > begin && !index.parts ? from - 2 : undefined;
    for await (const frame of pass(index, video, { seek, from, to: at + TIME_SLACK }, options)) {
      if (frame.time <= at + TIME_SLACK) last = frame;
    }
    if (last) return last;
    if (from <= begin) break;
  }
  for await (const frame of pass(index, video, { seek: undefined, from: begin, only: 1 }, options))
    return frame;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${options.name} gave no frame at ${(at - index.zero).toFixed(3)} s: it is damaged or cut off there.`,
  );
}

/**
 * Frames in order of their time: the one shown at `from`, then those before `to`.
 */
export async function* decodeFramesBetween(
  index: MediaIndex,
  video: VideoTrack,
  { from, to }: { readonly from: number; readonly to: number },
  options: DecodeOptions,
): AsyncGenerator<DecodedFrame, void, void> {
  const { times } = video;
  const begin = video.span[0];
  const first = times && (times[shownAt(times, from)] as number);
  // Where the times are not known, further back until there is a frame at or before `from`.
  const attempts: Pick<Pass, "seek" | "from">[] =
    first !== undefined
      ? seeksFor(index, video, first).map((seek) => ({ seek, from: Math.min(first, from) }))
      : [
          ...BLIND_LEADS.filter((lead) => from - lead > begin + 1).map((lead) => ({
            seek: from - lead - 1,
            from: from - lead,
          })),
          { seek: undefined, from: begin },
        ];
  for (const [n, attempt] of attempts.entries()) {
    const last = n === attempts.length - 1;
    let [any, late] = [false, false];
    for await (const frame of pass(index, video, { ...attempt, to }, options)) {
      late = !any && !last && frame.time > (first === undefined ? from + TIME_SLACK : first + SAME);
      if (late) break;
      any = true;
      yield frame;
    }
    if (any) return;
  }
}

/** Index of the last time that is not after `at`, or 0. */
export function shownAt(times: Float64Array, at: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) <= at + TIME_SLACK) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/** Where to seek for a frame, and where if that proves too late; undefined is the start. */
function seeksFor(
  index: MediaIndex,
  { keys, span: [begin] }: VideoTrack,
  wanted: number,
): (number | undefined)[] {
  if (index.parts) return [undefined];
  const at = keys ? shownAt(keys, wanted) : 0;
  const key = keys?.[at] ?? wanted - BLIND_LEAD;
  const next = keys?.[at + 1] ?? Number.POSITIVE_INFINITY;
  const seek = /\bmpeg/.test(index.format)
    ? key - EARLY_IN_STREAM
    : key + (keys && next > key + DECODING_DELAY ? DECODING_DELAY : 0);
  if (seek <= begin + 0.5) return [undefined];
  return [seek, ...(seek - 10 > begin + 0.5 ? [seek - 10] : []), undefined];
}

interface Pass {
  /** Raw time to seek. */
  readonly seek: number | undefined;
  /** Raw times of the frames to give. */
  readonly from: number;
  readonly to?: number | undefined;
  readonly only?: number | undefined;
}

async function* pass(
  index: MediaIndex,
  video: VideoTrack,
  { seek, from, to, only }: Pass,
  options: DecodeOptions,
): AsyncGenerator<DecodedFrame, void, void> {
  checkFrameSize(video, options.name);
  const { parts } = index;
  const program = await findFfmpeg(options.ffmpeg);
  const log = FrameLog.ofFrames();
  const display = await displayFilters(video, options.name);
  try {
    const range = [
      `start=${(from - SAME).toFixed(6)}`,
      ...(to === undefined ? [] : [`end=${to.toFixed(6)}`]),
    ];
    // Time stamps that start again cannot be compared before they are moved.
    const cut = parts ? [] : [`trim=${range.join(":")}`];
    const filters = [...display.before, ...cut, SHOW_FRAMES, ...display.after];
    const ffmpeg = await startFfmpeg(
      [
        "-copyts",
        ...inputArgs(index.path, [
          "-noautorotate",
          ...(seek === undefined ? [] : ["-seek_timestamp", "1", "-noaccurate_seek", "-ss", seek.toFixed(6)]),
        ]),
        ...["-map", `0:${video.index}`, "-an", "-sn", "-dn", "-vf", filters.join(",")],
        ...eachFrameOnce(program),
        ...(only === undefined || parts ? [] : ["-frames:v", String(only)]),
        // PPM frames carry their size.
        ...["-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"],
      ],
      { ...options, onLine: log.onLine },
    );
    const clock = parts && new PartClock(parts);
    let previous = from;
    const timed = (image: RawImage): DecodedFrame => {
      const { time: logged } = log.take() ?? {};
      const time = logged === undefined ? previous + 1 / video.frameRate : (clock?.at(logged) ?? logged);
      previous = time;
      return { time, image };
    };
    const images: RawImage[] = [];
    let [count, given] = [0, 0];
    const wanted = ({ time }: DecodedFrame) => !parts || time >= from - SAME;
    const over = ({ time }: DecodedFrame) =>
      parts && ((to !== undefined && time >= to) || given >= (only ?? Number.POSITIVE_INFINITY));
    for await (const image of parsePpm(outputOf(ffmpeg, options.name, options.counted))) {
      images.push(image);
      count++;
      // Log and output come by different pipes: a frame waits for its line.
      while (images.length > 0 && log.peek()) {
        const frame = timed(images.shift() as RawImage);
        if (over(frame)) return;
        if (!wanted(frame)) continue;
        given++;
        yield frame;
      }
    }
    const { stderr } = await ffmpeg.finished;
    throwIfAborted(options.signal);
    for (let image = images.shift(); image; image = images.shift()) {
      const frame = timed(image);
      if (wanted(frame) && !over(frame)) yield frame;
    }
    if (count === 0 && /Impossible to convert|No such filter|Error (re|)initializing filter/i.test(stderr)) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${options.name} cannot be shown by ffmpeg ${program.version}: ${ffmpegReason(stderr)}. Install a newer ffmpeg.`,
      );
    }
  } finally {
    await display.remove();
  }
}

/** @throws {SoundspotError} ERR_MEDIA_DECODE for more pixels than are allowed. */
export function checkFrameSize({ width, height, shownWidth, shownHeight }: VideoTrack, name: string): void {
  if (Math.max(width * height, shownWidth * shownHeight) <= limitOf("SOUNDSPOT_MAX_FRAME_PIXELS")) return;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} has frames of ${shownWidth} × ${shownHeight} pixels. Scale it down. ${changing("SOUNDSPOT_MAX_FRAME_PIXELS")}.`,
  );
}

/** Splits ffmpeg's `P6\n<width> <height>\n255\n<pixels>` stream into images. */
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
