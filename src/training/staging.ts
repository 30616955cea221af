/** Brings the batches of an epoch to a device, one ahead of the step. */
import type { SampleHandle, StagedHandle } from "../native.js";
import type { TrainingBatch } from "./batches.js";

/** What brings a batch to its model's device: a `Trainer`. */
export interface Stage {
  stage(
    samples: readonly SampleHandle[],
    views: Readonly<Record<string, readonly SampleHandle[]>>,
  ): Promise<StagedHandle>;
}

/** A batch, and what became of it on its way. */
export interface StagedTrainingBatch extends TrainingBatch {
  /** Rejects where `samples` throws, and where the device has no memory for it. */
  readonly staged: Promise<StagedHandle>;
}

/**
 * The same batches in the same order. While the consumer works on one, the next is on its way to the device. Its errors
 * are thrown when its turn comes.
 */
export async function* stagedAhead(
  batches: AsyncIterable<TrainingBatch>,
  trainer: Stage,
): AsyncGenerator<StagedTrainingBatch, void, void> {
  const iterator = batches[Symbol.asyncIterator]();
  const begin = async (): Promise<StagedTrainingBatch | undefined> => {
    const { value, done } = await iterator.next();
    if (done) return undefined;
    const bring = async () => trainer.stage(value.samples(), value.views());
    const staged = bring();
    staged.catch(() => undefined); // thrown when its turn comes
    return { ...value, staged };
  };
  try {
    let next = begin();
    for (;;) {
      const batch = await next;
      if (!batch) return;
      next = begin();
      next.catch(() => undefined); // thrown when its turn comes
      yield batch;
    }
  } finally {
    await iterator.return?.();
  }
}
