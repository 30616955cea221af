/** Sound in: WAV by our own parser, everything else through ffmpeg, as planar float samples. */
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SoundspotError, throwIfAborted } from "../errors.js";
import type { RawAudio } from "../types.js";
import { ffmpegReason, inputArgs, runFfmpeg } from "./ffmpeg.js";
import { checkMediaFile, readMediaFile } from "./image.js";
import { checkTimes, frameRange, inSlices, isWav, parseWav, readWavHeader, startPastEnd } from "./wav.js";

/** A path, an encoded sound or video, or raw samples. */
export type AudioSource = string | Uint8Array | RawAudio;

export interface DecodeAudioOptions {
  readonly signal?: AbortSignal | undefined;
  /** Path of ffmpeg; by default it is searched for. WAV does not need it. */
  readonly ffmpeg?: string | undefined;
  /** First moment wanted, in seconds, at least 0. Default 0. */
  readonly start?: number | undefined;
  /** Length wanted, in seconds; less comes when the sound ends before. Default to the end. */
  readonly duration?: number | undefined;
}

/**
 * Decodes a sound, or the first audio stream of a video, at its own rate and with its own channels,
 * to planar samples `[channels, frames]`, nominally in [−1, 1]. Raw samples are checked and, without
 * a range, returned as they are.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_MEDIA_DECODE when it is damaged or
 * not media; ERR_NO_AUDIO for a video without sound; ERR_AUDIO_EMPTY when it has no samples;
 * ERR_AUDIO_NOT_FINITE for NaN or infinite samples; ERR_INPUT for raw samples that do not fit their
 * channels or a range outside the sound; ERR_FFMPEG_MISSING; ERR_ABORTED.
 * @example
 * const { samples, sampleRate, channels } = await decodeAudio("dog.mp3", { start: 2, duration: 5 });
 */
export async function decodeAudio(source: AudioSource, options: DecodeAudioOptions = {}): Promise<RawAudio> {
  throwIfAborted(options.signal);
  checkTimes(options);
  const name =
    typeof source === "string" ? source : source instanceof Uint8Array ? "The audio buffer" : "Raw audio";
  const audio = await decodeSource(source, name, options);
  if (audio.samples.length === 0) {
    throw new SoundspotError(
      "ERR_AUDIO_EMPTY",
      `${name} has no samples: its sound is 0 s long. Give another file.`,
    );
  }
  await checkFinite(audio, name, options.signal);
  return audio;
}

async function decodeSource(
  source: AudioSource,
  name: string,
  options: DecodeAudioOptions,
): Promise<RawAudio> {
  if (typeof source === "string") {
    await checkMediaFile(source);
    // Only WAV is read into memory: a film stays on the disk.
    if (!isWav(await firstBytes(source))) return decodeWithFfmpeg(source, name, options);
    const bytes = await readMediaFile(source, options.signal);
    return isOwnWav(bytes, name)
      ? parseWav(bytes, { ...options, name })
      : decodeWithFfmpeg(source, name, options);
  }
  if (source instanceof Uint8Array) {
    if (source.length === 0) {
      throw new SoundspotError("ERR_FILE_EMPTY", `${name} is empty (0 bytes). Give an encoded sound.`);
    }
    return isOwnWav(source, name)
      ? parseWav(source, { ...options, name })
      : decodeBuffer(source, name, options);
  }
  return cutRawAudio(checkRawAudio(source), name, options);
}

