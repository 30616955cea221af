/** Your own data: pairs listed in a JSONL or CSV file, with paths relative to that file. */

import { basename, dirname, extname, resolve } from "node:path";
import * as z from "zod";
import { aFlag, aPath, type Check } from "../core/arguments.js";
import { isError, SoundspotError } from "../core/errors.js";
import { Pacer } from "../core/pacer.js";
import type { Mask, RawAudio, RawImage } from "../core/types.js";
import { csvRows, placeOf, wrong } from "../files/csv.js";
import { checkMediaFile } from "../files/media-file.js";
import { readText, withoutNulls } from "../files/text.js";
import { decodeAudio, ofFile } from "../media/audio.js";
import { decodeImage } from "../media/image.js";
import { type Media, openMedia } from "../media/media.js";
import { windowAround } from "../media/video.js";
import { boxSchema, checkBoxes, maskOf } from "./benchmarks/annotation.js";
import type { LoadOptions, Sample } from "./dataset.js";
import { type IterableDataset, iterable } from "./samples.js";
import { checkSource, naming, rowAt } from "./source.js";

/** Which list is read. */
export interface ManifestOptions {
  /** A `.jsonl`, `.ndjson`, `.csv` or `.tsv` file. */
  readonly path: string;
  /** Default the file's name without its ending. */
  readonly name?: string | undefined;
  /** Path of ffmpeg; by default it is searched for. */
  readonly ffmpeg?: string | undefined;
  /** Takes masks that mark nothing; by default such a sample is an error that names the file. */
  readonly allowEmpty?: boolean | undefined;
  /** Seconds of audio taken where a row gives a moment or a video, 0.1 … 600: at least the model's audio window. Default 5. */
  readonly seconds?: number | undefined;
  /** Stops reading the manifest. */
  readonly signal?: AbortSignal | undefined;
}

const SECONDS = 5;
const aLength: Check = [
  (value) => typeof value === "number" && value >= 0.1 && value <= 600,
  "a number of seconds from 0.1 to 600",
];

const filePath = z.string().min(1, "must not be empty");

/** A row. Fields of other names are ignored: a list made for another purpose works. */
const rowSchema = z.object({
  id: z.string().min(1).optional(),
  image: filePath.optional(),
  audio: filePath.optional(),
  video: filePath.optional(),
  start: z.number().nonnegative("must be at least 0 s").optional(),
  label: z.string().optional(),
  boxes: z.array(boxSchema).optional(),
  mask: filePath.optional(),
});
type Fields = z.infer<typeof rowSchema>;

interface Row extends Fields {
  readonly id: string;
  /** Where it stands in the manifest, from 1. */
  readonly line: number;
}

/**
 * A dataset from a list of `{ image, audio, start?, label?, boxes?, mask?, id? }` or
 * `{ video, start?, … }`, one row per sample. Paths are relative to the list.
 *
 * - `image` and `audio` are files. With `start` the audio is the `seconds` (5 s) that begin there.
 * - `video` gives the frame at `start` seconds (default its middle) and the `seconds` of audio around it.
 *   Beside `image` it gives the audio alone, beside `audio` the frame alone.
 * - `boxes` is `[[x, y, width, height], …]` in pixels of the image; in CSV the same as JSON text.
 * - `mask` is an image of the same size, read as `readMask` does. One that marks nothing is an error, unless
 *   `allowEmpty` is set; one that marks every pixel gives a warning.
 * - `id` must be unique; without it the path of the image or video serves.
 *
 * JSONL has one JSON object per line; a field that is null is absent. CSV follows RFC 4180, also with semicolons or
 * tabs, its first line names the fields, and an empty cell is an absent field. Both are in UTF-8 or UTF-16.
 *
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET for a row
 * that is wrong, naming file, line and field. `load()` throws ERR_DATASET in the same form for media
 * that cannot be read; `cause` has the reason's own code.
 * @example
 * const data = await manifest({ path: "pairs.jsonl" });
 */
export async function manifest(options: ManifestOptions): Promise<IterableDataset> {
  checkSource("manifest", options, { path: aPath }, { allowEmpty: aFlag, seconds: aLength });
  const rows = await readRows(options.path, options.signal);
  const classes = [...new Set(rows.flatMap((row) => row.label ?? []))].sort();
  return iterable({
    name: options.name ?? basename(options.path, extname(options.path)),
    length: rows.length,
    files: [options.path],
    ...(classes.length > 0 ? { classes } : {}),
    idOf: (index) => rows[index]?.id,
    variant: `${resolve(dirname(options.path))}, seconds ${options.seconds ?? SECONDS}`,
    load: async (index, loadOptions = {}) => loadRow(rowAt(rows, index, options.path), options, loadOptions),
  });
}

