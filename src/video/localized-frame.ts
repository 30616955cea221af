/** Where the sound comes from in one frame of a video. */

import type { TokenPlaces } from "../config/model.js";
import type { RawImage } from "../core/types.js";
import { type Color, renderOverlay } from "../drawing/overlay.js";
import { drawCaption } from "../drawing/text.js";
import type { VideoBox, VideoOverlayOptions, VideoSpot } from "../model/video.js";
import { native } from "../native.js";
import type { Tracked } from "./tracking.js";

/** How maps are made of attention. */
export interface MapSettings {
  readonly threshold: number;
  /** The audio map's share of the blend with the image map; undefined leaves it alone. */
  readonly alpha: number | undefined;
  readonly places?: TokenPlaces;
}

/** Longer side of the maps that boxes are found in; a map has no detail beyond its few tokens. */
const SIDE_FOR_BOXES = 256;
/** Drawn on frames without a source. */
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

/** A frame whose maps are made of the attention that was tracked over the video. */
export class LocalizedFrame implements VideoSpot {
  readonly index: number;
  readonly time: number;
  readonly frameTime: number;
  readonly image: RawImage;
  readonly confidence: number;
  readonly source: boolean;
  readonly silent: boolean;
  readonly boxes: readonly VideoBox[];
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
  static async of(frame: FrameOfSpot, tracked: Tracked, settings: MapSettings): Promise<LocalizedFrame> {
    return new LocalizedFrame(
      frame,
      frame.source ? await boxesIn(frame.image, tracked, settings) : [],
      tracked,
      settings,
    );
  }

  async heatmap(): Promise<Float32Array> {
    const [first, ...others] = await this.slotHeatmaps();
    const map = first as Float32Array;
    for (const other of others) {
      for (let i = 0; i < map.length; i++) map[i] = Math.max(map[i] as number, other[i] as number);
    }
    return map;
  }

  async slotHeatmaps(): Promise<Float32Array[]> {
    const { width, height } = this.image;
    const { maps } = await mapsOf(this.#tracked, this.#settings, { height, width });
    const pixels = width * height;
    return Array.from({ length: maps.shape[0] ?? 0 }, (_, slot) =>
      maps.data.subarray(slot * pixels, (slot + 1) * pixels),
    );
  }

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
  { alpha, places }: MapSettings,
  options: { readonly height: number; readonly width: number; readonly threshold?: number },
) {
  return native().slotMaps({
    audio,
    ...(image ? { image } : {}),
    ...(alpha === undefined ? {} : { alpha }),
    ...(places ? { places } : {}),
    ...options,
  });
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
