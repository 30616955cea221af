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
      method: { name: "joint-slot-attention", inferenceSharpening: 0.3 },
      audio: { seconds: 2 },
    },
    train: {
      epochs: 9,
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
        hideProbability: 0.1,
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

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null;

/** Groups of fields that `options` gives over those of the preset: field by field, except of another `type`. */
function mergeGroups(preset: TrainOptions, options: TrainOptions): Partial<TrainOptions> {
  const groups = ["augment", "viewAugment", "falseNegatives", "schedule"] as const;
  return Object.fromEntries(
    groups.flatMap((name): [string, Fields][] => {
      const base: unknown = preset[name];
      const own: unknown = options[name];
      if (!isFields(base) || !isFields(own) || base.type !== own.type) return [];
      return [[name, { ...base, ...own }]];
    }),
  );
}

/**
 * @internal Options over a preset's. Named losses override those of the preset or the method; the others stay. So do
 * fields of the augmentations, of the false negatives and of a schedule of the same type.
 */
export function mergeTrain(
  preset: TrainOptions,
  options: TrainOptions,
  method: string = DEFAULT_METHOD,
): TrainOptions {
  const own = lossesFor(preset, method);
  const base = own ?? methodNamed(method).defaultLosses;
  const losses = options.losses ? { ...base, ...options.losses } : own;
  const defined = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const groups = mergeGroups(preset, options);
  return { ...preset, ...defined, ...groups, ...(losses === undefined ? {} : { losses }) };
}
