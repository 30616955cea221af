/** A picture with a sound, of which the middle is heard. */
import { encoded } from "./pictures.js";
import type { Scene, Surroundings, View } from "./scene.js";
import { around, type HeardPart, lengthOf, type Sound, wavOf } from "./sound.js";

export class StillScene implements Scene {
  readonly kind = "still";
  readonly name: string;
  readonly picture: HTMLCanvasElement;
  readonly sound: Sound;
  readonly media = new Audio();
  readonly #heard: HeardPart;
  readonly #surroundings: Surroundings;
  readonly #stop = new AbortController();
  #view: View | undefined;

  constructor(picture: HTMLCanvasElement, sound: Sound, name: string, surroundings: Surroundings) {
    this.picture = picture;
    this.sound = sound;
    this.name = name;
    this.#surroundings = surroundings;
    this.#heard = around(sound, lengthOf(sound) / 2, surroundings.seconds);
    this.media.src = URL.createObjectURL(wavOf(sound));
  }

  get width(): number {
    return this.picture.width;
  }

  get height(): number {
    return this.picture.height;
  }

  get duration(): number {
    return lengthOf(this.sound);
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
    const image = await encoded(this.picture, "image/png");
    const { logits, confidence } = await ask(image, this.#heard, signal);
    if (signal.aborted) return;
    this.#view = { logits, confidence, heard: this.#heard };
    onNews();
  }

  close(): void {
    this.#stop.abort();
    this.media.pause();
    URL.revokeObjectURL(this.media.src);
    this.media.removeAttribute("src");
  }
}
