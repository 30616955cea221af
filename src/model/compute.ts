/** What a model is computed on and in: the processor, and the precision that it allows. */
import { aText, type Check, check, oneOf } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { ProcessGroup } from "../distributed/process-group.js";
import { type ComputedPrecision, type ModelHandle, native, type ProcessorInfo } from "../native.js";

export type { ComputedPrecision };

/**
 * What a model computes in. "float32" is IEEE. "tf32" multiplies with 10 bits of mantissa, on NVIDIA GPUs from Ampere on.
 * "bfloat16" is for encoders and decoders; slot attention and losses stay float32. "auto" is bfloat16 where the device
 * multiplies it itself, else float32. A device without instructions for a precision computes float32.
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
export const aPrecision: Check = oneOf("auto", "float32", "tf32", "bfloat16");

/** @internal Which devices there are the addon knows; another is ERR_DEVICE. */
export const aDevice: Check = aText;

/** @internal Code of the warning that float32 is computed in place of another precision. */
export const PRECISION_WARNING = "SOUNDSPOT_PRECISION";

const warned = new Set<string>();

/**
 * @internal What a wanted precision means on a device. One warning in a process reports that float32 is computed in its
 * place.
 * @throws {SoundspotError} ERR_INPUT for another value.
 */
export function computedPrecision(wanted: Precision, device: string): ComputedPrecision {
  check(wanted, aPrecision, "precision");
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

/** @internal */
export function computeOf(model: ModelHandle, requested: Precision): Compute {
  const device = native().deviceOf(model);
  return {
    device,
    requested,
    precision: computedPrecision(requested, device),
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
