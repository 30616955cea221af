/** Ablations by name: those of the paper, and the objectives that this package compares. */

import type { MethodOptions } from "../config/methods.js";
import type { ModelOptions } from "../config/model.js";
import type { TrainConfig, TrainOptions } from "../config/train.js";

export interface Variant {
  readonly name: string;
  readonly model?: ModelOptions;
  /** Overrides of the recipe, or a function of it; a loss named here replaces the recipe's loss of that name. */
  readonly train?: TrainOptions | ((recipe: TrainConfig) => TrainOptions);
  /** The loss that it switches off: a recipe without that loss has no such variant. */
  readonly loss?: string;
}

export interface Ablation {
  readonly title: string;
  readonly variants: readonly Variant[];
  /** The map of each target slot is scored by itself too. */
  readonly byTarget?: true;
}

/** Options of joint slot attention. */
const slots = (
  numbers: Omit<Extract<MethodOptions, { name: "joint-slot-attention" }>, "name">,
): ModelOptions => ({
  method: { name: "joint-slot-attention", ...numbers },
});

type Losses = NonNullable<TrainOptions["losses"]>;

/** The paper's k, for a recipe that excludes nothing. */
const NEIGHBOURS = 20;

/** Losses switched off by name. */
const without = (...names: readonly string[]): Losses =>
  Object.fromEntries(names.map((name) => [name, { weight: 0 }]));

const optional = ["matching", "divergence", "reconstruction"] as const;

/** All subsets of the optional losses beside the contrastive one, the empty one first. */
const lossSubsets = Array.from({ length: 2 ** optional.length }, (_, bits): Variant => {
  const kept = optional.filter((_, i) => bits & (1 << i));
  const left = optional.filter((name) => !kept.includes(name));
  const name =
    left.length === 0
      ? "all losses"
      : kept.length === 0
        ? "contrastive alone"
        : `contrastive, ${kept.join(", ")}`;
  return { name, train: { losses: without(...left) } };
});

/** The losses of joint slot attention's recipes, in the order in which they are left out. */
const losses = [
  "pooled",
  "contrastive",
  "crossAttention",
  "matching",
  "divergence",
  "reconstruction",
] as const;

/** A recipe's false negatives, excluded even where it excludes none. */
const excluding = ({ falseNegatives: { k, from } }: TrainConfig): TrainOptions => ({
  falseNegatives: { k: k || NEIGHBOURS, from },
});
const excludingNone: TrainOptions = { falseNegatives: { k: 0 } };

/** Every subset of the optional losses, with false negatives excluded and not. */
const crossed = lossSubsets.flatMap(({ name, train }): Variant[] => {
  const { losses } = train as { readonly losses: Losses };
  return [
    { name: `${name}, without exclusion`, train: { ...excludingNone, losses } },
    { name: `${name}, with exclusion`, train: (recipe) => ({ ...excluding(recipe), losses }) },
  ];
});

const targetSlots = ([targets, offTargets]: readonly [number, number]): Variant => ({
  name: `${targets} target, ${offTargets} off-target`,
  model: slots({ targetSlots: targets, offTargetSlots: offTargets }),
});

export const ablations: Readonly<Record<string, Ablation>> = {
  losses: { title: "Which losses (table 5)", variants: lossSubsets },
  "leave-one-out": {
    title: "Each loss left out",
    variants: [
      { name: "all losses" },
      ...losses.map((loss) => ({ name: `without ${loss}`, train: { losses: without(loss) }, loss })),
    ],
  },
  exclusion: {
    title: "False negatives excluded or not",
    variants: [
      { name: "with exclusion", train: excluding },
      { name: "without exclusion", train: excludingNone },
    ],
  },
  "losses-exclusion": {
    title: "Which losses, with false negatives excluded or not (the rows of table 5 are among them)",
    variants: crossed,
  },
  "initial-slots": {
    title: "Shared or separate initial slots (table 6)",
    variants: [
      { name: "shared", model: slots({ sharedSlots: true }) },
      { name: "separate", model: slots({ sharedSlots: false }) },
    ],
  },
  iterations: {
    title: "Iterations of slot attention (table 9)",
    variants: [1, 3, 5, 7, 10].map((iterations) => ({
      name: iterations === 1 ? "1 iteration" : `${iterations} iterations`,
      model: slots({ iterations }),
    })),
  },
  neighbours: {
    title: "Neighbours that may be false negatives (table 10)",
    variants: [10, 20, 30, 50].map((k) => ({ name: `k = ${k}`, train: { falseNegatives: { k } } })),
  },
  masking: {
    title: "Share of masked tokens (table 11)",
    variants: [0, 0.05, 0.1, 0.2, 0.3, 0.5].map((maskProbability) => ({
      name: `${Math.round(100 * maskProbability)} %`,
      model: slots({ maskProbability }),
    })),
  },
  slots: {
    title: "Target and off-target slots (table 12)",
    variants: (
      [
        [1, 1],
        [1, 2],
        [1, 3],
        [2, 1],
        [3, 1],
      ] as const
    ).map(targetSlots),
  },
  "target-slots": {
    title: "Target slots, their maps scored one by one (table 8)",
    variants: ([1, 2, 3] as const).map((targets) => targetSlots([targets, 1])),
    byTarget: true,
  },
  stride: {
    title: "Image stride, with and without matching",
    variants: ([32, 16] as const).flatMap((imageStride): Variant[] => [
      { name: `stride ${imageStride}`, model: { imageStride } },
      {
        name: `stride ${imageStride}, without matching`,
        model: { imageStride },
        train: { losses: without("matching") },
      },
    ]),
  },
  objectives: {
    title: "Objectives",
    variants: [
      { name: "the preset" },
      { name: "without matching", train: { losses: without("matching") } },
      { name: "without divergence", train: { losses: without("divergence") } },
      {
        name: "max-pooled contrast",
        model: { method: { name: "similarity" } },
        // In the style of EZ-VSL, after the same warm-up.
        train: ({ losses: { pooled } }) => ({
          losses: {
            ...without("contrastive", "crossAttention", "matching", "divergence", "reconstruction"),
            maxSimilarity: { weight: 1, from: pooled?.until ?? 0, temperature: 0.07 },
          },
        }),
      },
    ],
  },
};

/** The variants that a recipe has. */
export function variantsOf({ variants }: Ablation, recipe: TrainConfig): Variant[] {
  return variants.filter(({ loss }) => loss === undefined || (recipe.losses[loss]?.weight ?? 0) > 0);
}

/** A variant's changes to a recipe. */
function changesOf({ train = {} }: Variant, recipe: TrainConfig): TrainOptions {
  return typeof train === "function" ? train(recipe) : train;
}

/** The recipe of a variant, complete. */
export function recipeOf(variant: Variant, recipe: TrainConfig): TrainOptions {
  const changes = changesOf(variant, recipe);
  return { ...recipe, ...changes, losses: { ...recipe.losses, ...changes.losses } };
}

/** For an ablation of losses: the recipe's other losses, which every variant keeps. */
export function keptLosses({ variants }: Ablation, recipe: TrainConfig): string[] {
  const varied = new Set(variants.flatMap((variant) => Object.keys(changesOf(variant, recipe).losses ?? {})));
  if (varied.size === 0) return [];
  return Object.entries(recipe.losses)
    .filter(([name, { weight }]) => weight > 0 && name !== "contrastive" && !varied.has(name))
    .map(([name]) => name);
}
