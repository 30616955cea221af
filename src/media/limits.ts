/** Limits on what a file may need: a few bytes can promise images and audio that fill any memory. */
import { SoundspotError } from "../core/errors.js";

/** By the names of the variables of the environment that change them. */
const DEFAULTS = {
  /** Of an encoded image: 400 MB of RGB, more than any camera gives. */
  SOUNDSPOT_MAX_PIXELS: 2 ** 27,
  /** Of a frame of a video: 8K. Decoders keep up to a score of frames. */
  SOUNDSPOT_MAX_FRAME_PIXELS: 2 ** 25,
  /** Of all channels, decoded at once: they take 1 GiB. */
  SOUNDSPOT_MAX_SAMPLES: 2 ** 28,
  /** Length of a video: a day. */
  SOUNDSPOT_MAX_VIDEO_SECONDS: 86_400,
  /** Of waiting for an image, a frame or audio to be decoded. */
  SOUNDSPOT_MAX_DECODE_SECONDS: 600,
} as const;

export type LimitName = keyof typeof DEFAULTS;

/**
 * A limit, as the environment sets it at the moment, or its default.
 * @throws {SoundspotError} ERR_CONFIG when the environment has no number of at least 1 for it.
 */
export function limitOf(name: LimitName): number {
  const set = process.env[name];
  if (!set) return DEFAULTS[name];
  const value = Number(set);
  if (value >= 1 && value <= Number.MAX_SAFE_INTEGER) return Math.floor(value);
  throw new SoundspotError(
    "ERR_CONFIG",
    `${name} must be a number of at least 1; the environment has ${set}.`,
  );
}

/** For messages: states the limit and how to change it. */
export function changing(name: LimitName): string {
  return `The limit is ${limitOf(name)}: if you trust the file, set ${name} in the environment to more`;
}
