/** A run's stored progress, and whether a run that is resumed is the same run. */

import type { ModelConfig } from "../config/model.js";
import { fieldsByPath } from "../config/parse.js";
import { parseTrainConfig, type TrainConfig } from "../config/train.js";
import { isError, SoundspotError } from "../core/errors.js";

/** Where a run stands, in a checkpoint's metadata. */
export interface Progress {
  readonly epoch: number;
  /** Batches of that epoch already taken; all of them until the epoch is evaluated. */
  readonly batch: number;
  readonly step: number;
  readonly bestScore: number | null;
  readonly lossSum: number;
  /** Samples of the dataset. */
  readonly samples: number;
  /** Name of the dataset's own order, if it has one. */
  readonly order?: string;
  readonly config: TrainConfig;
  /** Absent in files from before there were several. */
  readonly processes?: number;
}

export const PROGRESS_KEY = "soundspot.training";

/**
 * @internal The training state in a checkpoint's metadata, as it stands there; undefined without one.
 * @throws {SoundspotError} ERR_CHECKPOINT_CORRUPT
 */
export function storedTraining(metadata: Readonly<Record<string, string>>, file: string): unknown {
  const text = metadata[PROGRESS_KEY];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadableState(file, cause);
  }
}

function unreadableState(file: string, cause?: unknown): SoundspotError {
  const why = isError(cause) ? ` (${cause.message})` : "";
  return new SoundspotError(
    "ERR_CHECKPOINT_CORRUPT",
    `${file} carries a training state that cannot be read. Use another copy of it, or train without resume.${why}`,
    { cause },
  );
}

/** The progress of a run of a model with that method. */
export function readProgress(
  metadata: Readonly<Record<string, string>>,
  file: string,
  method: string,
): Progress {
  const stored = storedTraining(metadata, file);
  if (stored === undefined) {
    throw new SoundspotError(
      "ERR_CHECKPOINT_MISMATCH",
      `${file} holds no training state. Train without resume.`,
    );
  }
  const state = Object(stored) as Progress;
  const { epoch, batch, step, samples, lossSum, bestScore, config, processes = 1 } = state;
  const counts = [epoch, batch, step, samples, processes].every(
    (count) => Number.isInteger(count) && count >= 0,
  );
  if (!counts || ![lossSum, bestScore ?? 0].every(Number.isFinite) || !config) throw unreadableState(file);
  try {
    // Fields that a later version added have the defaults that the run had without knowing them.
    return { ...state, config: parseTrainConfig(config, method) };
  } catch (cause) {
    throw unreadableState(file, cause);
  }
}

interface RunIdentity {
  readonly model: ModelConfig;
  readonly train: TrainConfig;
  readonly samples: number;
  readonly order: string | undefined;
}

/** What may change when a run is resumed. */
const FREE = new Set(
  ["queue", "evaluateEvery", "keepEvery", "checkpointEvery", "checkpointSteps"].map(
    (name) => `train.${name}`,
  ),
);

/** A resumed run must be the same run: everything that shapes its steps is compared. */
export function checkSameRun(
  before: RunIdentity,
  now: RunIdentity,
  file: string,
  allowChangedData: boolean,
): void {
  const reject = (
    what: string,
    was: unknown,
    is: unknown,
    how = "Resume with the same configuration",
  ): never => {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${what} differs from the run in ${file}: it was ${JSON.stringify(was)}, now ${JSON.stringify(is)}. ${how}, or start in another folder.`,
    );
  };
  for (const part of ["train", "model"] as const) {
    const [was, is] = [fieldsByPath(before[part], part), fieldsByPath(now[part], part)];
    for (const path of Object.keys(is)) {
      if (FREE.has(path) || JSON.stringify(was[path]) === JSON.stringify(is[path])) continue;
      reject(path, was[path], is[path]);
    }
  }
  if (allowChangedData) return;
  const how = "Resume with the same data, or with allowChangedData (--allow-changed-data)";
  if (before.samples !== now.samples) reject("The number of samples", before.samples, now.samples, how);
  if (before.order !== now.order)
    reject("The order of samples", before.order ?? null, now.order ?? null, how);
}

/** The same share of the epoch, and of its loss, in data of another length. */
export function onData(progress: Progress, samples: number, { batchSize }: TrainConfig): Progress {
  const [before, now] = [progress.samples, samples].map((each) => Math.floor(each / batchSize)) as [
    number,
    number,
  ];
  if (before === now || progress.batch === 0) return progress;
  const batch = Math.round((progress.batch / before) * now);
  return { ...progress, batch, lossSum: (progress.lossSum / progress.batch) * batch };
}
