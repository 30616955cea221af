/** Configuration of a model: every number of its architecture and of inference, with the paper's value as default. */

import * as z from "zod";
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

/** Where the numbers of the front ends are published, they differ: each has its own defaults. */
const frontEnds = {
  stft: { channels: "power", hop: 160, logOffset: 1e-7, scale: 12 },
  scipy: { channels: "mix", hop: 238, logOffset: 1e-7, scale: 12 },
  mel: { channels: "mix", hop: 239, logOffset: 1e-10, scale: 1 },
} as const;

/** Input of the audio encoder (docs/method.md, "Preprocessing"). */
const audioSchema = z
  .strictObject({
    /** Hertz of the audio that the model takes. */
    sampleRate: count(1000, 192_000).default(16_000),
    /** "resample": audio of any rate is resampled to `sampleRate`. "file": audio of another rate is rejected. */
    rate: z.enum(["resample", "file"]).default("resample"),
    /** Seconds of the audio window. */
    seconds: z.number().min(0.1).max(120).default(5),
    /**
     * Where in audio the window is: in the middle, at the start, or from that many seconds on. Audio that ends before the
     * window does is repeated. In a video the window is around the frame.
     */
    placement: z.union([z.enum(["middle", "start"]), z.number().min(0).max(600)]).default("middle"),
    /**
     * "stft": centred frames with a Hann window. "scipy": the power spectral density of scipy.signal.spectrogram. "mel":
     * torchaudio's mel spectrogram in decibels.
     */
    frontEnd: z.enum(["stft", "scipy", "mel"]).default("stft"),
    /** Of several channels: "power" the mean of their powers, "mix" of their samples; "first" is the first alone. */
    channels: z.enum(["power", "mix", "first"]).optional(),
    /** Samples of a frame. */
    window: count(16, 8192).default(512),
    /** Samples from frame to frame. Default 160; 238 of "scipy", 239 of "mel". */
    hop: count(1, 8192).optional(),
    /** Rows of "mel". */
    melBands: count(1, 4096).default(257),
    /** Added to the power before the logarithm, 1e-7; "mel" takes the larger of both, 1e-10. */
    logOffset: z.number().positive().max(1).optional(),
    /** Divides the logarithm. Default 12; 1 of "mel". */
    scale: z.number().positive().optional(),
  })
  .transform(({ channels, hop, logOffset, scale, ...audio }) => {
    const own = frontEnds[audio.frontEnd];
    return {
      ...audio,
      channels: channels ?? own.channels,
      hop: hop ?? own.hop,
      logOffset: logOffset ?? own.logOffset,
      scale: scale ?? own.scale,
    };
  })
  .superRefine((audio, context) => {
    const reject = (field: keyof typeof audio, message: string) =>
      context.addIssue({ code: "custom", path: [field], message });
    const { frontEnd, window, hop } = audio;
    if (frontEnd === "stft") return;
    if (frontEnd === "scipy" && hop > window) reject("hop", `is ${hop}; use at most the window, ${window}`);
    const least = frontEnd === "scipy" ? window : Math.floor(window / 2) + 1;
    if (samplesOf(audio) >= least) return;
    reject("seconds", `gives ${samplesOf(audio)} samples; the front end needs ${least} for one frame`);
  });

/** Samples of the audio window. */
function samplesOf({ seconds, sampleRate }: { seconds: number; sampleRate: number }): number {
  return Math.round(seconds * sampleRate);
}

const stride = z.union([z.literal(4), z.literal(8), z.literal(16), z.literal(32)]);
const projection = z.enum(["pointwise", "linear", "none"]);
const dropout = z.number().min(0).lt(1);

