/** The comparison methods with small encoders of the published layouts. */
import type { LocalizeInput, ModelOptions } from "../../src/index.js";
import { presets } from "../../src/index.js";
import { uniform } from "./formula.js";

export const comparisonMethods = ["lvs", "ez-vsl", "slavc", "fnac", "alignment", "ssl-tie"] as const;
export type ComparisonMethod = (typeof comparisonMethods)[number];

const IMAGE = 32;

/** The layout of the method's preset, a few channels wide. */
export function small(method: ComparisonMethod, options: ModelOptions = {}): ModelOptions {
  const { model } = presets[method] as { model: ModelOptions };
  return {
    ...model,
    imageSize: IMAGE,
    imageStages: 2,
    imageStride: 4,
    imageWidth: 8,
    audioStages: 2,
    audioStride: 4,
    audioWidth: 8,
    dim: 16,
    // The published front end, in a window of a moment.
    audio: { ...model.audio, seconds: 0.3, placement: "middle" },
    ...options,
  };
}

/** Pairs of a coloured pattern and a tone, each of its own. */
export function pairs(count: number, seed = 0): LocalizeInput[] {
  return Array.from({ length: count }, (_, i) => {
    const draw = uniform(`pair ${seed} ${i}`, 3 * IMAGE * IMAGE);
    const data = Uint8Array.from(draw, (value) => Math.round(120 + 100 * value));
    const samples = Float32Array.from(
      { length: 4800 },
      (_, n) => 0.4 * Math.sin((n * (300 + 170 * (i + seed)) * 2 * Math.PI) / 16_000),
    );
    return {
      image: { data, width: IMAGE, height: IMAGE },
      audio: { samples, sampleRate: 16_000 },
    };
  });
}

/** Options of a step: the further views that the method needs, of other pairs. */
export const viewsFor = (method: ComparisonMethod, count: number) =>
  method === "alignment" ? { views: { neighbour: pairs(count, 1), augmented: pairs(count, 2) } } : {};
