/** Reads every sample of a dataset once and lists what is damaged, before a run does. */
import { mkdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseModelConfig } from "../config/model.js";
import { aCount, aFunction, aPath, aSignal, check, checkFields } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { lookAhead } from "../core/look-ahead.js";
import { SAMPLES_AT_A_TIME } from "../core/semaphore.js";
import { isDamage, type SkippedSample, skippedSample } from "../datasets/damage.js";
import {
  aDataset,
  type DamagedFile,
  type Dataset,
  type LoadableSample,
  type MissingSample,
} from "../datasets/dataset.js";
import { hashOfIds } from "../datasets/identity.js";
import { checkReplaceable, replaceFile, writing } from "../files/atomic-writes.js";
import { lockFolder } from "../files/folder-lock.js";
import { JsonlLog, jsonLines, parseJsonLines } from "../files/jsonl-log.js";
import { checkOutputs } from "../files/outputs.js";
import { prepareSample } from "../model/inputs.js";

/** How a dataset is checked, and where the list goes. */
export interface CheckDatasetOptions {
  /**
   * A file of JSON lines for all that is damaged or missing, written when the check is done. Until then `FILE.partial`
   * holds what was found, and the next check of the same data goes on from there. Without it nothing is written.
   */
  readonly output?: string;
  /** Samples decoded at a time. Default twice the processors, at least 8. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal | undefined;
  /** What an earlier check has done is counted. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called for every damaged sample, those of an earlier check first. */
  readonly onDamaged?: (sample: SkippedSample) => void;
}

/** What a check has found. */
export interface DatasetCheck {
  readonly dataset: string;
  /** Samples of the dataset, all of them read; those that are missing are not among them. */
  readonly samples: number;
  /** Of them, those that an earlier check of the same output had read. */
  readonly before: number;
  /** Samples that cannot be read, in the order in which they were read. */
  readonly damaged: readonly SkippedSample[];
  /** Samples that the dataset's list names and whose files are missing. */
  readonly missing: readonly MissingSample[];
  /** Files, such as archives, that were found to be damaged. */
  readonly files: readonly DamagedFile[];
  /** Where the list is. */
  readonly output?: string;
}

/** Samples between two notes of how far it is. */
const NOTED = 256;

/** First line of a partial list: which data it is of. */
interface Head {
  readonly dataset: string;
  readonly samples: number;
  readonly ids: string;
  /** Of the dataset's own, where it has one. */
  readonly order: string | null;
}

/** Samples that were read, from the first on. */
interface Done {
  readonly done: number;
}

/**
 * Decodes all samples of a dataset, as training does, and lists those that it would skip.
 * @example
 * const { damaged } = await checkDataset(data, { output: "damaged.jsonl" });
 * @throws {SoundspotError} ERR_OUTPUT_IS_INPUT when `output` is a list that the data is read from; ERR_ABORTED, after
 *   which `output` can be resumed; ERR_BUSY when another check is writing there; ERR_FILE_WRITE; and errors of a
 *   dataset that are no damage, such as ERR_FFMPEG_MISSING and ERR_NETWORK.
 */
export async function checkDataset(data: Dataset, options: CheckDatasetOptions = {}): Promise<DatasetCheck> {
  check(data, aDataset, "data");
  checkFields(options, {
    output: aPath,
    concurrency: aCount,
    signal: aSignal,
    onProgress: aFunction,
    onDamaged: aFunction,
  });
  throwIfAborted(options.signal);
  if (options.output === undefined) return read(data, options, undefined);
  const output = resolve(options.output);
  const folder = dirname(output);
  await checkOutputs({
    inputs: (data.files ?? []).map((path) => ({ name: "data", path })),
    outputs: [
      { name: "output", path: output },
      { name: "the list of what is done", path: `${output}.partial` },
    ],
  });
  await checkReplaceable(output);
  await writing(folder, () => mkdir(folder, { recursive: true }));
  const unlock = await lockFolder(folder, `${basename(output)}.lock`);
  try {
    const partial = await PartialList.open(`${output}.partial`, await headOf(data, options.signal));
    const found = await read(data, options, partial);
    await replaceFile(output, jsonLines([...found.damaged, ...found.missing, ...found.files]));
    await partial.remove();
    return { ...found, output };
  } finally {
    await unlock();
  }
}

async function headOf(data: Dataset, signal: AbortSignal | undefined): Promise<Head> {
  return {
    dataset: data.name,
    samples: data.length,
    ids: await hashOfIds(data, signal),
    order: data.sequence?.order ?? null,
  };
}

