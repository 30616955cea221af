/** Configurations stored by earlier versions. */

/** Fields of joint slot attention that earlier versions stored beside those of the encoders. */
const OF_SLOTS = [
  "targetSlots",
  "offTargetSlots",
  "sharedSlots",
  "iterations",
  "mlpHidden",
  "decoderHidden",
  "decoderLayers",
  "maskProbability",
  "inferenceSharpening",
] as const;

/** A stored configuration in this version's form; one that has this form already is returned unchanged. */
export function modernized(stored: unknown): unknown {
  if (typeof stored !== "object" || stored === null || "method" in stored) return stored;
  const { localization, ...fields } = stored as Record<string, unknown>;
  const own = Object.fromEntries(
    OF_SLOTS.filter((name) => name in fields).map((name) => [name, fields[name]]),
  );
  if (localization === undefined && Object.keys(own).length === 0) return stored;
  for (const name of OF_SLOTS) delete fields[name];
  const method =
    localization === "similarity" ? { name: "similarity" } : { name: "joint-slot-attention", ...own };
  return { ...fields, method };
}

/** A configuration in the earlier form, for hashes that were computed from it. */
export function earlierForm(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { method, ...fields } = config;
  const { name, ...own } = method as Record<string, unknown>;
  return { ...fields, ...own, localization: name === "similarity" ? "similarity" : "slots" };
}
