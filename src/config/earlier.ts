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

/** Fields of a model that came later, with the value that models without them have. */
const ADDED: Readonly<Record<string, unknown>> = {
  audioPooling: "frequency",
  imageProjection: "pointwise",
  audioProjection: "pointwise",
  imageDropout: 0,
  audioDropout: 0,
  batchNormScale: "one",
  names: "joint-slot-attention",
  mapAlignment: "tiles",
};
/** The same of its `audio`. */
const ADDED_TO_AUDIO: Readonly<Record<string, unknown>> = {
  rate: "resample",
  placement: "middle",
  frontEnd: "stft",
  channels: "power",
  melBands: 257,
};

const without = (fields: object, added: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(
    Object.entries(fields).filter(([name, value]) => !Object.hasOwn(added, name) || added[name] !== value),
  );

/** A configuration without later fields whose value is that of earlier models, for hashes that are stored. */
export function withoutAdded(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { audioStride, audio, ...fields } = config;
  const whole = audioStride === 2 ** ((config.audioStages as number) + 1);
  return {
    ...without(fields, ADDED),
    audio: without(audio as object, ADDED_TO_AUDIO),
    ...(whole ? {} : { audioStride }),
  };
}

/** A configuration in the earlier form, for hashes that were computed from it. */
export function earlierForm(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { method, ...fields } = withoutAdded(config);
  const { name, ...own } = method as Record<string, unknown>;
  return { ...fields, ...own, localization: name === "similarity" ? "similarity" : "slots" };
}
