/** Samples of a file's audio at their time stamps: gaps are silence, overlaps are cut. */
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { DecodeOptions } from "./decode-frames.js";
import { type FfmpegProcess, ffmpegReason, inputArgs, outputOf, startFfmpeg } from "./ffmpeg.js";
import { changing, limitOf } from "./limits.js";
import { FrameLog, type LoggedSamples, SHOW_SAMPLES } from "./log-times.js";
import { parseHeader } from "./media-header.js";
import type { AudioTrack, MediaIndex } from "./media-index.js";
import { PartClock } from "./packet-scan.js";

/** Decoded samples that follow each other without a pause. */
export interface SampleBlock {
  /** Raw, of the first sample. */
  readonly time: number;
  /** Interleaved. */
  readonly samples: Float32Array;
  readonly channels: number;
  readonly sampleRate: number;
}

export interface SampleFormat {
  /** In hertz. Default the track's own. */
  readonly sampleRate?: number | undefined;
  /** 1 or 2. Default the track's own. */
  readonly channels?: number | undefined;
}

/** Time stamps this close to where the samples before end are rounded, in seconds. */
const JITTER = 0.01;
/** Of packets of this length, in seconds, some samples must come. */
const LEAST_DECODED = 0.2;
/** Decoders need packets before the first that counts; they are decoded and dropped. Seconds. */
const LEADS = [1.5, 20];
/** Rates that can be resampled, in hertz. */
export const MAX_RATE = 768_000;

/**
 * Blocks from `from` on till `to`, raw, ascending, without overlaps. Blocks may begin before and end after what is
 * asked for.
 */
export async function* decodeBlocks(
  index: MediaIndex,
  track: AudioTrack,
  { from, to }: { readonly from: number; readonly to: number },
  format: SampleFormat,
  options: DecodeOptions,
): AsyncGenerator<SampleBlock, void, void> {
  const expected = track.spans?.find(([, end]) => end > from)?.[0];
  const due = Math.max(from, expected ?? track.span[0]);
  if (due >= to || due >= track.span[1]) return;
  const seeks = index.parts
    ? [undefined]
    : [...LEADS.map((lead) => due - lead).filter((at) => at > index.zero + 1), undefined];
  for (const [attempt, seek] of seeks.entries()) {
    let [any, late] = [false, false];
    for await (const block of pass(index, track, { seek, from, to }, format, options)) {
      // Not all that should be there: the file is laid out unevenly, and is to be read from further back.
      late = !any && attempt < seeks.length - 1 && block.time > due + 0.05;
      if (late) break;
      any = true;
      yield block;
    }
    if (any || attempt === seeks.length - 1) return;
  }
}

