/** Where the configuration of a checkpoint comes from: what a caller gives, the file itself, or a file beside it. */
import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { earlierForm } from "../config/earlier.js";
import { isForeignConfig, translateConfig } from "../config/foreign.js";
import { type ModelConfig, type ModelOptions, parseModelConfig } from "../config/model.js";
import { type PresetName, presets } from "../config/presets.js";
import { recognised } from "../config/published-files.js";
import { aPath, check, kindOf } from "../core/arguments.js";
import { isError, isSoundspotError, SoundspotError } from "../core/errors.js";
import { readText } from "../files/text.js";

/** Key of the configuration in a checkpoint's metadata. */
export const CONFIG_KEY = "soundspot.config";

/** Key of the type of a quantized model's weights: "int8". The addon writes it. */
export const QUANTIZATION_KEY = "soundspot.quantization";

/** Key of what a quantized model was calibrated with. */
export const CALIBRATION_KEY = "soundspot.calibration";

/** Names of the file beside a checkpoint that has its configuration, the preferred one first. */
const NAMES_BESIDE = ["configs.json", "config.json"] as const;

/** Largest file that is read, in bytes; a configuration has a few hundred. */
const MOST_BYTES = 2 ** 20;

/** A configuration and where it comes from. */
export interface FoundConfig {
  readonly config: ModelConfig;
  /** The JSON file that it was read from, where there is one. */
  readonly file?: string;
  /** Whether that file was found beside the checkpoint, and not given. */
  readonly beside?: boolean;
  /** Fields of that file that are not known. */
  readonly ignored?: readonly string[];
  /** The preset whose model it is, where the names of the tensors were all there was to go by. */
  readonly preset?: PresetName;
  /** Presets whose files have the same tensors. */
  readonly otherPresets?: readonly PresetName[];
}

/**
 * The configuration of a checkpoint. A caller's configuration takes precedence over the file's own, and that over a
 * `configs.json` or `config.json` beside it, and that over the preset whose files have such tensors; without any of them
 * it is the paper's.
 * @param checkpoint an absolute path
 * @param names of its tensors
 * @throws {SoundspotError} ERR_CONFIG, ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_CHECKPOINT_CORRUPT.
 */
export async function configOf(
  checkpoint: string,
  metadata: Readonly<Record<string, string>>,
  given: ModelOptions | string | undefined,
  names: Iterable<string>,
  signal?: AbortSignal,
): Promise<FoundConfig> {
  if (typeof given === "string" && Object.hasOwn(presets, given)) {
    return { config: parseModelConfig(presets[given as PresetName].model) };
  }
  if (typeof given === "string") return readModelConfig(given, signal);
  if (given !== undefined) return { config: parseModelConfig(given) };
  if (metadata[CONFIG_KEY] !== undefined) return { config: storedConfig(metadata, checkpoint) };
  const beside = await configBeside(checkpoint, signal);
  if (beside) return beside;
  const found = recognised(names);
  if (!found) return { config: parseModelConfig() };
  return { config: found.config, preset: found.preset, otherPresets: found.others };
}

/** Files that a checkpoint's configuration may be read from without being named. */
export function pathsBeside(checkpoint: string): string[] {
  return NAMES_BESIDE.map((name) => join(dirname(checkpoint), name));
}

/** The configuration in a checkpoint's metadata, or the paper's where there is none. */
export function storedConfig(metadata: Readonly<Record<string, string>>, file: string): ModelConfig {
  const text = metadata[CONFIG_KEY];
  if (text === undefined) return parseModelConfig();
  try {
    return parseModelConfig(JSON.parse(text) as ModelOptions);
  } catch (error) {
    throw new SoundspotError(
      "ERR_CHECKPOINT_CORRUPT",
      `${file} carries a configuration that cannot be read. Save it again. (${(error as Error).message})`,
      { cause: error },
    );
  }
}

/**
 * Reads a model's options, or the training arguments of the method's authors, from a JSON file.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY; ERR_CONFIG with file and field.
 */
export async function readModelConfig(path: string, signal?: AbortSignal): Promise<FoundConfig> {
  check(path, aPath, "config", "ERR_CONFIG");
  const file = resolve(path);
  const value = await readJsonFile(file, signal);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${file} must hold an object with a model's options, not ${Array.isArray(value) ? "a list" : kindOf(value)}.`,
    );
  }
  return { ...configFrom(value, file), file };
}

/** Undefined where there is no such file, or one of another program. */
async function configBeside(checkpoint: string, signal?: AbortSignal): Promise<FoundConfig | undefined> {
  for (const file of pathsBeside(checkpoint)) {
    const isFile = await stat(file).then(
      (info) => info.isFile(),
      () => false,
    );
    if (!isFile) continue;
    const value = await readJsonFile(file, signal).catch((error: unknown) => {
      if (!isSoundspotError(error) || error.code === "ERR_ABORTED") throw error;
      throw new SoundspotError(
        error.code,
        `${error.message} It lies beside ${checkpoint}, which carries no configuration; give one by config (--config) to leave it unread.`,
        { cause: error },
      );
    });
    if (isOfModel(value)) return { ...configFrom(value, file), file, beside: true };
  }
  return undefined;
}

/** Options of a model by name, those of earlier versions too. */
const optionNames: ReadonlySet<string> = new Set([
  ...Object.keys(parseModelConfig()),
  ...Object.keys(earlierForm(parseModelConfig())),
]);

/** Whether an object has any field that is a model's. */
function isOfModel(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return isForeignConfig(value) || Object.keys(value).some((name) => optionNames.has(name));
}

function configFrom(value: object, file: string): Omit<FoundConfig, "file"> {
  if (isForeignConfig(value)) {
    const own = Object.keys(value).find((name) => optionNames.has(name));
    if (own !== undefined) {
      throw new SoundspotError(
        "ERR_CONFIG",
        `${file}: ${own} is an option of soundspot, beside arguments of another program. Give one kind of them.`,
      );
    }
    const { options, ignored } = translateConfig(value, file);
    return { config: parseModelConfig(options), ignored };
  }
  if ("model" in value) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${file}: model is no option of a model. Give what stands below it in a file of its own.`,
    );
  }
  try {
    return { config: parseModelConfig(value as ModelOptions) };
  } catch (error) {
    if (!isSoundspotError(error)) throw error;
    throw new SoundspotError(error.code, `${file}: ${error.message}`, { cause: error });
  }
}

async function readJsonFile(file: string, signal: AbortSignal | undefined): Promise<unknown> {
  const size = await stat(file).then(
    (info) => info.size,
    () => 0,
  );
  if (size > MOST_BYTES) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${file} has ${size} bytes; a configuration has ${MOST_BYTES} at most. Check the path.`,
    );
  }
  const text = await readText(file, signal).catch((error: unknown) => {
    if (!isSoundspotError(error) || error.code !== "ERR_DATASET") throw error;
    throw new SoundspotError("ERR_CONFIG", error.message, { cause: error });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const why = isError(error) ? ` (${error.message})` : "";
    throw new SoundspotError("ERR_CONFIG", `${file} is not JSON. Check the path, or save it again.${why}`, {
      cause: error,
    });
  }
}
