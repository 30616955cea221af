/** A video: it plays while moments around the playhead are requested, and their results are kept. */

import { type AudioClip, around, decodeAudio, lengthOf } from "./audio.js";
import type { Pair } from "./files.js";
import { copyOf, encoded, fitted, LONGEST_SIDE } from "./images.js";
import { type Scene, type Surroundings, type View, viewBetween } from "./scene.js";
import { nextMoment, Timeline } from "./timeline.js";
import { onFrames, opened, seek } from "./video-frames.js";

const IN_FLIGHT = 2;
/** The decoded audio of a longer video would fill the browser's memory; in seconds. */
const LONGEST = 3600;

export class VideoScene implements Scene {
  readonly kind = "video";
  readonly name: string;
  readonly media: HTMLVideoElement;
  readonly width: number;
  readonly height: number;
  readonly duration: number;
  readonly #scout: HTMLVideoElement;
  readonly #url: string;
  readonly #audio: AudioClip;
  readonly #surroundings: Surroundings;
  readonly #timeline = new Timeline<View>();
  readonly #asked = new Set<number>();
  readonly #stop = new AbortController();
  /** The scout can be at one place at a time. */
  #frames: Promise<unknown> = Promise.resolve();
  #failed = false;
  #between: { readonly of: readonly unknown[]; readonly view: View } | undefined;

  private constructor(
    media: HTMLVideoElement,
    scout: HTMLVideoElement,
    url: string,
    audio: AudioClip,
    name: string,
    surroundings: Surroundings,
  ) {
    this.media = media;
    this.#scout = scout;
    this.#url = url;
    this.#audio = audio;
    this.name = name;
    this.#surroundings = surroundings;
    const size = fitted(media.videoWidth, media.videoHeight, LONGEST_SIDE);
    this.width = size.width;
    this.height = size.height;
    // A recording of the browser itself does not state its duration.
    this.duration = Number.isFinite(media.duration) ? media.duration : lengthOf(audio);
    const { signal } = this.#stop;
    media.addEventListener("timeupdate", () => this.#pump(), { signal });
    // After a failure the user's next action is a new attempt.
    for (const event of ["seeking", "play"]) media.addEventListener(event, () => this.start(), { signal });
    for (const event of ["seeked", "loadeddata"]) {
      media.addEventListener(event, () => surroundings.onNews(), { signal });
    }
    onFrames(media, () => surroundings.onNews(), signal);
  }

  /** @throws {Error} with a message for users when the browser cannot play the file. */
  static async open(file: Blob, name: string, surroundings: Surroundings): Promise<VideoScene> {
    const url = URL.createObjectURL(file);
    try {
      const [media, scout] = await Promise.all([opened(url, name), opened(url, name)]);
      scout.muted = true;
      if (media.videoWidth === 0)
        throw new Error(`${name} has no frames. Choose an image and an audio file instead.`);
      if (Number.isFinite(media.duration) && media.duration > LONGEST) {
        throw new Error(`${name} is longer than an hour. Choose a part of it.`);
      }
      const audio = await decodeAudio(file, surroundings.sampleRate, name);
      return new VideoScene(media, scout, url, audio, name, surroundings);
    } catch (error) {
      URL.revokeObjectURL(url);
      throw error;
    }
  }

  get image(): HTMLVideoElement {
    return this.media;
  }

  get time(): number {
    return this.media.currentTime;
  }

  get known(): readonly number[] {
    return this.#timeline.entries.map(({ time }) => time);
  }

  get view(): View | undefined {
    const neighbours = this.#timeline.around(this.time);
    if (!neighbours) return undefined;
    const of = [neighbours.before, neighbours.after, neighbours.share];
    if (!this.#between?.of.every((part, i) => part === of[i])) {
      this.#between = { of, view: viewBetween(neighbours) };
    }
    return this.#between?.view;
  }

  start(): void {
    this.#failed = false;
    this.#pump();
  }

  #pump(): void {
    while (!this.#failed && !this.#stop.signal.aborted && this.#asked.size < IN_FLIGHT) {
      const moment = nextMoment(this.time, this.duration, (time, step) => this.#taken(time, step));
      if (moment === undefined) return;
      this.#asked.add(moment);
      this.#ask(moment)
        .catch((error) => {
          if (this.#failed || this.#stop.signal.aborted) return;
          this.#failed = true;
          this.#surroundings.onFailure(error);
        })
        .finally(() => {
          this.#asked.delete(moment);
          this.#pump();
        });
    }
  }

  #taken(time: number, step: number): boolean {
    return (
      this.#timeline.covers(time, step) || [...this.#asked].some((asked) => Math.abs(asked - time) < step / 2)
    );
  }

  async #ask(moment: number): Promise<void> {
    const { ask, onNews, seconds } = this.#surroundings;
    const { signal } = this.#stop;
    const image = await this.#frameAt(moment);
    const audio = around(this.#audio, moment, seconds);
    const { logits, confidence } = await ask(image, audio, signal);
    if (signal.aborted) return;
    this.#timeline.add(moment, { logits, confidence, audio });
    onNews();
  }

  #frameAt(moment: number): Promise<Blob> {
    const frame = this.#frames.then(async () => {
      await seek(this.#scout, moment, this.#stop.signal);
      const { videoWidth, videoHeight } = this.#scout;
      const size = fitted(videoWidth, videoHeight, this.#surroundings.frameSide);
      return encoded(copyOf(this.#scout, size), "image/jpeg");
    });
    this.#frames = frame.catch(() => undefined);
    return frame;
  }

  close(): void {
    this.#stop.abort();
    for (const media of [this.media, this.#scout]) {
      media.pause();
      media.removeAttribute("src");
      media.load();
    }
    URL.revokeObjectURL(this.#url);
  }
}

/** The middle frame of a video, and its audio. */
export async function pairOf(file: Blob, name: string, sampleRate: number): Promise<Pair> {
  const url = URL.createObjectURL(file);
  let video: HTMLVideoElement | undefined;
  try {
    video = await opened(url, name);
    const audio = await decodeAudio(file, sampleRate, name);
    const duration = Number.isFinite(video.duration) ? video.duration : lengthOf(audio);
    await seek(video, duration / 2, new AbortController().signal);
    const image = copyOf(video, fitted(video.videoWidth, video.videoHeight, LONGEST_SIDE));
    return { image, audio, name };
  } finally {
    video?.removeAttribute("src");
    video?.load();
    URL.revokeObjectURL(url);
  }
}
