/** What the commands that score have in common: options, words about what is missing, files. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import type { SkippedSample } from "../datasets/damage.js";
import type { DamagedFile, Dataset, MissingSample } from "../datasets/dataset.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import { replaceFile, writing } from "../files/atomic-writes.js";
import type { NamedPath } from "../files/outputs.js";
import type { Precision } from "../model/compute.js";
import { precisions, wholeFrom } from "./options.js";

export interface ScoringFlags {
  data: string;
  limit?: number;
  batchSize?: number;
  precision: Precision;
  skipUnreadable?: true;
  resamples: number;
  processes?: number;
  output?: string;
  json?: true;
}

/** Adds the options that every command has which scores a checkpoint on a dataset. */
export function withScoringOptions(command: Command): Command {
  return command
    .requiredOption("--data <dataset>", "name:field=value,… or a manifest with truth")
    .option("--limit <n>", "only the first n samples", wholeFrom(1))
    .option("--batch-size <n>", "pairs at a time; default 16", wholeFrom(1))
    .addOption(new Option("--precision <type>", "of the encoders").choices(precisions).default("float32"))
    .option("--skip-unreadable", "go on without samples that cannot be read, and list them")
    .option("--resamples <n>", "of the bootstrap; 0 makes no intervals", wholeFrom(0), 1000)
    .option("--processes <n>", "processes on this machine that share the samples", wholeFrom(1))
    .option("--output <folder>", "writes the scores there")
    .option("--json", "print the scores as JSON");
}

/** The flags as `evaluate` and `retrieve` take them. */
export function scoringOptions(flags: ScoringFlags) {
  return {
    ...(flags.limit === undefined ? {} : { limit: flags.limit }),
    ...(flags.batchSize === undefined ? {} : { batchSize: flags.batchSize }),
    precision: flags.precision,
    unreadable: flags.skipUnreadable ? ("skip" as const) : ("throw" as const),
    bootstrap: flags.resamples === 0 ? (false as const) : { resamples: flags.resamples },
  };
}

/** The files that a dataset was opened from, as they are called on the command line. */
export function filesOf({ files = [] }: Dataset, name = "--data"): NamedPath[] {
  return files.map((path) => ({ name, path }));
}

/** Damaged files that any process of the group met. */
export async function damagedFiles(
  { damaged = [] }: Dataset,
  group: ProcessGroup | undefined,
): Promise<readonly DamagedFile[]> {
  return group ? (await group.gather([...damaged])).flat() : damaged;
}

const SHOWN = 5; // names before "and n more"

/** One line each about samples that were not there or could not be read, and damaged files; nothing when all is well. */
export function leftOut(
  missing: readonly MissingSample[],
  skipped: readonly SkippedSample[],
  damaged: readonly DamagedFile[] = [],
): string[] {
  const listed = (names: readonly string[]) =>
    names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "");
  return [
    ...(missing.length ? [`missing ${missing.length}: ${listed(missing.map(({ id }) => id))}`] : []),
    ...(skipped.length
      ? [`unreadable ${skipped.length}: ${listed(skipped.map(({ reason }) => reason))}`]
      : []),
    ...(damaged.length ? [`damaged ${damaged.length}: ${listed(damaged.map(({ reason }) => reason))}`] : []),
  ];
}

/** What the head of a table says of samples that were left out; nothing when all were read. */
export function skippedText({ length }: readonly SkippedSample[]): string {
  return length > 0 ? `, ${length} unreadable and skipped` : "";
}

/** Writes files into a folder, each whole or not at all. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  await writing(folder, () => mkdir(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await replaceFile(join(folder, name), content, folder);
  }
}