/** What a check has found so far, in a file. */
class PartialList {
  readonly #path: string;
  readonly #log: JsonlLog;
  /** Of an earlier check. */
  readonly damaged: readonly SkippedSample[];
  readonly done: number;

  private constructor(path: string, damaged: readonly SkippedSample[], done: number) {
    this.#path = path;
    this.#log = new JsonlLog(path);
    this.damaged = damaged;
    this.done = done;
  }

  /** Goes on with the file where it is of the same data, and starts again where not. */
  static async open(path: string, head: Head): Promise<PartialList> {
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw new SoundspotError("ERR_FILE_NOT_FOUND", `${path} cannot be read: ${error.message}.`, {
        cause: error,
      });
    });
    const lines = parseJsonLines(
      text,
      (value): value is Partial<Head & Done & SkippedSample> => typeof value === "object" && value !== null,
    );
    const [first, ...rest] = lines;
    const same = JSON.stringify(first) === JSON.stringify(head);
    // What stands behind the last note was not noted as read, and is read again.
    const last = same ? rest.findLastIndex(({ done }) => Number.isSafeInteger(done)) : -1;
    const known = rest.slice(0, last + 1);
    const done = Math.min(known[last]?.done ?? 0, head.samples);
    const damaged = known.filter((each): each is SkippedSample => typeof each.reason === "string");
    await replaceFile(path, jsonLines([head, ...damaged, { done }]));
    return new PartialList(path, damaged, done);
  }

  /** Adds what was found up to sample `done`, to be written with the next flush. */
  add(damaged: readonly SkippedSample[], done: number): void {
    for (const entry of [...damaged, { done }]) this.#log.add(entry);
  }

  flush(): Promise<void> {
    return this.#log.flush();
  }

  async remove(): Promise<void> {
    await writing(this.#path, () => rm(this.#path, { force: true }));
  }
}

/** The samples in the order in which the dataset reads them best, from one of them on. */
async function* samplesInOrder(
  data: Dataset,
  from: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<LoadableSample> {
  if (data.sequence) {
    const all = { epoch: 0, seed: 0, batchSize: 1, fromBatch: from, rank: 0, size: 1 };
    for await (const batch of data.sequence.batches({ ...all, unreadable: "throw", signal })) yield* batch;
    return;
  }
  for (let index = from; index < data.length; index++) {
    yield { index, load: (stop) => data.load(index, { signal: stop }) };
  }
}

async function read(
  data: Dataset,
  { concurrency = SAMPLES_AT_A_TIME, signal, onProgress, onDamaged }: CheckDatasetOptions,
  partial: PartialList | undefined,
): Promise<DatasetCheck> {
  // What is wrong with a sample does not depend on the model: the smallest is the fastest.
  const config = parseModelConfig({ imageSize: 32, imageStages: 1, imageStride: 4 });
  const before = partial?.done ?? 0;
  const damaged = [...(partial?.damaged ?? [])];
  // Later it also names what the samples below are listed for.
  const files = [...(data.damaged ?? [])];
  for (const sample of damaged) onDamaged?.(sample);
  onProgress?.(before, data.length);
  const readOne = async ({ index, load }: LoadableSample): Promise<SkippedSample | undefined> => {
    try {
      await prepareSample(await load(signal), config);
      return undefined;
    } catch (error) {
      throwIfAborted(signal);
      if (!isDamage(error)) throw error;
      return skippedSample(data, index, error);
    }
  };
  let [done, noted, saved] = [before, before, damaged.length];
  const note = async () => {
    if (done > noted) partial?.add(damaged.slice(saved), done);
    [noted, saved] = [done, damaged.length];
    await partial?.flush();
  };
  // The others go on while a slow one is awaited.
  const ahead = { items: 4 * concurrency + 1, places: concurrency, signal };
  const samples = samplesInOrder(data, before, signal);
  try {
    for await (const found of lookAhead(samples, (each, inPlace) => inPlace(() => readOne(each)), ahead)) {
      if (found) {
        damaged.push(found);
        onDamaged?.(found);
      }
      onProgress?.(++done, data.length);
      if (done - noted >= NOTED) await note();
    }
    return {
      dataset: data.name,
      samples: data.length,
      before,
      damaged,
      missing: data.missing ?? [],
      files,
    };
  } finally {
    await note();
  }
}
