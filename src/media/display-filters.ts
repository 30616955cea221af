/** From decoded frames to RGB as a player shows it: deinterlaced, in the colours that the tags name, square pixels, upright. */
import { SoundspotError } from "../core/errors.js";
import { colorLookup, needsLookup } from "./color-lookup.js";
import { orientationFilters } from "./display-matrix.js";
import type { VideoTrack } from "./media-index.js";

export interface DisplayFilters {
  /** Where frames are still as decoded. */
  readonly before: readonly string[];
  /** To RGB. */
  readonly after: readonly string[];
  /** Removes files that the filters read. */
  remove(): Promise<void>;
}

const SCALING = "flags=bicubic+accurate_rnd+full_chroma_int";
/** Names of swscale by those of the tags. */
const MATRICES: Readonly<Record<string, string>> = {
  bt709: "bt709",
  bt470bg: "bt601",
  smpte170m: "smpte170m",
  smpte240m: "smpte240m",
  fcc: "fcc",
  bt2020nc: "bt2020",
  bt2020c: "bt2020",
};

/** The matrix of untagged video, by its size, as players choose it. */
export function matrixOf({ matrix, width, height }: Pick<VideoTrack, "matrix" | "width" | "height">): string {
  return matrix && MATRICES[matrix] ? matrix : width >= 1280 || height > 576 ? "bt709" : "smpte170m";
}

/** Matrices that swscale does not know. */
const UNKNOWN = /^(ycgco|ictcp|smpte2085|chroma-derived)/;

/**
 * @param name What errors call the file.
 * @throws {SoundspotError} ERR_MEDIA_DECODE for a colour space that is not supported.
 */
export async function displayFilters(video: VideoTrack, name: string): Promise<DisplayFilters> {
  const { width, height, aspect, pixelFormat, range, orientation } = video;
  if (video.matrix && UNKNOWN.test(video.matrix)) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${name} has colours by the matrix ${video.matrix}, which is not supported. Convert it to BT.709.`,
    );
  }
  const lookup = await colorLookup(video);
  const yuv = /^(yuv|nv|p0|p2|y2|uyvy|gray)/.test(pixelFormat);
  const options = [SCALING];
  if (yuv) {
    options.push(`in_color_matrix=${MATRICES[matrixOf(video)]}`);
    if (/^yuvj/.test(pixelFormat) || range) options.push(`in_range=${range ?? "pc"}`);
  }
  if (aspect !== 1) {
    const wide = aspect > 1 ? Math.max(1, Math.round(width * aspect)) : width;
    const high = aspect < 1 ? Math.max(1, Math.round(height / aspect)) : height;
    options.unshift(`w=${wide}`, `h=${high}`);
  }
  return {
    before: video.interlaced ? ["yadif=mode=send_frame:deint=interlaced"] : [],
    after: [
      `scale=${options.join(":")}`,
      ...(lookup ? ["format=rgb48le", lookup.filter] : []),
      "format=rgb24",
      ...orientationFilters(orientation),
    ],
    remove: async () => lookup?.remove(),
  };
}

/** Colours of RGB frames as they come out of {@link displayFilters}, by which they are encoded again. */
export interface ColorTags {
  /** As tags and as swscale name it. */
  readonly matrix: { readonly name: string; readonly scaling: string };
  readonly primaries: string;
  readonly transfer: string;
}

export function shownColors(video: VideoTrack | undefined): ColorTags {
  const matrix = video && !needsLookup(video) ? matrixOf(video) : "bt709";
  // What RGB was encoded from has no matrix of its own.
  const name = /^(bt2020c|bt2020nc|fcc)$/.test(matrix) ? "bt709" : matrix;
  const standard =
    name === "bt709"
      ? video?.primaries && !needsLookup(video)
        ? video.primaries
        : "bt709"
      : (video?.primaries ?? name);
  const transfer =
    video?.transfer && !needsLookup(video) ? video.transfer : name === "bt709" ? "bt709" : "smpte170m";
  return { matrix: { name, scaling: MATRICES[name] ?? "bt709" }, primaries: standard, transfer };
}
