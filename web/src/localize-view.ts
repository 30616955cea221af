/** One scene: given, played, drawn with its map, and what else is known of it. */
import { block, button, canvas, contextOf, decimal, find, input, make } from "./dom.js";
import { acceptFiles, readParts, sorted } from "./files.js";
import { HeardPanel } from "./heard-panel.js";
import { LiveScene } from "./live-scene.js";
import { type Attention, allAttention } from "./maps.js";
import { type Painted, Painter } from "./painter.js";
import { copyOf, encoded, fitted } from "./pictures.js";
import { hideProblem, showProblem } from "./problem.js";
import { drawSample } from "./sample.js";
import { save } from "./save.js";
import type { Scene, Surroundings, View } from "./scene.js";
import type { Settings } from "./settings.js";
import { SlotsPanel } from "./slots-panel.js";
import type { HeardPart, Sound } from "./sound.js";
import { StillScene } from "./still-scene.js";
import { VideoScene } from "./video-scene.js";

/** Longest side of a map that changes while it plays, in pixels. */
const MOVING_MAP_SIDE = 320;
/** Least time between two drawings of the panels while it plays, in milliseconds. */
const PANEL_PAUSE = 120;
/** How long a summary stands before it is told, in milliseconds. */
const SUMMARY_PAUSE = 250;

export class LocalizeView {
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #targets: number;
  readonly #painter = new Painter(canvas("picture"), block("badge"));
  readonly #heard = new HeardPanel(canvas("spectrogram"));
  readonly #slots = new SlotsPanel(block("slots"));
  #scene: Scene | undefined;
  #held: { picture?: HTMLCanvasElement; sound?: Sound; pictureName?: string; soundName?: string } = {};
  #painted: Painted = { boxes: [], inView: false };
  #panels: { view: View; sharpening: number; attention: Attention } | undefined;
  #panelsAt = 0;
  #scheduled = false;
  /** What was told of the scene last. */
  #summary: string | undefined;
  #telling: ReturnType<typeof setTimeout> | undefined;
  #failed = false;
  #samples = 0;
  /** Counts what was given, so that an earlier file that is read later does not take its place. */
  #turn = 0;

