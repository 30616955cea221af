/** The preprocessing by itself, for comparisons with other implementations. */

import { type ModelConfig, parseModelConfig } from "../config/model.js";
import { aCount, aSignal, check, checkFields } from "../core/arguments.js";
import { throwIfAborted } from "../core/errors.js";
import type { RawAudio, TensorData } from "../core/types.js";
import { type AudioSource, checkRawSamples } from "../media/audio.js";
import { decodeImage, type ImageSource } from "../media/image.js";
import { resample } from "../media/resample.js";
import { native } from "../native.js";
import { audioWindow } from "./audio-window.js";
import { releaseSamples } from "./inputs.js";
import { isRaw, ownAudio, ownImage } from "./raw.js";

async function tensorsOf(...of: Parameters<ReturnType<typeof native>["prepare"]>) {
  const handle = await native().prepare(...of);
  const tensors = native().tensors(handle);
  releaseSamples([handle]);
  return tensors;
}

/** The preprocessing by itself, for comparisons with other implementations. */
export const preprocess = {
  /** Resized to the square and normalised: [3, size, size]. */
  async image(
    source: ImageSource,
    config: ModelConfig,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<TensorData> {
    config = parseModelConfig(config);
    checkFields(options, { signal: aSignal });
    const { signal } = options;
    const decoded = await decodeImage(source, { signal });
    const image = isRaw(source) ? ownImage(decoded) : decoded;
    const { image: tensor } = await tensorsOf({ image }, config);
    throwIfAborted(signal);
    return tensor as TensorData;
  },
  /** Log spectrogram of the audio window: [1, F, T]. */
  async audio(
    source: AudioSource,
    config: ModelConfig,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<TensorData> {
    config = parseModelConfig(config);
    checkFields(options, { signal: aSignal });
    const { signal } = options;
    const { audio, config: own } = await audioWindow(source, config, signal);
    const { spectrogram } = await tensorsOf({ audio }, own);
    throwIfAborted(signal);
    return spectrogram as TensorData;
  },
  /** Resampled as torchaudio does: [channels, frames]. */
  async resample(audio: RawAudio, sampleRate: number): Promise<TensorData> {
    check(sampleRate, aCount, "sampleRate");
    return resample(ownAudio(checkRawSamples(audio)), sampleRate);
  },
};
