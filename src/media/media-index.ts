/**
 * What is known of a media file before anything is decoded: its streams, and when each begins, ends and pauses, by the
 * time stamps of its packets. Raw times are the file's own; the clock of the rest of the package begins at `zero`.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { isQuarterTurn, type Orientation, readOrientations, turned } from "./display-matrix.js";
import { findFfmpeg } from "./ffmpeg.js";
import { changing, limitOf } from "./limits.js";
import type { AudioHeader, StreamHeader, VideoHeader } from "./media-header.js";
import {
  firstSample,
  type IndexOptions,
  type Packets,
  type Scan,
  type Span,
  scanEnds,
  scanWhole,
} from "./packet-scan.js";

export interface VideoTrack extends Omit<VideoHeader, "rotation"> {
  readonly orientation: Orientation;
  /** As shown: turned, with square pixels. */
  readonly shownWidth: number;
  readonly shownHeight: number;
  /** Of all frames, raw, ascending; absent where not all were scanned. */
  readonly times?: Float64Array;
  /** Of those that decoding can begin at. */
  readonly keys?: Float64Array;
  readonly span: Span;
  /** Frames a second; of an uneven stream what most frames keep to. */
  readonly frameRate: number;
  /** Whether all frames keep to it. */
  readonly constant: boolean;
}

export interface AudioTrack extends AudioHeader {
  /** Counted from 0 among the audio tracks. */
  readonly track: number;
  readonly span: Span;
  /** Where there are packets; absent where not all were scanned. */
  readonly spans?: readonly Span[];
}

export interface MediaIndex {
  readonly path: string;
  readonly format: string;
  readonly streams: readonly StreamHeader[];
  readonly video?: VideoTrack;
  readonly audio: readonly AudioTrack[];
  /** Raw time at which the clock begins. */
  readonly zero: number;
  /** In seconds. */
  readonly duration: number;
  /** As the file states it, in seconds; Matroska counts from 0 of its clock. */
  readonly statedDuration: number;
  /**
   * Where time stamps start again, as in concatenated files: what is added to those of each part,
   * in seconds. Raw times of this index have it added. Such a file is read from its start.
   */
  readonly parts?: readonly number[];
}
/** Default of `wholeBytes`. */
const WHOLE_BYTES = 2 ** 29;
/**
 * Opens a file and looks at its packets without decoding them.
 * @throws {SoundspotError} ERR_MEDIA_DECODE when it is no media or has neither video nor audio; ERR_FFMPEG_MISSING;
 * ERR_ABORTED.
 */
export async function readIndex(path: string, options: IndexOptions = {}): Promise<MediaIndex> {
  const name = options.name ?? path;
  const { size, mtimeNs, ctimeNs, ino, dev } = await stat(path, { bigint: true });
  const program = (await findFfmpeg(options.ffmpeg)).path;
  const key = [resolve(path), size, mtimeNs, ctimeNs, ino, dev, program, options.wholeBytes].join(" ");
  const index = known.get(key) ?? (await lookAtPackets(resolve(path), name, Number(size), options));
  known.delete(key);
  known.set(key, index);
  // The oldest is the first.
  for (const old of known.keys()) if (known.size > MOST_KNOWN) known.delete(old);
  const longest = Math.max(index.duration, index.statedDuration);
  if (longest > limitOf("SOUNDSPOT_MAX_VIDEO_SECONDS")) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} claims to last ${longest} s. Cut it. ${changing("SOUNDSPOT_MAX_VIDEO_SECONDS")}.`,
    );
  }
  return index;
}

/** Of files read before, as long as they do not change: one is often read at several moments. */
const known = new Map<string, MediaIndex>();
const MOST_KNOWN = 32;

async function lookAtPackets(
  path: string,
  name: string,
  size: number,
  options: IndexOptions,
): Promise<MediaIndex> {
  const [orientations, scanned] = await Promise.all([
    readOrientations(path),
    size > (options.wholeBytes ?? WHOLE_BYTES)
      ? scanEnds(path, name, options)
      : scanWhole(path, name, options),
  ]);
  throwIfAborted(options.signal);
  for (const { type, index } of scanned.header.streams) {
    const packets = scanned.packets.get(index);
    if (type !== "audio" || !packets?.skips || packets.first < 0) continue;
    // The packets do not state how many samples are dropped.
    packets.first = (await firstSample(path, name, index, options)) ?? packets.first;
  }
  return assemble(path, name, scanned, orientations);
}

function assemble(
  path: string,
  name: string,
  { header, packets, parts, whole }: Scan,
  orientations: readonly Orientation[] | undefined,
): MediaIndex {
  const moving = header.streams.filter(
    (stream): stream is VideoHeader => stream.type === "video" && !stream.attachedPicture,
  );
  const alive = moving.filter(({ index }) => (packets.get(index)?.times.length ?? 0) > 0);
  const chosen = alive.find(({ isDefault }) => isDefault) ?? alive[0] ?? moving[0];
  const orientation = chosen && (orientations?.[moving.indexOf(chosen)] ?? turned(chosen.rotation));
  const video = chosen && orientation && videoTrack(chosen, orientation, packets.get(chosen.index), whole);
  const audio = header.streams
    .filter((stream): stream is AudioHeader => stream.type === "audio")
    .map((stream, track) => audioTrack(stream, track, packets.get(stream.index), whole));
  const spans = [...(video ? [video.span] : []), ...audio.map(({ span }) => span)].filter(
    ([from, to]) => Number.isFinite(from) && to >= from,
  );
  const zero = Math.min(...spans.map(([from]) => from));
  const end = Math.max(...spans.map(([, to]) => to));
  if (!Number.isFinite(zero)) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} cannot be decoded: it has no packets of video or audio. Check that it is a whole file.`,
    );
  }
  const duration = Math.round((end - zero) * 1e6) / 1e6;
  const { format, streams } = header;
  const statedDuration = (header.duration ?? 0) - Math.max(0, header.start ?? 0);
  return {
    path,
    format,
    streams,
    statedDuration,
    ...(video ? { video } : {}),
    audio,
    zero,
    duration,
    ...(parts ? { parts } : {}),
  };
}

