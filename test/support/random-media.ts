/**
 * Random media files with a known content: each frame carries its number in its pixels, each second of audio has a tone
 * of its own.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import type { RawAudio, RawImage } from "../../src/core/types.js";
import { eachFrameOnce, findFfmpeg } from "../../src/media/ffmpeg.js";
import { peak, toneOf } from "./media.js";

interface Container {
  readonly ending: string;
  readonly video: readonly string[];
  /** Codecs whose samples are where they were put: no undeclared delay. */
  readonly audio: readonly {
    readonly args: readonly string[];
    readonly rate: number;
    readonly packet: number;
  }[];
  readonly uneven: boolean;
  readonly offset: boolean;
  readonly gap: boolean;
  readonly turned: boolean;
  readonly reordered: boolean;
  readonly args?: readonly string[];
}

const pcm = (rate: number) => ({ args: ["-c:a", "pcm_s16le"], rate, packet: 0.07 });
const flac = { args: ["-c:a", "flac", "-strict", "-2"], rate: 16_000, packet: 0.3 };
const opus = { args: ["-c:a", "libopus", "-b:a", "96k", "-strict", "-2"], rate: 48_000, packet: 0.02 };
const s302m = { args: ["-c:a", "s302m", "-strict", "-2", "-ac", "2"], rate: 48_000, packet: 0.05 };
const h264 = ["-c:v", "libx264", "-preset", "veryfast", "-qp", "10", "-sc_threshold", "0"];
const vp8 = ["-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M"];
const mpeg4 = ["-c:v", "mpeg4", "-q:v", "3"];

/** What each container can express. */
export const containers: Readonly<Record<string, Container>> = {
  mp4: {
    ending: "mp4",
    video: h264,
    audio: [flac, opus],
    uneven: true,
    offset: true,
    gap: true,
    turned: true,
    reordered: true,
  },
  "fragmented mp4": {
    ...{
      ending: "mp4",
      video: h264,
      audio: [flac, opus],
      args: ["-movflags", "frag_keyframe+delay_moov+default_base_moof"],
    },
    ...{ uneven: true, offset: true, gap: true, turned: true, reordered: true },
  },
  mov: {
    ending: "mov",
    video: h264,
    audio: [pcm(16_000)],
    uneven: true,
    offset: true,
    gap: false,
    turned: true,
    reordered: true,
  },
  mkv: {
    ending: "mkv",
    video: h264,
    audio: [pcm(16_000), flac, opus],
    uneven: true,
    offset: true,
    gap: true,
    turned: false,
    reordered: true,
  },
  webm: {
    ending: "webm",
    video: vp8,
    audio: [opus],
    uneven: true,
    offset: true,
    gap: true,
    turned: false,
    reordered: false,
  },
  ts: {
    ending: "ts",
    video: h264,
    audio: [s302m],
    uneven: true,
    offset: true,
    gap: true,
    turned: false,
    reordered: true,
  },
  avi: {
    ending: "avi",
    video: mpeg4,
    audio: [pcm(16_000)],
    uneven: false,
    offset: false,
    gap: false,
    turned: false,
    reordered: false,
  },
  flv: {
    ending: "flv",
    video: h264,
    audio: [pcm(44_100)],
    uneven: true,
    offset: true,
    gap: true,
    turned: false,
    reordered: true,
  },
};

export interface MediaSpec {
  readonly seed: number;
  readonly container: string;
  /** Frames a second of which some are left out where `holes` says so. */
  readonly rate: number;
  /** Numbers of the frames that there are. */
  readonly frames: readonly number[];
  /** The audio's start after the video's, in seconds. */
  readonly offset: number;
  /** Of the audio's own time. */
  readonly gap?: readonly [number, number];
  /** Clockwise, in degrees. */
  readonly rotation: 0 | 90 | 180 | 270;
  readonly reordered: boolean;
  readonly seconds: number;
  readonly audio: number;
}