const fields = {
  /** Pixels a side of the square that an image is resized to. */
  imageSize: count(32, 1024).default(224),
  /** Residual stages of the image encoder. */
  imageStages: count(1, 4).default(4),
  /** Pixels a token: 4, 8, 16 or 32; below the stride of the stages, the last ones keep stride 1. */
  imageStride: stride.default(32),
  /** Channels of the image encoder's first stage; each further stage doubles them. */
  imageWidth: count(4, 256).default(64),
  audioStages: count(1, 4).default(4),
  /** Bins and frames a feature: 4, 8, 16 or 32, as `imageStride`; default that of the stages. */
  audioStride: stride.optional(),
  audioWidth: count(4, 256).default(64),
  /** Features of a token, D. Even. */
  dim: count(8, 4096).multipleOf(2).default(512),
  /**
   * "frequency": maximum over frequency behind the projection, a token for every frame. "global": maximum over frequency
   * and time before the projection, one token.
   */
  audioPooling: z.enum(["frequency", "global"]).default("frequency"),
  /**
   * From the features of the last stage to tokens: a convolution of one pixel, with a weight [D, C, 1, 1]; the same with
   * a weight [D, C]; or none, where the features are the tokens and `dim` is their number.
   */
  imageProjection: projection.default("pointwise"),
  audioProjection: projection.default("pointwise"),
  /** Share of the features that training drops before the projection. */
  imageDropout: dropout.default(0),
  audioDropout: dropout.default(0),
  /** Weights of batch norm begin as 1, or as N(1, 0.02). */
  batchNormScale: z.enum(["one", "normal"]).default("one"),
  /** Whose names the encoders' parameters have in checkpoints (docs/formats.md). */
  names: z.enum(["joint-slot-attention", "ez-vsl", "lvs"]).default("joint-slot-attention"),
  /**
   * Where a map puts token t of a row or column. "tiles": into the middle of the t-th equal part of the image, as
   * published. "receptive-fields": at pixel `imageStride` · t, the centre of its receptive field, (`imageStride` − 1) / 2
   * pixels further left and up.
   */
  mapAlignment: z.enum(["tiles", "receptive-fields"]).default("tiles"),
  audio: audioSchema.prefault({}),
};

/** Stride of an encoder whose every stage after the first halves. */
const strideOf = (stages: number) => (2 ** (stages + 1)) as z.output<typeof stride>;

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
    .refine(({ audioStages, audioStride = 4 }) => audioStride <= 2 ** (audioStages + 1), {
      path: ["audioStride"],
      message: "is larger than the encoder's stages allow: use 2^(audioStages + 1) at most",
    })
    .superRefine((model, context) => {
      for (const side of ["image", "audio"] as const) {
        const features = model[`${side}Width`] * 2 ** (model[`${side}Stages`] - 1);
        if (model[`${side}Projection`] !== "none" || model.dim === features) continue;
        const message = `is none, so that dim must be the ${features} features of the last stage; it is ${model.dim}`;
        context.addIssue({ code: "custom", path: [`${side}Projection`], message });
      }
    })
    .transform(({ method, audioStride, ...model }) => {
      const { complete } = methodNamed(method.name);
      return {
        ...model,
        audioStride: audioStride ?? strideOf(model.audioStages),
        method: (complete?.(method, model.dim) ?? method) as MethodConfig,
      };
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
export type ModelConfig = Omit<z.output<typeof shape>, "audioStride"> & {
  audioStride: z.output<typeof stride>;
  method: MethodConfig;
};
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

/**
 * Options over a preset's, those of `audio` field by field: options of the same method override the preset's, another
 * method replaces it.
 */
export function mergeModel(preset: ModelOptions, options: ModelOptions = {}): ModelOptions {
  const same = preset.method && options.method && preset.method.name === options.method.name;
  const method = same ? { ...preset.method, ...options.method } : (options.method ?? preset.method);
  const audio = preset.audio && options.audio ? { ...preset.audio, ...options.audio } : undefined;
  return {
    ...preset,
    ...options,
    ...(audio ? { audio } : {}),
    ...(method ? { method: method as MethodOptions } : {}),
  };
}

/** Where tokens are: token t of a side at pixel stride · t of an image of `size` pixels a side. */
export interface TokenPlaces {
  readonly size: number;
  readonly stride: number;
}

/** The places of a model's tokens; empty where they are equal parts of the image. */
export function placesOf(config: Pick<ModelConfig, "mapAlignment" | "imageSize" | "imageStride">): {
  readonly places?: TokenPlaces;
} {
  if (config.mapAlignment === "tiles") return {};
  return { places: { size: config.imageSize, stride: config.imageStride } };
}

/** Spectrogram frames of a configuration. */
export function frameCount({ audio }: Pick<ModelConfig, "audio">): number {
  const padding = audio.frontEnd === "scipy" ? 0 : 2 * Math.floor(audio.window / 2);
  return Math.floor((samplesOf(audio) + padding - audio.window) / audio.hop) + 1;
}

/** Spectrogram rows of a configuration: frequencies, or mel bands. */
export function rowCount({ audio }: Pick<ModelConfig, "audio">): number {
  return audio.frontEnd === "mel" ? audio.melBands : Math.floor(audio.window / 2) + 1;
}