  constructor(settings: Settings, surroundings: Omit<Surroundings, "onNews" | "onFailure">, targets: number) {
    this.#settings = settings;
    this.#targets = targets;
    this.#surroundings = {
      ...surroundings,
      onNews: () => this.#schedule(),
      onFailure: (error) => {
        this.#failed = true;
        this.#say("");
        showProblem(error, () => this.#start());
        this.#schedule();
      },
    };
    settings.onChange(() => this.#schedule());
    acceptFiles(button("drop"), input("files"), (files) => this.give(files));
    button("sample").addEventListener("click", () => this.#try());
    button("camera").addEventListener("click", () => this.#toggleCamera());
    button("save-picture").addEventListener("click", () => this.#savePicture());
    button("save-result").addEventListener("click", () => this.#saveResult());
    this.#listenToTransport();
    new ResizeObserver(() => this.#schedule()).observe(canvas("spectrogram"));
  }

  /** Opens a video, or a picture and a sound; with one of those the other that is there already. */
  give(files: readonly File[]): void {
    this.#open(async () => {
      const given = sorted(files);
      this.#say("Reading…");
      if (given.video) return VideoScene.open(given.video, given.video.name, this.#surroundings);
      const parts = await readParts(given, this.#surroundings.sampleRate);
      return () => {
        this.#held = {
          ...this.#held,
          ...parts,
          ...(given.picture && { pictureName: given.picture.name }),
          ...(given.sound && { soundName: given.sound.name }),
        };
        const { picture, sound, pictureName, soundName } = this.#held;
        block("held").textContent = [
          pictureName && `Picture: ${pictureName}`,
          soundName && `Sound: ${soundName}`,
        ]
          .filter(Boolean)
          .join(" · ");
        if (picture && sound) return new StillScene(picture, sound, `${pictureName}`, this.#surroundings);
        this.#say(picture ? "Now give its sound." : "Now give the picture to it.");
        return undefined;
      };
    });
  }

  /** The picture that is seen and the sound that was heard, for a search. */
  get current(): { readonly picture: Promise<Blob>; readonly heard: HeardPart } | undefined {
    const scene = this.#scene;
    if (!scene?.view) return undefined;
    return { picture: encoded(copyOf(scene.picture, scene), "image/png"), heard: scene.view.heard };
  }

  pause(): void {
    this.#scene?.media?.pause();
    if (this.#scene?.kind === "live") this.#close();
  }

  #try(): void {
    const { seconds, sampleRate } = this.#surroundings;
    const { picture, sound, name } = drawSample(this.#samples++, seconds, sampleRate);
    this.#open(async () => () => {
      this.#held = { picture, sound, pictureName: name, soundName: name };
      block("held").textContent = `Sample: ${name}`;
      return new StillScene(picture, sound, name, this.#surroundings);
    });
  }

  #toggleCamera(): void {
    if (this.#scene?.kind === "live") this.#close();
    else this.#open(() => LiveScene.open(this.#surroundings));
  }

  /** @param read gives the scene, or what gives it or none when its turn has not passed */
  #open(read: () => Promise<Scene | (() => Scene | undefined)>): void {
    const turn = ++this.#turn;
    hideProblem();
    read()
      .then((result) => {
        if (turn !== this.#turn) {
          if (typeof result !== "function") result.close();
          return;
        }
        const scene = typeof result === "function" ? result() : result;
        if (scene) this.#show(scene);
      })
      .catch((error) => {
        if (turn !== this.#turn) return;
        this.#say("");
        showProblem(error);
      });
  }

  #show(scene: Scene): void {
    this.#scene?.close();
    this.#scene = scene;
    this.#summary = undefined;
    clearTimeout(this.#telling);
    this.#panels = undefined;
    if (scene.kind !== "still") this.#held = {};
    if (scene.kind !== "still") block("held").textContent = `Source: ${scene.name}`;
    block("empty").hidden = true;
    button("drop").classList.add("small");
    const { media } = scene;
    block("transport").hidden = !media;
    button("camera").setAttribute("aria-pressed", String(scene.kind === "live"));
    button("camera").textContent = scene.kind === "live" ? "Stop the camera" : "Use camera and microphone";
    if (media) {
      media.muted = button("mute").getAttribute("aria-pressed") === "true";
      input("seek").max = String(scene.duration);
      canvas("coverage").hidden = !scene.known;
      for (const event of ["play", "pause", "ended", "seeked", "timeupdate"]) {
        media.addEventListener(event, () => this.#schedule());
      }
    }
    this.#start();
  }

  #start(): void {
    this.#failed = false;
    this.#say("Listening…");
    this.#scene?.start();
    this.#schedule();
  }

  #close(): void {
    this.#turn++;
    this.#scene?.close();
    this.#scene = undefined;
    button("camera").setAttribute("aria-pressed", "false");
    button("camera").textContent = "Use camera and microphone";
    block("busy").hidden = true;
    clearTimeout(this.#telling);
    this.#say("The camera is off.");
  }

  #listenToTransport(): void {
    button("play").addEventListener("click", () => {
      const media = this.#scene?.media;
      if (!media) return;
      if (media.paused) media.play().catch(() => this.#say("The browser could not play it."));
      else media.pause();
    });
    input("seek").addEventListener("input", () => {
      const media = this.#scene?.media;
      if (media) media.currentTime = input("seek").valueAsNumber;
    });
    button("mute").addEventListener("click", () => {
      const muted = button("mute").getAttribute("aria-pressed") !== "true";
      button("mute").setAttribute("aria-pressed", String(muted));
      if (this.#scene?.media) this.#scene.media.muted = muted;
    });
  }

  #say(text: string): void {
    block("status").textContent = text;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame((now) => {
      this.#scheduled = false;
      const scene = this.#scene;
      if (!scene) return;
      this.#draw(scene, now);
      if (scene.kind === "live" || (scene.media && !scene.media.paused)) this.#schedule();
    });
  }

  #draw(scene: Scene, now: number): void {
    const { view } = scene;
    const settings = this.#settings.values;
    this.#painted = this.#painter.paint({
      picture: scene.picture,
      width: scene.width,
      height: scene.height,
      view,
      settings,
      targets: this.#targets,
      mapSide: scene.kind === "still" ? undefined : MOVING_MAP_SIDE,
    });
    block("screen").setAttribute("aria-busy", String(!view));
    block("busy").hidden = view !== undefined || this.#failed;
    this.#drawTransport(scene);
    for (const name of ["save-picture", "save-result"]) button(name).disabled = !view;
    if (!view) return;

    const moving = scene.kind === "live" || (scene.media !== undefined && !scene.media.paused);
    if (!moving || now - this.#panelsAt >= PANEL_PAUSE) {
      this.#panelsAt = now;
      this.#drawPanels(scene, view, settings.sharpening);
      this.#tellFigures(scene, view);
    }
    const untouched = scene.time === 0 && !moving;
    this.#heard.draw(scene.kind === "live" || untouched ? undefined : scene.time);
    this.#summarize(moving ? "" : summaryOf(this.#painted, view));
  }

  /** Told when it has stood for a moment: while a slider is drawn there would be too much to hear. */
  #summarize(text: string): void {
    if (text === this.#summary) return;
    this.#summary = text;
    clearTimeout(this.#telling);
    this.#telling = setTimeout(() => this.#say(text), SUMMARY_PAUSE);
  }

  #drawPanels(scene: Scene, view: View, sharpening: number): void {
    block("details").hidden = false;
    const last = this.#panels;
    if (last && last.view === view && last.sharpening === sharpening) return;
    const attention = allAttention(view.logits, sharpening);
    this.#panels = { view, sharpening, attention };
    this.#slots.show(copyOf(scene.picture, fitted(scene.width, scene.height, 320)), attention, this.#targets);
    this.#heard.show(view.heard, attention, this.#targets);
  }

  #tellFigures(scene: Scene, view: View): void {
    const { boxes, inView } = this.#painted;
    const meter = find("confidence-meter", HTMLMeterElement);
    meter.value = view.confidence;
    meter.low = this.#settings.values.least;
    meter.optimum = 1;
    block("confidence").textContent = decimal(view.confidence);
    block("no-boxes").textContent = inView ? "none at this threshold" : "no source in view";
    block("no-boxes").hidden = boxes.length > 0;
    const items = boxes.slice(0, 5).map((box) => {
      const [x, y, width, height] = [box.x, box.y, box.width, box.height].map(Math.round);
      return make("li", { text: `${width} × ${height} at ${x}, ${y}; mean ${box.score.toFixed(2)}` });
    });
    if (boxes.length > 5) items.push(make("li", { text: `and ${boxes.length - 5} smaller` }));
    block("boxes").replaceChildren(...items);
    canvas("picture").setAttribute(
      "aria-label",
      inView
        ? `${scene.name}: ${boxes.length} ${boxes.length === 1 ? "region" : "regions"} marked as sounding`
        : `${scene.name}: no source in view`,
    );
  }

  #drawTransport(scene: Scene): void {
    const { media, duration, known } = scene;
    if (!media) return;
    button("play").textContent = media.paused ? "Play" : "Pause";
    input("seek").valueAsNumber = media.currentTime;
    const clock = `${media.currentTime.toFixed(1)} / ${duration.toFixed(1)} s`;
    find("clock", HTMLOutputElement).value = clock;
    input("seek").setAttribute(
      "aria-valuetext",
      `${media.currentTime.toFixed(1)} of ${duration.toFixed(1)} seconds`,
    );
    if (!known) return;
    const bar = canvas("coverage");
    const context = contextOf(bar);
    context.clearRect(0, 0, bar.width, bar.height);
    context.fillStyle = getComputedStyle(bar).color;
    const wide = Math.max(2, (0.25 / duration) * bar.width);
    for (const time of known) {
      context.fillRect((time / duration) * bar.width - wide / 2, 0, wide, bar.height);
    }
  }

  async #savePicture(): Promise<void> {
    try {
      save(await encoded(canvas("picture"), "image/png"), "soundspot.png");
      this.#say("Saved soundspot.png.");
    } catch (error) {
      showProblem(error);
    }
  }

  #saveResult(): void {
    const scene = this.#scene;
    const view = scene?.view;
    if (!scene || !view) return;
    const { sharpening, threshold, alpha, refine } = this.#settings.values;
    const result = {
      width: scene.width,
      height: scene.height,
      ...(scene.kind === "video" && { at: scene.time }),
      confidence: view.confidence,
      boxes: this.#painted.boxes,
      settings: { sharpening, threshold, alpha, refine, targetSlots: this.#targets },
      attention: plain(allAttention(view.logits, sharpening)),
      logits: plain(view.logits),
    };
    const file = new Blob([`${JSON.stringify(result, null, 2)}\n`], { type: "application/json" });
    save(file, "soundspot.json");
    this.#say("Saved soundspot.json.");
  }
}

function summaryOf({ boxes, inView }: Painted, { confidence }: View): string {
  const value = decimal(confidence);
  if (!inView) return `No source in view: the confidence is ${value}.`;
  const regions = boxes.length === 1 ? "1 region sounds" : `${boxes.length} regions sound`;
  return `${regions}, with a confidence of ${value}.`;
}

function plain(attention: Attention): Record<string, { shape: readonly number[]; data: number[] }> {
  return Object.fromEntries(
    Object.entries(attention).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }]),
  );
}
