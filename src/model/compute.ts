/** What a model is computed on and in: the processor, and the precision that it allows. */
import { aText, type Check, check, oneOf } from "../core/arguments.js";
import { type ModelHandle, native, type ProcessorInfo } from "../native.js";

/** What the encoders compute in. "auto" is bfloat16 where the processor multiplies it itself, else float32. */
export type Precision = "auto" | "float32" | "bfloat16";

/**
 * Where a model is and computes. "auto" is the first NVIDIA GPU where the build has CUDA and one answers, else the CPU;
 * "cuda:1" is the second GPU.
 */
export type Device = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/** What a model is computed on and in. */
export interface Compute {
  /** Such as "cpu" or "cuda:0". */
  readonly device: string;
  /** The setting given when the model was loaded or created. */
  readonly requested: Precision;
  /** What the encoders compute in where a call names no other: float32 wherever the processor lacks bfloat16. */
  readonly precision: "float32" | "bfloat16";
  readonly processor: ProcessorInfo;
}

/** @internal */
export const aPrecision: Check = oneOf("auto", "float32", "bfloat16");

/** @internal Which devices there are the addon knows; another is ERR_DEVICE. */
export const aDevice: Check = aText;

/** @internal Code of the warning that bfloat16 is computed in float32. */
export const PRECISION_WARNING = "SOUNDSPOT_PRECISION";

let warned = false;

/**
 * @internal What a wanted precision means on this processor. One warning in a process reports that bfloat16 is computed in
 * float32.
 * @throws {SoundspotError} ERR_INPUT for another value.
 */
export function computedPrecision(wanted: Precision): "float32" | "bfloat16" {
  check(wanted, aPrecision, "precision");
  if (wanted === "float32") return "float32";
  const { cpu } = native().info();
  if (cpu.bfloat16) return "bfloat16";
  if (wanted === "bfloat16" && !warned) {
    warned = true;
    process.emitWarning(
      `bfloat16 was requested, and ${cpu.model || "this processor"} (${cpu.features.join(", ") || "no vectors"}) does ` +
        "not multiply it: float32 is computed instead.",
      { type: "SoundspotWarning", code: PRECISION_WARNING },
    );
  }
  return "float32";
}

/** @internal */
export function computeOf(model: ModelHandle, requested: Precision): Compute {
  const precision = computedPrecision(requested);
  return { device: native().deviceOf(model), requested, precision, processor: native().info().cpu };
}
