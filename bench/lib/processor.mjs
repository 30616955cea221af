// The processor that figures belong to: its name and what of its instruction sets matters to them.
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { addon } from "./addon.mjs";

const WANTED = [
  ...["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni"],
  ...["amx_tile", "amx_bf16", "amx_int8"],
];

function readCpuinfo() {
  try {
    return readFileSync("/proc/cpuinfo", "latin1");
  } catch {
    return "";
  }
}

/**
 * @param info what the addon says of itself; its `cpu` goes before the system's list
 * @param cpuinfo text of /proc/cpuinfo; empty where there is none
 * @returns {{ vendor: string, model: string, features: string[] }}
 */
export function processor(info = addon.info(), cpuinfo = readCpuinfo()) {
  const field = (name) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(cpuinfo)?.[1].trim();
  const flags = new Set(field("flags")?.split(/\s+/));
  return {
    vendor: info.cpu?.vendor ?? field("vendor_id") ?? "unknown vendor",
    model: info.cpu?.model ?? field("model name") ?? cpus()[0]?.model ?? "unknown model",
    features: [...(info.cpu?.features ?? WANTED.filter((name) => flags.has(name)))],
  };
}

/** One line that stands beside figures. */
export function processorLine(threads, { vendor, model, features } = processor()) {
  const name = model.includes(vendor) ? model : `${model} (${vendor})`;
  return `${name}, ${threads} threads; features: ${features.join(" ") || "none known"}`;
}
