/** Resampling as torchaudio does it, and the form in which the addon takes audio. */
import type { RawAudio, TensorData } from "../core/types.js";
import { native, type PrepareInput } from "../native.js";

/** Audio as the addon takes it; its memory is shared. */
export function rawAudio(audio: RawAudio): NonNullable<PrepareInput["audio"]> {
  return { samples: audio.samples, channels: audio.channels ?? 1, sampleRate: audio.sampleRate };
}

/** Resamples to `sampleRate`, in hertz. @returns [channels, frames] */
export function resample(audio: RawAudio, sampleRate: number): Promise<TensorData> {
  return native().resample(rawAudio(audio), sampleRate);
}
