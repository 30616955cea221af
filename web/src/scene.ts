/** What the page looks at: a picture with a sound, a video, or the camera. */
import { type Attention, between } from "./maps.js";
import type { Answer } from "./service.js";
import type { HeardPart, Sound } from "./sound.js";
import type { Neighbours } from "./timeline.js";

/** What the model said of a moment. */
export interface View {
  readonly logits: Attention;
  /** Cosine of the target slots, in [−1, 1]. */
  readonly confidence: number;
  readonly heard: HeardPart;
}

export interface Scene {
  readonly kind: "still" | "video" | "live";
  readonly name: string;
  /** Of the picture on the page, in pixels. */
  readonly width: number;
  readonly height: number;
  /** In seconds; of the camera infinite. */
  readonly duration: number;
  /** Whose playback the transport rules; none of the camera. */
  readonly media?: HTMLMediaElement;
  /** Moments that are known, in seconds, where there are several. */
  readonly known?: readonly number[];
  /** What is seen now. */
  readonly picture: CanvasImageSource;
  /** The moment that is seen, in seconds. */
  readonly time: number;
  /** What is known of it. */
  readonly view: View | undefined;
  /** Starts asking, or goes on after a failure. */
  start(): void;
  /** Stops asking and frees what it holds. */
  close(): void;
}

/** What a scene needs of the page. */
export interface Surroundings {
  /** Length of what the model hears, in seconds. */
  readonly seconds: number;
  /** In hertz. */
  readonly sampleRate: number;
  /** Longest side of a frame that is sent, in pixels. */
  readonly frameSide: number;
  readonly ask: (image: Blob, sound: Sound, signal: AbortSignal) => Promise<Answer>;
  /** Something new is known or seen. */
  readonly onNews: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** The view between two moments: maps on the picture are interpolated, the sound is the nearer one's. */
export function viewBetween({ before, after, share }: Neighbours<View>): View {
  if (before === after || share === 0) return before.value;
  if (share === 1) return after.value;
  const [a, b] = [before.value, after.value];
  const nearer = share < 0.5 ? a : b;
  return {
    heard: nearer.heard,
    confidence: a.confidence + share * (b.confidence - a.confidence),
    logits: {
      audioOnImage: between(a.logits.audioOnImage, b.logits.audioOnImage, share),
      imageOnImage: between(a.logits.imageOnImage, b.logits.imageOnImage, share),
      audioOnAudio: nearer.logits.audioOnAudio,
      imageOnAudio: nearer.logits.imageOnAudio,
    },
  };
}
