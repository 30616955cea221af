/**
 * The methods by name: their options, losses and maps. The C++ half of a method is the file of its name in
 * native/methods.
 */
import { z } from "zod";
import { SoundspotError } from "../core/errors.js";
import { count, probability } from "./parse.js";

/** Name of a map: of the audio or the image queries, or a refined map. */
export type MapName = "audio" | "image" | "iqr" | "ogl" | "combined";

/** Description of a method. */
export interface MethodInfo {
  /** Name for reports. */
  readonly title: string;
  /** `model.method` of a configuration. */
  readonly schema: z.ZodObject<{ name: z.ZodLiteral<string> }>;
  /** Fills in defaults that depend on the features of a token, D. */
  readonly complete?: (method: Readonly<Record<string, unknown>>, dim: number) => Record<string, unknown>;
  /** Losses that can train it; others have weight 0. */
  readonly losses: readonly string[];
  /** Losses of a recipe that names none. */
  readonly defaultLosses: Readonly<Record<string, { weight: number; temperature?: number }>>;
  /** Maps without objectness; objectness adds "ogl" and, with an image map, "combined". */
  readonly maps: readonly MapName[];
  /** The map for model selection and thresholds. */
  readonly defaultMap: MapName;
}

/** Joint slot attention, the paper's method. */
const jointSlotAttentionSchema = z.strictObject({
  name: z.literal("joint-slot-attention"),
  /** Slots of sound sources. */
  targetSlots: count(1, 16).default(1),
  /** Slots of the rest. */
  offTargetSlots: count(0, 16).default(1),
  /** One set of initial slots for both modalities, or one each. */
  sharedSlots: z.boolean().default(true),
  /** Iterations of slot attention, L. */
  iterations: count(1, 50).default(5),
  /** Hidden units of the slot MLP; default 2 · dim. */
  mlpHidden: count(1, 16_384).optional(),
  /** Hidden units of a decoder's layers; default dim. */
  decoderHidden: count(1, 16_384).optional(),
  decoderLayers: count(1, 8).default(3),
  /** Share of tokens that training replaces by the mask token. */
  maskProbability: probability.default(0.1),
  /** Factor on the logits of the output attention. */
  inferenceSharpening: z.number().positive().max(100).default(0.1),
});

/** The cosine of encoder tokens, without slots: a max-pooled objective in the style of EZ-VSL. */
const similaritySchema = z.strictObject({ name: z.literal("similarity") });

/** `model.method` of the built-in methods, discriminated by `name`. */
export type MethodOptions = z.input<typeof jointSlotAttentionSchema> | z.input<typeof similaritySchema>;
/** The same, complete. */
export type MethodConfig = CompleteJointSlotAttention | z.output<typeof similaritySchema>;
/** Options of joint slot attention. */
export type JointSlotAttentionConfig = CompleteJointSlotAttention;
type CompleteJointSlotAttention = Omit<
  z.output<typeof jointSlotAttentionSchema>,
  "mlpHidden" | "decoderHidden"
> & { mlpHidden: number; decoderHidden: number };
/** Name of a built-in method. */
export type MethodName = MethodConfig["name"];

export const DEFAULT_METHOD = "joint-slot-attention";

const methods = new Map<string, MethodInfo>();

/** @internal Adds a method; its C++ half registers itself when the addon is loaded. */
export function registerMethod(info: MethodInfo): void {
  methods.set(info.schema.shape.name.value, info);
}

registerMethod({
  title: "Joint slot attention",
  schema: jointSlotAttentionSchema as unknown as MethodInfo["schema"],
  // In a fixed order: checkpoints of a resumed and of an uninterrupted run have the same bytes.
  complete: ({ mlpHidden, decoderHidden, ...method }, dim) => ({
    ...method,
    mlpHidden: mlpHidden ?? 2 * dim,
    decoderHidden: decoderHidden ?? dim,
  }),
  losses: [
    "contrastive",
    "crossAttention",
    "divergence",
    "matching",
    "maxSimilarity",
    "pooled",
    "reconstruction",
  ],
  defaultLosses: {
    contrastive: { weight: 1 },
    matching: { weight: 100 },
    divergence: { weight: 0.1 },
    reconstruction: { weight: 0.1 },
  },
  maps: ["audio", "image", "iqr"],
  defaultMap: "iqr",
});

registerMethod({
  title: "Token similarity",
  schema: similaritySchema,
  losses: ["maxSimilarity", "pooled"],
  defaultLosses: { maxSimilarity: { weight: 1 } },
  maps: ["audio"],
  defaultMap: "audio",
});

/** @internal Names of all methods, including those registered later. */
export const methodNames = (): string[] => [...methods.keys()];

/** @internal Losses of all methods; each has a file in native/losses. */
export const lossNames = (): string[] =>
  [...new Set([...methods.values()].flatMap(({ losses }) => losses))].sort();

/** @internal @throws {SoundspotError} ERR_CONFIG with the known names. */
export function methodNamed(name: string): MethodInfo {
  const found = methods.get(name);
  if (found) return found;
  throw new SoundspotError("ERR_CONFIG", `Unknown method "${name}". Use ${methodNames().join(", ")}.`);
}

/** @internal `model.method`, of any registered method. */
export function methodSchema(): z.ZodType<{ name: string }, MethodOptions> {
  const schemas = [...methods.values()].map(({ schema }) => schema);
  return z.discriminatedUnion("name", schemas as [MethodInfo["schema"]]) as unknown as z.ZodType<
    { name: string },
    MethodOptions
  >;
}

interface HasMethod {
  readonly method: MethodConfig;
}

/** Whether the model has slots; `model.method` then has their options. */
export function hasSlots<T extends HasMethod>(
  config: T,
): config is T & { readonly method: JointSlotAttentionConfig } {
  return config.method.name === "joint-slot-attention";
}

/** Target maps of a model, T: its target slots, or 1. */
export function targetsOf(config: HasMethod): number {
  return hasSlots(config) ? config.method.targetSlots : 1;
}

/** Factor on the logits of the output attention; 1 without one. */
export function sharpeningOf(config: HasMethod): number {
  return hasSlots(config) ? config.method.inferenceSharpening : 1;
}
