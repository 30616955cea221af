/** How each compared method is trained: as its authors published it, or on encoders that all of them share. */

import { methodNamed } from "../config/methods.js";
import type { ModelOptions } from "../config/model.js";
import { type PresetName, presets } from "../config/presets.js";
import type { TrainOptions } from "../config/train.js";
import { shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";

/** The compared methods, in the order of the tables. */
export const comparedMethods = [
  "joint-slot-attention",
  "alignment",
  "fnac",
  "slavc",
  "ssl-tie",
  "ez-vsl",
  "lvs",
] as const;

/** Name of a compared method. */
export type ComparedMethod = (typeof comparedMethods)[number];

/** Whose encoders and whose recipe. */
export type ComparedEncoders = "published" | "shared";

/** How much is trained on. */
export interface Budget {
  /** Pairs of the data, the first ones. Default all. */
  readonly pairs?: number | undefined;
  /** Default the recipe's. */
  readonly epochs?: number | undefined;
  /** Pairs of a step. Default the recipe's. */
  readonly batchSize?: number | undefined;
}

/** Budgets by name. */
export const budgets = {
  /** Minutes a training on two cores. */
  small: { pairs: 2000, epochs: 5 },
  /** All data, and the epochs of the recipe. */
  full: {},
} as const satisfies Record<string, Budget>;

/** @throws {SoundspotError} ERR_CONFIG with the known names. */
export function comparedMethod(name: string): ComparedMethod {
  const known: readonly string[] = comparedMethods;
  if (known.includes(name)) return name as ComparedMethod;
  throw new SoundspotError(
    "ERR_CONFIG",
    `There is no compared method "${shown(name)}". Use ${known.join(", ")}.`,
  );
}

/** A method's model and training. */
export interface ComparedRecipe {
  readonly preset: PresetName;
  readonly model: ModelOptions;
  readonly train: TrainOptions;
}

const SHARED = "scratch";
/**
 * The preset without what no method publishes: maps are enlarged as theirs, no image is turned upside down and no part
 * of one is hidden. The sharpening is the best without hidden parts.
 */
const shared = {
  model: {
    ...presets[SHARED].model,
    mapAlignment: "tiles",
    method: { ...presets[SHARED].model.method, inferenceSharpening: 0.25 },
  },
  train: {
    ...presets[SHARED].train,
    augment: { ...presets[SHARED].train.augment, verticalFlipProbability: 0, hideProbability: 0 },
  },
} satisfies { readonly model: ModelOptions; readonly train: TrainOptions };

/** Epoch of the shared recipe in which a warm-up on pooled tokens ends and the method's own losses begin. */
export const WARM_UP = presets[SHARED].train.losses.pooled.until;

/**
 * The recipe of a method.
 *
 * "published": the method's preset. "shared": the preset `scratch` for all, its encoders, its audio, its optimizer and
 * its augmentation, without vertical flips and hidden patches, with maps enlarged as published. Every method begins with the warm-up of
 * that preset; then joint slot attention has the losses of the preset, and every other method its own at their
 * published weights and temperatures.
 */
export function recipeOf(method: ComparedMethod, encoders: ComparedEncoders): ComparedRecipe {
  const own = method === "joint-slot-attention" ? "paper" : method;
  if (encoders === "published") {
    return { preset: own, model: presets[own].model, train: presets[own].train };
  }
  if (method === "joint-slot-attention") {
    return { preset: SHARED, ...shared };
  }
  const { losses: recipeLosses, ...train } = shared.train;
  const losses = Object.fromEntries(
    Object.entries(methodNamed(method).defaultLosses).map(([name, loss]) => [
      name,
      { ...loss, from: WARM_UP },
    ]),
  );
  return {
    preset: SHARED,
    model: { ...shared.model, method: { name: method } },
    train: {
      ...train,
      viewAugment: train.augment,
      losses: { pooled: recipeLosses.pooled, ...losses },
    },
  };
}
