/** An image with audio, whose middle is the audio window. */

import { type AudioClip, type AudioWindow, around, lengthOf, wavOf } from "./audio.js";
import { encoded } from "./images.js";
import type { Scene, Surroundings, View } from "./scene.js";

export class StillScene implements Scene {
  readonly kind = "still";
  readonly name: string;
  readonly image: HTMLCanvasElement;
  readonly audio: AudioClip;
  readonly media = new Audio();
  readonly #window: AudioWindow;
  readonly #surroundings: Surroundings;
  readonly #stop = new AbortController();
  #view: View | undefined;

  constructor(image: HTMLCanvasElement, audio: AudioClip, name: string, surroundings: Surroundings) {
    this.image = image;
    this.audio = audio;
    this.name = name;
    this.#surroundings = surroundings;
    this.#window = around(audio, lengthOf(audio) / 2, surroundings.seconds);
    this.media.src = URL.createObjectURL(wavOf(audio));
  }

  get width(): number {
    return this.image.width;
  }

  get height(): number {
    return this.image.height;
  }

  get duration(): number {
    return lengthOf(this.audio);
  }

  get time(): number {
    return this.media.currentTime;
  }

  get view(): View | undefined {
    return this.#view;
  }

  start(): void {
    this.#ask().catch((error) => {
      if (!this.#stop.signal.aborted) this.#surroundings.onFailure(error);
    });
  }

  async #ask(): Promise<void> {
    const { ask, onNews } = this.#surroundings;
    const { signal } = this.#stop;
    const image = await encoded(this.image, "image/png");
    const { logits, confidence } = await ask(image, this.#window, signal);
    if (signal.aborted) return;
    this.#view = { logits, confidence, audio: this.#window };
    onNews();
  }

  close(): void {
    this.#stop.abort();
    this.media.pause();
    URL.revokeObjectURL(this.media.src);
    this.media.removeAttribute("src");
  }
}
