// The processor that figures belong to: its name and the instruction sets in use.
import { cpus } from "node:os";
import { addon } from "./addon.mjs";

/**
 * @param info the addon's information
 * @returns {{ vendor: string, model: string, features: string[] }}
 */
export function processor(info = addon.info()) {
  const { vendor, model, features } = info.cpu;
  return { vendor, model: model || cpus()[0]?.model || "unknown model", features: [...features] };
}

/** One line that stands beside figures. */
export function processorLine(threads, { vendor, model, features } = processor()) {
  const name = model.includes(vendor) ? model : `${model} (${vendor})`;
  return `${name}, ${threads} threads; features: ${features.join(" ") || "none known"}`;
}
