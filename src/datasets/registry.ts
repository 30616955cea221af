/** Datasets by one line of text, for the command line: `stamps:split=test,length=400`, or the path of a manifest or of shards. */

import * as z from "zod";
import { aSignal, aText, check } from "../core/arguments.js";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { avsbench } from "./benchmarks/avsbench.js";
import { flickrSoundNet } from "./benchmarks/flickr-soundnet.js";
import { is3 } from "./benchmarks/is3.js";
import { kaistList } from "./benchmarks/kaist-lists.js";
import { vggClasses, vggSound } from "./benchmarks/vggsound.js";
import { vggss } from "./benchmarks/vggss.js";
import { scenes } from "./drawn/scenes.js";
import { stamps } from "./drawn/stamps.js";
import { manifest } from "./manifest.js";
import type { IterableDataset } from "./samples.js";
import { shards } from "./shards/dataset.js";

const number = z.coerce.number();
const text = z.string().min(1);
const sources = z.coerce.number().pipe(z.union([z.literal(1), z.literal(2)]));
const split = z.enum(["train", "test"]);
const drawn = {
  size: number,
  seconds: number,
  sampleRate: number,
  sources,
  props: number,
  offscreen: number,
  length: number,
  seed: number,
  split,
  workers: number,
};
const onDisk = { root: text, name: text.optional(), ffmpeg: text.optional() };

interface Kind {
  /** Fields of the text after the name, and how they are parsed. */
  readonly open: (
    fields: Record<string, string>,
    signal: AbortSignal | undefined,
  ) => Promise<IterableDataset>;
}

/** A dataset whose fields the schema names; all others are rejected. */
function kind<T extends z.ZodObject>(
  schema: T,
  open: (fields: z.output<T>, signal: AbortSignal | undefined) => IterableDataset | Promise<IterableDataset>,
): Kind {
  return { open: async (fields, signal) => open(parse(schema, fields), signal) };
}

function parse<T extends z.ZodType>(schema: T, fields: Record<string, string>): z.output<T> {
  const result = schema.safeParse(fields);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const unknown = issue.code === "unrecognized_keys" ? `${issue.keys.join(", ")}: is no field of it` : "";
    return unknown || `${issue.path.join(".")}: ${issue.message}`;
  });
  throw new SoundspotError("ERR_CONFIG", lines.join("; "));
}

const kinds: Readonly<Record<string, Kind>> = {
  scenes: kind(z.strictObject(drawn).partial(), (fields) => scenes(fields as Parameters<typeof scenes>[0])),
  stamps: kind(
    z
      .strictObject({
        ...drawn,
        classes: z.enum(["heard", "unheard"]),
        unrelated: number,
        keep: z.stringbool(),
        root: text,
        backgrounds: text,
        ffmpeg: text,
      })
      .partial(),
    (fields, signal) => stamps({ ...fields, signal } as Parameters<typeof stamps>[0]),
  ),
  flickr: kind(
    z.strictObject({
      ...onDisk,
      list: text,
      annotations: text.optional(),
      silent: text.optional(),
      train: z.stringbool().optional(),
    }),
    ({ train, ...fields }, signal) =>
      flickrSoundNet({ ...fields, ...(train ? { annotations: false as const } : {}), signal }),
  ),
  vggsound: kind(
    z.strictObject({ ...onDisk, list: text, labels: text.optional(), classesOf: text.optional() }),
    async ({ classesOf, ...fields }, signal) => {
      if (classesOf === undefined) return vggSound({ ...fields, signal });
      if (fields.labels === undefined) {
        throw new SoundspotError("ERR_CONFIG", "classesOf needs labels: the path of vggsound.csv");
      }
      const classes = await vggClasses({ list: classesOf, labels: fields.labels, signal });
      const data = await vggSound({ ...fields, classes, signal });
      return { ...data, files: [...(data.files ?? []), classesOf] };
    },
  ),
  vggss: kind(
    z.strictObject({ ...onDisk, annotations: text, list: text.optional(), silent: text.optional() }),
    (fields, signal) => vggss({ ...fields, signal }),
  ),
  avsbench: kind(
    z.strictObject({
      ...onDisk,
      metadata: text,
      subset: z.enum(["s4", "ms3"]),
      split: z.enum(["train", "val", "test", "all"]).optional(),
      frames: z.enum(["annotated", "all"]).optional(),
    }),
    (fields, signal) => avsbench({ ...fields, signal }),
  ),
  kaist: kind(z.strictObject({ ...onDisk, list: text }), (fields, signal) =>
    kaistList({ ...fields, signal }),
  ),
  manifest: kind(
    z.strictObject({
      path: text,
      name: text.optional(),
      ffmpeg: text.optional(),
      allowEmpty: z.stringbool().optional(),
      seconds: number.optional(),
    }),
    (fields, signal) => manifest({ ...fields, signal }),
  ),
  shards: kind(
    z.strictObject({
      urls: text.optional(),
      index: text.optional(),
      readers: number.optional(),
      buffer: number.optional(),
      allowEmpty: z.stringbool().optional(),
      name: text.optional(),
      ffmpeg: text.optional(),
    }),
    (fields, signal) => shards({ ...fields, signal }),
  ),
  is3: kind(
    z.strictObject({
      ...onDisk,
      annotations: text.optional(),
      groundTruthFrom: z.enum(["mask", "box"]).optional(),
    }),
    (fields, signal) => is3({ ...fields, signal }),
  ),
};

