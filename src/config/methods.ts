/**
 * The methods by name: their options, losses and maps. The C++ half of a method is the file of its name in
 * native/methods.
 */
import * as z from "zod";
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
  /** Views of a sample that training needs beside the pair, by name. */
  readonly views?: Readonly<Record<string, ViewInfo>>;
}

/** A further view of a training sample. */
export interface ViewInfo {
  /** The sample itself, or one of its nearest neighbours in the list that `neighbours` of the run names. */
  readonly of: "sample" | "neighbour";
  /** Which augmentation of the training configuration changes it. */
  readonly augment: "augment" | "viewAugment";
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

/** LVS: "Localizing visual sounds the hard way", CVPR 2021. */
const lvsSchema = z.strictObject({ name: z.literal("lvs") });

/** EZ-VSL: "Localizing visual sounds the easy way", ECCV 2022. */
const ezVslSchema = z.strictObject({ name: z.literal("ez-vsl") });

/** SLAVC: "A closer look at weakly-supervised audio-visual source localization", NeurIPS 2022. */
const slavcSchema = z.strictObject({
  name: z.literal("slavc"),
  /** m of the copies: θ' ← m·θ' + (1 − m)·θ before every step. */
  momentum: z.number().min(0).max(1).default(0.999),
  /** Localize with the copies. */
  momentumEvaluation: z.boolean().default(false),
});

/** FNAC: "Learning audio-visual source localization via false negative aware contrastive learning", CVPR 2023. */
const fnacSchema = z.strictObject({ name: z.literal("fnac") });

/** Alignment: "Sound source localization is all about cross-modal alignment", ICCV 2023. */
const alignmentSchema = z.strictObject({ name: z.literal("alignment") });

/** SSL-TIE: "Exploiting transformation invariance and equivariance …", ACM MM 2022. */
const sslTieSchema = z.strictObject({
  name: z.literal("ssl-tie"),
  /** Greatest rotation to each side, in degrees. */
  maxAngle: count(0, 180).default(30),
  /** Of every second batch on average: scale of the transformed images and of their content. */
  smallScale: z.number().min(0.1).max(1).default(0.5),
});

const tokenSchemas = [
  similaritySchema,
  lvsSchema,
  ezVslSchema,
  slavcSchema,
  fnacSchema,
  alignmentSchema,
  sslTieSchema,
] as const;

/** `model.method` of the built-in methods, discriminated by `name`. */
export type MethodOptions = z.input<typeof jointSlotAttentionSchema> | z.input<(typeof tokenSchemas)[number]>;
/** The same, complete. */
export type MethodConfig = CompleteJointSlotAttention | z.output<(typeof tokenSchemas)[number]>;
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

/** Methods that compare tokens have one map; a warm-up on pooled tokens can come first. */
function registerTokenMethod(
  title: string,
  schema: (typeof tokenSchemas)[number],
  defaultLosses: MethodInfo["defaultLosses"],
  views?: MethodInfo["views"],
): void {
  registerMethod({
    title,
    schema,
    losses: [...Object.keys(defaultLosses), "pooled"],
    defaultLosses,
    maps: ["audio"],
    defaultMap: "audio",
    ...(views ? { views } : {}),
  });
}

registerTokenMethod("LVS", lvsSchema, { triMap: { weight: 1, temperature: 0.07 } });
registerTokenMethod("EZ-VSL", ezVslSchema, { maxSimilarity: { weight: 1 } });
registerTokenMethod("SLAVC", slavcSchema, { twoHeads: { weight: 1 } });
registerTokenMethod("FNAC", fnacSchema, {
  maxSimilarity: { weight: 1 },
  audioSuppression: { weight: 100 },
  imageSuppression: { weight: 100 },
  foregroundSeparation: { weight: 100 },
});
registerTokenMethod(
  "Alignment",
  alignmentSchema,
  { viewLocalization: { weight: 1, temperature: 0.07 }, viewAlignment: { weight: 1, temperature: 0.07 } },
  {
    neighbour: { of: "neighbour", augment: "augment" },
    augmented: { of: "sample", augment: "viewAugment" },
  },
);
registerTokenMethod("SSL-TIE", sslTieSchema, {
  triMap: { weight: 0.5, temperature: 0.07 },
  triMapTransformed: { weight: 0.5, temperature: 0.07 },
  equivariance: { weight: 1 },
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
