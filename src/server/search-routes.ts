/** Search over HTTP: a Fastify plugin for an app that has @fastify/multipart, without `attachFieldsToBody`. */
import { open } from "node:fs/promises";
import { extname } from "node:path";
import type {} from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import sharp from "sharp";
import { SoundspotError } from "../errors.js";
import { decodeVideoAudio } from "../media/video.js";
import { encodeWav } from "../media/wav.js";
import type { Model } from "../model.js";
import { pictureOf, type SearchIndex, type SearchItem, type SearchResult } from "../search/search-index.js";

export interface SearchRoutesOptions {
  readonly index: SearchIndex;
  /** The one that made the index. */
  readonly model: Model;
}

/** Pixels of the longer side of a thumbnail. */
const THUMBNAIL = 320;
const MOST_RESULTS = 100;

const soundTypes: Readonly<Record<string, string>> = {
  ".wav": "audio/wav",
  ".mp3": "audio/mpeg",
  ".flac": "audio/flac",
  ".ogg": "audio/ogg",
  ".oga": "audio/ogg",
  ".opus": "audio/ogg",
  ".m4a": "audio/mp4",
  ".aac": "audio/aac",
  ".wma": "audio/x-ms-wma",
  ".aif": "audio/aiff",
  ".aiff": "audio/aiff",
};

const number = { type: "number" } as const;
const text = { type: "string" } as const;

const failure = {
  type: "object",
  required: ["error"],
  properties: {
    error: { type: "object", required: ["code", "message"], properties: { code: text, message: text } },
  },
} as const;

const boxSchema = {
  type: "object",
  required: ["x", "y", "width", "height", "score"],
  properties: { x: number, y: number, width: number, height: number, score: number },
} as const;

const resultSchema = {
  type: "object",
  required: ["id", "score", "kind", "name", "url"],
  properties: {
    id: text,
    score: { ...number, description: "cosine of the target slots, −1 to 1" },
    kind: { ...text, enum: ["image", "audio"] },
    name: { ...text, description: "path relative to the folder that was indexed" },
    label: text,
    url: { ...text, description: "of a thumbnail, or of the sound" },
    box: { ...boxSchema, description: "where the sound comes from, in pixels of the picture itself" },
  },
} as const;

const searchSchema = {
  summary: "Pictures for a sound, or sounds for a picture",
  consumes: ["multipart/form-data"],
  body: {
    type: "object",
    properties: {
      image: { ...text, format: "binary", description: "a picture; or give audio" },
      audio: { ...text, format: "binary", description: "a sound; or give image" },
      k: { type: "integer", minimum: 1, maximum: MOST_RESULTS, default: 10 },
      label: { ...text, description: "only items of this label" },
    },
  },
  response: {
    200: {
      type: "object",
      required: ["query", "results"],
      properties: {
        query: { ...text, enum: ["image", "audio"] },
        results: { type: "array", items: resultSchema },
      },
    },
    400: failure,
  },
} as const;

const itemSchema = (summary: string, type: string) => ({
  summary,
  produces: [type],
  params: { type: "object", required: ["id"], properties: { id: text } },
  response: { 404: failure },
});

/** What is wrong with a request, and not with the server. */
const ofInput = new Set<string>([
  "ERR_AUDIO_EMPTY",
  "ERR_AUDIO_NOT_FINITE",
  "ERR_FILE_EMPTY",
  "ERR_INPUT",
  "ERR_MEDIA_DECODE",
  "ERR_NO_AUDIO",
  "ERR_SHAPE",
]);

/**
 * Registers `POST /v1/search`, `GET /v1/search/items/:id/thumbnail` and `GET /v1/search/items/:id/audio`. Files are
 * served by the ids of the index alone; no path is taken from a request. Errors that are not about a request go on to
 * the app's own handler.
 */
