/** Whether audio is silent: silence has no source in an image. */
import type { RawAudio } from "../core/types.js";

/** −60 dB of full scale. */
export const SILENCE_PEAK = 1e-3;

/**
 * Whether no sample of the audio window reaches −60 dBFS.
 * @param seconds Length of the window, in the middle of the audio. Default all.
 */
export function isSilent({ samples, sampleRate, channels = 1 }: RawAudio, seconds?: number): boolean {
  const frames = samples.length / channels;
  const count = seconds === undefined ? frames : Math.min(frames, Math.round(seconds * sampleRate));
  const first = Math.floor((frames - count) / 2);
  for (let channel = 0; channel < channels; channel++) {
    const from = channel * frames + first;
    for (let i = from; i < from + count; i++)
      if (Math.abs(samples[i] as number) >= SILENCE_PEAK) return false;
  }
  return true;
}
