/** A sample of a benchmark as its lists have it, before its files are located. */
import type { Sample } from "../dataset.js";

/** A path below the root, or several, of which the first that exists is used. */
export type Place = string | readonly string[];

/** A sample before it is read: what is known of it, and where its files should be. */
export interface Entry extends Pick<Sample, "id" | "label" | "imageId" | "sources" | "clip" | "sounding"> {
  readonly image: Place;
  readonly audio: Place;
  /** The file with the ground truth, where each sample has its own. */
  readonly annotation?: Place;
  /** Without its annotation the sample is kept all the same, without ground truth. */
  readonly annotationOptional?: boolean;
}

/** A pair in the layout of VGG-SS and Flickr-SoundNet: `frames/ID.jpg` and `audio/ID.wav`. */
export function inFrames(id: string, video = id, audio = id): Entry {
  return { id, image: `frames/${video}.jpg`, audio: `audio/${audio}.wav` };
}
