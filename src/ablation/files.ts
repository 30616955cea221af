/** Files of an ablation: its table, and beside each variant's checkpoints the record of their training data. */

import { createHash } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import * as z from "zod";
import type { ModelOptions } from "../config/model.js";
import type { TrainConfig } from "../config/train.js";
import { isObject } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { Evaluation } from "../evaluation/evaluate.js";
import { type MapName, mapNames } from "../evaluation/evaluate.js";
import { Queue, writeFiles } from "../files/atomic-writes.js";
import type { Ablation } from "./ablations.js";
import type { ByTarget } from "./targets.js";

/** A variant's line of ablation.json, or with several seeds that of one of its runs. */
export interface Row {
  readonly variant: string;
  /** Of the run, with `--seeds`. */
  readonly seed?: number | undefined;
  /** Of training, over all invocations; null where an earlier one did not record them. */
  readonly minutes: number | null;
  readonly scores: Omit<Evaluation, "perSample">;
  /** Of each target slot's map, in ablations of target slots. */
  readonly targets?: ByTarget | undefined;
}

/** Rows by variant and seed. */
export type Rows = Map<string, Row>;
export const keyOf = ({ variant, seed }: Pick<Row, "variant" | "seed">): string =>
  seed === undefined ? variant : `${variant}\0${seed}`;

/** Training data and weights of a variant. */
export interface Source {
  readonly data: string;
  readonly imageWeights?: { readonly file: string; readonly sha256: string } | undefined;
}

export async function weightsOf(file: string | undefined): Promise<Pick<Source, "imageWeights">> {
  if (file === undefined) return {};
  const content = await readFile(file).catch((cause: unknown) => {
    throw new SoundspotError(
      "ERR_FILE_NOT_FOUND",
      `${file} cannot be read. Check the path of --image-weights.`,
      { cause },
    );
  });
  return { imageWeights: { file, sha256: createHash("sha256").update(content).digest("hex") } };
}

function described({ data, imageWeights }: Source): string {
  if (!imageWeights) return `${data} without image weights`;
  return `${data} with the image weights ${imageWeights.file} (SHA-256 ${imageWeights.sha256.slice(0, 12)}…)`;
}

/** Training data and minutes of a variant's checkpoints; the file lies beside them. */
export interface RunRecord extends Source {
  readonly minutes: number;
}

/** The name of that file. */
export const RECORD = "ablation-run.json";
const recordSchema = z.object({
  data: z.string(),
  imageWeights: z.object({ file: z.string(), sha256: z.string() }).optional(),
  minutes: z.number().min(0),
});

/**
 * A variant's record: a new one without checkpoints, undefined for checkpoints without a record.
 * @throws {SoundspotError} ERR_CONFIG when the checkpoints were trained on other data or from other image weights.
 */
