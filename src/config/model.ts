/** Configuration of a model: every number of its architecture and of inference, with the paper's value as default. */
import { z } from "zod";
import { count, parse, probability } from "./parse.js";

/** What the audio encoder hears (section 1.9). */
const audioSchema = z.strictObject({
  /** Hertz; every sound is resampled to it. */
  sampleRate: count(1000, 192_000).default(16_000),
  /** Seconds of sound: the middle of a longer clip, a shorter one repeated. */
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

const modelSchema = z
  .strictObject({
    /** Pixels a side of the square that a picture is resized to. */
    imageSize: count(32, 1024).default(224),
    /** Residual stages of the image encoder. */
    imageStages: count(1, 4).default(4),
    /** Pixels a token: 4, 8, 16 or 32; below what the stages would give, the last stages keep stride 1. */
    imageStride: z.union([z.literal(4), z.literal(8), z.literal(16), z.literal(32)]).default(32),
    /** Channels of the image encoder's first stage; each further stage doubles them. */
    imageWidth: count(4, 256).default(64),
    audioStages: count(1, 4).default(4),
    audioWidth: count(4, 256).default(64),
    /** Features of a token and of a slot, D. Even. */
    dim: count(8, 4096).multipleOf(2).default(512),
    /** Slots that stand for what sounds. */
    targetSlots: count(1, 16).default(1),
    /** Slots that take the rest. */
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
    /** By slot attention, or by the cosine of encoder tokens without slots, as a method to compare with. */
    localization: z.enum(["slots", "similarity"]).default("slots"),
    /** Factor on the logits of the output attention. */
    inferenceSharpening: z.number().positive().max(100).default(0.1),
    audio: audioSchema.prefault({}),
  })
  .refine((model) => model.imageStride <= 2 ** (model.imageStages + 1), {
    path: ["imageStride"],
    message: "is more than the encoder's stages give: use 2^(imageStages + 1) at most",
  })
  // In one order, whether they were given or not: a checkpoint of a resumed run has the bytes of one that was not.
  .transform(({ mlpHidden, decoderHidden, ...model }) => ({
    ...model,
    mlpHidden: mlpHidden ?? 2 * model.dim,
    decoderHidden: decoderHidden ?? model.dim,
  }));

/**
 * A complete configuration of a model, as a checkpoint carries it.
 * @interface
 */
export type ModelConfig = z.output<typeof modelSchema>;
/**
 * What a model is configured with; a field left out has the value of the paper.
 * @interface
 */
export type ModelOptions = z.input<typeof modelSchema>;

/**
 * Completes and checks a model's configuration.
 * @throws {SoundspotError} ERR_CONFIG with the path of every field that is wrong.
 */
export function parseModelConfig(options: ModelOptions | undefined = {}): ModelConfig {
  return parse(modelSchema, options, "model");
}

/** Spectrogram frames of a configuration. */
export function frameCount(config: ModelConfig): number {
  return Math.floor(Math.round(config.audio.seconds * config.audio.sampleRate) / config.audio.hop) + 1;
}
