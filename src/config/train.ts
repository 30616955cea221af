/** Configuration of training: every number of an epoch and a step, with the paper's value as default. */
import * as z from "zod";
import { SoundspotError } from "../core/errors.js";
import { DEFAULT_METHOD, lossNames, methodNamed } from "./methods.js";
import { count, parse, probability } from "./parse.js";

/** A loss's weight over the run: 0 before epoch `from`, linear up to `weight` over `ramp` epochs, 0 again from `until`. */
const lossSchema = z.strictObject({
  weight: z.number().min(0),
  from: z.number().min(0).default(0),
  ramp: z.number().min(0).default(0),
  until: z.number().positive().optional(),
  /** τ, where the loss has one. */
  temperature: z.number().positive().max(10).default(0.03),
});

const lossesSchema = z.record(z.string(), lossSchema).superRefine((losses, context) => {
  for (const name of Object.keys(losses)) {
    if (lossNames().includes(name)) continue;
    const message = `is not a loss; use ${lossNames().join(", ")}`;
    context.addIssue({ code: "custom", path: [name], message });
  }
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

/** Two numbers, the smaller first. */
const rangeOf = (number: z.ZodNumber) =>
  z.tuple([number, number]).refine(([low, high]) => low <= high, "must be two numbers, the smaller first");

const augmentSchema = z.strictObject({
  /** Short side before the crop over the image's size; the paper's 246 / 224. */
  resizeRatio: z
    .number()
    .min(1)
    .max(4)
    .default(246 / 224),
  /**
   * true: a square of the image after its short side was resized. "resized": a part of random area and aspect ratio,
   * resized to the square, as torchvision's RandomResizedCrop. false: the whole image, as in evaluation.
   */
  crop: z.union([z.boolean(), z.literal("resized")]).default(true),
  /** Share of the image's area that the crop "resized" takes. */
  cropScale: rangeOf(z.number().positive().max(1)).default([0.3, 1]),
  /** Width over height of that part. */
  cropRatio: rangeOf(z.number().min(0.01).max(100)).default([3 / 4, 4 / 3]),
  blurProbability: probability.default(0.8),
  /**
   * Gaussian blur by a radius of 0.1 … 2 pixels. "kernel": torchvision's with 5 × 5 pixels, which cuts wide ones off.
   * "pillow": Pillow's, whose standard deviation is the radius.
   */
  blurKind: z.enum(["kernel", "pillow"]).default("kernel"),
  flipProbability: probability.default(0.5),
  /** Top and bottom exchanged; not in the paper. */
  verticalFlipProbability: probability.default(0),
  jitterProbability: probability.default(0.8),
  brightness: probability.default(0.8),
  contrast: probability.default(0.8),
  saturation: probability.default(0.8),
  hue: z.number().min(0).max(0.5).default(0.2),
  greyProbability: probability.default(0.2),
  /** Greatest shift along each axis, as a share of the side. What enters is black. */
  translate: probability.default(0),
  /**
   * That each patch of a grid over the image is hidden, after all other changes: Hide-and-Seek (Singh and Lee, ICCV
   * 2017). It shows ImageNet's mean colour. Not in the paper.
   */
  hideProbability: probability.default(0),
  /** Patches along each side of that grid. */
  hideGrid: count(1, 16).default(7),
  /** Greatest width of the frequency mask, in bins. */
  frequencyMask: count(0, 256).default(9),
  /** Greatest width of the time mask, in frames. */
  timeMask: count(0, 256).default(9),
  /** That a spectrogram is masked at all. */
  maskProbability: probability.default(1),
  /** What masks set: "zero" to 0 after the logarithm, "floor" the power to 0 before it. */
  maskValue: z.enum(["zero", "floor"]).default("zero"),
  /**
   * Seconds of the audio in which the window has a random place, such as [0, 6.5]; at least as long as the window.
   * Default the place of `model.audio.placement`.
   */
  audioRange: rangeOf(z.number().min(0).max(600)).optional(),
});

const trainSchema = z.strictObject({
  epochs: count(1, 100_000).default(100),
  batchSize: count(2, 65_536).default(256),
  /**
   * Samples that go through the model at a time, for batches that do not fit into memory; 0 all of them. Losses are
   * those of the whole batch. Batch norm takes its statistics from each part: a step equals that of the undivided batch
   * only if `batchNorm` is "frozen".
   */
  microBatchSize: count(0, 65_536).default(0),
  /**
   * Statistics of batch norm: of each batch, or the running ones, which then stay unchanged. Each of several processes
   * uses those of its own samples; "synchronised" uses those of all samples, like a single process.
   */
  batchNorm: z.enum(["batch", "synchronised", "frozen"]).default("batch"),
  learningRate: z.number().positive().max(10).default(5e-5),
  schedule: scheduleSchema.prefault({ type: "constant" }),
  /** "adamw" decays the weights themselves; "adam" adds the decay to the gradient. */
  optimizer: z.enum(["adamw", "adam"]).default("adamw"),
  weightDecay: z.number().min(0).max(10).default(0.01),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  /** At least the smallest value that float32 can divide by. */
  epsilon: z.number().min(1e-30).default(1e-8),
  /** Greatest norm of the gradient; 0 disables clipping. */
  clip: z.number().min(0).default(0),
  /**
   * "bfloat16" of encoders and decoders, "tf32" of all products on NVIDIA GPUs; "auto" is bfloat16 on devices with
   * bfloat16 instructions.
   */
  precision: z.enum(["float32", "tf32", "bfloat16", "auto"]).default("float32"),
  /** Default those of the method. */
  losses: lossesSchema.optional(),
  /**
   * Whom losses compare a sample with: all samples of the batch, or those of its own process, as the published code of
   * most methods does. With one process both are the same.
   */
  contrast: z.enum(["global", "local"]).default("global"),
  /** Reciprocal neighbours in both modalities leave the contrastive loss; k 0 disables this. */
  falseNegatives: z
    .strictObject({ k: count(0, 100_000).default(20), from: z.number().min(0).default(0) })
    .prefault({}),
  /** false: images and audio as in evaluation. */
  augment: z.union([z.literal(false), augmentSchema]).prefault({}),
  /** Changes of the further views of methods that train with them; false as in evaluation. */
  viewAugment: z.union([z.literal(false), augmentSchema]).prefault({}),
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
  /** and every n steps within an epoch; 0 only at the ends of epochs. */
  checkpointSteps: count(0, 1_000_000).default(0),
});

/**
 * A complete training configuration.
 * @interface
 */
export type TrainConfig = Omit<z.output<typeof trainSchema>, "losses"> & {
  losses: Record<string, LossSchedule>;
};
/**
 * Options of training; the default of every field is the value of the preset, or of the paper.
 * @interface
 */
export type TrainOptions = z.input<typeof trainSchema>;
/**
 * A loss's weight over the run: 0 before epoch `from`, linear up to `weight` over `ramp` epochs, 0 again from `until`.
 * @interface
 */
export type LossSchedule = z.output<typeof lossSchema>;
/**
 * Random augmentation of images and spectrograms in training.
 * @interface
 */
export type AugmentConfig = z.output<typeof augmentSchema>;

/**
 * Completes and checks a training configuration, of a model with that method.
 * @throws {SoundspotError} ERR_CONFIG with the path of every invalid field.
 */
export function parseTrainConfig(
  options: TrainOptions | undefined = {},
  method: string = DEFAULT_METHOD,
): TrainConfig {
  const { losses, defaultLosses } = methodNamed(method);
  const whole = typeof options === "object" && options !== null && options.losses === undefined;
  const parsed = parse(trainSchema, whole ? { ...options, losses: defaultLosses } : options, "train");
  const config = parsed as TrainConfig;
  for (const [name, { weight }] of Object.entries(config.losses)) {
    if (weight === 0 || losses.includes(name)) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `The configuration is not valid. train.losses.${name}: the method ${method} has no such loss; it has ${losses.join(", ")}.`,
    );
  }
  return config;
}
