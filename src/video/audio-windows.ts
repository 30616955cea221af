/** The audio around one moment of a video after the other, through one decoder: memory holds little more than a window. */

import type { RawAudio } from "../core/types.js";
import { place, type SampleBlock } from "../media/decode-samples.js";
import type { Media } from "../media/media.js";
import { windowAround } from "../media/video.js";
import { isSilent } from "../model/silence.js";

export interface AudioWindow {
  /** As long as requested, or as the video; zeros where it has no audio. */
  readonly audio: RawAudio;
  readonly silent: boolean;
  /** In seconds. */
  readonly from: number;
}

export class AudioWindows {
  readonly #media: Media;
  readonly #seconds: number;
  #blocks: AsyncGenerator<SampleBlock, void, void> | undefined;
  #held: SampleBlock[] = [];
  #ended = false;
  /** Start of the last window. */
  #last = Number.NEGATIVE_INFINITY;

  /** @param seconds Length of a window. */
  constructor(media: Media, seconds: number) {
    this.#media = media;
    this.#seconds = seconds;
  }

  /**
   * The window whose middle is at a moment, in seconds; at the ends it is moved inside, as `decodeVideoAudio` moves it.
   * Moments must follow each other. Not to be called again before it has answered.
   * @throws {SoundspotError} as `Media.audio`.
   */
  async around(time: number): Promise<AudioWindow> {
    const { duration } = this.#media;
    const { from, to } = windowAround(time, this.#seconds, duration);
    if (from < this.#last) await this.close();
    this.#last = from;
    if (!this.#blocks) {
      this.#blocks = this.#media.audioBlocks({ from, to: duration });
      this.#ended = false;
    }
    this.#held = this.#held.filter((block) => endOf(block) > from);
    while (!this.#ended && endOf(this.#held.at(-1)) < to) {
      const { value, done } = await this.#blocks.next();
      if (done) this.#ended = true;
      else if (endOf(value) > from) this.#held.push(value);
    }
    const { audioTrack } = this.#media;
    const [first] = this.#held;
    const sampleRate = first?.sampleRate ?? (audioTrack?.sampleRate || 16_000);
    const channels = first?.channels ?? (audioTrack?.channels || 1);
    const samples = new Float32Array(channels * Math.round((to - from) * sampleRate));
    for (const block of this.#held) place(samples, block, from, sampleRate, channels);
    const audio = { samples, sampleRate, channels };
    return { audio, silent: isSilent(audio), from };
  }

  /** Ends the decoder. */
  async close(): Promise<void> {
    const blocks = this.#blocks;
    this.#blocks = undefined;
    this.#held = [];
    await blocks?.return();
  }
}

function endOf(block: SampleBlock | undefined): number {
  if (!block) return Number.NEGATIVE_INFINITY;
  return block.time + block.samples.length / block.channels / block.sampleRate;
}
