/** Curves of a training run, from its metrics.jsonl. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SoundspotError } from "../core/errors.js";
import { type MapName, mapNames } from "../evaluation/evaluate.js";
import type { ReportSeries } from "./html.js";

/** A line of metrics.jsonl: a step, or the scores after an epoch. */
interface Entry {
  readonly step?: number;
  readonly losses?: Readonly<Record<string, number>>;
  readonly diagnostics?: Readonly<Record<string, number>>;
  /** In logs of earlier versions. */
  readonly attention?: {
    readonly image: { readonly entropy: number };
    readonly audio: { readonly entropy: number };
  };
  readonly evaluation?: Readonly<Partial<Record<MapName, { readonly ciou: number }>>>;
}

/**
 * Each loss, the entropy of both target attentions (1 is uniform) and cIoU@0.5 after epochs, over the steps of the run
 * in `folder`; empty without a metrics.jsonl. Incomplete lines are skipped.
 * @param name prefix of the series' names, to distinguish runs in one chart
 * @throws {SoundspotError} ERR_INPUT when the file cannot be read.
 */
export async function runCurves(folder: string, name?: string): Promise<ReportSeries[]> {
  const entries = entriesOf(await textOf(join(folder, "metrics.jsonl")));
  const called = (series: string) => (name === undefined ? series : `${name}: ${series}`);
  const line = (
    chart: string,
    series: string,
    value: (entry: Entry) => number | undefined,
  ): ReportSeries => ({
    chart,
    name: series,
    points: entries.flatMap((entry) => {
      const y = value(entry);
      return entry.step === undefined || y === undefined ? [] : [{ x: entry.step, y }];
    }),
  });
  const losses = [...new Set(entries.flatMap((entry) => Object.keys(entry.losses ?? {})))];
  const modalities = ["image", "audio"] as const;
  return [
    ...losses.map((loss) => line(loss, called(loss), (entry) => entry.losses?.[loss])),
    ...modalities.map((modality) =>
      line(
        "entropy of the target attention",
        called(modality),
        (entry) => entry.diagnostics?.[`${modality}AttentionEntropy`] ?? entry.attention?.[modality].entropy,
      ),
    ),
    ...mapNames.map((map) =>
      line("cIoU@0.5 after epochs", called(`${map} map`), (entry) => entry.evaluation?.[map]?.ciou),
    ),
  ].filter(({ points }) => points.length > 0);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return "";
    throw new SoundspotError("ERR_INPUT", `${path} cannot be read: ${message}`, { cause });
  }
}

function entriesOf(text: string): Entry[] {
  return text.split("\n").flatMap((line) => {
    try {
      const entry: unknown = JSON.parse(line);
      return typeof entry === "object" && entry !== null ? [entry as Entry] : [];
    } catch {
      return []; // empty or incomplete
    }
  });
}
