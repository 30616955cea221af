/** RIFF WAV without ffmpeg: PCM of 8 to 32 bits, float of 32 and 64, extensible formats, RF64 and BW64. */

import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { Pacer } from "../core/pacer.js";
import type { RawAudio } from "../core/types.js";
import { changing, limitOf } from "./limits.js";
import { FORMAT_BYTES, FORMAT_PCM, readWavFormat, type WavFormat } from "./wav-format.js";

export interface WavHeader extends WavFormat {
  /** Where the samples begin, in bytes. */
  readonly dataOffset: number;
  /** Samples a channel; 0 when the encoding is "other". */
  readonly frames: number;
}

export interface ParseWavOptions {
  /** What errors call the input. Default "The WAV data". */
  readonly name?: string | undefined;
  /** First moment wanted, in seconds. Default 0. */
  readonly start?: number | undefined;
  /** Length wanted, in seconds; less comes when the file ends before. Default all. */
  readonly duration?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes that can be read in pieces: a file, or memory. */
export interface ByteSource {
  readonly size: number;
  /** How many to ask for at a time. */
  readonly blockBytes: number;
  /** Bytes from `offset` on; fewer than `length` at the end. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
}

/** What RF64 and streaming writers put for a size that stands elsewhere, or that they do not know. */
const UNKNOWN_SIZE = 0xffffffff;
/** Ahead of the samples; more is no audio file, but would take long to scan. */
const MAX_CHUNKS = 10_000;
/** Chunks whose long sizes a `ds64` chunk may list; more is no audio file. */
const MAX_LONG_SIZES = 1000;
/** The three names that the form has. */
const FORMS = ["RIFF", "RF64", "BW64"];

/** Whether bytes begin as a RIFF, RF64 or BW64 WAV file does. */
export function isWav(bytes: Uint8Array): boolean {
  if (bytes.length < 12) return false;
  return FORMS.includes(fourCC(bytes, 0)) && fourCC(bytes, 8) === "WAVE";
}

/**
 * Finds the format and the samples of a WAV file.
 *
 * A size of the samples that reaches past the end of the file means "to the end": a program that writes to a pipe puts
 * a placeholder there. So does a size of 0 where no chunk follows, as a recorder leaves it that was ended.
 *
 * @throws {SoundspotError} ERR_MEDIA_DECODE when it is no WAV, has no `fmt ` or `data` chunk, or its fields contradict
 * each other, naming the field.
 */
export function readWavHeader(bytes: Uint8Array, name = "The WAV data"): WavHeader {
  const search = searchHeader(bytes.length, name);
  let step = search.next();
  while (!step.done) {
    const { offset, length } = step.value;
    step = search.next(bytes.subarray(offset, offset + length));
  }
  return step.value;
}

/**
 * The same for bytes that need not be in memory.
 * @throws {SoundspotError} as {@link readWavHeader}.
 */
export async function findWavHeader(source: ByteSource, name: string): Promise<WavHeader> {
  const search = searchHeader(source.size, name);
  let step = search.next();
  while (!step.done) {
    const { offset, length } = step.value;
    step = search.next(await source.read(offset, length));
  }
  return step.value;
}

/** Requests pieces of a file, which are shorter at its end, until the samples are found. */
function* searchHeader(
  size: number,
  name: string,
): Generator<{ readonly offset: number; readonly length: number }, WavHeader, Uint8Array> {
  const riff = yield { offset: 0, length: 12 };
  if (!isWav(riff)) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} is not a WAV file: it does not begin with RIFF … WAVE.`,
    );
  }
  let format: WavFormat | undefined;
  const longSizes = new Map<string, number>();
  for (let offset = 12, chunks = 0; offset + 8 <= size && chunks < MAX_CHUNKS; chunks++) {
    const chunk = yield { offset, length: 8 + FORMAT_BYTES };
    const view = viewOf(chunk);
    const id = fourCC(chunk, 0);
    const short = view.getUint32(4, true);
    const stated = short === UNKNOWN_SIZE ? (longSizes.get(id) ?? short) : short;
    const body = offset + 8;
    if (id === "ds64" && stated >= 16 && body + 16 <= size) {
      longSizes.set("data", longSize(view, 16));
      const count =
        stated >= 28 && body + 28 <= size ? Math.min(view.getUint32(32, true), MAX_LONG_SIZES) : 0;
      const table = yield { offset: body + 28, length: count * 12 };
      for (let at = 0; at + 12 <= table.length; at += 12) {
        const listed = fourCC(table, at);
        if (!longSizes.has(listed)) longSizes.set(listed, longSize(viewOf(table), at + 4));
      }
    } else if (id === "fmt " && stated >= 16 && body + stated <= size) {
      const read = readWavFormat(view, 8, stated, name);
      if (format && JSON.stringify(format) !== JSON.stringify(read)) {
        throw new SoundspotError(
          "ERR_MEDIA_DECODE",
          `${name} has two fmt chunks that contradict each other. Export it again.`,
        );
      }
      format = read;
    } else if (id === "data") {
      if (!format) break;
      const present = size - body;
      const next = yield { offset: body + stated, length: 9 };
      const open = stated > present || (stated < present && isOpen(stated, present, next, riff));
      const bytes = open ? present : stated;
      const frameBytes = format.channels * format.bytesPerSample;
      const frames = format.encoding === "other" ? 0 : Math.floor(bytes / frameBytes);
      return { ...format, dataOffset: body, frames };
    }
    const end = body + stated;
    offset = end % 2 === 0 ? end : end + padding(yield { offset: end, length: 9 });
  }
  const missing = format ? "data" : "fmt";
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} has no ${missing} chunk: it is truncated or damaged. Export it again.`,
  );
}

