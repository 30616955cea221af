/** Shared parts of the scoring commands: options, files, damaged files. */
import { type Command, Option } from "commander";
import type { DamagedFile, Dataset } from "../datasets/dataset.js";
import type { ProcessGroup } from "../distributed/process-group.js";
import type { NamedPath } from "../files/outputs.js";
import type { Device, Precision } from "../model/compute.js";
import { withConfigOption } from "./checkpoints.js";
import { deviceOption, precisions, processCount, wholeFrom } from "./options.js";

export interface ScoringFlags {
  data: string;
  config?: string;
  limit?: number;
  batchSize?: number;
  device: Device;
  precision?: Precision;
  skipUnreadable?: true;
  resamples: number;
  processes?: number | "auto";
  output?: string;
  json?: true;
}

/** Adds the options of every command that scores a checkpoint on a dataset. */
export function withScoringOptions(command: Command): Command {
  command.requiredOption("--data <dataset>", "name:field=value,… or a manifest with annotations");
  return withConfigOption(command)
    .option("--limit <n>", "only the first n samples", wholeFrom(1))
    .option("--batch-size <n>", "pairs at a time; default 16", wholeFrom(1))
    .addOption(deviceOption())
    .addOption(
      new Option(
        "--precision <type>",
        "of the encoders; default float32, for a quantized checkpoint int8",
      ).choices(precisions),
    )
    .option("--skip-unreadable", "skip samples that cannot be read, and list them")
    .option("--resamples <n>", "of the bootstrap; 0 makes no intervals", wholeFrom(0), 1000)
    .option(
      "--processes <n>",
      "processes on this machine that share the samples; auto: one for each GPU",
      processCount,
    )
    .option("--output <folder>", "folder for the scores")
    .option("--json", "print the scores as JSON");
}

/** The flags as options of `evaluate` and `retrieve`. */
export function scoringOptions(flags: ScoringFlags) {
  return {
    ...(flags.limit === undefined ? {} : { limit: flags.limit }),
    ...(flags.batchSize === undefined ? {} : { batchSize: flags.batchSize }),
    ...(flags.precision === undefined ? {} : { precision: flags.precision }),
    unreadable: flags.skipUnreadable ? ("skip" as const) : ("throw" as const),
    bootstrap: flags.resamples === 0 ? (false as const) : { resamples: flags.resamples },
  };
}

/** The files that a dataset was opened from, with their name on the command line. */
export function filesOf({ files = [] }: Dataset, name = "--data"): NamedPath[] {
  return files.map((path) => ({ name, path }));
}

/** Damaged files that any process of the group has found. */
export async function damagedFiles(
  { damaged = [] }: Dataset,
  group: ProcessGroup | undefined,
): Promise<readonly DamagedFile[]> {
  return group ? (await group.gather([...damaged])).flat() : damaged;
}
