/**
 * The recipes of the methods that the paper compares itself with, as their authors published them (docs/comparison.md).
 * Where a number is not published, the comment at it says what this package takes.
 */

import type { ModelOptions as Model } from "./model.js";
import type { TrainOptions as Train } from "./train.js";

type Augment = NonNullable<Exclude<Train["augment"], false>>;

/**
 * Encoders of EZ-VSL, SLAVC and FNAC: ResNet-18 with a projection, audio pooled before it. The middle 3 s of the audio.
 */
const projected: Model = {
  audio: { frontEnd: "scipy", seconds: 3 },
  audioPooling: "global",
  audioProjection: "linear",
  batchNormScale: "normal",
  names: "ez-vsl",
};

/** Encoders of LVS, Alignment and SSL-TIE: ResNet-18 whose last stage keeps its stride, without projections. */
const unprojected: Model = {
  imageStride: 16,
  audioStride: 16,
  audioPooling: "global",
  imageProjection: "none",
  audioProjection: "none",
  batchNormScale: "normal",
  names: "lvs",
};

/** The published programs resample no audio: with `audio.rate` "file" audio of another rate is rejected. */
const firstTenSeconds = { seconds: 10, placement: "start" } as const;

/** Short side to 246, random crop, flip. */
const cropped: Augment = {
  blurProbability: 0,
  jitterProbability: 0,
  greyProbability: 0,
  frequencyMask: 0,
  timeMask: 0,
};

/** Adam at 1e-4, constant, and contrast within a process, which all of them have. */
const adam: Train = {
  optimizer: "adam",
  learningRate: 1e-4,
  weightDecay: 0,
  contrast: "local",
  falseNegatives: { k: 0 },
};

export const comparisonPresets = {
  /** Its training was not published: the numbers are those of SSL-TIE's program, which is built on its code. */
  lvs: {
    model: { ...unprojected, audio: { ...firstTenSeconds, frontEnd: "scipy" }, method: { name: "lvs" } },
    train: { ...adam, weightDecay: 1e-4, batchSize: 256, epochs: 80, augment: cropped },
  },
  /** Epochs are those of the sets of 144k; with 10k it has 100. */
  "ez-vsl": {
    model: { ...projected, method: { name: "ez-vsl" } },
    train: { ...adam, batchSize: 128, epochs: 20, augment: cropped },
  },
  slavc: {
    model: { ...projected, imageDropout: 0.9, method: { name: "slavc" } },
    train: { ...adam, batchSize: 128, epochs: 20, augment: cropped },
  },
  fnac: {
    model: { ...projected, imageDropout: 0.9, method: { name: "fnac" } },
    train: {
      ...adam,
      weightDecay: 1e-4,
      batchSize: 256,
      epochs: 30,
      losses: {
        maxSimilarity: { weight: 1 },
        audioSuppression: { weight: 100, from: 5 },
        imageSuppression: { weight: 100, from: 5 },
        foregroundSeparation: { weight: 100, from: 5 },
      },
      augment: { ...cropped, frequencyMask: 9, timeMask: 9 },
    },
  },
  /**
   * Its training was not published. The sum over views is the paper's; temperature, batch and epochs are this package's
   * choice. Its image encoder must start from ImageNet weights.
   */
  alignment: {
    model: {
      ...unprojected,
      audio: { frontEnd: "scipy", hop: 159, seconds: 3, placement: 3.5, channels: "first" },
      method: { name: "alignment" },
    },
    train: {
      ...adam,
      batchSize: 64,
      epochs: 20,
      augment: cropped,
      viewAugment: {
        ...cropped,
        crop: false,
        verticalFlipProbability: 0.5,
        greyProbability: 0.2,
        translate: 0.2,
        audioRange: [0, 6.5],
      },
    },
  },
  "ssl-tie": {
    model: { ...unprojected, audio: { ...firstTenSeconds, frontEnd: "mel" }, method: { name: "ssl-tie" } },
    train: {
      ...adam,
      weightDecay: 1e-4,
      batchSize: 32,
      epochs: 100,
      augment: {
        crop: "resized",
        blurKind: "pillow",
        blurProbability: 0.5,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.1,
        timeMask: 180,
        frequencyMask: 35,
        maskProbability: 0.8,
        maskValue: "floor",
      },
    },
  },
} satisfies Record<string, { readonly model: Model; readonly train: Train }>;
