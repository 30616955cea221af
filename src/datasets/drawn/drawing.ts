/** Shared by the datasets that draw their samples: the sample, seeded numbers, and a room's noise. */
import type { Box, Mask, RawAudio, RawImage } from "../../core/types.js";

/** What every sample of a dataset shares. */
export interface DrawnSettings {
  /** Side of the square image in pixels, at least 32. */
  readonly size: number;
  /** Length of the audio in seconds. */
  readonly seconds: number;
  /** In hertz. */
  readonly sampleRate: number;
  /** Objects of sounding classes in view, of different classes; one of them sounds. */
  readonly sources: 1 | 2;
  /** Most silent objects in view. */
  readonly props: number;
  /** Probability, in [0, 1], of a quieter sound of another class whose source is not in view. */
  readonly offscreen: number;
}

/** Which scene: the same numbers and settings give the same scene, bit for bit. */
export interface SceneKey {
  readonly seed: number;
  readonly split: "train" | "test";
  /** Has no effect in the test split. */
  readonly epoch: number;
  readonly index: number;
}

export interface Scene {
  readonly image: RawImage;
  readonly audio: RawAudio;
  /** Class of the sound source. */
  readonly label: string;
  /** Bounding box of `mask`. */
  readonly box: Box;
  /** Pixels of the object that sounds. */
  readonly mask: Mask;
  /** Pixels of the objects of sounding classes that are silent. */
  readonly silentMasks: readonly Mask[];
  /** false: the sound source is not in the image, and `mask` is of an object that is silent. Default true. */
  readonly sounding?: boolean;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** A class that is neither in view nor the one that sounds, uniformly; undefined when there is none. */
export function pickUnseen(
  classes: number,
  target: number,
  inView: readonly number[],
  random: Random,
): number | undefined {
  const others = Array.from({ length: classes - 1 }, (_, i) => (target + 1 + i) % classes).filter(
    (kind) => !inView.includes(kind),
  );
  return others[Math.floor(random() * others.length)];
}

/** Numbers that depend on the key alone. */
export function createRandom({ seed, split, epoch, index }: SceneKey): Random {
  let state = 0x9e3779b9;
  for (const word of split === "test" ? [seed, 1, 0, index] : [seed, 0, epoch, index]) {
    state = scramble(state ^ scramble((word | 0) + 0x7f4a7c15));
  }
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function scramble(word: number): number {
  let x = word | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
}

export const between = (random: Random, low: number, high: number): number => low + (high - low) * random();

export const logUniform = (random: Random, low: number, high: number): number =>
  low * (high / low) ** random();

/** `picks` different numbers of 0 … count − 1. */
export function pickDistinct(count: number, picks: number, random: Random): number[] {
  const rest = Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: picks }, () => rest.splice(Math.floor(random() * rest.length), 1)[0] as number);
}

/** The smallest box around the pixels of a mask. */
export function boundingBox({ data, width, height }: Mask): Box {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** Root mean square. */
export function rms(samples: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += (samples[i] as number) ** 2;
  return Math.sqrt(sum / samples.length);
}

/** Audio of root mean square 1 in a room: pink-like noise 14 to 34 dB below it, a peak of 0.3 to 0.95. In place. */
export function asRecorded(mix: Float32Array, random: Random): Float32Array {
  const noise = new Float32Array(mix.length);
  let slow = 0;
  for (let i = 0; i < mix.length; i++) {
    const white = random() - 0.5;
    slow = 0.97 * slow + 0.2 * white;
    noise[i] = slow + 0.35 * white;
  }
  const noiseGain = logUniform(random, 0.02, 0.2) / rms(noise);
  let peak = 1e-6;
  for (let i = 0; i < mix.length; i++) {
    mix[i] = (mix[i] as number) + noiseGain * (noise[i] as number);
    peak = Math.max(peak, Math.abs(mix[i] as number));
  }
  const gain = between(random, 0.3, 0.95) / peak;
  for (let i = 0; i < mix.length; i++) mix[i] = (mix[i] as number) * gain;
  return mix;
}
