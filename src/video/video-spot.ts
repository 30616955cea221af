/** Where the sound comes from in one frame of a video. */

import type { RawImage } from "../core/types.js";
import { type Color, renderOverlay } from "../drawing/overlay.js";
import { drawCaption } from "../drawing/text.js";
import type { SpotBox } from "../model/localize.js";
import { native } from "../native.js";
import type { Tracked } from "./tracking.js";

/** A region of one target slot's mask. */
export interface VideoBox extends SpotBox {
  /** Of the target slot, from 0. */
  readonly slot: number;
}

/** Options of {@link VideoSpot.overlay}. */
export interface VideoOverlayOptions {
  /** 0 shows the picture alone, 1 the map alone where it is hot. Default 0.55. */
  readonly opacity?: number | undefined;
  /** Draw the boxes. Default true. */
  readonly boxes?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How maps are made of attention. */
export interface MapSettings {
  readonly threshold: number;
  /** The audio map's share of the blend with the image map; undefined leaves it alone. */
  readonly alpha: number | undefined;
}

/** Longer side of the maps that boxes are found in; a map has no detail beyond its few tokens. */
const SIDE_FOR_BOXES = 256;
/** What nothing is drawn over says. */
const NO_SOURCE = "no source in view";
/** Of the target slots, where there are several; distinguishable without seeing colours apart (Okabe and Ito). */
const SLOT_COLORS: readonly Color[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [204, 121, 167],
];

type FrameOfSpot = Pick<
  VideoSpot,
  "index" | "time" | "frameTime" | "image" | "source" | "silent" | "localized"
>;

/** One frame of a video: what sounds in it. */
export class VideoSpot {
  /** Counted from the first frame of the range. */
  readonly index: number;
  /** Moment on the video's clock, in seconds. */
  readonly time: number;
  /** Presentation time of the frame shown then, in seconds; `time` or, where frames come unevenly, before it. */
  readonly frameTime: number;
  readonly image: RawImage;
  /** Cosine of the two target slots, in [−1, 1], smoothed as the maps are. */
  readonly confidence: number;
  /** Whether the audio is not silent and the confidence is high enough. Without a source there are no boxes. */
  readonly source: boolean;
  /** Whether no sample of the audio window reaches −60 dBFS. */
  readonly silent: boolean;
  /** Regions of every target slot's map, in pixels of the frame. */
  readonly boxes: readonly VideoBox[];
  /** Whether the model looked at this frame; others lie between two that it looked at. */
  readonly localized: boolean;
  readonly #tracked: Tracked;
  readonly #settings: MapSettings;

  private constructor(
    frame: FrameOfSpot,
    boxes: readonly VideoBox[],
    tracked: Tracked,
    settings: MapSettings,
  ) {
    this.index = frame.index;
    this.time = frame.time;
    this.frameTime = frame.frameTime;
    this.silent = frame.silent;
    this.image = frame.image;
    this.source = frame.source;
    this.localized = frame.localized;
    this.confidence = tracked.confidence;
    this.boxes = boxes;
    this.#tracked = tracked;
    this.#settings = settings;
  }

  /** @internal */
  static async of(frame: FrameOfSpot, tracked: Tracked, settings: MapSettings): Promise<VideoSpot> {
    return new VideoSpot(
      frame,
      frame.source ? await boxesIn(frame.image, tracked, settings) : [],
      tracked,
      settings,
    );
  }

  /** [height, width] of the frame in [0, 1], row-major, of several target slots the maximum. */
  async heatmap(): Promise<Float32Array> {
    const [first, ...others] = await this.slotHeatmaps();
    const map = first as Float32Array;
    for (const other of others) {
      for (let i = 0; i < map.length; i++) map[i] = Math.max(map[i] as number, other[i] as number);
    }
    return map;
  }

  /** A map each, as `heatmap`, of the target slots. */
  async slotHeatmaps(): Promise<Float32Array[]> {
    const { width, height } = this.image;
    const { maps } = await mapsOf(this.#tracked, this.#settings, { height, width });
    const pixels = width * height;
    return Array.from({ length: maps.shape[0] ?? 0 }, (_, slot) =>
      maps.data.subarray(slot * pixels, (slot + 1) * pixels),
    );
  }

  /**
   * The map over the frame, of several target slots each in its colour; without a source the frame, and words that say
   * so.
   * @throws {SoundspotError} ERR_INPUT when the opacity is not in [0, 1]; ERR_ABORTED.
   */
  async overlay(options: VideoOverlayOptions = {}): Promise<RawImage> {
    return this.drawOverlay(options);
  }

  /**
   * @internal `overlay`, drawn to memory that the caller keeps for the next frame.
   * @param into As long as the frame.
   */
  async drawOverlay(options: VideoOverlayOptions, into?: Uint8Array): Promise<RawImage> {
    const { opacity, boxes = true, signal } = options;
    const { width, height } = this.image;
    if (!this.source) {
      const data = into ?? new Uint8Array(this.image.data.length);
      data.set(this.image.data);
      const canvas = { data, width, height };
      drawCaption(canvas, NO_SOURCE);
      return canvas;
    }
    let drawn = this.image;
    const maps = await this.slotHeatmaps();
    for (const [slot, data] of maps.entries()) {
      const color = maps.length > 1 ? SLOT_COLORS[slot % SLOT_COLORS.length] : undefined;
      const own = boxes ? this.boxes.filter((box) => box.slot === slot) : [];
      drawn = await renderOverlay(
        drawn,
        { data, width, height },
        { opacity, color, boxes: own, signal, into },
      );
    }
    return drawn;
  }
}

function mapsOf(
  { audio, image }: Tracked,
  { alpha }: MapSettings,
  options: { readonly height: number; readonly width: number; readonly threshold?: number },
) {
  return native().slotMaps({ audio, image, ...(alpha === undefined ? {} : { alpha }), ...options });
}

async function boxesIn(
  { width, height }: RawImage,
  tracked: Tracked,
  settings: MapSettings,
): Promise<VideoBox[]> {
  const scale = Math.min(1, SIDE_FOR_BOXES / Math.max(width, height));
  const [rows, columns] = [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
  const { threshold } = settings;
  const { boxes } = await mapsOf(tracked, settings, { height: rows, width: columns, threshold });
  const [across, down] = [width / columns, height / rows];
  return boxes.flatMap((own, slot) =>
    own.map(({ x, y, width: w, height: h, score }) => ({
      x: Math.round(x * across),
      y: Math.round(y * down),
      width: Math.round(w * across),
      height: Math.round(h * down),
      score,
      slot,
    })),
  );
}
