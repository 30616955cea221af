/** `Model.localizeVideo`: its types, and the place where video/, which builds upon this folder, puts its code. */
import { SoundspotError } from "../core/errors.js";
import type { RawImage } from "../core/types.js";
import type { VideoInfo } from "../media/video.js";
import type { LoadedModel } from "./loaded.js";
import type { LocalizeOptions } from "./localize.js";
import type { SpotBox } from "./spot.js";

/** Options of `localizeVideo`. */
export interface LocalizeVideoOptions
  extends Pick<LocalizeOptions, "alpha" | "threshold" | "sharpening" | "precision" | "signal"> {
  /** "iqr" blends the audio map with the image map. Default "none". */
  readonly refine?: "none" | "iqr";
  /** First moment, in seconds. Default 0. */
  readonly from?: number | undefined;
  /** End, in seconds. Default the end of the video. */
  readonly to?: number | undefined;
  /** The model looks at every nth frame. Default what comes nearest to five per second. */
  readonly every?: number | undefined;
  /** Standard deviation of the smoothing over time, in seconds; 0 turns it off. Default 0.2. */
  readonly smoothing?: number | undefined;
  /**
   * Cosine of the target slots from which on there is a source, in [−1, 1]. Default 0.5. What a checkpoint reaches for
   * pairs that belong together depends on how it was trained: look at `confidence`.
   */
  readonly minConfidence?: number | undefined;
  /** Audio track of a video with several, counted from 0. Default the one that the file marks, or else the first. */
  readonly audioTrack?: number | undefined;
  /** Whether frames whose audio window is silent may have a source. Default false. */
  readonly includeSilent?: boolean | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  /** Called once, before the first frame. */
  readonly onStart?: (video: VideoRange) => void;
}

/** The part of a video that is localized. */
export interface VideoRange extends VideoInfo {
  /** Range in seconds. */
  readonly from: number;
  readonly to: number;
  /** Frames in the range. */
  readonly frames: number;
}

/** A region of one target slot's mask. */
export interface VideoBox extends SpotBox {
  /** Index of the target slot, from 0. */
  readonly slot: number;
}

/** Options of {@link VideoSpot.overlay}. */
export interface VideoOverlayOptions {
  /** 0 shows the image alone, 1 the map alone where it is hot. Default 0.55. */
  readonly opacity?: number | undefined;
  /** Draw the boxes. Default true. */
  readonly boxes?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One frame of a video, with its sound source. */
export interface VideoSpot {
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
  /** Whether the model localized this frame; others are interpolated between two localized ones. */
  readonly localized: boolean;
  /** [height, width] of the frame in [0, 1], row-major, of several target slots the maximum. */
  heatmap(): Promise<Float32Array>;
  /** A map each, as `heatmap`, of the target slots. */
  slotHeatmaps(): Promise<Float32Array[]>;
  /**
   * The map over the frame, of several target slots each in its colour; without a source the frame, and words that say
   * so.
   * @throws {SoundspotError} ERR_INPUT when the opacity is not in [0, 1]; ERR_ABORTED.
   */
  overlay(options?: VideoOverlayOptions): Promise<RawImage>;
}

/** @internal */
export type VideoLocalizer = (
  model: LoadedModel,
  path: string,
  options: LocalizeVideoOptions,
) => AsyncGenerator<VideoSpot, void, void>;

let registered: VideoLocalizer | undefined;

/** @internal Called by video/localize-video.ts when it is loaded, as it is with the package. */
export function registerVideoLocalizer(localizer: VideoLocalizer): void {
  registered = localizer;
}

/** @internal */
export function videoLocalizer(): VideoLocalizer {
  if (registered) return registered;
  throw new SoundspotError(
    "ERR_INTERNAL",
    "video/localize-video.js is not loaded. Import it beside the model.",
  );
}
