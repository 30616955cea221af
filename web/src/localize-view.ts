/** One scene: its input, playback, map and panels. */

import type { AudioClip, AudioWindow } from "./audio.js";
import { AudioPanel } from "./audio-panel.js";
import { block, button, canvas, contextOf, decimal, find, input, make } from "./dom.js";
import { acceptFiles, readParts, sorted } from "./files.js";
import { copyOf, encoded, fitted } from "./images.js";
import { LiveScene } from "./live-scene.js";
import { type Attention, allAttention } from "./maps.js";
import { type Painted, Painter } from "./painter.js";
import { hideProblem, showProblem } from "./problem.js";
import { drawSample } from "./sample.js";
import { save } from "./save.js";
import type { Scene, Surroundings, View } from "./scene.js";
import type { Settings } from "./settings.js";
import { SlotsPanel } from "./slots-panel.js";
import { StillScene } from "./still-scene.js";
import { VideoScene } from "./video-scene.js";

/** Longest side of a map that changes while it plays, in pixels. */
const MOVING_MAP_SIDE = 320;
/** Least time between two drawings of the panels while it plays, in milliseconds. */
const PANEL_PAUSE = 120;
/** Time for which a summary must stay the same before it is announced, in milliseconds. */
const SUMMARY_PAUSE = 250;

export class LocalizeView {
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #targets: number;
  readonly #painter = new Painter(canvas("image"), block("badge"));
  readonly #audioPanel = new AudioPanel(canvas("spectrogram"));
  readonly #slots = new SlotsPanel(block("slots"));
  #scene: Scene | undefined;
  #held: { image?: HTMLCanvasElement; audio?: AudioClip; imageName?: string; audioName?: string } = {};
  #painted: Painted = { boxes: [], inView: false };
  #panels: { view: View; sharpening: number; attention: Attention } | undefined;
  #panelsAt = 0;
  #scheduled = false;
  /** The last summary of the scene. */
  #summary: string | undefined;
  #announcing: ReturnType<typeof setTimeout> | undefined;
  #failed = false;
  #samples = 0;
  /** Counts inputs: an earlier file that is read later must not replace a newer one. */
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
    button("save-image").addEventListener("click", () => this.#saveImage());
    button("save-result").addEventListener("click", () => this.#saveResult());
    this.#listenToTransport();
    new ResizeObserver(() => this.#schedule()).observe(canvas("spectrogram"));
    // Canvases have the colours of the time when they were drawn.
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#schedule());
  }

  /** Opens a video, or an image and an audio file; one of those is joined with the other from before. */
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
          ...(given.image && { imageName: given.image.name }),
          ...(given.audio && { audioName: given.audio.name }),
        };
        const { image, audio, imageName, audioName } = this.#held;
        block("held").textContent = [imageName && `Image: ${imageName}`, audioName && `Audio: ${audioName}`]
          .filter(Boolean)
          .join(" · ");
        if (image && audio) return new StillScene(image, audio, `${imageName}`, this.#surroundings);
        this.#say(image ? "Now add its audio." : "Now add its image.");
        return undefined;
      };
    });
  }

  /** The current image and audio window, for a search. */
  get current(): { readonly image: Promise<Blob>; readonly audio: AudioWindow } | undefined {
    const scene = this.#scene;
    if (!scene?.view) return undefined;
    return { image: encoded(copyOf(scene.image, scene), "image/png"), audio: scene.view.audio };
  }

  pause(): void {
    this.#scene?.media?.pause();
    if (this.#scene?.kind === "live") this.#close();
  }

  #try(): void {
    const { seconds, sampleRate } = this.#surroundings;
    const { image, audio, name } = drawSample(this.#samples++, seconds, sampleRate);
    this.#open(async () => () => {
      this.#held = { image, audio, imageName: name, audioName: name };
      block("held").textContent = `Sample: ${name}`;
      return new StillScene(image, audio, name, this.#surroundings);
    });
  }

  #toggleCamera(): void {
    if (this.#scene?.kind === "live") this.#close();
    else this.#open(() => LiveScene.open(this.#surroundings));
  }

  /** @param read returns the scene, or a function that returns it, or undefined, if no newer input came meanwhile */
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
    clearTimeout(this.#announcing);
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
    this.#say("Localizing…");
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
    clearTimeout(this.#announcing);
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
      image: scene.image,
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
    for (const name of ["save-image", "save-result"]) button(name).disabled = !view;
    if (!view) return;

    const moving = scene.kind === "live" || (scene.media !== undefined && !scene.media.paused);
    if (!moving || now - this.#panelsAt >= PANEL_PAUSE) {
      this.#panelsAt = now;
      this.#drawPanels(scene, view, settings.sharpening);
      this.#showFigures(scene, view);
    }
    const untouched = scene.time === 0 && !moving;
    this.#audioPanel.draw(scene.kind === "live" || untouched ? undefined : scene.time);
    this.#summarize(moving ? "" : summaryOf(this.#painted, view));
  }

  /** Announced when it has stayed the same for a moment: moving a slider would cause too many announcements. */
  #summarize(text: string): void {
    if (text === this.#summary) return;
    this.#summary = text;
    clearTimeout(this.#announcing);
    this.#announcing = setTimeout(() => this.#say(text), SUMMARY_PAUSE);
  }

  #drawPanels(scene: Scene, view: View, sharpening: number): void {
    block("details").hidden = false;
    const last = this.#panels;
    if (last && last.view === view && last.sharpening === sharpening) return;
    const attention = allAttention(view.logits, sharpening);
    this.#panels = { view, sharpening, attention };
    this.#slots.show(copyOf(scene.image, fitted(scene.width, scene.height, 320)), attention, this.#targets);
    this.#audioPanel.show(view.audio, attention, this.#targets);
  }

  #showFigures(scene: Scene, view: View): void {
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
    canvas("image").setAttribute(
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

  async #saveImage(): Promise<void> {
    try {
      save(await encoded(canvas("image"), "image/png"), "soundspot.png");
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
  const regions = boxes.length === 1 ? "1 sounding region" : `${boxes.length} sounding regions`;
  return `${regions}, confidence ${value}.`;
}

function plain(attention: Attention): Record<string, { shape: readonly number[]; data: number[] }> {
  return Object.fromEntries(
    Object.entries(attention).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }]),
  );
}
