/** Two images with their audio: the audio is exchanged, and both maps are computed again. */

import { around, lengthOf, wavOf } from "./audio.js";
import { block, button, canvas, decimal, input } from "./dom.js";
import { acceptFiles, type Pair, readParts, sorted } from "./files.js";
import { encoded } from "./images.js";
import { Painter } from "./painter.js";
import { hideProblem, showProblem } from "./problem.js";
import { drawSample } from "./sample.js";
import type { Surroundings, View } from "./scene.js";
import type { Settings } from "./settings.js";
import { pairOf } from "./video-scene.js";

const SIDES = ["left", "right"] as const;
type Side = 0 | 1;

export class ExchangeView {
  readonly #settings: Settings;
  readonly #surroundings: Omit<Surroundings, "onNews" | "onFailure">;
  readonly #targets: number;
  readonly #painters = SIDES.map((side) => new Painter(canvas(`${side}-image`), block(`${side}-badge`)));
  readonly #pairs: Partial<Pair>[] = [{}, {}];
  /** By image and audio. */
  #views: (View | undefined)[][] = [[], []];
  #exchanged = false;
  readonly #player = new Audio();
  #stop = new AbortController();
  #samples = 0;

  constructor(settings: Settings, surroundings: Omit<Surroundings, "onNews" | "onFailure">, targets: number) {
    this.#settings = settings;
    this.#surroundings = surroundings;
    this.#targets = targets;
    settings.onChange(() => this.#draw());
    SIDES.forEach((side, i) => {
      acceptFiles(button(`${side}-drop`), input(`${side}-files`), (files) => this.#read(files, i as Side));
      button(`${side}-play`).addEventListener("click", () => this.#play(i as Side));
    });
    button("exchange").addEventListener("click", () => {
      this.#exchanged = !this.#exchanged;
      button("exchange").setAttribute("aria-pressed", String(this.#exchanged));
      this.#ask();
    });
    button("exchange-sample").addEventListener("click", () => {
      const { seconds, sampleRate } = this.#surroundings;
      for (const i of [0, 1] as const) {
        this.#pairs[i] = drawSample(this.#samples++, seconds, sampleRate);
      }
      this.#begin();
    });
  }

  /** Takes files that were dropped or pasted at an element: for its side, or else for the first incomplete one. */
  give(files: readonly File[], at: EventTarget | null): void {
    const aimed = SIDES.findIndex(
      (side) => at instanceof Node && button(`${side}-drop`).parentElement?.contains(at),
    );
    const lacking = this.#pairs.findIndex(({ image, audio }) => !image || !audio);
    this.#read(files, (aimed >= 0 ? aimed : Math.max(0, lacking)) as Side);
  }

  /** Stops playback. */
  pause(): void {
    this.#player.pause();
  }

  #play(image: Side): void {
    const audio = this.#pairs[this.#audioOf(image)]?.audio;
    if (!audio) return;
    URL.revokeObjectURL(this.#player.src);
    this.#player.src = URL.createObjectURL(wavOf(audio));
    this.#player.play().catch((error) => {
      // Other audio replaced it.
      if (!(error instanceof DOMException && error.name === "AbortError")) showProblem(error);
    });
  }

  async #read(files: readonly File[], side: Side): Promise<void> {
    hideProblem();
    try {
      const given = sorted(files);
      this.#say("Reading…");
      const { sampleRate } = this.#surroundings;
      if (given.video) {
        this.#pairs[side] = await pairOf(given.video, given.video.name, sampleRate);
      } else {
        const name = given.image?.name ?? this.#pairs[side]?.name;
        const parts = await readParts(given, sampleRate);
        this.#pairs[side] = { ...this.#pairs[side], ...parts, ...(name !== undefined && { name }) };
      }
      this.#begin();
    } catch (error) {
      this.#say("");
      showProblem(error);
    }
  }

  /** After new input: earlier results are dropped. */
  #begin(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#views = [[], []];
    this.#exchanged = false;
    button("exchange").setAttribute("aria-pressed", "false");
    const ready = this.#pairs.every(({ image, audio }) => image && audio);
    button("exchange").disabled = !ready;
    block("matrix").hidden = !ready;
    if (ready) this.#ask();
    else {
      this.#draw();
      this.#say("Each image needs its audio.");
    }
  }

  /** The side whose audio an image has now. */
  #audioOf(image: Side): Side {
    return (this.#exchanged ? 1 - image : image) as Side;
  }

  #ask(): void {
    hideProblem();
    this.#draw();
    const { signal } = this.#stop;
    this.#say("Localizing…");
    Promise.all(([0, 1] as const).map((image) => this.#localize(image, this.#audioOf(image), signal)))
      .then(() => {
        if (signal.aborted) return;
        this.#draw();
        const confidences = ([0, 1] as const).map((i) => shown(this.#views[i]?.[this.#audioOf(i)]));
        this.#say(
          `${this.#exchanged ? "Audio exchanged" : "Each with its own audio"}: ` +
            `confidence ${confidences[0]} and ${confidences[1]}.`,
        );
      })
      .catch((error) => {
        if (signal.aborted) return;
        this.#say("");
        showProblem(error, () => this.#ask());
      });
  }

  async #localize(image: Side, audio: Side, signal: AbortSignal): Promise<void> {
    const views = this.#views[image];
    const source = this.#pairs[image]?.image;
    const clip = this.#pairs[audio]?.audio;
    if (!views || views[audio] || !source || !clip) return;
    const window = around(clip, lengthOf(clip) / 2, this.#surroundings.seconds);
    const encodedImage = await encoded(source, "image/png");
    const { logits, confidence } = await this.#surroundings.ask(encodedImage, window, signal);
    if (!signal.aborted) views[audio] = { logits, confidence, audio: window };
  }

  #draw(): void {
    SIDES.forEach((side, i) => {
      const { image, audio, name } = this.#pairs[i] ?? {};
      const other = this.#audioOf(i as Side);
      block(`${side}-caption`).textContent =
        image && audio
          ? `Audio: ${other === i ? "its own" : "the other’s"}`
          : image
            ? "Now add its audio."
            : audio
              ? "Now add its image."
              : "";
      button(`${side}-play`).hidden = !this.#pairs[other]?.audio;
      block(`${side}-empty`).hidden = image !== undefined;
      if (!image) return;
      const view = this.#views[i]?.[other];
      const { boxes, inView } = (this.#painters[i] as Painter).paint({
        image,
        width: image.width,
        height: image.height,
        view,
        settings: this.#settings.values,
        targets: this.#targets,
      });
      canvas(`${side}-image`).setAttribute(
        "aria-label",
        `${name ?? "The image"}, with ${other === i ? "its own" : "the other’s"} audio: ` +
          (view ? (inView ? `${boxes.length} regions marked` : "no source in view") : "no map yet"),
      );
    });
    for (const image of [0, 1]) {
      for (const audio of [0, 1]) {
        block(`confidence-${image}${audio}`).textContent = shown(this.#views[image]?.[audio]);
      }
    }
  }

  #say(text: string): void {
    block("exchange-status").textContent = text;
  }
}

const shown = (view: View | undefined): string => (view ? decimal(view.confidence) : "–");