export async function recordOf(folder: string, source: Source): Promise<RunRecord | undefined> {
  const trained = await access(join(folder, "last.safetensors")).then(
    () => true,
    () => false,
  );
  if (!trained) return { ...source, minutes: 0 };
  const before = await readOwn(
    join(folder, RECORD),
    recordSchema,
    "Remove the folder to train the variant again.",
  );
  if (!before) return undefined;
  if (before.data !== source.data || before.imageWeights?.sha256 !== source.imageWeights?.sha256) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${folder} was trained on ${described(before)}, not on ${described(source)}. Give the same --data and --image-weights, or another --output.`,
    );
  }
  return { ...source, minutes: before.minutes };
}

/** Counts the minutes of training, starting from those in the record. */
export class Stopwatch {
  readonly #folder: string;
  readonly #record: RunRecord | undefined;
  readonly #started = performance.now();
  readonly #writes = new Queue();
  #noted = this.#started;

  constructor(folder: string, record: RunRecord | undefined) {
    this.#folder = folder;
    this.#record = record;
  }

  /** null without a record. */
  get minutes(): number | null {
    if (!this.#record) return null;
    return this.#record.minutes + (performance.now() - this.#started) / 60_000;
  }

  /** Writes the record once a minute: a killed run loses at most that. */
  tick(): void {
    if (performance.now() - this.#noted < 60_000) return;
    this.note().catch(() => undefined); // the note at the end reports the error
  }

  async note(): Promise<void> {
    this.#noted = performance.now();
    if (!this.#record) return;
    const content = `${JSON.stringify({ ...this.#record, minutes: this.minutes }, null, 2)}\n`;
    await this.#writes.run(() => writeFiles(this.#folder, { [RECORD]: content }));
  }
}

/** Settings that all rows of a table share, by name. */
export type Conditions = Readonly<Record<string, unknown>>;

/**
 * The settings of the recipe that affect the result.
 * @param severalSeeds every row has a seed of its own
 */
export function conditionsOf(
  {
    model,
    ...common
  }: Source & {
    readonly evaluation: string;
    readonly preset: string;
    readonly model: ModelOptions;
  },
  { queue, evaluateEvery, keepEvery, checkpointEvery, checkpointSteps, ...config }: TrainConfig,
  severalSeeds: boolean,
): Conditions {
  const { seed, ...others } = config;
  const recipe = severalSeeds ? others : config;
  const named = (part: string, fields: object) =>
    Object.fromEntries(Object.entries(fields).map(([field, value]) => [`${part}.${field}`, value]));
  const imageWeights = common.imageWeights?.sha256; // independent of the file's name
  const all = { ...common, imageWeights, ...named("model", model), ...named("train", recipe) };
  return JSON.parse(JSON.stringify(all)) as Conditions;
}

/** The fields that the tables need; further scores are kept. */
const tableSchema = z.object({
  ablation: z.string(),
  conditions: z.record(z.string(), z.unknown()).optional(),
  rows: z.array(
    z.object({
      variant: z.string(),
      seed: z.number().optional(),
      minutes: z.number().nullable(),
      targets: z
        .partialRecord(
          z.enum(["audio", "iqr"]),
          z.array(z.object({ ciou: z.number(), meanIou: z.number(), maxF: z.number().or(z.nan()) })),
        )
        .optional(),
      scores: z.looseObject({
        audio: z.looseObject({ ciou: z.number(), auc: z.number() }),
        iqr: z.looseObject({ ciou: z.number(), auc: z.number() }).optional(),
        defaultMap: z.custom<MapName>((value) => mapNames.includes(value as MapName)).default("iqr"),
        missing: z.array(z.unknown()),
        skipped: z.array(z.unknown()),
      }),
    }),
  ),
});

/**
 * Rows of an earlier invocation that are comparable with those of this one.
 * @param beside true when only some variants run: rows of the others are needed
 * @throws {SoundspotError} ERR_CONFIG for another ablation's table, and with `beside` for rows under other conditions.
 */
export async function keptRows(
  file: string,
  ablation: string,
  conditions: Conditions,
  beside: boolean,
): Promise<Rows> {
  const table = await readOwn(file, tableSchema, "Move it away, or give another --output.", earlierTable);
  if (!table) return new Map();
  if (table.ablation !== ablation) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${file} is the table of the ablation ${table.ablation}, not of ${ablation}. Give another --output.`,
    );
  }
  const before = table.conditions ?? {};
  const differing = [...new Set([...Object.keys(conditions), ...Object.keys(before)])].find(
    (name) => !isDeepStrictEqual(before[name], conditions[name]),
  );
  if (differing === undefined)
    return new Map((table.rows as unknown as Row[]).map((row) => [keyOf(row), row]));
  if (!beside) return new Map();
  const shown = (value: unknown) => (value === undefined ? "not given" : JSON.stringify(value));
  throw new SoundspotError(
    "ERR_CONFIG",
    `Rows in ${file} were made under other conditions: ${differing} was ${shown(before[differing])}, now ${shown(conditions[differing])}. Run without --only, or give another --output.`,
  );
}

/**
 * A JSON file that an earlier invocation wrote; undefined when it is missing.
 * @param fix what to do when the file is invalid, for the message
 * @param upgraded turns the format of an earlier version into the current one
 * @throws {SoundspotError} ERR_CONFIG with the fix when the content is invalid.
 */
async function readOwn<T>(
  file: string,
  schema: z.ZodType<T>,
  fix: string,
  upgraded = (value: unknown): unknown => value,
): Promise<T | undefined> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw new SoundspotError("ERR_FILE_NOT_FOUND", `${file} cannot be read: ${cause.message}.`, { cause });
  });
  if (text === undefined) return undefined;
  try {
    return schema.parse(upgraded(JSON.parse(text, notANumber)));
  } catch (cause) {
    throw new SoundspotError("ERR_CONFIG", `${file} is damaged, or not from soundspot ablate. ${fix}`, {
      cause,
    });
  }
}

/** A table of an earlier version names its ablation `study`. */
function earlierTable(value: unknown): unknown {
  if (!isObject(value) || "ablation" in value || !("study" in value)) return value;
  const { study, ...rest } = value;
  return { ...rest, ablation: study };
}

/** JSON has null for a figure that cannot be computed. */
function notANumber(key: string, value: unknown): unknown {
  return value === null && key !== "minutes" ? Number.NaN : value;
}

/** In the ablation's order, a variant's by seed. */
export function inOrder(ablation: Ablation, rows: Rows): Row[] {
  return ablation.variants.flatMap(({ name }) =>
    [...rows.values()]
      .filter(({ variant }) => variant === name)
      .sort((a, b) => (a.seed ?? 0) - (b.seed ?? 0)),
  );
}

/** @param more further fields, such as means over seeds */
export function tableFile(
  ablation: string,
  conditions: Conditions,
  rows: readonly Row[],
  more: object = {},
): string {
  return `${JSON.stringify({ ablation, conditions, ...more, rows }, null, 2)}\n`;
}
