/** The damaged samples of a run: counted, listed in skipped.jsonl, and compared with `maxDamaged`. */

import { SoundspotError } from "../core/errors.js";
import { inParallel } from "../core/parallel.js";
import { SAMPLES_AT_A_TIME } from "../core/semaphore.js";
import { JsonlLog } from "../files/jsonl-log.js";
import { isDamage, type SkippedSample } from "./damage.js";
import type { Dataset } from "./dataset.js";

/** A damaged sample of a run. */
export interface SkippedInRun extends SkippedSample {
  /** In which it was found first, from 0. */
  readonly epoch: number;
  /** Whose batch it was to be in; of evaluation data the step after which that was read. */
  readonly step: number;
  /** Of the dataset: in a list of another length the index means another sample. */
  readonly samples: number;
  /** true where the sample is of the evaluation data. */
  readonly evaluation?: true;
}

export interface SkippedListOptions {
  readonly data: Dataset;
  readonly evaluation?: Dataset | undefined;
  /** Share of the samples, of training and of evaluation data each. */
  readonly maxDamaged: number;
  /** Absent where nothing is written. */
  readonly path?: string | undefined;
}

/** Names in a message. */
const SHOWN = 3;

/** Damaged samples of one of the two datasets. */
interface Count {
  readonly data: Dataset;
  readonly met: Map<number, SkippedSample>;
  /** Those that an earlier part of the run found: their files may have been repaired since. */
  readonly unsure: Set<number>;
}

const nameOf = ({ id, index }: SkippedSample) => id ?? `sample ${index}`;

export class SkippedList {
  readonly #path: string | undefined;
  readonly #log: JsonlLog | undefined;
  readonly #maxDamaged: number;
  readonly #counts: { readonly training: Count; readonly evaluation: Count | undefined };
  readonly #listed = new Set<string>();
  readonly #entries: SkippedInRun[] = [];

  constructor({ data, evaluation, maxDamaged, path }: SkippedListOptions) {
    const count = (of: Dataset): Count => ({ data: of, met: new Map(), unsure: new Set() });
    this.#path = path;
    this.#log = path === undefined ? undefined : new JsonlLog(path, { always: false, sync: true });
    this.#maxDamaged = maxDamaged;
    this.#counts = { training: count(data), evaluation: evaluation && count(evaluation) };
  }

  /** All that are listed, in the order in which they were found. */
  get entries(): readonly SkippedInRun[] {
    return this.#entries;
  }

  /**
   * Takes up the list as it was at a place of the run.
   * @throws {SoundspotError} ERR_FILE_WRITE
   */
  async cutTo({ step, epoch }: { readonly step: number; readonly epoch: number }): Promise<void> {
    // The last epoch's evaluation is made again if the place is before it.
    const isBefore = (each: SkippedInRun) => each.step <= step && (!each.evaluation || each.epoch < epoch);
    this.takeUp((await this.#log?.cutTo(isBefore)) ?? []);
  }

  /** Adds a list that another process has read; samples that are listed already are skipped. */
  takeUp(entries: readonly SkippedInRun[]): void {
    for (const entry of entries) {
      if (this.#listed.has(keyOf(entry))) continue;
      this.#entries.push(entry);
      this.#listed.add(keyOf(entry));
      const count = this.#countOf(entry);
      // Of another list, the index says nothing about this one.
      if (entry.samples !== count?.data.length || entry.id !== count.data.idOf?.(entry.index)) continue;
      count.met.set(entry.index, entry);
      count.unsure.add(entry.index);
    }
  }

  /**
   * Lists those that are new.
   * @returns the new ones
   * @throws {SoundspotError} ERR_DATASET when there are more than `maxDamaged` allows: all of them are then in the file;
   *   ERR_FILE_WRITE.
   */
  async add(
    skipped: readonly SkippedSample[],
    at: { readonly epoch: number; readonly step: number; readonly evaluation?: true },
  ): Promise<SkippedInRun[]> {
    const added: SkippedInRun[] = [];
    const count = this.#countOf(at);
    if (!count) return added;
    for (const sample of skipped) {
      count.met.set(sample.index, sample);
      count.unsure.delete(sample.index);
      const entry: SkippedInRun = { ...sample, ...at, samples: count.data.length };
      if (this.#listed.has(keyOf(entry))) continue;
      this.#listed.add(keyOf(entry));
      this.#entries.push(entry);
      this.#log?.add(entry);
      added.push(entry);
    }
    if (skipped.length > 0) await this.#checkShare(count);
    return added;
  }

  /** @throws {SoundspotError} ERR_FILE_WRITE */
  async flush(): Promise<void> {
    await this.#log?.flush();
  }

  #countOf({ evaluation }: { readonly evaluation?: true }): Count | undefined {
    return evaluation ? this.#counts.evaluation : this.#counts.training;
  }

  async #checkShare({ data, met, unsure }: Count): Promise<void> {
    const most = this.#maxDamaged * data.length;
    if (met.size <= most) return;
    await inParallel([...unsure], SAMPLES_AT_A_TIME, undefined, async (index) => {
      if (await loads(data, index)) met.delete(index);
      unsure.delete(index);
    });
    if (met.size <= most) return;
    await this.flush();
    const all = [...met.values()];
    const names = all.slice(0, SHOWN).map(nameOf).join(", ");
    const rest = all.length > SHOWN ? ` and ${all.length - SHOWN} more` : "";
    const list = this.#path === undefined ? "" : ` The list is ${this.#path}.`;
    throw new SoundspotError(
      "ERR_DATASET",
      `${all.length} of the ${data.length} samples of ${data.name} cannot be read, more than maxDamaged (--max-damaged) = ${this.#maxDamaged} allows: ${names}${rest}.${list} ` +
        `The first: ${all[0]?.reason} Repair them and resume, take them out of the list and resume with allowChangedData (--allow-changed-data), or set maxDamaged higher.`,
    );
  }
}

/** The same sample in a list that has changed, where the id identifies it. */
function keyOf({ id, index, samples, evaluation }: SkippedInRun): string {
  return JSON.stringify([evaluation ?? false, ...(id === undefined ? [samples, index] : [id])]);
}

async function loads(data: Dataset, index: number): Promise<boolean> {
  try {
    await data.load(index);
    return true;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}
