/**
 * Composes one sample of photographed cut-outs over a photographed background, with a recording: a pure,
 * synchronous function that runs on any thread. `stamps.ts` makes a dataset of it.
 */
import type { Mask } from "../../core/types.js";
import {
  asRecorded,
  between,
  boundingBox,
  createRandom,
  type DrawnSettings,
  logUniform,
  pickDistinct,
  pickUnseen,
  type Random,
  rms,
  type Scene,
  type SceneKey,
} from "./drawing.js";

/** RGBA, row-major, interleaved; alpha not multiplied in. */
export interface Cutout {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Opaque pixels. */
  readonly area: number;
}

export interface StampClass {
  readonly name: string;
  readonly cutouts: readonly Cutout[];
  /** Mono, at the settings' rate. */
  readonly recordings: readonly Float32Array[];
}

/** What samples are made of, in shared memory. */
export interface StampLibrary {
  readonly classes: readonly StampClass[];
  /** Objects that never sound. */
  readonly silent: readonly Cutout[];
  readonly backgrounds: readonly Cutout[];
}

/** What every sample of a dataset shares. */
export interface StampSettings extends DrawnSettings {
  /** Probability that the sound source is of a class that is not in view. */
  readonly unrelated: number;
}

/** A cut-out's place: pixel (x, y) of the image shows the cut-out at (originU + a·x + b·y, originV + c·x + d·y). */
interface Placed {
  readonly cutout: Cutout;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly originU: number;
  readonly originV: number;
  /** Pixels of the cut-out a pixel of the image. */
  readonly shrink: number;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Composes sample `key`. Takes a few milliseconds. */
export function renderStamps(library: StampLibrary, settings: StampSettings, key: SceneKey): Scene {
  const random = createRandom(key);
  const { size, sources } = settings;
  // One class more than is in view: the one that sounds where the audio is unrelated.
  const kinds = pickDistinct(library.classes.length, sources + 1, random);
  const sounding = random() >= settings.unrelated;
  const inView = kinds.slice(0, sources);
  const target = (sounding ? kinds[0] : kinds[sources]) as number;

  let placed: Placed[] | undefined;
  while (!placed) placed = arrange(library, settings, inView, random);

  const canvas = new Float32Array(size * size * 3);
  const backdrop = library.backgrounds[Math.floor(random() * library.backgrounds.length)] as Cutout;
  draw(canvas, size, crop(backdrop, size, random), tint(random, 0.15));
  const masks = placed.map((object) => {
    const mask = new Uint8Array(size * size);
    draw(canvas, size, object, tint(random, 0.2), mask);
    return mask;
  });
  const mask: Mask = { data: masks[0] as Uint8Array, width: size, height: size };
  return {
    image: { data: developed(canvas, random), width: size, height: size },
    audio: { samples: mixAudio(library, settings, target, inView, random), sampleRate: settings.sampleRate },
    label: (library.classes[target] as StampClass).name,
    box: boundingBox(mask),
    mask,
    silentMasks: masks.slice(1, sources).map((data) => ({ data, width: size, height: size })),
    sounding,
  };
}

/** Objects of the classes, then silent objects, boxes apart. Undefined when no place was found. */
function arrange(
  { classes, silent }: StampLibrary,
  { size, props }: StampSettings,
  kinds: readonly number[],
  random: Random,
): Placed[] | undefined {
  const placed: Placed[] = [];
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const wanted = kinds.map((kind) => ({
    cutout: pick((classes[kind] as StampClass).cutouts),
    area: logUniform(random, 0.05, kinds.length === 1 ? 0.2 : 0.13),
  }));
  for (let left = Math.floor(random() * (props + 1)); left > 0; left--) {
    wanted.push({ cutout: pick(silent), area: logUniform(random, 0.03, 0.1) });
  }
  for (const { cutout, area } of wanted) {
    const object = place(cutout, area, size, placed, random);
    if (!object) return undefined;
    placed.push(object);
  }
  return placed;
}

/**
 * Puts a cut-out whose opaque pixels cover `area`, a share of the image, at a uniformly random place where it lies
 * fully in the frame and its box touches no other; a long one is made smaller until it fits.
 */
function place(
  cutout: Cutout,
  area: number,
  size: number,
  others: readonly Placed[],
  random: Random,
): Placed | undefined {
  const angle = between(random, -0.2, 0.2);
  const mirror = random() < 0.5 ? -1 : 1;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [halfWidth, halfHeight] = [cutout.width / 2, cutout.height / 2];
  const boxWidth = Math.abs(cos) * cutout.width + Math.abs(sin) * cutout.height;
  const boxHeight = Math.abs(sin) * cutout.width + Math.abs(cos) * cutout.height;
  let scale = Math.sqrt((area * size * size) / cutout.area);
  scale = Math.min(scale, (0.9 * size) / Math.max(boxWidth, boxHeight));
  for (let attempt = 0; attempt < 60; attempt++) {
    const [width, height] = [boxWidth * scale, boxHeight * scale];
    const left = between(random, 0, size - width);
    const top = between(random, 0, size - height);
    const apart = others.every(
      (other) =>
        left > other.right || other.left > left + width || top > other.bottom || other.top > top + height,
    );
    if (!apart) continue;
    const shrink = 1 / scale;
    const [x, y] = [left + width / 2, top + height / 2];
    const [a, b, c, d] = [mirror * cos * shrink, mirror * sin * shrink, -sin * shrink, cos * shrink];
    return {
      cutout,
      a,
      b,
      c,
      d,
      originU: halfWidth - a * x - b * y,
      originV: halfHeight - c * x - d * y,
      shrink,
      left,
      top,
      right: left + width,
      bottom: top + height,
    };
  }
  return undefined;
}

/** A square piece of a background over the whole image, maybe mirrored. */
function crop(background: Cutout, size: number, random: Random): Placed {
  const side = Math.min(background.width, background.height) * between(random, 0.5, 1);
  const shrink = side / size;
  const mirrored = random() < 0.5;
  const u = between(random, 0, background.width - side);
  const v = between(random, 0, background.height - side);
  return {
    cutout: background,
    a: mirrored ? -shrink : shrink,
    b: 0,
    c: 0,
    d: shrink,
    originU: mirrored ? u + side : u,
    originV: v,
    shrink,
    left: 0,
    top: 0,
    right: size,
    bottom: size,
  };
}

/** Factors on red, green and blue: the light of a photograph. */
function tint(random: Random, strength: number): readonly [number, number, number] {
  const light = 1 + between(random, -strength, strength);
  const warmth = between(random, -strength, strength) / 4;
  return [light * (1 + warmth), light, light * (1 - warmth)];
}

/** Draws a cut-out with its coverage as opacity; pixels that it covers by half are set in `mask`. */
function draw(
  canvas: Float32Array,
  size: number,
  object: Placed,
  [red, green, blue]: readonly [number, number, number],
  mask?: Uint8Array,
): void {
  const { cutout, a, b, c, d } = object;
  const { data, width, height } = cutout;
  // Points a side within a pixel of the image: every pixel of the cut-out counts where it is made smaller.
  const points = Math.min(6, Math.max(2, Math.ceil(object.shrink)));
  const share = 1 / (points * points * 255);
  const [bottom, right] = [Math.min(size, Math.ceil(object.bottom)), Math.min(size, Math.ceil(object.right))];
  for (let y = Math.max(0, Math.floor(object.top)); y < bottom; y++) {
    for (let x = Math.max(0, Math.floor(object.left)); x < right; x++) {
      let [sumRed, sumGreen, sumBlue, cover] = [0, 0, 0, 0];
      for (let i = 0; i < points; i++) {
        const dy = y + (i + 0.5) / points;
        for (let j = 0; j < points; j++) {
          const dx = x + (j + 0.5) / points;
          const u = Math.floor(object.originU + a * dx + b * dy);
          const v = Math.floor(object.originV + c * dx + d * dy);
          if (u < 0 || v < 0 || u >= width || v >= height) continue;
          const at = 4 * (v * width + u);
          const alpha = data[at + 3] as number;
          sumRed += alpha * (data[at] as number);
          sumGreen += alpha * (data[at + 1] as number);
          sumBlue += alpha * (data[at + 2] as number);
          cover += alpha;
        }
      }
      if (cover === 0) continue;
      const at = 3 * (y * size + x);
      const rest = 1 - cover * share;
      canvas[at] = (canvas[at] as number) * rest + sumRed * share * red;
      canvas[at + 1] = (canvas[at + 1] as number) * rest + sumGreen * share * green;
      canvas[at + 2] = (canvas[at + 2] as number) * rest + sumBlue * share * blue;
      if (mask && rest <= 0.5) mask[y * size + x] = 1;
    }
  }
}

/** 8-bit pixels with a camera's noise. */
function developed(canvas: Float32Array, random: Random): Uint8Array {
  const pixels = new Uint8ClampedArray(canvas.length);
  for (let i = 0; i < canvas.length; i++) pixels[i] = (canvas[i] as number) + 6 * (random() - 0.5);
  return new Uint8Array(pixels.buffer);
}

/** What sounds, maybe a quieter sound from off screen, and noise. */
function mixAudio(
  library: StampLibrary,
  settings: StampSettings,
  target: number,
  inView: readonly number[],
  random: Random,
): Float32Array {
  const length = Math.max(1, Math.round(settings.seconds * settings.sampleRate));
  const mix = play(library.classes[target] as StampClass, 1);
  const other =
    random() < settings.offscreen ? pickUnseen(library.classes.length, target, inView, random) : undefined;
  if (other !== undefined) {
    const quiet = play(library.classes[other] as StampClass, logUniform(random, 0.1, 0.3));
    for (let i = 0; i < length; i++) mix[i] = (mix[i] as number) + (quiet[i] as number);
  }
  return asRecorded(mix, random);

  /** A recording from a random moment on, again and again, a little faster or slower, at root mean square `level`. */
  function play({ recordings }: StampClass, level: number): Float32Array {
    const recording = recordings[Math.floor(random() * recordings.length)] as Float32Array;
    const speed = logUniform(random, 0.93, 1.07);
    const period = recording.length + Math.floor(between(random, 0, 0.3) * settings.sampleRate);
    const start = random() * period;
    const samples = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      const at = (start + i * speed) % period;
      const whole = Math.floor(at);
      if (whole + 1 >= recording.length) continue; // the pause
      const [before, after] = [recording[whole] as number, recording[whole + 1] as number];
      samples[i] = before + (at - whole) * (after - before);
    }
    const factor = level / Math.max(rms(samples), 1e-6);
    for (let i = 0; i < length; i++) samples[i] = (samples[i] as number) * factor;
    return samples;
  }
}
