/**
 * Draws one procedural scene, image and audio, from numbers only: a pure, synchronous function
 * that runs on any thread. `scenes.ts` makes a dataset of it.
 */

import {
  asRecorded,
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
} from "../drawing.js";
import { paintBackground } from "./background.js";
import { sceneClasses, soundingClasses } from "./classes/index.js";
import { developed, paintObject, paintShadow } from "./painting.js";
import { type Placed, place } from "./placing.js";
import { propPainters } from "./props.js";
import { anyLook, type Painter } from "./shapes.js";
import type { SoundingClass } from "./sounding-class.js";

export type { Scene, SceneKey } from "../drawing.js";

/** What every scene of a dataset shares. */
export type SceneSettings = DrawnSettings;

/** Draws scene `key`. Takes a few milliseconds. */
export function renderScene(settings: SceneSettings, key: SceneKey): Scene {
  const random = createRandom(key);
  const { size, sources } = settings;
  const kinds = pickDistinct(sceneClasses.length, sources, random);
  const target = kinds[0] as number;

  let placed: Placed[] | undefined;
  while (!placed) placed = arrange(settings, kinds, random);

  const canvas = new Float32Array(size * size * 3);
  paintBackground(canvas, size, random);
  for (const object of placed) paintShadow(canvas, size, object);
  const masks = placed.map(() => new Uint8Array(size * size));
  for (let i = placed.length - 1; i >= 0; i--) {
    paintObject(canvas, size, placed[i] as Placed, masks[i] as Uint8Array);
  }
  const mask = { data: masks[0] as Uint8Array, width: size, height: size };
  return {
    image: { data: developed(canvas, random), width: size, height: size },
    audio: { samples: mixSound(settings, kinds, random), sampleRate: settings.sampleRate },
    label: sceneClasses[target] as string,
    box: boundingBox(mask),
    mask,
    silentMasks: masks.slice(1, sources).map((data) => ({ data, width: size, height: size })),
  };
}

/**
 * Places one object of each of the sounding classes `kinds`, then the props: the first come first,
 * so that they fit. Returns undefined when they do not.
 */
function arrange(
  { size, props }: SceneSettings,
  kinds: readonly number[],
  random: Random,
): Placed[] | undefined {
  const placed: Placed[] = [];
  const largest = kinds.length === 1 ? 0.185 : 0.12;
  for (const kind of kinds) {
    const { paint, look } = soundingClasses[kind] as SoundingClass;
    const area = logUniform(random, 0.045, largest);
    const object = place(paint, look(random), area, 0.045, size, placed, random);
    if (!object) return undefined;
    placed.push(object);
  }
  for (let left = 1 + Math.floor(random() * props); left > 0; left--) {
    const prop = propPainters[Math.floor(random() * propPainters.length)] as Painter;
    const area = logUniform(random, 0.03, 0.13);
    const object = place(prop, anyLook(random), area, 0.008, size, placed, random);
    if (!object) return undefined;
    placed.push(object);
  }
  return placed;
}

/** The first of what is in view, maybe a quieter sound from off screen, and background noise; peak below 1. */
function mixSound(settings: SceneSettings, inView: readonly number[], random: Random): Float32Array {
  const { sampleRate, offscreen } = settings;
  const target = inView[0] as number;
  const length = Math.max(1, Math.round(settings.seconds * sampleRate));
  const mix = loud(target, 1);
  const other = random() < offscreen ? pickUnseen(soundingClasses.length, target, inView, random) : undefined;
  if (other !== undefined) {
    const quiet = loud(other, logUniform(random, 0.1, 0.3));
    for (let i = 0; i < length; i++) mix[i] = (mix[i] as number) + (quiet[i] as number);
  }
  return asRecorded(mix, random);

  /** Audio of a class at root mean square `level`. */
  function loud(kind: number, level: number): Float32Array {
    const samples = new Float32Array(length);
    (soundingClasses[kind] as SoundingClass).voice(samples, sampleRate, random);
    const factor = level / Math.max(rms(samples), 1e-6);
    for (let i = 0; i < length; i++) samples[i] = (samples[i] as number) * factor;
    return samples;
  }
}
