/** Photographed cut-outs over photographed backgrounds with recorded sounds, from Debian's Tux Paint packages. */

import { join } from "node:path";
import sharp from "sharp";
import { aPath, oneOf } from "../../core/arguments.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../../core/errors.js";
import { readMediaFile } from "../../files/media-file.js";
import { decodeAudio } from "../../media/audio.js";
import { resample } from "../../media/resample.js";
import type { LoadOptions, MissingSample, Sample } from "../dataset.js";
import { type IterableDataset, iterable } from "../samples.js";
import { checkSource } from "../source.js";
import type { SceneKey } from "./drawing.js";
import { inRange, RenderPool } from "./render-pool.js";
import { backgrounds, heardClasses, silentObjects, unheardClasses } from "./stamp-catalogue.js";
import type { Cutout, StampClass, StampLibrary, StampSettings } from "./stamp-renderer.js";

/** How composites are made, and of what. */
export interface StampsOptions extends Partial<StampSettings> {
  /** Tux Paint's data: the folder of `stamps/` and `templates/`. Default "/usr/share/tuxpaint". */
  readonly root?: string;
  /** The folder of MATE's `nature/` backgrounds. Default "/usr/share/backgrounds/mate". */
  readonly backgrounds?: string;
  /** Side of the square image in pixels, 32 to 1024. Default 160. */
  readonly size?: number;
  /** Length of the audio in seconds, 0.5 to 30. Default 5. */
  readonly seconds?: number;
  /** In hertz, 8,000 to 48,000. Default 16,000. */
  readonly sampleRate?: number;
  /** Objects of sounding classes in view; one of them sounds. Default 1. */
  readonly sources?: 1 | 2;
  /** Most silent objects in view, 0 to 4. Default 2. */
  readonly props?: number;
  /** Probability of a quieter sound of another class from off screen. Default 0.2. */
  readonly offscreen?: number;
  /** Probability that nothing in the image makes the sound; such a sample has `sounding: false`. Default 0. */
  readonly unrelated?: number;
  /** "heard" classes are for training and test, "unheard" ones for the test alone, as in VGG-SS. Default "heard". */
  readonly classes?: "heard" | "unheard";
  /** The test split has backgrounds of its own. Default "train". */
  readonly split?: "train" | "test";
  /** Samples. Default 4000. */
  readonly length?: number;
  /** Another seed gives other samples. An integer, default 0. */
  readonly seed?: number;
  /** Hold what was composed in memory, 165 kB per sample of 112 px and 2 s, for runs of many epochs. Default false. */
  readonly keep?: boolean;
  /** Threads that compose. Default 1. */
  readonly workers?: number;
  /** Path of ffmpeg, which decodes the recordings; by default it is searched for. */
  readonly ffmpeg?: string;
  readonly signal?: AbortSignal;
}

const SHORT_SIDE = 480; // pixels that a background is reduced to

/**
 * Composites with exact masks: a cut-out of one of 22 heard (or 8 unheard) classes at a random place, size, tilt and
 * light over a photograph, up to two silent objects beside it, and its recording from a random moment on, with noise.
 * A sample depends on seed, split and index only. The images and recordings are those of Debian's packages
 * `tuxpaint-stamps-default`, `tuxpaint-data` and `mate-backgrounds`; nothing of them comes with this package.
 *
 * Most classes have one photograph and one recording. A model has to find, over backgrounds that it
 * has not seen, what it has seen elsewhere.
 *
 * @example
 * const data = await stamps({ length: 4000 });
 * const test = await stamps({ split: "test", length: 400 });
 * @throws {SoundspotError} ERR_DATASET when nothing is installed at `root`; single missing files are in
 * `missing`. ERR_CONFIG when an option is out of its range; ERR_FFMPEG_MISSING.
 */
