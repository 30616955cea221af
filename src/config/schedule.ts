/** Schedules of a run: the learning rate and the weight of each loss. */
import type { LossSchedule, TrainConfig } from "./train.js";

/** Learning rate at a step of a run of `total` steps. */
export function learningRateAt(config: TrainConfig, step: number, total: number): number {
  const { learningRate, schedule } = config;
  if (schedule.type === "constant") return learningRate;
  const warm = schedule.warmup * total;
  const between = (low: number, share: number) => low + (learningRate - low) * share;
  if (step < warm)
    return between(learningRate / schedule.startFactor, 0.5 - 0.5 * Math.cos((Math.PI * step) / warm));
  const down = 0.5 + 0.5 * Math.cos((Math.PI * (step - warm)) / Math.max(total - warm, 1));
  return between(learningRate / schedule.endFactor, down);
}

/** Weight of a loss at an epoch, fractions counted: 0 before `from`, a linear ramp, 0 from `until`. */
export function lossWeightAt(loss: LossSchedule, epoch: number): number {
  if (epoch < loss.from || (loss.until !== undefined && epoch >= loss.until)) return 0;
  return loss.ramp > 0 ? loss.weight * Math.min(1, (epoch - loss.from) / loss.ramp) : loss.weight;
}

/**
 * The epoch from which the total loss is a sum of the same losses to the end: means are comparable from there. The last
 * epoch if the schedule keeps changing.
 */
export function settledEpoch({ epochs, losses, falseNegatives }: TrainConfig): number {
  const settles = ({ weight, from, ramp, until = Number.POSITIVE_INFINITY }: LossSchedule) => {
    const never = weight === 0 || from >= epochs || until <= from;
    if (never) return 0;
    return until < epochs ? until : from + ramp;
  };
  const excludes = falseNegatives.k > 0 && falseNegatives.from < epochs;
  const last = Math.max(excludes ? falseNegatives.from : 0, ...Object.values(losses).map(settles));
  return Math.min(Math.ceil(last), epochs - 1);
}
