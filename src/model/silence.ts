/** Whether audio is silent: silence has no source in an image. */
import type { ModelConfig } from "../config/model.js";
import type { RawAudio } from "../core/types.js";
import { firstOf } from "./placement.js";

/** −60 dB of full scale. */
export const SILENCE_PEAK = 1e-3;

/**
 * Whether no sample of the audio window reaches −60 dBFS.
 * @param window Where it is in the audio. Default all.
 */
export function isSilent(
  { samples, sampleRate, channels = 1 }: RawAudio,
  window?: Pick<ModelConfig["audio"], "seconds" | "placement" | "channels">,
): boolean {
  const frames = samples.length / channels;
  const wanted = window ? Math.round(window.seconds * sampleRate) : frames;
  const first = window ? firstOf(window.placement, frames - wanted, sampleRate) : 0;
  const count = Math.min(frames, wanted);
  const seen = window?.channels === "first" ? 1 : channels;
  for (let channel = 0; channel < seen; channel++) {
    for (let i = first; i < first + count; i++) {
      // Audio that ends before the window is repeated.
      const at = i < frames ? i : i % frames;
      if (Math.abs(samples[channel * frames + at] as number) >= SILENCE_PEAK) return false;
    }
  }
  return true;
}
