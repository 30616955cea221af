/** The packets of a file, read without decoding: when each is shown, which can be decoded first, where they pause. */
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { ffmpegReason, inputArgs, outputOf, startFfmpeg } from "./ffmpeg.js";
import { FrameLog, SHOW_SAMPLES } from "./log-times.js";
import { type MediaHeader, parseHeader } from "./media-header.js";

/** Seconds, raw: from the first moment to the end. */
export type Span = readonly [from: number, to: number];

export interface IndexOptions {
  readonly signal?: AbortSignal | undefined;
  readonly ffmpeg?: string | undefined;
  /** What errors call the file. Default its path. */
  readonly name?: string | undefined;
  /** What is to be decoded, for the error about an image. */
  readonly wanted?: "audio" | undefined;
  /** Up to this size all packets are scanned; of larger files, where the format has an index, those of both ends. */
  readonly wholeBytes?: number | undefined;
}

/** Formats that state a duration and can be read from anywhere. */
const SEEKABLE = /\b(mov|matroska|webm|avi)\b/;
/** Seconds at both ends of a large file. */
const END_SECONDS = 30;
/** Pauses between packets that are no more than rounding, in seconds. */
const ROUNDING = 0.03;
/** Packets without progress of their time stamps after which time starts again. */
const STUCK = 5;
/** Packets of one stream. */
export class Packets {
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

export interface Scan {
  readonly header: MediaHeader;
  /** By the stream's index in the file. */
  readonly packets: ReadonlyMap<number, Packets>;
  readonly parts?: readonly number[];
  readonly whole: boolean;
}

export async function scanWhole(path: string, name: string, options: IndexOptions): Promise<Scan> {
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

/** Of a file whose time stamps start again: a muxer would change them, so the demuxer's are used. */
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
      `${name} has time stamps that run backwards ${count - 1} times. Write it again: \`ffmpeg -fflags +genpts -i in -c copy out.mkv\`.`,
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
export async function scanEnds(path: string, name: string, options: IndexOptions): Promise<Scan> {
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

/** Raw time of the first sample that a decoder gives. */
export async function firstSample(
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