async function* pass(
  index: MediaIndex,
  track: AudioTrack,
  { seek, from, to }: { readonly seek: number | undefined; readonly from: number; readonly to: number },
  { sampleRate = track.sampleRate, channels }: SampleFormat,
  options: DecodeOptions,
): AsyncGenerator<SampleBlock, void, void> {
  checkRate(track.sampleRate, options.name);
  const log = FrameLog.ofSamples();
  const layout = channels === undefined ? layoutOf(track) : channels === 1 ? "mono" : "stereo";
  const cut = `atrim=start=${(from - 0.1).toFixed(6)}${Number.isFinite(to) ? `:end=${(to + 0.1).toFixed(6)}` : ""}`;
  const filters = [
    `aformat=sample_fmts=flt${sampleRate > 0 ? `:sample_rates=${sampleRate}` : ""}${layout ? `:channel_layouts=${layout}` : ""}`,
    // Time stamps that start again cannot be compared before they are moved.
    ...(index.parts ? [] : [cut]),
    SHOW_SAMPLES,
  ];
  const ffmpeg = await startFfmpeg(
    [
      "-copyts",
      ...inputArgs(
        index.path,
        seek === undefined ? [] : ["-seek_timestamp", "1", "-noaccurate_seek", "-ss", seek.toFixed(6)],
      ),
      ...["-map", `0:${track.index}`, "-vn", "-sn", "-dn", "-af", filters.join(",")],
      ...["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"],
    ],
    { ...options, onLine: log.onLine },
  );
  const clock = index.parts && new PartClock(index.parts);
  let any = false;
  for await (const block of placedBlocks(ffmpeg, log, { clock, from }, options)) {
    any = true;
    if (index.parts && block.time >= to) return;
    if (!index.parts || endOf(block) > from) yield block;
  }
  const { stderr, code } = await ffmpeg.finished;
  if (!any && (code !== 0 || /error|invalid/i.test(stderr))) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${options.name} cannot be decoded as audio: ${ffmpegReason(stderr)}. Check that it is a whole audio or video file.`,
    );
  }
}

/** Raw time at which a block ends. */
export function endOf({ time, samples, channels, sampleRate }: SampleBlock): number {
  return time + samples.length / channels / sampleRate;
}

/**
 * What ffmpeg decodes, at its time stamps. To the end: `finished` has settled then.
 * @param at How times are moved, and the time of a first block that has none.
 */
async function* placedBlocks(
  ffmpeg: FfmpegProcess,
  log: FrameLog<LoggedSamples>,
  { clock, from }: { readonly clock?: PartClock | undefined; readonly from: number },
  options: DecodeOptions,
): AsyncGenerator<SampleBlock, void, void> {
  /** Where the samples before end. */
  let cursor: number | undefined;
  let pending: Buffer[] = [];
  let length = 0;
  const take = (bytes: number): Float32Array => {
    const joined = pending.length === 1 ? (pending[0] as Buffer) : Buffer.concat(pending);
    const samples = new Float32Array(bytes / 4);
    Buffer.from(samples.buffer).set(joined.subarray(0, bytes));
    pending = joined.length > bytes ? [joined.subarray(bytes)] : [];
    length -= bytes;
    return samples;
  };
  /** Gives the blocks whose samples and line have both come. */
  const ready = function* (): Generator<SampleBlock> {
    for (let next = log.peek(); next; next = log.peek()) {
      const { count, channels, sampleRate } = next;
      if (length < count * channels * 4) return;
      log.take();
      const time = next.time === undefined ? (cursor ?? from) : (clock?.at(next.time) ?? next.time);
      if (count === 0) continue;
      checkRate(sampleRate, options.name);
      const samples = take(count * channels * 4);
      const start = cursor !== undefined && Math.abs(time - cursor) <= JITTER ? cursor : time;
      const overlap = cursor === undefined ? 0 : Math.max(0, Math.round((cursor - start) * sampleRate));
      cursor = Math.max(cursor ?? Number.NEGATIVE_INFINITY, start + count / sampleRate);
      if (overlap >= count) continue;
      yield {
        time: start + overlap / sampleRate,
        samples: samples.subarray(overlap * channels),
        channels,
        sampleRate,
      };
    }
  };
  for await (const chunk of outputOf(ffmpeg, options.name, options.counted)) {
    pending.push(chunk);
    length += chunk.length;
    yield* ready();
  }
  await ffmpeg.finished;
  throwIfAborted(options.signal);
  yield* ready();
}

/**
 * All of a short file that has one audio stream and no moving images, in one pass: its clock begins with its first
 * sample. Nothing where it is longer than `mostBytes` of samples, or another file.
 */
export async function decodeAlone(
  path: string,
  mostBytes: number,
  options: DecodeOptions,
): Promise<DecodedSamples | undefined> {
  const log = FrameLog.ofSamples();
  const ffmpeg = await startFfmpeg(
    [
      ...["-copyts", ...inputArgs(path), "-map", "0:a:0", "-vn", "-sn", "-dn", "-fs", String(mostBytes)],
      ...["-af", `aformat=sample_fmts=flt,${SHOW_SAMPLES}`, "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"],
    ],
    { ...options, onLine: log.onLine },
  );
  const blocks: SampleBlock[] = [];
  let bytes = 0;
  for await (const block of placedBlocks(ffmpeg, log, { from: 0 }, options)) {
    bytes += block.samples.byteLength;
    const [last] = blocks.slice(-1);
    // Files whose format changes, or whose time stamps start again, need the full reader.
    if (last && (last.sampleRate !== block.sampleRate || last.channels !== block.channels)) return undefined;
    if (bytes >= mostBytes) return undefined;
    blocks.push(block);
  }
  const { stderr } = await ffmpeg.finished;
  const streams = parseHeader(stderr)?.streams ?? [];
  const alone = streams.every((stream) => stream.type !== "video" || stream.attachedPicture);
  const [first, last] = [blocks[0], blocks.at(-1)];
  if (!alone || streams.filter(({ type }) => type === "audio").length !== 1 || !first || !last)
    return undefined;
  const { channels, sampleRate } = first;
  const frames = Math.round((endOf(last) - first.time) * sampleRate);
  // Long pauses are seldom, and many begin where time stamps are damaged.
  if (frames * channels > Math.min(limitOf("SOUNDSPOT_MAX_SAMPLES"), mostBytes / 4)) return undefined;
  const samples = new Float32Array(channels * frames);
  for (const block of blocks) place(samples, block, first.time, sampleRate, channels);
  return { samples, sampleRate, channels };
}

/** Layouts that have a name; others are left as they come. */
function layoutOf({ layout }: AudioTrack): string | undefined {
  return /^(mono|stereo|quad|hexagonal|octagonal|downmix|\d+\.\d+(\.\d+)?(\(\w+\))?)$/.test(layout)
    ? layout
    : undefined;
}

export function checkRate(rate: number, name: string): void {
  if (rate <= MAX_RATE) return;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} claims ${rate} samples a second, more than ${MAX_RATE}. Check that it is whole, or resample it.`,
  );
}

