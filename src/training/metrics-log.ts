/** metrics.jsonl: an entry for each step, and one for each evaluation. */
import { join } from "node:path";
import type { Evaluation } from "../evaluation/evaluate.js";
import { JsonlLog } from "../files/jsonl-log.js";
import type { StepEvent } from "./run-options.js";

interface MetricsEntry {
  readonly step: number;
  readonly epoch: number;
  readonly evaluation?: unknown;
}

export class MetricsLog {
  readonly #log: JsonlLog;

  constructor(folder: string) {
    this.#log = new JsonlLog(join(folder, "metrics.jsonl"), { sync: true });
  }

  /** Keeps the entries from before the place that a resumed run goes on from. @throws {SoundspotError} ERR_FILE_WRITE */
  async cutTo({ step, epoch }: { readonly step: number; readonly epoch: number }): Promise<void> {
    // The last epoch's evaluation is made again if the state is from before it.
    const isBefore = (entry: MetricsEntry) =>
      entry.step <= step && (entry.evaluation === undefined || entry.epoch <= epoch);
    await this.#log.cutTo(isBefore);
  }

  /** @param epoch Place of the step in the epochs, fractions counted. */
  addStep({ step, learningRate, result, warnings }: StepEvent, epoch: number): void {
    this.#log.add({
      step,
      epoch,
      learningRate,
      losses: result.losses,
      gradientNorm: result.gradientNorm,
      diagnostics: result.diagnostics,
      warnings: warnings.length ? warnings.map(({ kind }) => kind) : undefined,
    });
  }

  /** @param epoch Epochs that had ended. */
  addEvaluation(evaluation: Evaluation, step: number, epoch: number): void {
    const { audio, image, iqr, ogl, combined, retrieval } = evaluation;
    this.#log.add({ step, epoch, evaluation: { audio, image, iqr, ogl, combined, retrieval } });
  }

  /** @throws {SoundspotError} ERR_FILE_WRITE; what could not be written stays for the next time. */
  async flush(): Promise<void> {
    await this.#log.flush();
  }
}