/**
 * Decodes WAV to planar samples in [−1, 1]; integers are divided by half their range. Long files are
 * converted in slices between which the event loop runs.
 *
 * @throws {SoundspotError} ERR_MEDIA_DECODE as {@link readWavHeader} does and for compressed formats;
 * ERR_INPUT when `start` is past the end; ERR_ABORTED.
 */
export async function parseWav(bytes: Uint8Array, options: ParseWavOptions = {}): Promise<RawAudio> {
  return readWavSamples(bytesInMemory(bytes), readWavHeader(bytes, options.name), options);
}

/**
 * Decodes the samples that a header found, and reads no others.
 *
 * @throws {SoundspotError} ERR_MEDIA_DECODE for compressed formats, for missing bytes and
 * for more samples than fit into memory; ERR_INPUT when `start` is past the end; ERR_ABORTED.
 */
export async function readWavSamples(
  source: ByteSource,
  header: WavHeader,
  options: ParseWavOptions = {},
): Promise<RawAudio> {
  const { name = "The WAV data", signal } = options;
  const { channels, bytesPerSample, sampleRate, dataOffset } = header;
  const format = sampleFormats[`${header.encoding}${bytesPerSample * 8}`];
  if (!format) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} holds WAV format ${header.formatTag} with ${bytesPerSample * 8} bits, which is not plain PCM or float. ` +
        "Convert it, for example with: ffmpeg -i in.wav -c:a pcm_s16le out.wav",
    );
  }
  const { first, count } = frameRange(header.frames, sampleRate, options, name);
  if (channels * count > limitOf("SOUNDSPOT_MAX_SAMPLES")) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} has ${channels * count} samples, more than are decoded at once. ` +
        `Decode a part: give start and duration. ${changing("SOUNDSPOT_MAX_SAMPLES")}.`,
    );
  }
  throwIfAborted(signal);
  const samples = new Float32Array(channels * count);
  const frameBytes = channels * bytesPerSample;
  const slice = Math.max(1, Math.floor(8192 / channels));
  const block = slice * Math.max(1, Math.floor(source.blockBytes / (slice * frameBytes)));
  // A function of its own is compiled as a whole.
  const convert = (from: number, values: SampleValues) => {
    const { zero, scale } = format;
    for (let channel = 0; channel < channels; channel++) {
      let to = channel * count + from;
      for (let at = channel; at < values.length; at += channels) {
        samples[to++] = ((values[at] as number) - zero) * scale;
      }
    }
  };
  const pacer = new Pacer(signal);
  for (let done = 0; done < count; done += block) {
    const end = Math.min(count, done + block);
    const bytes = await source.read(dataOffset + (first + done) * frameBytes, (end - done) * frameBytes);
    if (bytes.length < (end - done) * frameBytes) throw cutOff(name, "its end is missing");
    for (let from = done; from < end; from += slice) {
      const [begin, stop] = [(from - done) * frameBytes, (Math.min(end, from + slice) - done) * frameBytes];
      convert(from, format.read(bytes.subarray(begin, stop)));
      if (pacer.due) await pacer.rest();
    }
  }
  return { samples, sampleRate, channels };
}

