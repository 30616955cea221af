/**
 * High dynamic range (PQ, HLG) and wide gamut (BT.2020) to standard video (BT.709), by a table that ffmpeg looks colours
 * up in. The table is our own: every ffmpeg gives the same colours, with or without the libraries for it.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writing } from "../files/atomic-writes.js";
import type { PixelTags } from "./media-header.js";

export interface ColorLookup {
  /** Takes and gives 16-bit RGB. */
  readonly filter: string;
  /** Removes the table. */
  remove(): Promise<void>;
}

type Color = readonly [number, number, number];
/** From a value of the signal in [0, 1] to light, where 1 is the white of a page. */
type ToLight = (signal: Color) => Color;

/** Light of a white page in HDR video, in cd/m² (BT.2408). */
const WHITE = 203;
/** The brightest that is told apart, in cd/m². */
const PEAK = 1000;
/** Light up to this is kept as it is; from here to the peak it is compressed. */
const KNEE = 0.5;
/** Of a display of standard video (BT.1886). */
const GAMMA = 2.4;
/** Points of the table along each axis. */
const SIDE = 33;

/** Whether the colours are not those of standard video. */
export function needsLookup({ transfer, primaries }: PixelTags): boolean {
  return isHdr(transfer) || primaries === "bt2020";
}

function isHdr(transfer: string | undefined): boolean {
  return transfer === "smpte2084" || transfer === "arib-std-b67";
}

const each = ([r, g, b]: Color, change: (value: number) => number): Color => [
  change(r),
  change(g),
  change(b),
];

const tables = new Map<string, string>();

/** Nothing where the colours are those of standard video. @throws {SoundspotError} ERR_FILE_WRITE */
export async function colorLookup(tags: PixelTags): Promise<ColorLookup | undefined> {
  if (!needsLookup(tags)) return undefined;
  const key = `${tags.transfer} ${tags.primaries}`;
  const table = tables.get(key) ?? tableFor(tags);
  tables.set(key, table);
  const temporary = tmpdir();
  const folder = await writing(temporary, () => mkdtemp(join(temporary, "soundspot-")));
  const path = join(folder, "colors.cube");
  await writing(path, () => writeFile(path, table));
  return {
    filter: `lut3d=file=${escaped(path)}:interp=tetrahedral`,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** As an option within a filter graph: two levels of escaping. */
function escaped(path: string): string {
  const option = path.replaceAll("\\", "/").replace(/[\\':]/g, (char) => `\\${char}`);
  return option.replace(/[\\'[\],;]/g, (char) => `\\${char}`);
}

function tableFor(tags: PixelTags): string {
  const lines = [`LUT_3D_SIZE ${SIDE}`];
  const step = 1 / (SIDE - 1);
  const convert = standardColor(tags);
  for (let b = 0; b < SIDE; b++) {
    for (let g = 0; g < SIDE; g++) {
      for (let r = 0; r < SIDE; r++) {
        lines.push(
          convert([r * step, g * step, b * step])
            .map((value) => value.toFixed(6))
            .join(" "),
        );
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The conversion of one colour of the signal, in [0, 1]. */
export function standardColor({ transfer, primaries }: PixelTags): (signal: Color) => Color {
  const light = transfer === "smpte2084" ? perceptual : transfer === "arib-std-b67" ? hybrid : ordinary;
  const wide = primaries === "bt2020" || (primaries === undefined && isHdr(transfer));
  return (signal) => {
    const own = light(signal);
    const inGamut = wide ? toBt709(own) : own;
    const mapped = isHdr(transfer) ? compressed(inGamut) : inGamut;
    return each(mapped, (value) => Math.min(1, Math.max(0, value)) ** (1 / GAMMA));
  };
}

/** SMPTE ST 2084, "PQ". */
const perceptual: ToLight = (signal) => {
  const [m1, m2, c1, c2, c3] = [2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128];
  return each(signal, (value) => {
    const power = value ** (1 / m2);
    return (10_000 / WHITE) * (Math.max(0, power - c1) / (c2 - c3 * power)) ** (1 / m1);
  });
};

/** ARIB STD-B67, "HLG", on a display of the peak's brightness. */
const hybrid: ToLight = (signal) => {
  const [a, b, c] = [0.17883277, 0.28466892, 0.55991073];
  const scene = each(signal, (value) =>
    value <= 0.5 ? value ** 2 / 3 : (Math.exp((value - c) / a) + b) / 12,
  );
  const [r, g, blue] = scene;
  const luminance = 0.2627 * r + 0.678 * g + 0.0593 * blue;
  const gain = (PEAK / WHITE) * luminance ** 0.2;
  return each(scene, (value) => gain * value);
};

const ordinary: ToLight = (signal) => each(signal, (value) => value ** GAMMA);

/** Light in the primaries of BT.2020 to those of BT.709. */
function toBt709([r, g, b]: Color): Color {
  return [
    1.660491 * r - 0.587641 * g - 0.07285 * b,
    -0.12455 * r + 1.1329 * g - 0.008349 * b,
    -0.018151 * r - 0.100579 * g + 1.11873 * b,
  ];
}

/** Keeps the ratio of the three: the brightest of them is brought below 1. */
function compressed(color: Color): Color {
  const brightest = Math.max(...color);
  if (brightest <= KNEE) return color;
  const over = (brightest - KNEE) / (1 - KNEE);
  const most = (PEAK / WHITE - KNEE) / (1 - KNEE);
  const mapped = KNEE + (1 - KNEE) * Math.min(1, (over * (1 + over / most ** 2)) / (1 + over));
  return each(color, (value) => (value * mapped) / brightest);
}
