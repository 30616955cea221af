/** What a folder of prepared samples keeps of each, and what may hold them: loose files or shards. */
import { type KnownVideo, safeName } from "./sample-ids.js";
import type { SampleMedia } from "./video-sample.js";

/** A sample that is done: a line of `prepared.jsonl`. */
export interface PreparedSample extends KnownVideo {
  readonly label?: string;
  /** Samples of its audio that were clipped. */
  readonly clipped?: number;
  /** The archive that it is in. */
  readonly shard?: string;
  /** Samples in that archive: fewer lines of it were torn off. */
  readonly shardSamples?: number;
}

/** Whether a line is of this form, its id one that was given: another might name a file anywhere. */
export function isSample(value: unknown): value is PreparedSample {
  const { id, source, bytes } = (value ?? {}) as Partial<PreparedSample>;
  const safe = typeof id === "string" && id === safeName(id, true);
  return safe && typeof source === "string" && typeof bytes === "number";
}

export interface SampleStore {
  /**
   * Which samples exist and are complete: of those listed, and those that the store itself finds.
   * @throws {SoundspotError} ERR_ABORTED
   */
  whole(
    listed: readonly PreparedSample[],
    signal: AbortSignal | undefined,
  ): Promise<readonly PreparedSample[]>;
  /** Whether a sample that nothing lists is there and whole. */
  holds(id: string): Promise<boolean>;
  /**
   * Stores a sample.
   * @returns the samples that are now on the disk for good.
   * @throws {SoundspotError} ERR_FILE_WRITE
   */
  add(sample: PreparedSample, media: SampleMedia): Promise<readonly PreparedSample[]>;
  /** Puts on the disk what is left, as `add` does. */
  finish(): Promise<readonly PreparedSample[]>;
  /** Lists beside the samples what a reader of them needs, when all are there. @throws {SoundspotError} ERR_FILE_WRITE */
  list(samples: readonly PreparedSample[]): Promise<void>;
  /** Where a manifest finds a sample. */
  filesOf(sample: PreparedSample): Readonly<Record<string, string>>;
}
