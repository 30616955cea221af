/**
 * What is known of a media file before anything is decoded: its streams, and when each begins, ends and pauses, by the
 * time stamps of its packets. Raw times are the file's own; the clock of the rest of the package begins at `zero`.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { SoundspotError, throwIfAborted } from "../errors.js";
import { isQuarterTurn, type Orientation, readOrientations, turned } from "./display-matrix.js";
import { ffmpegReason, findFfmpeg, inputArgs, outputOf, startFfmpeg } from "./ffmpeg.js";
import { changing, limitOf } from "./limits.js";
import { FrameLog, SHOW_SAMPLES } from "./log-times.js";
import {
  type AudioHeader,
  type MediaHeader,
  parseHeader,
  type StreamHeader,
  type VideoHeader,
} from "./media-header.js";

/** Seconds, raw: from the first moment to the end. */
export type Span = readonly [from: number, to: number];

export interface VideoTrack extends Omit<VideoHeader, "rotation"> {
  readonly orientation: Orientation;
  /** As shown: turned, with square pixels. */
  readonly shownWidth: number;
  readonly shownHeight: number;
  /** Of all frames, raw, ascending; absent where they were not all looked at. */
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
  /** Where there are packets; absent where they were not all looked at. */
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
  /** What the file says of itself, in seconds; Matroska counts from 0 of its clock. */
  readonly statedDuration: number;
  /**
   * Where time stamps begin anew, as in files that were put one after the other: what is added to those of each part,
   * in seconds. Raw times of this index have it added. Such a file is read from its start.
   */
  readonly parts?: readonly number[];
}

export interface IndexOptions {
  readonly signal?: AbortSignal | undefined;
  readonly ffmpeg?: string | undefined;
  /** What errors call the file. Default its path. */
  readonly name?: string | undefined;
  /** What is to be decoded, for the error about an image. */
  readonly wanted?: "audio" | undefined;
  /** Up to this size all packets are looked at; of larger files, where the format has an index, those of both ends. */
  readonly wholeBytes?: number | undefined;
}

/** Default of `wholeBytes`. */
const WHOLE_BYTES = 2 ** 29;
/** Formats that state a duration and can be read from anywhere. */
const SEEKABLE = /\b(mov|matroska|webm|avi)\b/;
/** Seconds at both ends of a large file. */
const END_SECONDS = 30;
/** Pauses between packets that are no more than rounding, in seconds. */
const ROUNDING = 0.03;
/** Packets without progress of their time stamps after which time begins anew. */
const STUCK = 5;

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
      `${name} says that it lasts ${longest} s. Cut it. ${changing("SOUNDSPOT_MAX_VIDEO_SECONDS")}.`,
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
    // How many samples are dropped, the packets do not tell.
    packets.first = (await firstSample(path, name, index, options)) ?? packets.first;
  }
  return assemble(path, name, scanned, orientations);
}

/** Raw time of the first sample that a decoder gives. */
async function firstSample(
  path: string,
  name: string,
  stream: number,
  options: IndexOptions,
): Promise<number | undefined> {
  const log = FrameLog.ofSamples();
  const decoding = ["-map", `0:${stream}`, "-vn", "-sn", "-dn", "-frames:a", "2", "-af", SHOW_SAMPLES];
  const ffmpeg = await startFfmpeg(["-copyts", ...inputArgs(path), ...decoding, "-f", "null", "-"], {
    ...options,
    onLine: log.onLine,
  });
  for await (const _ of outputOf(ffmpeg, name));
  await ffmpeg.finished;
  throwIfAborted(options.signal);
  return log.take()?.time;
}

/** Packets of one stream. */
class Packets {
  /** Presentation times in seconds, in the order of the file. */
  readonly times: number[] = [];
  readonly keys: number[] = [];
  readonly spans: [number, number][] = [];
  end = Number.NEGATIVE_INFINITY;
  first = Number.POSITIVE_INFINITY;
  /** Whether the first packet asks for samples to be dropped. */
  skips = false;
  stuck = 0;
  readonly #intervals: number[] = [];
  /** Of at least one packet the presentation time is not stated. */
  unordered = false;
  #count = 0;
  #lastDts = Number.NEGATIVE_INFINITY;
  #stuckNow = 0;