export async function stamps(options: StampsOptions = {}): Promise<IterableDataset> {
  checkSource(
    "stamps",
    options,
    {},
    { root: aPath, backgrounds: aPath, split: oneOf("train", "test"), classes: oneOf("heard", "unheard") },
  );
  const ranged = (name: string, value: number, low: number, high: number, whole = false) =>
    inRange("stamps", name, value, low, high, whole);
  const settings: StampSettings = {
    size: ranged("size", options.size ?? 160, 32, 1024, true),
    seconds: ranged("seconds", options.seconds ?? 5, 0.5, 30),
    sampleRate: ranged("sampleRate", options.sampleRate ?? 16_000, 8000, 48_000, true),
    sources: ranged("sources", options.sources ?? 1, 1, 2, true) as 1 | 2,
    props: ranged("props", options.props ?? 2, 0, 4, true),
    offscreen: ranged("offscreen", options.offscreen ?? 0.2, 0, 1),
    unrelated: ranged("unrelated", options.unrelated ?? 0, 0, 1),
  };
  const length = ranged("length", options.length ?? 4000, 1, Number.MAX_SAFE_INTEGER, true);
  const seed = ranged("seed", options.seed ?? 0, -(2 ** 31), 2 ** 31 - 1, true);
  const workers = ranged("workers", options.workers ?? 1, 1, 64, true);
  const split = options.split ?? "train";
  const kind = options.classes ?? "heard";

  const { library, missing } = await readLibrary(options, kind, split, settings.sampleRate);
  if (library.classes.length <= settings.sources || !library.backgrounds.length || !library.silent.length) {
    throw new SoundspotError(
      "ERR_DATASET",
      `stamps: ${missing[0]?.files[0] ?? "the stamps"} and ${missing.length - 1} more are missing. ` +
        "On Debian: apt-get install tuxpaint-stamps-default tuxpaint-data mate-backgrounds; elsewhere give root and backgrounds.",
    );
  }
  const pool = new RenderPool<StampSettings>("stamps", workers, library);
  const kept = new Map<number, Sample>();
  return iterable({
    name: `stamps-${kind}-${split}`,
    length,
    classes: library.classes.map(({ name }) => name),
    missing,
    async load(index: number, { signal }: LoadOptions = {}): Promise<Sample> {
      ranged("index", index, 0, length - 1, true);
      throwIfAborted(signal);
      const known = kept.get(index);
      if (known) return known;
      // The two kinds of classes draw from streams of their own.
      const key: SceneKey = { seed: kind === "heard" ? seed : ~seed, split, epoch: 0, index };
      const { image, audio, label, box, mask, silentMasks, sounding } = await pool.render(settings, key);
      throwIfAborted(signal);
      const id = `${kind}-${split}-${seed}-${index}`;
      const sample: Sample =
        sounding === false
          ? { id, image, audio, label, sounding }
          : { id, image, audio, label, boxes: [box], mask, silentMasks };
      if (options.keep) kept.set(index, sample);
      return sample;
    },
    close: () => {
      kept.clear();
      return pool.close();
    },
  });
}

async function readLibrary(
  options: StampsOptions,
  kind: "heard" | "unheard",
  split: "train" | "test",
  sampleRate: number,
): Promise<{ library: StampLibrary; missing: MissingSample[] }> {
  const { root = "/usr/share/tuxpaint", signal } = options;
  const nature = options.backgrounds ?? "/usr/share/backgrounds/mate";
  const missing: MissingSample[] = [];
  /** The files that can be read; missing ones are noted. */
  const present = async <T>(id: string, file: string, read: (file: string) => Promise<T>): Promise<T[]> => {
    try {
      return [await read(file)];
    } catch (error) {
      if (!(isSoundspotError(error) && error.code === "ERR_FILE_NOT_FOUND")) throw error;
      missing.push({ id, files: [file] });
      return [];
    }
  };
  const stamp = (name: string, ending: string) => join(root, "stamps", `${name}.${ending}`);
  const cutout = (file: string) => readCutout(file, undefined, signal);
  const recording = (file: string) => readRecording(file, sampleRate, options);

  const classes: StampClass[] = [];
  for (const [name, members] of Object.entries(kind === "heard" ? heardClasses : unheardClasses)) {
    const cutouts = await Promise.all(members.map((member) => present(name, stamp(member, "png"), cutout)));
    const recordings = await Promise.all(
      members.map((member) => present(name, stamp(member, "ogg"), recording)),
    );
    const whole = { name, cutouts: cutouts.flat(), recordings: recordings.flat() };
    if (whole.cutouts.length > 0 && whole.recordings.length > 0) classes.push(whole);
  }
  const silent = await Promise.all(silentObjects.map((name) => present(name, stamp(name, "png"), cutout)));
  const places = await Promise.all(
    backgrounds[split].map((name) => {
      const file = join(name.startsWith("nature/") ? nature : root, name);
      return present(name, file, (path) => readCutout(path, SHORT_SIDE, signal));
    }),
  );
  return { library: { classes, silent: silent.flat(), backgrounds: places.flat() }, missing };
}

/** RGBA in shared memory. */
async function readCutout(
  file: string,
  shortSide: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Cutout> {
  const encoded = await readMediaFile(file, signal);
  try {
    let image = sharp(encoded).ensureAlpha().toColourspace("srgb");
    if (shortSide !== undefined)
      image = image.resize({ width: shortSide, height: shortSide, fit: "outside" });
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    const kept = new Uint8Array(new SharedArrayBuffer(data.length));
    kept.set(data);
    let area = 0;
    for (let i = 3; i < kept.length; i += 4) if ((kept[i] as number) > 127) area++;
    return { data: kept, width: info.width, height: info.height, area };
  } catch (cause) {
    throw new SoundspotError(
      "ERR_MEDIA_DECODE",
      `${file} cannot be decoded as an image. Install its package again.`,
      {
        cause,
      },
    );
  }
}

/** Mono samples at the rate, in shared memory. */
async function readRecording(
  file: string,
  sampleRate: number,
  options: StampsOptions,
): Promise<Float32Array> {
  const { ffmpeg, signal } = options;
  const audio = await decodeAudio(file, { ffmpeg, signal });
  const { data, shape } = await resample(audio, sampleRate);
  const [channels = 1, frames = 0] = shape;
  const mono = new Float32Array(new SharedArrayBuffer(4 * frames));
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < frames; i++) {
      mono[i] = (mono[i] as number) + (data[channel * frames + i] as number) / channels;
    }
  }
  return mono;
}
