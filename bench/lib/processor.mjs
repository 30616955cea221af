// The processor that figures belong to: its name and the instruction sets in use.
import { cpus } from "node:os";
import { addon } from "../../scripts/addon.mjs";

/**
 * @param info the addon's information
 * @returns {{ vendor: string, model: string, features: string[] }}
 */
export function processor(info = addon.info()) {
  const { vendor, model, features } = info.cpu;
  return { vendor, model: model || cpus()[0]?.model || "unknown model", features: [...features] };
}

/** The GPU that figures belong to. */
export function gpuLine(device, { cuda } = addon.info()) {
  return cuda?.gpus[Number(device.split(":")[1] ?? 0)]?.name ?? device;
}

/** What a device multiplies by instructions of its own. */
export function typesOf(device, { precisions } = addon.info()) {
  return ["float32", "bfloat16"].filter((type) => type === "float32" || precisions[device]?.includes(type));
}

/** One line that stands beside figures. */
export function processorLine(threads, { vendor, model, features } = processor()) {
  const name = model.includes(vendor) ? model : `${model} (${vendor})`;
  return `${name}, ${threads} threads; features: ${features.join(" ") || "none known"}`;
}