/** Bytes that are there already. */
export function bytesInMemory(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    blockBytes: Number.POSITIVE_INFINITY,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * Encodes audio as 16-bit PCM WAV. Samples outside [−1, 1] are clipped. Synchronous: about 5 ms a
 * million samples.
 *
 * @throws {SoundspotError} ERR_INPUT when the samples do not divide into the channels.
 * @example
 * writeFileSync("tone.wav", encodeWav({ samples, sampleRate: 16_000 }));
 */
export function encodeWav(audio: RawAudio): Uint8Array {
  const { samples, sampleRate, channels = 1 } = audio;
  if (!Number.isInteger(channels) || channels < 1 || samples.length % channels !== 0) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: ${samples.length} samples do not divide into ${channels} channels.`,
    );
  }
  const frames = samples.length / channels;
  const bytes = new Uint8Array(44 + samples.length * 2);
  const view = viewOf(bytes);
  bytes.set(Buffer.from("RIFF\0\0\0\0WAVEfmt ", "latin1"), 0);
  view.setUint32(4, bytes.length - 8, true);
  view.setUint32(16, 16, true);
  view.setUint16(20, FORMAT_PCM, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, Math.round(sampleRate), true);
  view.setUint32(28, Math.round(sampleRate) * channels * 2, true);
  view.setUint16(32, channels * 2, true);
  view.setUint16(34, 16, true);
  bytes.set(Buffer.from("data", "latin1"), 36);
  view.setUint32(40, samples.length * 2, true);
  let at = 44;
  for (let frame = 0; frame < frames; frame++) {
    for (let channel = 0; channel < channels; channel++) {
      const scaled = Math.round((samples[channel * frames + frame] ?? 0) * 32768);
      view.setInt16(at, Math.max(-32768, Math.min(32767, scaled)), true);
      at += 2;
    }
  }
  return bytes;
}

/**
 * Which samples of a channel `start` and `duration`, in seconds, ask for.
 * @throws {SoundspotError} ERR_INPUT when they are not in range.
 */
export function frameRange(
  frames: number,
  sampleRate: number,
  range: { readonly start?: number | undefined; readonly duration?: number | undefined },
  name: string,
): { first: number; count: number } {
  checkTimes(range);
  const { start = 0, duration = Number.POSITIVE_INFINITY } = range;
  const first = Math.round(start * sampleRate);
  if (first > 0 && first >= frames) {
    throw new SoundspotError("ERR_INPUT", startPastEnd(name, start, frames / sampleRate));
  }
  return { first, count: Math.min(frames - first, Math.max(1, Math.round(duration * sampleRate))) };
}

/** @throws {SoundspotError} ERR_INPUT when `start` is negative or `duration` not positive. */
export function checkTimes(range: {
  readonly start?: number | undefined;
  readonly duration?: number | undefined;
}): void {
  if (range.start !== undefined && !(Number.isFinite(range.start) && range.start >= 0)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `start must be a number of seconds, at least 0, got ${range.start}.`,
    );
  }
  if (range.duration !== undefined && !(range.duration > 0)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `duration must be a number of seconds above 0, got ${range.duration}.`,
    );
  }
}

/** The message for a start at or after the end of audio of `seconds`. */
export function startPastEnd(name: string, start: number, seconds: number): string {
  return `${name} lasts ${seconds.toFixed(3)} s, but start is ${start} s. Give a start in [0, ${seconds.toFixed(3)}).`;
}

/** Whether a size that ends within the file was never filled in, or counted in 32 bits and begun again. */
function isOpen(stated: number, present: number, next: Uint8Array, riff: Uint8Array): boolean {
  const left = present - stated;
  const isChunk = (at: 0 | 1) => isChunkId(next, at) && viewOf(next).getUint32(at + 4, true) <= left - at - 8;
  if (isChunk(0) || isChunk(1)) return false;
  return stated === 0 || (fourCC(riff, 0) === "RIFF" && left >= 2 ** 32);
}

function longSize(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function cutOff(name: string, how: string): SoundspotError {
  return new SoundspotError("ERR_MEDIA_DECODE", `${name} is truncated: ${how}. Copy or download it again.`);
}

/** Chunks begin at even offsets, but some writers forget the padding byte. */
function padding(next: Uint8Array): 0 | 1 {
  return isChunkId(next, 0) && !isChunkId(next, 1) ? 0 : 1;
}

function isChunkId(bytes: Uint8Array, offset: number): boolean {
  return offset + 8 <= bytes.length && /^[A-Za-z0-9 _-]{4}$/.test(fourCC(bytes, offset));
}

type SampleValues = Uint8Array | Int16Array | Int32Array | Float32Array | Float64Array;

/** How samples lie in a file: (value − zero) · scale is in [−1, 1]. */
interface SampleFormat {
  readonly zero: number;
  readonly scale: number;
  read(bytes: Uint8Array): SampleValues;
}

/** By encoding and bits. WAV is little-endian, as every machine is that LibTorch runs on. */
const sampleFormats: Readonly<Record<string, SampleFormat>> = {
  pcm8: { zero: 128, scale: 1 / 128, read: (bytes) => bytes },
  pcm16: { zero: 0, scale: 2 ** -15, read: (bytes) => new Int16Array(...aligned(bytes, 2)) },
  pcm24: { zero: 0, scale: 2 ** -31, read: widened },
  pcm32: { zero: 0, scale: 2 ** -31, read: (bytes) => new Int32Array(...aligned(bytes, 4)) },
  float32: { zero: 0, scale: 1, read: (bytes) => new Float32Array(...aligned(bytes, 4)) },
  float64: { zero: 0, scale: 1, read: (bytes) => new Float64Array(...aligned(bytes, 8)) },
};

/** The memory, or a copy where values of `size` bytes cannot be read from it, and how many values there are. */
function aligned(bytes: Uint8Array, size: number): [ArrayBufferLike, number, number] {
  const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return [buffer, byteOffset, length / size];
}

/** 24 bits become the upper ones of 32. */
function widened(bytes: Uint8Array): Int32Array {
  const values = new Int32Array(bytes.length / 3);
  for (let i = 0, at = 0; i < values.length; i++, at += 3) {
    const [low, middle, high] = [bytes[at] as number, bytes[at + 1] as number, bytes[at + 2] as number];
    values[i] = (low << 8) | (middle << 16) | (high << 24);
  }
  return values;
}

function fourCC(bytes: Uint8Array, offset: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + 4));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
