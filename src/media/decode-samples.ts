/** Samples of a file's audio at their time stamps: what is not there is silence, what overlaps is cut. */
import { SoundspotError, throwIfAborted } from "../errors.js";
import type { DecodeOptions } from "./decode-frames.js";
import { ffmpegReason, inputArgs, outputOf, startFfmpeg } from "./ffmpeg.js";
import { changing, limitOf } from "./limits.js";
import { FrameLog, SHOW_SAMPLES } from "./log-times.js";
import { type AudioTrack, type MediaIndex, PartClock } from "./media-index.js";

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
    // Time stamps that begin anew cannot be compared before they are moved.
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
    for (const block of ready()) {
      if (index.parts && block.time >= to) return;
      if (!index.parts || block.time + block.samples.length / block.channels / block.sampleRate > from)
        yield block;
    }
  }
  const { stderr, code } = await ffmpeg.finished;
  throwIfAborted(options.signal);
  yield* ready();
  if (cursor === undefined && (code !== 0 || /error|invalid/i.test(stderr))) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${options.name} cannot be decoded as audio: ${ffmpegReason(stderr)}. Check that it is a whole audio or video file.`,
    );
  }
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

export interface DecodedSamples {
  /** Planar: channels × frames. */
  readonly samples: Float32Array;
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
