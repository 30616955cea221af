/** Configuration of a model: every number of its architecture and of inference, with the paper's value as default. */

import { z } from "zod";
import { modernized } from "./earlier.js";
import {
  DEFAULT_METHOD,
  type MethodConfig,
  type MethodOptions,
  methodNamed,
  methodNames,
  methodSchema,
} from "./methods.js";
import { count, parse } from "./parse.js";

/** Input of the audio encoder (docs/method.md, "Preprocessing"). */
const audioSchema = z.strictObject({
  /** Hertz; all audio is resampled to it. */
  sampleRate: count(1000, 192_000).default(16_000),
  /** Seconds of the audio window: the middle of a longer clip, a shorter one repeated. */
  seconds: z.number().min(0.1).max(120).default(5),
  /** Samples of the Hann window. */
  window: count(16, 8192).default(512),
  /** Samples from frame to frame. */
  hop: count(1, 8192).default(160),
  /** Added to the power before the logarithm. */
  logOffset: z.number().positive().max(1).default(1e-7),
  /** Divides the logarithm. */
  scale: z.number().positive().default(12),
});

const fields = {
  /** Pixels a side of the square that an image is resized to. */
  imageSize: count(32, 1024).default(224),
  /** Residual stages of the image encoder. */
  imageStages: count(1, 4).default(4),
  /** Pixels a token: 4, 8, 16 or 32; below the stride of the stages, the last ones keep stride 1. */
  imageStride: z.union([z.literal(4), z.literal(8), z.literal(16), z.literal(32)]).default(32),
  /** Channels of the image encoder's first stage; each further stage doubles them. */
  imageWidth: count(4, 256).default(64),
  audioStages: count(1, 4).default(4),
  audioWidth: count(4, 256).default(64),
  /** Features of a token, D. Even. */
  dim: count(8, 4096).multipleOf(2).default(512),
  audio: audioSchema.prefault({}),
};

const schemaOf = () =>
  z
    .strictObject({
      ...fields,
      /** The method that compares audio and image, with its options. Default joint slot attention. */
      method: methodSchema().prefault({ name: DEFAULT_METHOD }),
    })
    .refine((model) => model.imageStride <= 2 ** (model.imageStages + 1), {
      path: ["imageStride"],
      message: "is larger than the encoder's stages allow: use 2^(imageStages + 1) at most",
    })
    .transform(({ method, ...model }) => {
      const { complete } = methodNamed(method.name);
      return { ...model, method: (complete?.(method, model.dim) ?? method) as MethodConfig };
    });

let built: { readonly methods: number; readonly schema: ReturnType<typeof schemaOf> } | undefined;

/** Schema for the registered methods; rebuilt after another was registered. */
function modelSchema(): ReturnType<typeof schemaOf> {
  const methods = methodNames().length;
  if (built?.methods !== methods) built = { methods, schema: schemaOf() };
  return built.schema;
}

const shape = z.strictObject(fields);

/**
 * A complete configuration of a model, as stored in a checkpoint.
 * @interface
 */
export type ModelConfig = z.output<typeof shape> & { method: MethodConfig };
/**
 * Options of a model; the default of every field is the paper's value.
 * @interface
 */
export type ModelOptions = z.input<typeof shape> & { method?: MethodOptions | undefined };

/**
 * Completes and checks a model's configuration. Fields in the form of earlier versions are accepted too.
 * @throws {SoundspotError} ERR_CONFIG with the path of every invalid field.
 */
export function parseModelConfig(options: ModelOptions | undefined = {}): ModelConfig {
  return parse(modelSchema(), modernized(options), "model");
}

/** Options over a preset's: options of the same method override the preset's, another method replaces it. */
export function mergeModel(preset: ModelOptions, options: ModelOptions = {}): ModelOptions {
  const same = preset.method && options.method && preset.method.name === options.method.name;
  const method = same ? { ...preset.method, ...options.method } : (options.method ?? preset.method);
  return { ...preset, ...options, ...(method ? { method: method as MethodOptions } : {}) };
}

/** Spectrogram frames of a configuration. */
export function frameCount(config: ModelConfig): number {
  return Math.floor(Math.round(config.audio.seconds * config.audio.sampleRate) / config.audio.hop) + 1;
}
