/** Settings files of the command line: YAML or JSON. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import type { ModelOptions } from "../config/model.js";
import { type PresetName, presets } from "../config/presets.js";
import type { TrainOptions } from "../config/train.js";
import { SoundspotError } from "../core/errors.js";

/** Content of the `--config` file. */
export interface Settings {
  readonly preset?: PresetName;
  readonly model?: ModelOptions;
  readonly train?: TrainOptions;
}

/**
 * Reads a settings file; empty without a path.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_CONFIG.
 */
export async function readSettings(path: string | undefined): Promise<Settings> {
  if (path === undefined) return {};
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new SoundspotError("ERR_FILE_NOT_FOUND", `${path} cannot be read. Check the path of --config.`, {
      cause: error,
    });
  });
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new SoundspotError("ERR_CONFIG", `${path} is not valid YAML: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new SoundspotError("ERR_CONFIG", `${path} must hold the keys preset, model and train.`);
  }
  for (const key of Object.keys(value)) {
    if (!["preset", "model", "train"].includes(key)) {
      throw new SoundspotError("ERR_CONFIG", `${path}: unknown key ${key}. Use preset, model and train.`);
    }
  }
  const { preset } = value as { preset?: unknown };
  if (preset !== undefined && !Object.keys(presets).some((name) => name === preset)) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${path}: unknown preset ${JSON.stringify(preset)}. Use ${Object.keys(presets).join(" or ")}.`,
    );
  }
  return value as Settings;
}
