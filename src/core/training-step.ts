/** One training step, as the addon takes it and answers. */
import type { ComputedPrecision, TensorData } from "./types.js";

export interface NamedTensor extends TensorData {
  readonly name: string;
}

export interface StepOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Decay is a part of the gradient. */
  readonly coupledDecay: boolean;
  /** Losses compare this process's samples alone. */
  readonly localContrast: boolean;
  readonly falseNegativeK: number;
  readonly clip: number;
  readonly precision: ComputedPrecision;
  readonly masking: boolean;
  /** 0: the whole batch. */
  readonly microBatchSize: number;
  readonly frozenStatistics: boolean;
  /** Batch norm by the statistics of all processes' samples. */
  readonly sharedStatistics: boolean;
  readonly plain: boolean;
  readonly gradients: boolean;
  readonly update: boolean;
  /** This process asks all others to end after this step. */
  readonly stop: boolean;
  readonly losses: readonly {
    readonly name: string;
    readonly weight: number;
    readonly temperature: number;
  }[];
}

/** What a training step gave. */
export interface StepResult {
  /** Each unweighted, and `total`. */
  readonly losses: Readonly<Record<string, number>>;
  /**
   * What else the method has for a log. Joint slot attention: `falseNegatives`, ordered pairs that the contrastive loss
   * left out; and of the target attention of each modality `imageAttentionEntropy`, `audioAttentionEntropy`, over
   * tokens divided by log N (1 is uniform), `imageAttentionSpread`, `audioAttentionSpread`, the standard deviation over
   * tokens times N (0 is uniform).
   */
  readonly diagnostics: Readonly<Record<string, number>>;
  readonly gradientNorm: number;
  /** A process of the group requested the end of the run. */
  readonly stop: boolean;
  readonly gradients: readonly NamedTensor[];
}