async function firstBytes(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(12), 0, 12, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function isOwnWav(bytes: Uint8Array, name: string): boolean {
  return isWav(bytes) && readWavHeader(bytes, name).encoding !== "other";
}

/** Through a file, not a pipe: MP4 keeps its index at the end, which a pipe cannot reach. */
async function decodeBuffer(bytes: Uint8Array, name: string, options: DecodeAudioOptions): Promise<RawAudio> {
  const folder = await mkdtemp(join(tmpdir(), "soundspot-"));
  try {
    const path = join(folder, "audio");
    await writeFile(path, bytes);
    return await decodeWithFfmpeg(path, name, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function decodeWithFfmpeg(path: string, name: string, options: DecodeAudioOptions): Promise<RawAudio> {
  const { start = 0, duration, signal } = options;
  // Decoders lose the first packet after a seek, so the last second before `start` is decoded and dropped.
  const lead = Math.min(start, 1);
  const { stdout, stderr, code } = await runFfmpeg(
    [
      ...inputArgs(path, start - lead),
      ...(lead > 0 ? ["-ss", lead.toFixed(6)] : []),
      ...(duration === undefined || duration === Number.POSITIVE_INFINITY ? [] : ["-t", duration.toFixed(6)]),
      ...["-map", "0:a:0", "-vn", "-sn", "-dn"],
      // A WAV header carries the native rate and channel count, so nothing need be probed.
      ...["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"],
    ],
    { signal, ffmpeg: options.ffmpeg },
  );
  if (/matches no streams/.test(stderr) && !isGuess(stderr)) {
    throw new SoundspotError("ERR_NO_AUDIO", `${name} has no audio stream. Give a file with sound.`);
  }
  const readable = code === 0 && isWav(stdout);
  const audio = readable ? await parseWav(stdout, { name, signal }) : undefined;
  if (audio && audio.samples.length > 0) return audio;
  const seconds = durationIn(stderr);
  if (start > 0 && seconds !== undefined && start >= seconds) {
    throw new SoundspotError("ERR_INPUT", startPastEnd(name, start, seconds));
  }
  if (audio && !/error|invalid/i.test(stderr)) return audio;
  throw new SoundspotError(
    "ERR_MEDIA_DECODE",
    `${name} cannot be decoded as sound: ${ffmpegReason(stderr)}. Check that it is a whole audio or video file.`,
  );
}

/** ffmpeg takes any text for terminal art, a video; such a file is junk to us. */
function isGuess(stderr: string): boolean {
  return /^Input #0, (tty|ansi|bin|xbin)\b/m.test(stderr);
}

function durationIn(stderr: string): number | undefined {
  const match = /Duration: (\d+):(\d+):([\d.]+)/.exec(stderr);
  return match ? Number(match[1]) * 3600 + Number(match[2]) * 60 + Number(match[3]) : undefined;
}

function checkRawAudio(audio: RawAudio): Required<RawAudio> {
  if (typeof audio !== "object" || audio === null || !(audio.samples instanceof Float32Array)) {
    throw new SoundspotError(
      "ERR_INPUT",
      "A sound must be a path, an encoded buffer or { samples: Float32Array, sampleRate, channels? }.",
    );
  }
  const { samples, sampleRate, channels = 1 } = audio;
  if (!(Number.isFinite(sampleRate) && sampleRate > 0)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: sampleRate must be in hertz, above 0, got ${sampleRate}.`,
    );
  }
  if (!Number.isInteger(channels) || channels < 1 || samples.length % channels !== 0) {
    throw new SoundspotError(
      "ERR_INPUT",
      `Raw audio: ${samples.length} samples do not divide into ${channels} channels. Samples are planar, channels × frames.`,
    );
  }
  return { samples, sampleRate, channels };
}

function cutRawAudio(audio: Required<RawAudio>, name: string, options: DecodeAudioOptions): RawAudio {
  if (options.start === undefined && options.duration === undefined) return audio;
  const { samples, sampleRate, channels } = audio;
  const frames = samples.length / channels;
  const { first, count } = frameRange(frames, sampleRate, options, name);
  const cut = new Float32Array(channels * count);
  for (let channel = 0; channel < channels; channel++) {
    const from = channel * frames + first;
    cut.set(samples.subarray(from, from + count), channel * count);
  }
  return { samples: cut, sampleRate, channels };
}

async function checkFinite(audio: RawAudio, name: string, signal: AbortSignal | undefined): Promise<void> {
  const { samples } = audio;
  let bad = -1;
  await inSlices(samples.length, 65536, signal, (from, to) => {
    for (let i = from; i < to && bad < 0; i++) {
      if (!Number.isFinite(samples[i])) bad = i;
    }
  });
  if (bad >= 0) {
    throw new SoundspotError(
      "ERR_AUDIO_NOT_FINITE",
      `${name}: sample ${bad} is ${samples[bad]}. Samples must be finite; export the sound again.`,
    );
  }
}
