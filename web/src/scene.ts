/** The input of the page: an image with audio, a video, or the camera. */

import type { AudioClip, AudioWindow } from "./audio.js";
import { type Attention, between } from "./maps.js";
import type { Answer } from "./service.js";
import type { Neighbours } from "./timeline.js";

/** The model's result for a moment. */
export interface View {
  readonly logits: Attention;
  /** Cosine of the target slots, in [−1, 1]. */
  readonly confidence: number;
  readonly audio: AudioWindow;
}

export interface Scene {
  readonly kind: "still" | "video" | "live";
  readonly name: string;
  /** Of the image on the page, in pixels. */
  readonly width: number;
  readonly height: number;
  /** In seconds; of the camera infinite. */
  readonly duration: number;
  /** Controlled by the transport; none of the camera. */
  readonly media?: HTMLMediaElement;
  /** Moments with results, in seconds; of videos. */
  readonly known?: readonly number[];
  /** The current image or frame. */
  readonly image: CanvasImageSource;
  /** Its moment, in seconds. */
  readonly time: number;
  /** Its result, once known. */
  readonly view: View | undefined;
  /** Starts requests, or continues them after a failure. */
  start(): void;
  /** Stops requests and frees resources. */
  close(): void;
}

/** The page's services to a scene. */
export interface Surroundings {
  /** Length of the audio window, in seconds. */
  readonly seconds: number;
  /** In hertz. */
  readonly sampleRate: number;
  /** Longest side of a frame that is sent, in pixels. */
  readonly frameSide: number;
  readonly ask: (image: Blob, audio: AudioClip, signal: AbortSignal) => Promise<Answer>;
  /** After a new result or frame. */
  readonly onNews: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** The view between two moments: maps on the image are interpolated, the audio is that of the nearer one. */
export function viewBetween({ before, after, share }: Neighbours<View>): View {
  if (before === after || share === 0) return before.value;
  if (share === 1) return after.value;
  const [a, b] = [before.value, after.value];
  const nearer = share < 0.5 ? a : b;
  return {
    audio: nearer.audio,
    confidence: a.confidence + share * (b.confidence - a.confidence),
    logits: {
      audioOnImage: between(a.logits.audioOnImage, b.logits.audioOnImage, share),
      imageOnImage: between(a.logits.imageOnImage, b.logits.imageOnImage, share),
      audioOnAudio: nearer.logits.audioOnAudio,
      imageOnAudio: nearer.logits.imageOnAudio,
    },
  };
}
