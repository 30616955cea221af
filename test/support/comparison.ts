/** The comparison methods with small encoders of the published layouts. */
import type { LocalizeInput, ModelOptions, NamedTensor } from "../../src/index.js";
import { presets } from "../../src/index.js";
import { uniform } from "./formula.js";
import { dict, type Saved, stateDict, torchFile } from "./torch-file.js";

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

/** Tensors of the published files that no computation uses, for a model of these options. */
export function unusedOf(method: ComparisonMethod, width: number, features: number) {
  if (!["lvs", "alignment", "ssl-tie"].includes(method)) return [];
  const stems = (part: string, own: string) =>
    [["conv1_a", 1] as const, ["conv1", 3] as const, ["conv1_flow", 6] as const]
      .filter(([stem]) => stem !== own)
      .map(([stem, channels]) => [`${part}.${stem}.weight`, [width, channels, 7, 7]] as const);
  const heads = (part: string) => [
    [`${part}.fc.weight`, [1000, features]] as const,
    [`${part}.fc.bias`, [1000]] as const,
  ];
  const own =
    method === "ssl-tie"
      ? ([
          ["vision_fc1.weight", [features, 2 * features, 1, 1]],
          ["vision_fc1.bias", [features]],
          ["conv3.weight", [1, 1, 1, 1]],
          ["conv3.bias", [1]],
          ["norm3.weight", [1]],
          ["norm3.bias", [1]],
          ["norm3.running_mean", [1]],
          ["norm3.running_var", [1]],
        ] as const)
      : [];
  return [
    ...stems("imgnet", "conv1"),
    ...stems("audnet", "conv1_a"),
    ...heads("imgnet"),
    ...heads("audnet"),
    ...own,
  ];
}

/** A file as the method's program writes it: its tensors under its key, with its prefix. */
export function publishedFile(method: ComparisonMethod, tensors: readonly NamedTensor[]) {
  const prefix = method === "lvs" || method === "ez-vsl" ? "module." : "";
  const key =
    { lvs: "model_state_dict", alignment: "model_state_dict", "ssl-tie": "state_dict" }[method as string] ??
    "model";
  const state = stateDict(tensors.map(({ name, ...rest }) => ({ name: prefix + name, ...rest })) as never);
  return torchFile(dict({ [key]: state, epoch: 3 as Saved }));
}
