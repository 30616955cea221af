/** Which method's program wrote a checkpoint that carries no configuration: the names of its tensors say it. */

import { type ModelConfig, parseModelConfig } from "./model.js";
import { type PresetName, presets } from "./presets.js";

/** Names that only files of these methods have; the first that fits counts. */
const marks: readonly (readonly [RegExp, readonly [PresetName, ...PresetName[]]])[] = [
  [/^slot_attn\./, ["paper"]],
  [/^(momentum_imgnet\.|img_proj1\.)/, ["slavc"]],
  [/^img_proj\./, ["ez-vsl", "fnac"]],
  [/^vision_fc1\./, ["ssl-tie"]],
  [/^audnet\.conv1_a\./, ["lvs", "alignment"]],
];

const PREFIXES = /^(?:module\.|_orig_mod\.|model\.)+/;

/** A configuration that the names of tensors stand for. */
export interface Recognised {
  readonly config: ModelConfig;
  /** The preset whose model it is. */
  readonly preset: PresetName;
  /** Presets whose files have the same tensors. */
  readonly others: readonly PresetName[];
}

/** Undefined for names of none of the methods. */
export function recognised(names: Iterable<string>): Recognised | undefined {
  const own = Array.from(names, (name) => name.replace(PREFIXES, ""));
  const found = marks.find(([mark]) => own.some((name) => mark.test(name)));
  if (!found) return undefined;
  const [preset, ...others] = found[1];
  return { config: parseModelConfig(presets[preset].model), preset, others };
}
