/** Configuration of model and training: every number of the method, validated, with the paper's value as default. */
import { z } from "zod";
import { SoundspotError } from "../core/errors.js";

const count = (least: number, most: number) => z.int().min(least).max(most);
const probability = z.number().min(0).max(1);

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

/** A loss's weight over the run: 0 before epoch `from`, linear up to `weight` over `ramp` epochs, 0 again from `until`. */
const lossSchema = z.strictObject({
  weight: z.number().min(0),
  from: z.number().min(0).default(0),
  ramp: z.number().min(0).default(0),
  until: z.number().positive().optional(),
  /** τ, where the loss has one. */
  temperature: z.number().positive().max(10).default(0.03),
});

/** Every loss there is, one a file in native/losses. */
export const lossNames: readonly string[] = [
  "contrastive",
  "crossAttention",
  "divergence",
  "matching",
  "maxSimilarity",
  "pooled",
  "reconstruction",
];

const lossesSchema = z
  .record(z.string(), lossSchema)
  .superRefine((losses, context) => {
    for (const name of Object.keys(losses)) {
      if (lossNames.includes(name)) continue;
      const message = `is not a loss; use ${lossNames.join(", ")}`;
      context.addIssue({ code: "custom", path: [name], message });
    }
  })
  .default({
    contrastive: { weight: 1, from: 0, ramp: 0, temperature: 0.03 },
    matching: { weight: 100, from: 0, ramp: 0, temperature: 0.03 },
    divergence: { weight: 0.1, from: 0, ramp: 0, temperature: 0.03 },
    reconstruction: { weight: 0.1, from: 0, ramp: 0, temperature: 0.03 },
  });

const scheduleSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("constant") }),
  /** Cosine up from rate / startFactor over the first `warmup` share of the steps, cosine down to rate / endFactor. */
  z.strictObject({
    type: z.literal("one-cycle"),
    warmup: probability.default(0.3),
    startFactor: z.number().min(1).default(25),
    endFactor: z.number().min(1).default(1000),
  }),
]);

const augmentSchema = z.strictObject({
  /** Short side before the crop over the picture's size; the paper's 246 / 224. */
  resizeRatio: z
    .number()
    .min(1)
    .max(4)
    .default(246 / 224),
  crop: z.boolean().default(true),
  blurProbability: probability.default(0.8),
  flipProbability: probability.default(0.5),
  /** Top and bottom exchanged; not in the paper. */
  verticalFlipProbability: probability.default(0),
  jitterProbability: probability.default(0.8),
  brightness: probability.default(0.8),
  contrast: probability.default(0.8),
  saturation: probability.default(0.8),
  hue: z.number().min(0).max(0.5).default(0.2),
  greyProbability: probability.default(0.2),
  /** Greatest width of the frequency mask, in bins. */
  frequencyMask: count(0, 256).default(9),
  /** Greatest width of the time mask, in frames. */
  timeMask: count(0, 256).default(9),
});

const trainSchema = z.strictObject({
  epochs: count(1, 100_000).default(100),
  batchSize: count(2, 65_536).default(256),
  /**
   * Samples that go through the model at a time, for batches that do not fit into memory; 0 all of them. Losses are
   * those of the whole batch. Batch norm takes its statistics from each part, so a step is that of the undivided batch
   * only where `batchNorm` is "frozen".
   */
  microBatchSize: count(0, 65_536).default(0),
  /**
   * Statistics of batch norm: of each batch, or the running ones, which then stay as they are. Of several processes
   * each takes those of its own samples; "synchronised" takes those of all, as one process would.
   */
  batchNorm: z.enum(["batch", "synchronised", "frozen"]).default("batch"),
  learningRate: z.number().positive().max(10).default(5e-5),
  schedule: scheduleSchema.prefault({ type: "constant" }),
  weightDecay: z.number().min(0).max(10).default(0.01),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  /** At least what float32 still divides by. */
  epsilon: z.number().min(1e-30).default(1e-8),
  /** Greatest norm of the gradient; 0 clips nothing. */
  clip: z.number().min(0).default(0),
  /** Of encoders and decoders; "auto" is bfloat16 where the processor multiplies it itself. */
  precision: z.enum(["float32", "bfloat16", "auto"]).default("float32"),
  losses: lossesSchema,
  /** Reciprocal neighbours in both modalities leave the contrastive loss; k 0 looks for none. */
  falseNegatives: z
    .strictObject({ k: count(0, 100_000).default(20), from: z.number().min(0).default(0) })
    .prefault({}),
  /** false: pictures and sounds as in evaluation. */
  augment: z.union([z.literal(false), augmentSchema]).prefault({}),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31)
    .default(0),
  /** Batches decoded ahead. */
  queue: count(1, 64).default(3),
  /** Evaluate every n epochs, if there is evaluation data; 0 never. */
  evaluateEvery: count(0, 100_000).default(1),
  /** Keep the parameters of every nth epoch as epoch-000n.safetensors; 0 keeps none. */
  keepEvery: count(0, 100_000).default(0),
  /** Write last.safetensors every n epochs. */
  checkpointEvery: count(1, 100_000).default(1),
  /** and every n steps within an epoch; 0 at the ends of epochs alone. */
  checkpointSteps: count(0, 1_000_000).default(0),
});

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
 * A complete training configuration.
 * @interface
 */
export type TrainConfig = z.output<typeof trainSchema>;
/**
 * What training is configured with; a field left out has the value of the preset, or of the paper.
 * @interface
 */
export type TrainOptions = z.input<typeof trainSchema>;
/**
 * A loss's weight over the run: 0 before epoch `from`, linear up to `weight` over `ramp` epochs, 0 again from `until`.
 * @interface
 */
export type LossSchedule = z.output<typeof lossSchema>;
/**
 * How training changes its pictures and spectrograms at random.
 * @interface
 */
export type AugmentConfig = z.output<typeof augmentSchema>;

/**
 * Completes and checks a value.
 * @throws {SoundspotError} ERR_CONFIG with the path, below `root`, of every field that is wrong.
 */
export function parse<T extends z.ZodType>(schema: T, value: unknown, root: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const unknown = issue.code === "unrecognized_keys" ? `.${issue.keys.join(", ")}` : "";
    return `${[root, ...issue.path].map(String).join(".")}${unknown}: ${issue.message}`;
  });
  throw new SoundspotError("ERR_CONFIG", `The configuration is not valid. ${lines.join("; ")}.`);
}

/**
 * Completes and checks a model's configuration.
 * @throws {SoundspotError} ERR_CONFIG with the path of every field that is wrong.
 */
export function parseModelConfig(options: ModelOptions | undefined = {}): ModelConfig {
  return parse(modelSchema, options, "model");
}

/**
 * Completes and checks a training configuration.
 * @throws {SoundspotError} ERR_CONFIG with the path of every field that is wrong.
 */
export function parseTrainConfig(options: TrainOptions | undefined = {}): TrainConfig {
  return parse(trainSchema, options, "train");
}