  add(dts: number, pts: number | undefined, duration: number, flags: number, skips: boolean): void {
    if (this.#count++ === 0) this.skips = skips;
    this.#stuckNow = dts > this.#lastDts ? 0 : this.#stuckNow + 1;
    this.stuck = Math.max(this.stuck, this.#stuckNow);
    this.#lastDts = Math.max(dts, this.#lastDts);
    if (pts === undefined) this.unordered = true;
    if (flags & DISCARDED) return;
    const time = pts ?? dts;
    const before = this.times.at(-1);
    if (before !== undefined && duration === 0) this.#intervals.push(Math.abs(time - before));
    this.times.push(time);
    if (flags & KEY) this.keys.push(time);
    this.first = Math.min(this.first, time);
    this.end = Math.max(this.end, time + duration);
    const last = this.spans.at(-1);
    if (last && time >= last[0] - ROUNDING && time <= last[1] + ROUNDING) {
      last[1] = Math.max(last[1], time + duration);
    } else this.spans.push([time, time + duration]);
  }

  /** Call when all are added: packets of no stated duration last as long as they are apart. */
  finish(): void {
    if (this.#intervals.length < 2) return;
    const typical = this.#intervals.sort((a, b) => a - b)[this.#intervals.length >> 1] as number;
    const last = this.spans.at(-1);
    if (last && this.end - Math.max(...this.times.slice(-8)) < 1e-9) {
      this.end += typical;
      last[1] += typical;
    }
  }
}

const KEY = 1;
const DISCARDED = 4;

interface Scan {
  readonly header: MediaHeader;
  /** By the stream's index in the file. */
  readonly packets: ReadonlyMap<number, Packets>;
  readonly parts?: readonly number[];
  readonly whole: boolean;
}

async function scanWhole(path: string, name: string, options: IndexOptions): Promise<Scan> {
  const plain = await scanPackets(name, inputArgs(path), options);
  const stuck = [...plain.packets.values()].some((packets) => packets.stuck >= STUCK);
  return stuck ? scanParts(path, name, options) : { ...plain, whole: true };
}

/** Seconds by which time stamps go back where another part begins. */
const BACK = 0.5;
/** More parts than this are no joined files, but damage. */
const MOST_PARTS = 1000;

/** Adds to raw times of one stream, in order, what their part is moved by. */
export class PartClock {
  readonly #parts: readonly number[];
  #part = 0;
  #last = Number.NEGATIVE_INFINITY;

  constructor(parts: readonly number[]) {
    this.#parts = parts;
  }

  at(time: number): number {
    if (time < this.#last - BACK) this.#part++;
    this.#last = time;
    return time + (this.#parts[Math.min(this.#part, this.#parts.length - 1)] ?? 0);
  }
}

interface RawPacket {
  readonly stream: number;
  readonly dts: number;
  readonly pts: number;
  part: number;
}

/** Of a file whose time stamps begin anew: a muxer would change them, so they are taken as the demuxer gives them. */
async function scanParts(path: string, name: string, options: IndexOptions): Promise<Scan> {
  const lines: { readonly stream: number; readonly dts: number; readonly pts: number }[] = [];
  const line = /^demuxer -> ist_index:(?:\d+:)?(\d+) .*?\bpkt_pts:(-?\d+|NOPTS) .*?\bpkt_dts:(-?\d+|NOPTS) /;
  const {
    header,
    packets: found,
    clocks,
  } = await scanPackets(name, inputArgs(path), {
    ...options,
    onLine: (text) => {
      const [, stream, pts, dts] = line.exec(text) ?? [];
      if (stream === undefined) return /^(demuxer|muxer)/.test(text);
      const [presented, decoded] = [Number(pts), Number(dts)];
      if (!Number.isNaN(presented) || !Number.isNaN(decoded)) {
        lines.push({
          stream: Number(stream),
          pts: Number.isNaN(presented) ? decoded : presented,
          dts: Number.isNaN(decoded) ? presented : decoded,
        });
      }
      return true;
    },
  });
  // Each stream counts its own parts: the last packets of one come after the first of the next of another stream.
  const own = new Map<number, { part: number; last: number }>();
  const packets: RawPacket[] = [];
  for (const { stream, dts, pts } of lines) {
    const tick = clocks.get(stream);
    if (tick === undefined) continue;
    const state = own.get(stream) ?? { part: 0, last: Number.NEGATIVE_INFINITY };
    own.set(stream, state);
    const time = dts * tick;
    if (time < state.last - BACK) state.part++;
    state.last = time;
    packets.push({ stream, dts: time, pts: pts * tick, part: state.part });
  }
  const count = packets.reduce((most, { part }) => Math.max(most, part), 0) + 1;
  if (count > MOST_PARTS) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} has time stamps that run backwards ${count - 1} times. Write it anew: \`ffmpeg -fflags +genpts -i in -c copy out.mkv\`.`,
    );
  }
  const byPart = Array.from({ length: count }, () => new Map<number, number[]>());
  for (const { stream, pts, part } of packets) {
    const streams = byPart[part] as Map<number, number[]>;
    const times = streams.get(stream) ?? [];
    streams.set(stream, times);
    times.push(pts);
  }
  const parts: number[] = [];
  let end: number | undefined;
  for (const streams of byPart) {
    const spans = [...streams.values()].map(spanOf);
    const added = end === undefined ? 0 : end - Math.min(...spans.map(([from]) => from));
    parts.push(added);
    end = Math.max(...spans.map(([, to]) => to)) + added;
  }
  const moved = new Map<number, Packets>();
  for (const { stream, dts, pts, part } of packets) {
    const added = parts[part] as number;
    const target = moved.get(stream) ?? new Packets();
    moved.set(stream, target);
    target.add(dts + added, pts + added, 0, KEY, found.get(stream)?.skips ?? false);
  }
  for (const each of moved.values()) each.finish();
  return { header, packets: moved, parts, whole: true };
}

/** Of one stream and part, not empty: the last packet lasts as long as they are apart. */
function spanOf(times: number[]): Span {
  times.sort((a, b) => a - b);
  const [first = 0, last = 0] = [times[0], times.at(-1)];
  return [first, last + (last - first) / Math.max(1, times.length - 1)];
}

/** Of a large file: its first and its last seconds. */
async function scanEnds(path: string, name: string, options: IndexOptions): Promise<Scan> {
  const head = await scanPackets(name, [...inputArgs(path), "-t", "0"], options);
  const { header } = head;
  if (header.duration === undefined || !SEEKABLE.test(header.format)) return scanWhole(path, name, options);
  const [first, last] = await Promise.all([
    scanPackets(name, inputArgs(path), options, END_SECONDS),
    scanPackets(
      name,
      inputArgs(path, ["-noaccurate_seek", "-ss", String(Math.max(0, header.duration - END_SECONDS))]),
      options,
    ),
  ]);
  const packets = new Map(first.packets);
  for (const [stream, own] of last.packets) {
    const begun = packets.get(stream);
    if (begun) begun.end = Math.max(begun.end, own.end);
    else packets.set(stream, own);
  }
  return { header, packets, whole: false };
}

/** @param seconds Of the beginning. Default all. */
async function scanPackets(
  name: string,
  input: readonly string[],
  { onLine, ...options }: IndexOptions & { readonly onLine?: (line: string) => boolean },
  seconds = Number.POSITIVE_INFINITY,
): Promise<{
  readonly header: MediaHeader;
  readonly packets: Map<number, Packets>;
  /** Seconds of a tick of each stream. */
  readonly clocks: ReadonlyMap<number, number>;
}> {
  const ffmpeg = await startFfmpeg(
    [
      ...(onLine ? ["-debug_ts"] : []),
      ...["-copyts", ...input],
      ...["-map", "0:v?", "-map", "0:a?", "-c", "copy", "-copypriorss", "1", "-f", "framecrc", "pipe:1"],
    ],
    { ...options, onLine: (line) => /Non-monoton/.test(line) || onLine?.(line) === true },
  );
  const streams: Packets[] = [];
  const clocks: number[] = [];
  let rest = "";
  let enough = false;
  const decoder = new TextDecoder("latin1");
  for await (const chunk of outputOf(ffmpeg, name)) {
    const lines = (rest + decoder.decode(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("#")) {
        const clock = /^#tb (\d+): (\d+)\/(\d+)/.exec(line);
        if (clock) clocks[Number(clock[1])] = Number(clock[2]) / Number(clock[3]);
        continue;
      }
      // Stream, decoding time, presentation time, duration, size, checksum, F=flags, S=side data.
      const fields = line.split(",");
      const stream = Number(fields[0]);
      const tick = clocks[stream];
      if (tick === undefined || fields.length < 6) continue;
      const flags = /\bF=0x([0-9A-Fa-f]+)/.exec(line)?.[1];
      const [dts, pts] = [Number(fields[1]), Number(fields[2])];
      const stated = pts > -(2 ** 62);
      streams[stream] ??= new Packets();
      streams[stream].add(
        (dts > -(2 ** 62) ? dts : pts) * tick,
        stated ? pts * tick : undefined,
        Math.max(0, Number(fields[3])) * tick,
        flags === undefined ? KEY : Number.parseInt(flags, 16),
        / S=\d+, +10\b/.test(line) || / S=\d+,.*\bskip/i.test(line),
      );
      const { first } = streams[stream];
      enough ||= dts * tick - first > seconds;
    }
    if (enough) break;
  }
  if (enough) ffmpeg.stop();
  const { stderr } = await ffmpeg.finished;
  throwIfAborted(options.signal);
  const header = parseHeader(stderr);
  const usable = header?.streams.some(({ type }) => type === "video" || type === "audio");
  if (!header || !usable) {
    const image = /^\[(\w+_pipe|image2) @ [^\]]*\] Format not on whitelist/m.test(stderr);
    if (image && options.wanted === "audio") {
      throw new SoundspotError(
        "ERR_NO_AUDIO",
        `${name} has no audio stream: it is an image. Give a file with audio.`,
      );
    }
    const reason = header ? "it has neither video nor audio" : ffmpegReason(stderr);
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} cannot be decoded: ${reason}. ${image ? "Give a video or audio file." : "Check that it is a whole video or audio file."}`,
    );
  }
  const packets = new Map<number, Packets>();
  const ticks = new Map<number, number>();
  for (const [, from, to] of stderr.matchAll(/^ *Stream #0:(\d+) -> #0:(\d+) \(copy\)/gm)) {
    const own = streams[Number(to)];
    const tick = clocks[Number(to)];
    if (tick !== undefined) ticks.set(Number(from), tick);
    if (!own) continue;
    own.finish();
    packets.set(Number(from), own);
  }
  return { header, packets, clocks: ticks };
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
    // The ends do not tell the average of all.
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

/** The usual rate that frames keep to over the whole length, as far as time stamps tell. */
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