/** Numbers in [0, 1) by a seed: the same on every machine. */
export function random(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function specOf(seed: number): MediaSpec {
  const draw = random(seed);
  const pick = <T>(values: readonly T[]) => values[Math.floor(draw() * values.length)] as T;
  // All kinds in turn.
  const names = Object.keys(containers);
  const container = names[seed % names.length] as string;
  const can = containers[container] as Container;
  const seconds = 5 + Math.floor(draw() * 3);
  const rate = pick([10, 12.5, 15, 24, 25, 30, 50, 30_000 / 1001]);
  const count = Math.floor(seconds * rate);
  const uneven = can.uneven && draw() < 0.5;
  let [hole, holes] = [0, 0];
  const frames = Array.from({ length: count }, (_, i) => i).filter((i) => {
    // The last ones stay: muxers cut a track by the time at which its last frames are decoded.
    if (!uneven || i === 0 || i >= count - 4) return true;
    if (hole > 0) {
      hole--;
      return false;
    }
    // An expression of ffmpeg has space for some.
    if (draw() < 0.8 || ++holes > 40) return true;
    hole = draw() < 0.3 ? Math.floor(draw() * 1.5 * rate) : 0;
    return false;
  });
  const drawn = can.offset && draw() < 0.6 ? Math.round((draw() * 5.5 - 0.5) * 1000) / 1000 : 0;
  // Encoders put frames on a grid of their rate.
  const offset = drawn < 0 ? Math.round(drawn * rate) / rate : drawn;
  const begin = 1 + draw() * 2;
  const gap = can.gap && draw() < 0.5 ? ([begin, begin + 0.3 + draw() * 1.7] as const) : undefined;
  const rotation = can.turned && draw() < 0.5 ? pick([90, 180, 270] as const) : 0;
  const audio = Math.floor(draw() * can.audio.length);
  const reordered = can.reordered && draw() < 0.6;
  return {
    seed,
    container,
    rate,
    frames,
    offset,
    rotation,
    reordered,
    seconds,
    audio,
    ...(gap ? { gap } : {}),
  };
}

const SIDE = 64;
/** Pixels of a bit. */
const CELL = 16;
const toneAt = (second: number) => 500 + 150 * second;

/** @param maker The ffmpeg that makes it. Default the one that is found. */
export async function makeMedia(spec: MediaSpec, path: string, maker?: string): Promise<void> {
  const program = await findFfmpeg(maker);
  const can = containers[spec.container] as Container;
  const { args, rate } = can.audio[spec.audio] as Container["audio"][number];
  const bits = `255*mod(floor(N/pow(2,floor(X/${CELL})+${SIDE / CELL}*floor(Y/${CELL}))),2)`;
  const kept = new Set(spec.frames);
  const count = Math.floor(spec.seconds * spec.rate);
  const dropped = Array.from({ length: count }, (_, i) => i).filter((i) => !kept.has(i));
  const starts = dropped.filter((i) => kept.has(i - 1));
  const ranges = starts.map(
    (i) => `between(n,${i},${(spec.frames.find((frame) => frame > i) ?? count) - 1})`,
  );
  const select = ranges.length > 0 ? [`select='not(${ranges.join("+")})'`] : [];
  const frames = `color=black:s=${SIDE}x${SIDE}:r=${rateText(spec.rate)},format=gray,geq=lum='${bits}',trim=end_frame=${count}`;
  const tone = `aevalsrc='0.5*sin(2*PI*(500+150*floor(t))*t)':s=${rate}:d=${spec.seconds}`;
  // Filters see the time with the offset.
  const [gapFrom, gapTo] = (spec.gap ?? []).map((at) => at + Math.max(0, spec.offset));
  const gap = spec.gap ? [`aselect='not(between(t,${gapFrom},${gapTo}))'`] : [];
  // Short blocks, so that the gap is as long as it is meant to be.
  const chain = ["asetnsamples=n=480:p=0", ...gap];
  const shift = (seconds: number) => (seconds > 0 ? ["-itsoffset", String(seconds)] : []);
  const graph = [frames, ...select, "format=yuv420p"].join(",");
  const make = (output: string, ...last: string[]) =>
    execFileSync(program.path, ["-nostdin", "-v", "error", "-y", ...last, output], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  make(
    path,
    ...shift(-spec.offset),
    ...["-f", "lavfi", "-i", graph],
    ...shift(spec.offset),
    ...["-f", "lavfi", "-i", tone],
    ...["-map", "0:v", "-map", "1:a", "-af", chain.join(",")],
    ...eachFrameOnce(program),
    ...can.video,
    ...(can.video === h264 ? ["-bf", spec.reordered ? "2" : "0"] : []),
    ...["-g", String(Math.max(1, Math.round(2 * spec.rate)))],
    ...args,
    ...(can.args ?? []),
  );
  if (spec.rotation !== 0) turn(path, spec.rotation);
}

const rateText = (rate: number) => (Number.isInteger(rate) || rate === 12.5 ? String(rate) : "30000/1001");

/** Writes a display matrix into the first track header of an MP4. */
export function turn(path: string, rotation: 90 | 180 | 270): void {
  const matrix = { 90: [0, 1, -1, 0], 180: [-1, 0, 0, -1], 270: [0, -1, 1, 0] }[rotation];
  setMatrix(path, matrix as [number, number, number, number]);
}

/** @param matrix a, b, c, d of x′ = a·x + c·y, y′ = b·x + d·y. */
export function setMatrix(path: string, [a, b, c, d]: readonly [number, number, number, number]): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf("tkhd", 0, "latin1") + 4;
  const matrix = at + (bytes[at] === 1 ? 52 : 40);
  for (const [offset, value] of [
    [0, a],
    [4, b],
    [12, c],
    [16, d],
  ] as const) {
    bytes.writeInt32BE(value * 65536, matrix + offset);
  }
  writeFileSync(path, bytes);
}

/** The number that a frame carries, given how it was turned. */
export function numberIn({ data, width, height }: RawImage, rotation: number): number {
  let number = 0;
  const cells = SIDE / CELL;
  for (let bit = 0; bit < cells * cells; bit++) {
    const [x, y] = [((bit % cells) + 0.5) * CELL, (Math.floor(bit / cells) + 0.5) * CELL];
    const [u, v] = {
      0: [x, y],
      90: [SIDE - 1 - y, x],
      180: [SIDE - 1 - x, SIDE - 1 - y],
      270: [y, SIDE - 1 - x],
    }[rotation] as [number, number];
    if (width !== SIDE || height !== SIDE) return Number.NaN;
    if ((data[(Math.round(v) * width + Math.round(u)) * 3] as number) > 127) number += 2 ** bit;
  }
  return number;
}

/** The number of the frame shown at a moment of the file's clock. */
export function frameShownAt({ frames, rate, offset }: MediaSpec, at: number): number {
  const own = at - Math.max(0, -offset);
  return frames.findLast((frame) => frame / rate <= own) ?? (frames[0] as number);
}

/** Seconds by which times may be off. */
export const TOLERANCE = 0.025;
/** Seconds beside an edge over which the tone is measured. */
const PROBE = 0.02;

/**
 * Checks samples that begin at a moment of the clock.
 * @returns what is wrong, an empty list where nothing is.
 */
export function wrongInAudio(
  spec: MediaSpec,
  { samples, sampleRate, channels = 1 }: RawAudio,
  from: number,
): string[] {
  const mono = samples.subarray(0, samples.length / channels);
  const { packet } = (containers[spec.container] as Container).audio[spec.audio] as { packet: number };
  const start = Math.max(0, spec.offset);
  const end = from + mono.length / sampleRate;
  // Times on the clock at which the audio changes, and what it changes to.
  const [gapFrom, gapTo] = spec.gap ?? [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const expected = (at: number): number => {
    const own = at - start;
    if (own < 0 || own >= spec.seconds || (own >= gapFrom && own < gapTo)) return 0;
    return toneAt(Math.floor(own));
  };
  const edges = [start, start + gapFrom, start + gapTo, start + spec.seconds];
  const seconds = Array.from({ length: spec.seconds }, (_, i) => start + i);
  const wrong: string[] = [];
  const probe = (at: number) => {
    if (at < from || at + PROBE > end) return;
    const first = Math.round((at - from) * sampleRate);
    const part = mono.subarray(first, first + Math.round(PROBE * sampleRate));
    const wanted = expected(at);
    if (expected(at + PROBE) !== wanted) return;
    // Whole packets are coded: near an edge to silence one may sound, or be silent.
    const near = edges.some(
      (edge) => at + PROBE > edge - packet - TOLERANCE && at < edge + packet + TOLERANCE,
    );
    if (near && !nearExact(at)) return;
    const found = wanted === 0 && peak(part) < 0.05 ? 0 : toneOf(part, sampleRate);
    if (Math.abs(found - wanted) > 50)
      wrong.push(`${at.toFixed(3)} s: ${found.toFixed(0)} Hz for ${wanted} Hz`);
  };
  /** The first sample of all is where it is said to be, whatever the codec. */
  const nearExact = (at: number) =>
    Math.abs(at - start) < packet + 2 * TOLERANCE && gapFrom > 0.5 && at >= start;
  for (const edge of [...seconds, ...edges].filter(Number.isFinite)) {
    probe(edge - TOLERANCE - PROBE);
    probe(edge + TOLERANCE);
  }
  for (let at = from; at < end; at += 0.13) {
    if (seconds.every((edge) => at + PROBE < edge - TOLERANCE || at > edge + TOLERANCE)) probe(at);
  }
  return wrong;
}
