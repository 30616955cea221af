/** A sample of a benchmark as its lists have it, before its files are looked for. */
import type { Sample } from "../dataset.js";

/** A path below the root, or several of which the first that is there is taken. */
export type Place = string | readonly string[];

/** A sample to be: what is known of it, and where its files should be. */
export interface Entry extends Pick<Sample, "id" | "label" | "picture" | "sources" | "clip" | "sounding"> {
  readonly image: Place;
  readonly audio: Place;
  /** The file that the truth is in, where each sample has its own. */
  readonly annotation?: Place;
  /** Without its annotation the sample is taken all the same, without truth. */
  readonly annotationOptional?: boolean;
}

/** A pair in the layout of VGG-SS and Flickr-SoundNet: `frames/ID.jpg` and `audio/ID.wav`. */
export function inFrames(id: string, video = id, audio = id): Entry {
  return { id, image: `frames/${video}.jpg`, audio: `audio/${audio}.wav` };
}
