/** The sound around one moment of a video after the other, read in parts: memory holds one of them. */
import { isSoundspotError } from "../errors.js";
import { decodeAudio } from "../media/audio.js";
import type { VideoInfo } from "../media/video.js";
import type { RawAudio } from "../types.js";

/** Seconds of sound that are decoded at a time, beside a window's length. */
const PART = 30;
/** Root mean square below which nothing is heard: −60 dB. */
const SILENCE = 1e-3;

export interface SoundWindow {
  /** `seconds` long; zeros where the video has no sound. */
  readonly audio: RawAudio;
  readonly silent: boolean;
}

interface Part {
  /** In seconds. */
  readonly start: number;
  readonly end: number;
  readonly audio: RawAudio;
}

export class SoundWindows {
  readonly #path: string;
  readonly #info: VideoInfo;
  readonly #seconds: number;
  readonly #options: { readonly signal?: AbortSignal | undefined; readonly ffmpeg?: string | undefined };
  #part: Part | undefined;

  /** @param seconds Length of a window. */
  constructor(
    path: string,
    info: VideoInfo,
    seconds: number,
    options: { readonly signal?: AbortSignal | undefined; readonly ffmpeg?: string | undefined } = {},
  ) {
    this.#path = path;
    this.#info = info;
    this.#seconds = seconds;
    this.#options = options;
  }

  /**
   * The window whose middle is at a moment, in seconds; at the ends it is moved inside, as `decodeVideoAudio` moves it.
   * Quick for moments that follow each other. Not to be called again before it has answered.
   * @throws {SoundspotError} as `decodeAudio`.
   */
  async around(time: number): Promise<SoundWindow> {
    const start = Math.max(0, Math.min(time - this.#seconds / 2, this.#info.duration - this.#seconds));
    let part = this.#part;
    if (!part || start < part.start || start + this.#seconds > part.end) {
      part = await this.#read(Math.floor(start));
      this.#part = part;
    }
    return cut(part, start, this.#seconds);
  }

  async #read(start: number): Promise<Part> {
    const length = PART + this.#seconds + 1;
    const end = start + length;
    try {
      return {
        start,
        end,
        audio: await decodeAudio(this.#path, { ...this.#options, start, duration: length }),
      };
    } catch (error) {
      // The pictures go on after the sound has ended.
      if (!(isSoundspotError(error) && error.code === "ERR_AUDIO_EMPTY")) throw error;
      return { start, end, audio: { samples: new Float32Array(0), sampleRate: 16_000, channels: 1 } };
    }
  }
}

function cut({ start, audio }: Part, from: number, seconds: number): SoundWindow {
  const { samples, sampleRate, channels = 1 } = audio;
  const length = samples.length / channels;
  const count = Math.round(seconds * sampleRate);
  const first = Math.round((from - start) * sampleRate);
  const window = new Float32Array(channels * count);
  let power = 0;
  for (let channel = 0; channel < channels; channel++) {
    const own = samples.subarray(
      channel * length + Math.min(first, length),
      channel * length + Math.min(first + count, length),
    );
    window.set(own, channel * count);
    for (const sample of own) power += sample * sample;
  }
  return {
    audio: { samples: window, sampleRate, channels },
    silent: Math.sqrt(power / window.length) < SILENCE,
  };
}
