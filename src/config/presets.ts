/** Named recipes for training. */

import { shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { comparisonPresets } from "./comparison-presets.js";
import { DEFAULT_METHOD, methodNamed } from "./methods.js";
import type { ModelOptions } from "./model.js";
import type { TrainOptions } from "./train.js";

/** A recipe: a model and its training. */
export interface Preset {
  readonly model: ModelOptions;
  readonly train: TrainOptions;
}

/** The recipes by name. */
export const presets = {
  /** The published recipe. Its image encoder must start from ImageNet weights. */
  paper: { model: {}, train: {} },
  /** Learns from random weights on a few thousand pairs. */
  scratch: {
    model: {
      imageSize: 112,
      imageStages: 2,
      imageStride: 4,
      imageWidth: 32,
      audioStages: 3,
      audioWidth: 16,
      dim: 64,
      mapAlignment: "receptive-fields",
      method: { name: "joint-slot-attention", inferenceSharpening: 0.25 },
      audio: { seconds: 2 },
    },
    train: {
      epochs: 7,
      batchSize: 64,
      learningRate: 1e-3,
      schedule: { type: "one-cycle", warmup: 0.3 },
      clip: 1,
      precision: "auto",
      falseNegatives: { k: 0 },
      losses: {
        pooled: { weight: 1, until: 2, temperature: 0.07 },
        contrastive: { weight: 1, from: 2, temperature: 0.07 },
        crossAttention: { weight: 1, from: 2, temperature: 1 },
        matching: { weight: 4, from: 3, ramp: 2 },
        divergence: { weight: 0.1, from: 2 },
        reconstruction: { weight: 0.1, from: 2 },
      },
      augment: {
        crop: false,
        verticalFlipProbability: 0.5,
        blurProbability: 0,
        jitterProbability: 0,
        greyProbability: 0,
        frequencyMask: 0,
        timeMask: 0,
      },
    },
  },
  ...comparisonPresets,
} satisfies Record<string, Preset>;

/** Name of a recipe. */
export type PresetName = keyof typeof presets;

/** @throws {SoundspotError} ERR_CONFIG with the known names. */
export function presetNamed(name: string): Preset {
  if (typeof name === "string" && Object.hasOwn(presets, name)) return presets[name as PresetName];
  throw new SoundspotError(
    "ERR_CONFIG",
    `Unknown preset "${shown(name)}". Use ${Object.keys(presets).join(", ")}.`,
  );
}

/**
 * A preset's losses for a method. Of a preset for another method those that this one has stay, beside its defaults.
 */
function lossesFor(preset: TrainOptions, method: string): TrainOptions["losses"] {
  const { losses: own, defaultLosses } = methodNamed(method);
  const { losses } = preset;
  if (losses === undefined || Object.keys(losses).every((name) => own.includes(name))) return losses;
  const kept = Object.entries(losses).filter(([name]) => own.includes(name));
  return { ...defaultLosses, ...Object.fromEntries(kept) };
}

/** @internal Options over a preset's. Named losses override those of the preset or the method; the others stay. */
export function mergeTrain(
  preset: TrainOptions,
  options: TrainOptions,
  method: string = DEFAULT_METHOD,
): TrainOptions {
  const own = lossesFor(preset, method);
  const base = own ?? methodNamed(method).defaultLosses;
  const losses = options.losses ? { ...base, ...options.losses } : own;
  const defined = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...preset, ...defined, ...(losses === undefined ? {} : { losses }) };
}
