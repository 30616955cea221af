/** POST /v1/search and what it finds: an index behind HTTP. */
import { open } from "node:fs/promises";
import { extname } from "node:path";
import type { FastifyInstance } from "fastify";
import sharp from "sharp";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { decodeImage } from "../media/image.js";
import { decodeVideoAudio } from "../media/video.js";
import { encodeWav } from "../media/wav.js";
import { imageOf, type SearchIndex, type SearchItem, type SearchResult } from "../search/search-index.js";
import { numberIn } from "./fields.js";
import { HttpError } from "./http-error.js";
import { namingFields } from "./localize-route.js";
import { checkPicture } from "./picture-kinds.js";
import { itemSchema, MOST_RESULTS, searchSchema } from "./schemas.js";
import type { Service } from "./service.js";
import { readUpload, type Upload } from "./upload.js";

const FORM = { files: { image: "memory", audio: "memory" }, fields: ["k", "label"], most: 1 } as const;

/** Pixels of the longer side of a thumbnail. */
const THUMBNAIL = 320;

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

/**
 * Registers `POST /v1/search`, `GET /v1/search/items/:id/thumbnail` and `GET /v1/search/items/:id/audio`. Files are
 * served by the ids of the index alone; no path is taken from a request.
 */
export function searchRoutes(app: FastifyInstance, service: Service, index: SearchIndex): void {
  const { model, limits } = service;
  app.post(
    "/v1/search",
    // The body is a stream of parts, which no schema can check: readUpload does.
    { schema: searchSchema, validatorCompiler: () => () => true },
    (request, reply) =>
      service.accept(request, reply, async ({ signal, turn }) => {
        const decoding = <T>(work: () => Promise<T>) => service.decoders.run(work, signal);
        const upload = await readUpload(request, FORM, { service, signal });
        try {
          const { query, k, label } = queryOf(upload);
          await turn();
          const options = { model, k, ...(label ? { label } : {}), localize: true, signal };
          const { image, audio } = query;
          const found = await index.searchWithin(
            image
              ? {
                  ...options,
                  image: await decoding(() => decodeImage(image, { signal, maxPixels: limits.pixels })),
                }
              : { ...options, audio: audio as Buffer },
            decoding,
          );
          return { query: image ? "image" : "audio", results: found.map(described) };
        } catch (error) {
          throw namingFields(error, upload.paths);
        } finally {
          await upload.remove();
        }
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/thumbnail",
    { schema: itemSchema("A picture of the index, small", "image/jpeg") },
    (request, reply) =>
      service.accept(request, reply, async ({ signal, turn }) => {
        await turn();
        const item = await itemOf(index, request.params.id, "image");
        const picture = await service.decoders.run(async () => {
          const { data, width, height } = await asIndexed(() => imageOf(item, signal));
          return sharp(data, { raw: { width, height, channels: 3 } })
            .resize({ width: THUMBNAIL, height: THUMBNAIL, fit: "inside", withoutEnlargement: true })
            .jpeg({ quality: 85 })
            .toBuffer();
        }, signal);
        reply.type("image/jpeg").header("cache-control", "private, max-age=60");
        return picture;
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/audio",
    { schema: itemSchema("A sound of the index; of a video, as WAV, what the model hears", "audio/*") },
    (request, reply) =>
      service.accept(request, reply, async ({ signal, turn }) => {
        await turn();
        const item = await itemOf(index, request.params.id, "audio");
        reply.header("cache-control", "private, max-age=60");
        if (item.at !== undefined) {
          const range = { at: item.at, window: model.config.audio.seconds, signal };
          const sound = await service.videoDecoders.run(
            () => asIndexed(() => decodeVideoAudio(item.path, range)),
            signal,
          );
          reply.type("audio/wav");
          return Buffer.from(encodeWav(sound));
        }
        const { bytes, content } = await asIndexed(() => fileOf(item));
        reply
          .type(soundTypes[extname(item.path).toLowerCase()] ?? "application/octet-stream")
          .header("content-length", bytes);
        return content;
      }),
  );
}

/** @throws {SoundspotError} ERR_INPUT when there is not one file, or a field is out of range. */
function queryOf({ buffers, fields }: Upload) {
  const [image, audio] = [buffers.get("image"), buffers.get("audio")];
  if ((image === undefined) === (audio === undefined)) {
    throw new SoundspotError(
      "ERR_INPUT",
      "Send one file: image, to find sounds, or audio, to find pictures.",
    );
  }
  if (image) checkPicture(image);
  const k = numberIn(fields, "k", 1, MOST_RESULTS) ?? 10;
  if (!Number.isInteger(k)) throw new SoundspotError("ERR_INPUT", `k must be a whole number; it was ${k}.`);
  return { query: { image, audio }, k, label: fields.get("label") };
}

function described({ id, score, kind, name, label, box }: SearchResult) {
  const url = `/v1/search/items/${id}/${kind === "image" ? "thumbnail" : "audio"}`;
  return { id, score, kind, name, label, url, box };
}

/** @throws {HttpError} 404 */
async function itemOf(index: SearchIndex, id: string, kind: SearchItem["kind"]): Promise<SearchItem> {
  const item = await index.item(id);
  if (item?.kind === kind) return item;
  const what = kind === "image" ? "picture" : "sound";
  throw new HttpError(404, "ERR_NOT_FOUND", `The index has no ${what} of this id. Search again.`);
}

async function fileOf({ path }: SearchItem) {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    return { bytes: size, content: file.createReadStream() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Names no path. @throws {HttpError} 404 when a file is no longer as it was indexed. */
async function asIndexed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isSoundspotError(cause) && cause.code === "ERR_ABORTED") throw cause;
    const message = "The file of this item is gone or cannot be read any more. Update the index.";
    throw new HttpError(404, "ERR_NOT_FOUND", message, { cause });
  }
}
