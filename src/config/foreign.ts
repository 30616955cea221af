/** Configurations of other programs, as the options of a model. */
import { shown } from "../core/arguments.js";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import type { MethodOptions } from "./methods.js";
import { type ModelOptions, mergeModel, parseModelConfig } from "./model.js";

type SlotOptions = Omit<Extract<MethodOptions, { name: "joint-slot-attention" }>, "name">;

/** Options of the authors' method. */
const method = (options: SlotOptions): ModelOptions => ({
  method: { name: "joint-slot-attention", ...options },
});

/** Model arguments of the authors' training program, as in the `configs.json` beside their checkpoints. */
const modelArguments: Readonly<Record<string, (value: number) => ModelOptions>> = {
  out_dim: (dim) => ({ dim }),
  aud_length: (seconds) => ({ audio: { seconds } }),
  // One slot is the target, as published.
  num_slots: (slots) => method({ targetSlots: 1, offTargetSlots: slots - 1 }),
  iters: (iterations) => method({ iterations }),
  mask_ratio: (maskProbability) => method({ maskProbability }),
  infer_sharpening: (inferenceSharpening) => method({ inferenceSharpening }),
};

/** Their arguments that do not affect the model. */
const trainingArguments: ReadonlySet<string> = new Set([
  "reciprocal_k",
  "tau",
  "batch_size",
  "init_lr",
  "weight_decay",
  "lam1",
  "lam2",
  "lam3",
  "epochs",
  "trainset",
  "testset",
]);

/** A foreign configuration as model options. */
export interface Translation {
  readonly options: ModelOptions;
  /** Unknown fields. */
  readonly ignored: readonly string[];
}

/** Whether an object has model arguments of the authors' program. */
export function isForeignConfig(value: object): value is Readonly<Record<string, unknown>> {
  return Object.keys(modelArguments).some((name) => Object.hasOwn(value, name));
}

/**
 * Translates the arguments of the authors' program. Absent ones have the paper's values.
 * @param file for messages
 * @throws {SoundspotError} ERR_CONFIG with file and field when a value has a wrong type or is out of range.
 */
export function translateConfig(fields: Readonly<Record<string, unknown>>, file: string): Translation {
  let options = method({});
  for (const [name, translate] of Object.entries(modelArguments)) {
    if (!Object.hasOwn(fields, name)) continue;
    const value = fields[name];
    if (typeof value !== "number") {
      const given = value === null || typeof value === "object" ? shown(value) : JSON.stringify(value);
      throw new SoundspotError("ERR_CONFIG", `${file}: ${name} must be a number, got ${given}.`);
    }
    const part = translate(value);
    try {
      parseModelConfig(part);
    } catch (error) {
      if (!isSoundspotError(error)) throw error;
      throw new SoundspotError(
        "ERR_CONFIG",
        `${file}: ${name} is ${value}, which is invalid. ${error.message}`,
        { cause: error },
      );
    }
    options = mergeModel(options, part);
  }
  const known = (name: string) => Object.hasOwn(modelArguments, name) || trainingArguments.has(name);
  return { options, ignored: Object.keys(fields).filter((name) => !known(name)) };
}