/** Names that `openDataset` knows. */
export const datasetNames: readonly string[] = Object.keys(kinds);

/** The fields after the colon. A comma in a path is written twice. */
function fieldsOf(spec: string, rest: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const part of rest.replaceAll(",,", "\0").split(",").filter(Boolean)) {
    const at = part.indexOf("=");
    if (at < 1) {
      throw new SoundspotError("ERR_CONFIG", `${spec}: "${part}" must be field=value.`);
    }
    fields[part.slice(0, at).trim()] = part.slice(at + 1).replaceAll("\0", ",");
  }
  return fields;
}

/**
 * Opens a dataset by a line of text: a name of {@link datasetNames} with the options of its function as
 * `name:field=value,field=value`, the path of a manifest, or shards such as `train-{000..123}.tar`. `vggsound` takes `classesOf`, a list of ids whose classes
 * are kept; `flickr` takes `train=true` for a list without annotations.
 * @example
 * await openDataset("vggss:root=data/vggss,annotations=vggss.json,list=vggss_heard_test.csv");
 * @throws {SoundspotError} ERR_CONFIG naming the field, and those of the dataset.
 */
export async function openDataset(spec: string, signal?: AbortSignal): Promise<IterableDataset> {
  check(spec, aText, "A dataset", "ERR_CONFIG");
  if (signal !== undefined) check(signal, aSignal, "signal");
  const colon = spec.indexOf(":");
  const name = colon < 0 ? spec : spec.slice(0, colon);
  const known = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (!known) {
    if (/\.(jsonl|ndjson|csv|tsv)$/i.test(spec)) return manifest({ path: spec, signal });
    if (/\.(tar|tar\.gz|tgz)$/i.test(spec)) return shards({ urls: spec, signal });
    throw new SoundspotError(
      "ERR_CONFIG",
      `${spec} is neither a manifest (.jsonl, .ndjson, .csv or .tsv) nor shards (.tar) nor one of ${datasetNames.join(", ")} with its fields, such as stamps:split=test,length=400.`,
    );
  }
  const fields = fieldsOf(spec, colon < 0 ? "" : spec.slice(colon + 1));
  try {
    return await known.open(fields, signal);
  } catch (error) {
    if (isSoundspotError(error) && error.code === "ERR_CONFIG" && !error.message.startsWith(name)) {
      throw new SoundspotError("ERR_CONFIG", `${name}: ${error.message}.`, { cause: error });
    }
    throw error;
  }
}