export async function searchRoutes(
  app: FastifyInstance,
  { index, model }: SearchRoutesOptions,
): Promise<void> {
  app.post(
    "/v1/search",
    // The body is a stream of parts, which no schema can check: readQuery does.
    { schema: searchSchema, validatorCompiler: () => () => true },
    (request, reply) =>
      answered(reply, async (signal) => {
        const { image, audio, k, label } = await readQuery(request);
        const query = image ? { image } : { audio: audio as Buffer };
        const found = await index.search({
          ...query,
          model,
          k,
          ...(label === undefined ? {} : { label }),
          localize: true,
          signal,
        });
        return { query: image ? "image" : "audio", results: found.map(described) };
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/thumbnail",
    { schema: itemSchema("A picture of the index, small", "image/jpeg") },
    ({ params: { id } }, reply) =>
      answered(reply, async (signal) => {
        const item = await itemOf(index, id, "image");
        const { data, width, height } = await asIndexed(() => pictureOf(item, signal));
        const picture = await sharp(data, { raw: { width, height, channels: 3 } })
          .resize({ width: THUMBNAIL, height: THUMBNAIL, fit: "inside", withoutEnlargement: true })
          .jpeg({ quality: 85 })
          .toBuffer();
        return reply.type("image/jpeg").header("cache-control", "private, max-age=60").send(picture);
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/audio",
    { schema: itemSchema("A sound of the index; of a video, as WAV, what the model hears", "audio/*") },
    ({ params: { id } }, reply) =>
      answered(reply, async (signal) => {
        const item = await itemOf(index, id, "audio");
        reply.header("cache-control", "private, max-age=60");
        if (item.at !== undefined) {
          const range = { at: item.at, window: model.config.audio.seconds, signal };
          const sound = await asIndexed(() => decodeVideoAudio(item.path, range));
          return reply.type("audio/wav").send(Buffer.from(encodeWav(sound)));
        }
        const { bytes, content } = await asIndexed(() => fileOf(item));
        return reply
          .type(soundTypes[extname(item.path).toLowerCase()] ?? "application/octet-stream")
          .header("content-length", bytes)
          .send(content);
      }),
  );
}

/** The work's answer, or what is wrong with the request. The work is told when the client has gone. */
async function answered(
  reply: FastifyReply,
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<unknown> {
  const left = new AbortController();
  const onClose = () => left.abort(new Error("the client has gone"));
  reply.raw.once("close", onClose);
  try {
    return await work(left.signal);
  } catch (error) {
    if (!(error instanceof SoundspotError)) throw error;
    const status = error.code === "ERR_FILE_NOT_FOUND" ? 404 : ofInput.has(error.code) ? 400 : undefined;
    if (status === undefined) throw error;
    const { code, message } = error;
    return reply.code(status).type("application/json").send({ error: { code, message } });
  } finally {
    reply.raw.off("close", onClose);
  }
}

interface Query {
  readonly image?: Buffer;
  readonly audio?: Buffer;
  readonly k: number;
  readonly label?: string;
}

/** @throws {SoundspotError} ERR_INPUT when there is not one file, or a field is wrong. */
async function readQuery(request: FastifyRequest): Promise<Query> {
  const files: { image?: Buffer; audio?: Buffer } = {};
  const fields: { k?: string; label?: string } = {};
  const wrong = (message: string) => new SoundspotError("ERR_INPUT", message);
  let unknown: string | undefined;
  if (!request.isMultipart()) throw wrong("Send multipart/form-data with a file image or audio.");
  for await (const part of request.parts()) {
    const name = part.fieldname;
    if (part.type === "file") {
      // What is not read would keep the rest from coming.
      const content = await part.toBuffer();
      if (name === "image" || name === "audio") files[name] = content;
      else unknown ??= name;
    } else if (name === "k" || name === "label") fields[name] = String(part.value);
    else unknown ??= name;
  }
  if (unknown !== undefined) {
    throw wrong(
      `${JSON.stringify(unknown)} is not known. Send a file image or audio, and fields k and label.`,
    );
  }
  if ((files.image === undefined) === (files.audio === undefined)) {
    throw wrong("Send one file: image, to find sounds, or audio, to find pictures.");
  }
  const { k = "10", label } = fields;
  if (!/^\d+$/.test(k) || Number(k) < 1 || Number(k) > MOST_RESULTS) {
    throw wrong(`k must be a whole number from 1 to ${MOST_RESULTS}; it was ${JSON.stringify(k)}.`);
  }
  return { ...files, k: Number(k), ...(label ? { label } : {}) };
}

function described({ id, score, kind, name, label, box }: SearchResult) {
  const url = `/v1/search/items/${id}/${kind === "image" ? "thumbnail" : "audio"}`;
  return { id, score, kind, name, label, url, box };
}

/** @throws {SoundspotError} ERR_FILE_NOT_FOUND. */
async function itemOf(index: SearchIndex, id: string, kind: SearchItem["kind"]): Promise<SearchItem> {
  const item = await index.item(id);
  if (item?.kind === kind) return item;
  const what = kind === "image" ? "picture" : "sound";
  throw new SoundspotError("ERR_FILE_NOT_FOUND", `The index has no ${what} of this id. Search again.`);
}

async function fileOf({ path }: SearchItem) {
  const file = await open(path);
  const { size } = await file.stat();
  return { bytes: size, content: file.createReadStream() };
}

/** Names no path. @throws {SoundspotError} ERR_FILE_NOT_FOUND when a file is no longer as it was indexed. */
async function asIndexed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SoundspotError && cause.code === "ERR_ABORTED") throw cause;
    const message = "The file of this item is gone or cannot be read any more. Update the index.";
    throw new SoundspotError("ERR_FILE_NOT_FOUND", message, { cause });
  }
}
