/** Checkpoints on the command line: the option for their configuration, and messages about files of other programs. */
import type { Command } from "commander";
import type { NamedPath } from "../files/outputs.js";
import type { Device, Precision } from "../model/compute.js";
import { pathsBeside } from "../model/configuration.js";
import { Model, type WeightsReport } from "../model/model.js";

const SHOWN = 10; // names before "and n more"

/** Adds the option that gives a checkpoint its configuration. */
export function withConfigOption(command: Command): Command {
  return command.option(
    "--config <file>",
    "JSON with the configuration or the name of a preset, for a checkpoint without one; default configs.json or config.json beside it, or the preset whose files have such tensors",
  );
}

/** The first names of a list, and the number of the rest. */
export function someOf(names: readonly string[]): string {
  return names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "");
}

/** Lines about differences from a checkpoint of this package; empty without any. */
export function remarksOn(file: string, report: WeightsReport, given: string | undefined): string[] {
  const { config, ignoredConfig = [], ignored, otherKeys = [], key, preset, otherPresets = [] } = report;
  const unused = ignoredConfig.length > 0 ? `; unknown fields: ${someOf(ignoredConfig)}` : "";
  const tensors = ignored.length === 1 ? "tensor" : "tensors";
  const others =
    otherKeys.length > 0
      ? `; weights from ${key ?? "the top of the file"}, not from ${otherKeys.map((each) => each || "the top of the file").join(", ")}`
      : "";
  return [
    ...(config !== undefined && (given === undefined || unused !== "")
      ? [`${file}: configuration from ${config}${unused}`]
      : []),
    ...(preset !== undefined && preset !== "paper"
      ? [
          `${file}: the model of the preset ${preset}, by the names of its tensors${otherPresets.length > 0 ? `; --config ${otherPresets.join(" or ")} where it is of that method` : ""}`,
        ]
      : []),
    ...(ignored.length > 0
      ? [`warning: ${file}: ${ignored.length} ${tensors} skipped: ${someOf(ignored)}${others}`]
      : []),
  ];
}

/**
 * Loads a checkpoint and writes the remarks on it to stderr.
 * @throws {SoundspotError} as `Model.load`.
 */
export async function loadCheckpoint(
  path: string,
  {
    config,
    device,
    precision,
    silent = false,
  }: {
    readonly config?: string | undefined;
    readonly device?: Device;
    readonly precision?: Precision;
    /** No output: for all but one of several processes. */
    readonly silent?: boolean;
  } = {},
): Promise<Model> {
  const model = await Model.load(path, {
    ...(config === undefined ? {} : { config }),
    ...(device === undefined ? {} : { device }),
    ...(precision === undefined ? {} : { precision }),
  });
  const remarks = model.loaded && !silent ? remarksOn(path, model.loaded, config) : [];
  for (const text of remarks) process.stderr.write(`${text}\n`);
  return model;
}

/** The files that loading a checkpoint may read, with their names on the command line. */
export function checkpointInputs(name: string, path: string, config: string | undefined): NamedPath[] {
  const found = { name: "the configuration", path: undefined };
  return [
    { name, path },
    ...(config === undefined
      ? pathsBeside(path).map((beside) => ({ ...found, path: beside }))
      : [{ name: "--config", path: config }]),
  ];
}
