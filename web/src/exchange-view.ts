/** Two pictures with their sounds: the sounds change places, and both maps are made anew. */
import { block, button, canvas, decimal, input } from "./dom.js";
import { acceptFiles, type Pair, readParts, sorted } from "./files.js";
import { Painter } from "./painter.js";
import { encoded } from "./pictures.js";
import { hideProblem, showProblem } from "./problem.js";
import { drawSample } from "./sample.js";
import type { Surroundings, View } from "./scene.js";
import type { Settings } from "./settings.js";
import { around, lengthOf, wavOf } from "./sound.js";
import { pairOf } from "./video-scene.js";

const SIDES = ["left", "right"] as const;
type Side = 0 | 1;

export class ExchangeView {
  readonly #settings: Settings;
  readonly #surroundings: Omit<Surroundings, "onNews" | "onFailure">;
  readonly #targets: number;
  readonly #painters = SIDES.map((side) => new Painter(canvas(`${side}-picture`), block(`${side}-badge`)));
  readonly #pairs: Partial<Pair>[] = [{}, {}];
  /** By picture and sound. */
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

  /** Takes files that were dropped or pasted at an element: for its side, or else for the first that lacks some. */
  give(files: readonly File[], at: EventTarget | null): void {
    const aimed = SIDES.findIndex(
      (side) => at instanceof Node && button(`${side}-drop`).parentElement?.contains(at),
    );
    const lacking = this.#pairs.findIndex(({ picture, sound }) => !picture || !sound);
    this.#read(files, (aimed >= 0 ? aimed : Math.max(0, lacking)) as Side);
  }

  /** Silences what is played. */
  pause(): void {
    this.#player.pause();
  }

  #play(picture: Side): void {
    const sound = this.#pairs[this.#soundOf(picture)]?.sound;
    if (!sound) return;
    URL.revokeObjectURL(this.#player.src);
    this.#player.src = URL.createObjectURL(wavOf(sound));
    this.#player.play().catch((error) => {
      // Another sound took its place.
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
        const name = given.picture?.name ?? this.#pairs[side]?.name;
        const parts = await readParts(given, sampleRate);
        this.#pairs[side] = { ...this.#pairs[side], ...parts, ...(name !== undefined && { name }) };
      }
      this.#begin();
    } catch (error) {
      this.#say("");
      showProblem(error);
    }
  }

  /** Something was given: what was known holds no more. */
  #begin(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#views = [[], []];
    this.#exchanged = false;
    button("exchange").setAttribute("aria-pressed", "false");
    const ready = this.#pairs.every(({ picture, sound }) => picture && sound);
    button("exchange").disabled = !ready;
    block("matrix").hidden = !ready;
    if (ready) this.#ask();
    else {
      this.#draw();
      this.#say("Each picture needs its sound.");
    }
  }

  /** The sound that is given to a picture now. */
  #soundOf(picture: Side): Side {
    return (this.#exchanged ? 1 - picture : picture) as Side;
  }

  #ask(): void {
    hideProblem();
    this.#draw();
    const { signal } = this.#stop;
    this.#say("Listening…");
    Promise.all(([0, 1] as const).map((picture) => this.#know(picture, this.#soundOf(picture), signal)))
      .then(() => {
        if (signal.aborted) return;
        this.#draw();
        const confidences = ([0, 1] as const).map((i) => shown(this.#views[i]?.[this.#soundOf(i)]));
        this.#say(
          `${this.#exchanged ? "Sounds exchanged" : "Each with its own sound"}: ` +
            `confidence ${confidences[0]} and ${confidences[1]}.`,
        );
      })
      .catch((error) => {
        if (signal.aborted) return;
        this.#say("");
        showProblem(error, () => this.#ask());
      });
  }

  async #know(picture: Side, sound: Side, signal: AbortSignal): Promise<void> {
    const views = this.#views[picture];
    const from = this.#pairs[picture]?.picture;
    const heardFrom = this.#pairs[sound]?.sound;
    if (!views || views[sound] || !from || !heardFrom) return;
    const heard = around(heardFrom, lengthOf(heardFrom) / 2, this.#surroundings.seconds);
    const image = await encoded(from, "image/png");
    const { logits, confidence } = await this.#surroundings.ask(image, heard, signal);
    if (!signal.aborted) views[sound] = { logits, confidence, heard };
  }

  #draw(): void {
    SIDES.forEach((side, i) => {
      const { picture, sound, name } = this.#pairs[i] ?? {};
      const heard = this.#soundOf(i as Side);
      block(`${side}-caption`).textContent =
        picture && sound
          ? `Heard: ${heard === i ? "its own sound" : "the other’s sound"}`
          : picture
            ? "Now give its sound."
            : sound
              ? "Now give the picture to it."
              : "";
      button(`${side}-play`).hidden = !this.#pairs[heard]?.sound;
      if (!picture) return;
      const view = this.#views[i]?.[heard];
      const { boxes, inView } = (this.#painters[i] as Painter).paint({
        picture,
        width: picture.width,
        height: picture.height,
        view,
        settings: this.#settings.values,
        targets: this.#targets,
      });
      canvas(`${side}-picture`).setAttribute(
        "aria-label",
        `${name ?? "The picture"}, with ${heard === i ? "its own" : "the other’s"} sound: ` +
          (view ? (inView ? `${boxes.length} regions marked` : "no source in view") : "no map yet"),
      );
    });
    for (const picture of [0, 1]) {
      for (const sound of [0, 1]) {
        block(`confidence-${picture}${sound}`).textContent = shown(this.#views[picture]?.[sound]);
      }
    }
  }

  #say(text: string): void {
    block("exchange-status").textContent = text;
  }
}

const shown = (view: View | undefined): string => (view ? decimal(view.confidence) : "–");
