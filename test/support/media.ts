/** What tests of media share: fixtures, what `localize` used of a video, and tones in samples. */
import { execFileSync } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { fileURLToPath } from "node:url";
import type { RawAudio, RawImage } from "../../src/core/types.js";
import { findFfmpeg } from "../../src/media/ffmpeg.js";
import type { VideoSample } from "../../src/model/audio-window.js";

/** Path of a file with a known answer. */
export const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/cases/${name}`, import.meta.url));

/** Runs ffmpeg to its end. */
export async function ffmpeg(...args: string[]): Promise<void> {
  const { path } = await findFfmpeg();
  execFileSync(path, ["-nostdin", "-v", "error", "-y", ...args]);
}

/** What `localize` took of videos while `work` ran. */
export async function usedBy(work: () => Promise<unknown>): Promise<VideoSample[]> {
  const samples: VideoSample[] = [];
  const collect = (sample: unknown) => void samples.push(sample as VideoSample);
  subscribe("soundspot:video-sample", collect);
  try {
    await work();
  } finally {
    unsubscribe("soundspot:video-sample", collect);
  }
  return samples;
}

/** One channel of an interval, in seconds of the samples. */
export function part(
  { samples, sampleRate, channels = 1 }: RawAudio,
  from: number,
  to: number,
): Float32Array {
  const frames = samples.length / channels;
  return samples.subarray(
    Math.max(0, Math.round(from * sampleRate)),
    Math.min(frames, Math.round(to * sampleRate)),
  );
}

export const peak = (samples: Float32Array) =>
  samples.reduce((high, sample) => Math.max(high, Math.abs(sample)), 0);

/** Frequency of a pure tone in hertz by its zero crossings; 0 of silence. */
export function toneOf(samples: Float32Array, sampleRate: number): number {
  if (peak(samples) < 0.01) return 0;
  const crossings: number[] = [];
  for (let i = 1; i < samples.length; i++) {
    const [before, after] = [samples[i - 1] as number, samples[i] as number];
    if (before < 0 && after >= 0) crossings.push(i - 1 + before / (before - after));
  }
  const [first = 0, last = 0] = [crossings[0], crossings.at(-1)];
  return last > first ? ((crossings.length - 1) * sampleRate) / (last - first) : 0;
}

/** Seconds from the start of the samples to the first that reaches a level. */
export function firstAbove({ samples, sampleRate, channels = 1 }: RawAudio, level = 0.05): number {
  const index = samples
    .subarray(0, samples.length / channels)
    .findIndex((sample) => Math.abs(sample) >= level);
  return index < 0 ? Number.POSITIVE_INFINITY : index / sampleRate;
}

/** Value of a pixel's first channel. */
export const level = ({ data, width, height }: RawImage) =>
  data[((height >> 1) * width + (width >> 1)) * 3] as number;