function videoTrack(
  { rotation: _, ...header }: VideoHeader,
  orientation: Orientation,
  packets: Packets | undefined,
  whole: boolean,
): VideoTrack {
  const times = Float64Array.from(packets?.times ?? []).sort();
  const keys = Float64Array.from(packets?.keys ?? []).sort();
  // Pixels are made square without losing any.
  const wide = header.aspect > 1 ? Math.max(1, Math.round(header.width * header.aspect)) : header.width;
  const high = header.aspect < 1 ? Math.max(1, Math.round(header.height / header.aspect)) : header.height;
  const swapped = isQuarterTurn(orientation);
  const { frameRate, constant, interval } = rateOf(times, whole, header.declaredRate);
  const last = times.at(-1) ?? 0;
  const end = Math.max(packets?.end ?? 0, last + (packets && packets.end <= last ? interval : 0));
  return {
    ...header,
    orientation,
    shownWidth: swapped ? high : wide,
    shownHeight: swapped ? wide : high,
    ...(whole && packets && !packets.unordered && times.length > 0 ? { times, keys } : {}),
    span: times.length > 0 ? [times[0] as number, end] : [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    frameRate,
    constant,
  };
}

/** A rate that no camera has is the container's clock. */
const MAX_RATE = 1000;

function rateOf(
  times: Float64Array,
  whole: boolean,
  declared: number | undefined,
): { readonly frameRate: number; readonly constant: boolean; readonly interval: number } {
  const assumed = declared && declared <= MAX_RATE ? declared : 25;
  const count = times.length - 1;
  const length = count > 0 ? (times[count] as number) - (times[0] as number) : 0;
  if (length <= 0) return { frameRate: assumed, constant: false, interval: 1 / assumed };
  const intervals = Float64Array.from(
    { length: count },
    (_, i) => (times[i + 1] as number) - (times[i] as number),
  );
  intervals.sort();
  const typical = intervals[count >> 1] as number;
  const average = count / length;
  const common = typical > 0 && 1 / typical <= Math.min(MAX_RATE, 4 * average) ? 1 / typical : average;
  if (!whole) {
    // The ends do not give the average of all.
    return {
      frameRate: Math.abs(assumed / common - 1) < 0.02 ? assumed : common,
      constant: false,
      interval: typical,
    };
  }
  const even = snapped(average, count);
  const first = times[0] as number;
  if (times.every((time, i) => Math.abs((time - first) * even - i) <= 0.25)) {
    return { frameRate: even, constant: true, interval: 1 / even };
  }
  // Frames that come about evenly, with none missing for long, keep their number.
  const near = Math.abs(common / average - 1) <= 0.2;
  return { frameRate: Math.min(MAX_RATE, near ? average : common), constant: false, interval: typical };
}

/** The usual rate that frames keep to over the whole length, as far as time stamps show. */
function snapped(rate: number, count: number): number {
  const whole = Math.round(rate);
  const usual = [whole, (Math.round((rate * 1001) / 1000) * 1000) / 1001, Math.round(rate * 2) / 2];
  return usual.find((each) => each > 0 && Math.abs(each / rate - 1) * count < 0.1) ?? rate;
}

function audioTrack(
  header: AudioHeader,
  track: number,
  packets: Packets | undefined,
  whole: boolean,
): AudioTrack {
  if (!packets || packets.times.length === 0) {
    return { ...header, track, span: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY] };
  }
  // Before 0 there is what the encoder needs to start.
  const first = packets.skips || packets.first > -0.5 ? Math.max(0, packets.first) : packets.first;
  const from = packets.first < 0 ? first : packets.first;
  return {
    ...header,
    track,
    span: [from, Math.max(from, packets.end)],
    ...(whole
      ? { spans: packets.spans.map(([start, end]) => [Math.max(start, from), Math.max(end, from)] as const) }
      : {}),
  };
}