async function loadRow(
  row: Row,
  { path, ffmpeg, allowEmpty, seconds = SECONDS }: ManifestOptions,
  { signal }: LoadOptions,
): Promise<Sample> {
  const options = { signal, ffmpeg };
  const base = dirname(path);
  const locate = (file: string) => resolve(base, file);
  const reading = <T>(field: keyof Fields, work: () => Promise<T>) =>
    naming(placeOf(path, row.line, field), work, base);
  const { image: imageFile, audio: audioFile, video, start } = row;
  const media =
    video === undefined ? undefined : await reading("video", () => openMedia(locate(video), options));
  const at = start ?? (media ? media.duration / 2 : 0);

  const loadImage = async (): Promise<RawImage> => {
    if (imageFile !== undefined) return reading("image", () => decodeImage(locate(imageFile), { signal }));
    return reading("video", async () => (await (media as Media).frameAt(at)).image);
  };
  const loadAudio = async (): Promise<RawAudio> => {
    if (audioFile === undefined) {
      return reading("video", async () => {
        const own = media as Media;
        own.checkMoment("start", at);
        return ofFile(await own.audio(windowAround(at, seconds, own.duration)), locate(video as string));
      });
    }
    const range = start === undefined || video !== undefined ? {} : { start, duration: seconds };
    return reading("audio", () => decodeAudio(locate(audioFile), { ...options, ...range }));
  };
  const loadMask = async (image: RawImage): Promise<Mask | undefined> =>
    row.mask === undefined
      ? undefined
      : reading("mask", () => maskOf(locate(row.mask ?? ""), image, { allowEmpty, signal }));

  const [image, audio] = await Promise.all([loadImage(), loadAudio()]);
  const mask = await loadMask(image);
  await reading("boxes", async () => checkBoxes(row.boxes ?? [], image));
  return {
    id: row.id,
    image,
    audio,
    ...(row.label === undefined ? {} : { label: row.label }),
    ...(row.boxes === undefined ? {} : { boxes: row.boxes }),
    ...(mask === undefined ? {} : { mask }),
  };
}

interface Entry {
  readonly line: number;
  readonly value: unknown;
}

async function readRows(path: string, signal: AbortSignal | undefined): Promise<Row[]> {
  const entriesOf = { ".jsonl": jsonEntries, ".ndjson": jsonEntries, ".csv": csvEntries, ".tsv": csvEntries }[
    extname(path).toLowerCase()
  ];
  if (!entriesOf) {
    await checkMediaFile(path);
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} is not a manifest: give a .jsonl, .ndjson, .csv or .tsv file.`,
    );
  }
  const text = await readText(path, signal);
  const rows: Row[] = [];
  const lines = new Map<string, number>();
  const pacer = new Pacer(signal);
  for (const { line, value } of entriesOf(text, path)) {
    const row = checkRow(value, path, line);
    const other = lines.get(row.id);
    if (other !== undefined && row.explicitId) {
      throw wrong(path, line, "id", `"${row.id}" is already the id of line ${other}. Make ids unique.`);
    }
    const id = other === undefined ? row.id : `${row.id}#${line}`;
    lines.set(id, line);
    rows.push({ ...row.fields, id, line });
    if (pacer.due) await pacer.rest();
  }
  if (rows.length === 0)
    throw new SoundspotError("ERR_DATASET", `${path} lists no samples. Add at least one row.`);
  return rows;
}

function checkRow(
  value: unknown,
  path: string,
  line: number,
): { fields: Fields; id: string; explicitId: boolean } {
  const checked = rowSchema.safeParse(withoutNulls(value));
  if (!checked.success) {
    const issue = checked.error.issues[0];
    throw wrong(path, line, issue?.path[0]?.toString(), issue?.message ?? "is not a valid row");
  }
  const fields = checked.data;
  const { image, audio, video } = fields;
  if (image !== undefined && audio !== undefined && video !== undefined) {
    throw wrong(
      path,
      line,
      "video",
      "is one source too many beside image and audio. Leave one of the three out.",
    );
  }
  const source = image ?? video;
  if (source === undefined) throw wrong(path, line, "image", "is missing: give image and audio, or video.");
  if (audio === undefined && video === undefined) {
    throw wrong(path, line, "audio", "is missing: give image and audio, or video.");
  }
  const moment = fields.start === undefined ? "" : `@${fields.start}`;
  return { fields, id: fields.id ?? source + moment, explicitId: fields.id !== undefined };
}

function* jsonEntries(text: string, path: string): Generator<Entry> {
  let line = 0;
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf("\n", at);
    const content = text.slice(at, end < 0 ? text.length : end).trim();
    at = end < 0 ? text.length : end + 1;
    line++;
    if (content === "") continue;
    try {
      yield { line, value: JSON.parse(content) as unknown };
    } catch (cause) {
      if (isError(cause) && cause.name === "SyntaxError")
        throw wrong(path, line, undefined, `is not JSON: ${cause.message}`, cause);
      throw cause;
    }
  }
}

function* csvEntries(text: string, path: string): Generator<Entry> {
  for (const { line, fields } of csvRows(text, path)) {
    const values = Object.entries(fields).map(([name, cell]) => [name, csvValue(name, cell, path, line)]);
    yield { line, value: Object.fromEntries(values) };
  }
}

/** CSV knows text only; two fields are more than that. */
function csvValue(name: string, cell: string, path: string, line: number): unknown {
  if (name === "start") {
    const value = Number(cell);
    if (cell.trim() === "" || !Number.isFinite(value)) {
      throw wrong(path, line, name, `must be a number of seconds, got "${cell}"`);
    }
    return value;
  }
  if (name === "boxes") {
    try {
      return JSON.parse(cell) as unknown;
    } catch (cause) {
      throw wrong(path, line, name, `must be JSON, [[x, y, width, height], …], got "${cell}"`, cause);
    }
  }
  return cell;
}