/** Audio as `Media.audio` gives it. */
export interface DecodedSamples {
  /** Planar: channels × frames, nominally in [−1, 1]. */
  readonly samples: Float32Array;
  /** In hertz. */
  readonly sampleRate: number;
  readonly channels: number;
}

/** The samples between two raw times, exactly; where there are none, zeros. */
export async function decodeSamplesBetween(
  index: MediaIndex,
  track: AudioTrack,
  { from, to }: { readonly from: number; readonly to: number },
  format: SampleFormat,
  options: DecodeOptions,
): Promise<DecodedSamples> {
  let sampleRate = format.sampleRate ?? track.sampleRate;
  let channels = format.channels ?? (track.channels || 1);
  let placed: Float32Array | undefined;
  const room = () => {
    const frames = Math.max(0, Math.round((to - from) * sampleRate));
    if (frames * channels > limitOf("SOUNDSPOT_MAX_SAMPLES")) {
      throw new SoundspotError(
        "ERR_MEDIA_DECODE",
        `${options.name} has more samples than are decoded at once. Decode a part: give start and duration. ${changing("SOUNDSPOT_MAX_SAMPLES")}.`,
      );
    }
    return new Float32Array(channels * frames);
  };
  if (sampleRate > 0) room();
  for await (const block of decodeBlocks(index, track, { from, to }, format, options)) {
    if (!placed) {
      ({ sampleRate, channels } = block);
      placed = room();
    }
    place(placed, block, from, sampleRate, channels);
  }
  const covered = (track.spans ?? []).some(
    ([start, end]) => Math.min(end, to) - Math.max(start, from) > LEAST_DECODED,
  );
  if (!placed && covered) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${options.name} has audio that gave no samples: it is damaged, or ffmpeg does not know its codec, ${track.codec}. Convert it, or install a newer ffmpeg.`,
    );
  }
  if (sampleRate === 0) sampleRate = 16_000;
  return { samples: placed ?? room(), sampleRate, channels };
}

/** Copies a block to its place in planar samples that begin at `from`. */
export function place(
  planar: Float32Array,
  { time, samples, channels: own }: SampleBlock,
  from: number,
  sampleRate: number,
  channels: number,
): void {
  const frames = planar.length / channels;
  const at = Math.round((time - from) * sampleRate);
  const first = Math.max(0, -at);
  const last = Math.min(samples.length / own, frames - at);
  for (let channel = 0; channel < Math.min(channels, own); channel++) {
    const target = channel * frames + at;
    for (let i = first; i < last; i++) planar[target + i] = samples[i * own + channel] as number;
  }
}
