/** What a model is computed on and in: the processor, and the precision that it allows. */
import { aText, type Check, check, oneOf } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { ProcessGroup } from "../distributed/process-group.js";
import { type ComputedPrecision, type ModelHandle, native, type ProcessorInfo } from "../native.js";

export type { ComputedPrecision };

/**
 * What a model computes in. "float32" is IEEE. "tf32" multiplies with 10 bits of mantissa, on NVIDIA GPUs from Ampere on.
 * "bfloat16" is for encoders and decoders; slot attention and losses stay float32. A device without instructions for a
 * precision computes float32. "int8" is for localization by a quantized model on a CPU: `quantize` makes one. "auto" is
 * int8 for such a model, bfloat16 where the device multiplies it itself, else float32.
 */
export type Precision = "auto" | ComputedPrecision;

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
  /** What it computes in where a call names no other: float32 wherever the device lacks the requested precision. */
  readonly precision: ComputedPrecision;
  readonly processor: ProcessorInfo;
}

/** @internal */
export const aPrecision: Check = oneOf("auto", "float32", "tf32", "bfloat16", "int8");

/** @internal Which devices there are the addon knows; another is ERR_DEVICE. */
export const aDevice: Check = aText;

/** @internal Code of the warning that float32 is computed in place of another precision. */
export const PRECISION_WARNING = "SOUNDSPOT_PRECISION";

const warned = new Set<string>();

/**
 * @internal What a wanted precision means on a device. One warning in a process reports that float32 is computed in its
 * place.
 * @param quantized whether the model has int8
 * @throws {SoundspotError} ERR_INPUT for another value, and for int8 without a quantized model; ERR_DEVICE for int8 on
 *   another device than the CPU.
 */
export function computedPrecision(
  wanted: Exclude<Precision, "int8">,
  device: string,
): Exclude<ComputedPrecision, "int8">;
export function computedPrecision(wanted: Precision, device: string, quantized?: boolean): ComputedPrecision;
export function computedPrecision(wanted: Precision, device: string, quantized = false): ComputedPrecision {
  check(wanted, aPrecision, "precision");
  if (wanted === "auto" && quantized && device === "cpu") return "int8";
  if (wanted === "int8") return int8On(device, quantized);
  const { cpu, precisions } = native().info();
  const own = precisions[device] ?? [];
  if (wanted === "auto") return own.includes("bfloat16") ? "bfloat16" : "float32";
  if (wanted === "float32" || own.includes(wanted)) return wanted;
  if (!warned.has(wanted)) {
    warned.add(wanted);
    const where =
      device === "cpu"
        ? `${cpu.model || "this processor"} (${cpu.features.join(", ") || "no vectors"})`
        : device;
    process.emitWarning(
      `${wanted} was requested, and ${where} does not multiply it: float32 is computed instead.`,
      { type: "SoundspotWarning", code: PRECISION_WARNING },
    );
  }
  return "float32";
}

function int8On(device: string, quantized: boolean): "int8" {
  if (device !== "cpu") {
    throw new SoundspotError(
      "ERR_DEVICE",
      `int8 is computed on the CPU alone, and the model is on ${device}. Load it with device "cpu" (--device cpu), or use another precision.`,
    );
  }
  if (quantized) return "int8";
  throw new SoundspotError(
    "ERR_INPUT",
    "precision int8 needs a quantized model, and this one is not. Quantize it with samples of its data: soundspot quantize MODEL --data LIST, or quantize({ model, data }).",
  );
}

/** @internal What a call on a model computes in; by default what the model was loaded for. */
export function precisionOf(
  { handle, compute }: { readonly handle: ModelHandle; readonly compute: Compute },
  wanted: Precision = compute.requested,
): ComputedPrecision {
  return computedPrecision(wanted, compute.device, native().isQuantized(handle));
}

/**
 * @internal The same for scores: where nothing is named int8 for a model that was loaded for it, else float32, which is
 * independent of the processor.
 */
export function scoringPrecision(
  model: { readonly handle: ModelHandle; readonly compute: Compute },
  wanted: Precision | undefined,
): ComputedPrecision {
  if (wanted !== undefined) return precisionOf(model, wanted);
  const own = model.compute.precision === "int8" ? precisionOf(model) : "float32";
  return own === "int8" ? own : "float32";
}

/** @internal */
export function computeOf(model: ModelHandle, requested: Precision): Compute {
  const device = native().deviceOf(model);
  return {
    device,
    requested,
    precision: computedPrecision(requested, device, native().isQuantized(model)),
    processor: native().info().cpu,
  };
}

/**
 * @internal The device of a process. Of several that a launcher started on one machine, each has the GPU of its
 * `LOCAL_RANK` (under srun `SLURM_LOCALID`) where "auto" or "cuda" leaves the choice; a process that sees one GPU alone
 * has that one under srun, which may bind GPUs to tasks.
 * @throws {SoundspotError} ERR_DEVICE when there are fewer GPUs than processes; ERR_CONFIG when the rank is no number.
 */
export function placeOf(
  wanted: Device,
  devices: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Device {
  if (wanted !== "auto" && wanted !== "cuda") return wanted;
  const gpus = devices.filter((name) => name.startsWith("cuda:"));
  if (gpus.length === 0 || ProcessGroup.fromEnvironment(env) === undefined) return wanted;
  const name = env.LOCAL_RANK === undefined ? "SLURM_LOCALID" : "LOCAL_RANK";
  const text = env[name];
  if (text === undefined) return wanted;
  if (!/^\d{1,6}$/.test(text)) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${name} is "${text}". Set it to the rank of the process on its machine.`,
    );
  }
  if (name === "SLURM_LOCALID" && gpus.length === 1) return gpus[0] as Device;
  const own = gpus[Number(text)];
  if (own !== undefined) return own as Device;
  throw new SoundspotError(
    "ERR_DEVICE",
    `${name} is ${text}, and this machine has ${gpus.length === 1 ? "one GPU" : `${gpus.length} GPUs`}: there is none for this process. Launch no more processes here than there are GPUs, or choose a device yourself, such as --device ${gpus[0]} or cpu.`,
  );
}
