/** Draws an image with its map and boxes, and recomputes only changes. */
import { contextOf } from "./dom.js";
import { fitted } from "./images.js";
import { type Box, boxesOf, type HeatMap, heatMap } from "./maps.js";
import { colored, drawBoxes } from "./overlay.js";
import type { View } from "./scene.js";
import type { ShownSettings } from "./settings.js";

export interface Painted {
  /** In pixels of the canvas, largest first; none without a source in view. */
  readonly boxes: readonly Box[];
  readonly inView: boolean;
}

export interface PaintOptions {
  readonly image: CanvasImageSource;
  /** Of the canvas, in pixels. */
  readonly width: number;
  readonly height: number;
  readonly view: View | undefined;
  readonly settings: ShownSettings;
  readonly targets: number;
  /** Longest side of the map, in pixels; default that of the image. */
  readonly mapSide?: number | undefined;
}

/** Factor on the opacity without a source in view. */
const FAINT = 0.35;

export class Painter {
  readonly #canvas: HTMLCanvasElement;
  readonly #badge: HTMLElement;
  readonly #map = new Memo<HeatMap>();
  readonly #boxes = new Memo<readonly Box[]>();
  readonly #layer = new Memo<HTMLCanvasElement>();

  constructor(canvas: HTMLCanvasElement, badge: HTMLElement) {
    this.#canvas = canvas;
    this.#badge = badge;
  }

  paint({ image, width, height, view, settings, targets, mapSide }: PaintOptions): Painted {
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    const context = contextOf(this.#canvas);
    context.fillStyle = "rgb(255 255 255)";
    context.fillRect(0, 0, width, height);
    context.drawImage(image, 0, 0, width, height);
    const inView = view !== undefined && view.confidence >= settings.least;
    this.#badge.hidden = view === undefined || inView;
    if (!view) return { boxes: [], inView };

    const { sharpening, alpha, refine, threshold } = settings;
    const size = fitted(width, height, mapSide ?? Math.max(width, height));
    const shared = refine === "iqr" ? alpha : undefined;
    const map = this.#map.get([view, sharpening, shared, refine, size.width, size.height], () =>
      heatMap(view.logits, targets, settings, size.height, size.width),
    );
    if (settings.map && settings.opacity > 0) {
      const opacity = settings.opacity * (inView ? 1 : FAINT);
      const layer = this.#layer.get([map, opacity], () => colored(map, opacity));
      context.imageSmoothingQuality = "high";
      context.drawImage(layer, 0, 0, width, height);
    }
    if (!inView) return { boxes: [], inView };
    const scale = { x: width / map.width, y: height / map.height };
    const boxes = this.#boxes.get([map, threshold, width, height], () =>
      boxesOf(map, threshold).map((box) => ({
        x: box.x * scale.x,
        y: box.y * scale.y,
        width: box.width * scale.x,
        height: box.height * scale.y,
        score: box.score,
      })),
    );
    if (settings.boxes) drawBoxes(context, boxes);
    return { boxes, inView };
  }
}

/** The last result, kept while its inputs stay the same. */
class Memo<T> {
  #inputs: readonly unknown[] = [];
  #value: T | undefined;

  get(inputs: readonly unknown[], make: () => T): T {
    const same =
      inputs.length === this.#inputs.length && inputs.every((each, i) => Object.is(each, this.#inputs[i]));
    if (!same || this.#value === undefined) {
      this.#value = make();
      this.#inputs = inputs;
    }
    return this.#value;
  }
}
