/** Copies of a caller's raw images and audio: the addon reads while the caller may change them. */

import { isBytes } from "../core/arguments.js";
import { copied } from "../core/tensors.js";
import type { RawAudio, RawImage } from "../core/types.js";

/** A copy of a decoded image. */
export function ownImage({ data, width, height }: RawImage): RawImage {
  return { data: new Uint8Array(data), width, height };
}

/** A copy of decoded audio. */
export function ownAudio({ samples, sampleRate, channels }: RawAudio): RawAudio {
  return { samples: copied(samples), sampleRate, ...(channels ? { channels } : {}) };
}

/** Whether samples or pixels are given themselves, with nothing to decode. */
export function isRaw(source: unknown): boolean {
  return typeof source === "object" && !isBytes(source);
}
