/** POST /v1/search and the items found: an index over HTTP. */
import { open } from "node:fs/promises";
import { extname } from "node:path";
import type { FastifyInstance } from "fastify";
import sharp from "sharp";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { decodeImage } from "../media/image.js";
import { decodeVideoAudio } from "../media/video.js";
import { encodeWav } from "../media/wav.js";
import type { Model } from "../model/model.js";
import { imageOf, type SearchIndex, type SearchItem, type SearchResult } from "../search/search-index.js";
import { numberIn } from "./fields.js";
import { HttpError } from "./http-error.js";
import { checkImage } from "./image-kinds.js";
import { namingFields } from "./localize-route.js";
import { itemSchema, MOST_RESULTS, searchSchema } from "./schemas.js";
import type { Service } from "./service.js";
import { readUpload, type Upload } from "./upload.js";

const FORM = { files: { image: "memory", audio: "memory" }, fields: ["k", "label"], most: 1 } as const;

/** Pixels of the longer side of a thumbnail. */
const THUMBNAIL = 320;

const audioTypes: Readonly<Record<string, string>> = {
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

/** What is searched, and with what. */
export interface Searched {
  readonly index: SearchIndex;
  /** The model that made the index. */
  readonly model: Model;
  readonly basePath: string;
}

/**
 * Registers `POST /v1/search`, `GET /v1/search/items/:id/thumbnail` and `GET /v1/search/items/:id/audio`. Files are
 * served only by the ids of the index; a request cannot contain a path.
 */
export function searchRoutes(app: FastifyInstance, service: Service, searched: Searched): void {
  const { index, model, basePath } = searched;
  const { limits } = service;
  app.post(
    "/v1/search",
    // readUpload checks the body: it is a stream of parts, which a schema cannot check.
    { schema: searchSchema, validatorCompiler: () => () => true },
    (request, reply) =>
      service.accept(request, reply, async ({ client, signal, turn }) => {
        const decoding = <T>(work: () => Promise<T>) => service.decoders.run(work, signal, client.key);
        const upload = await readUpload(request, FORM, { service, client, signal });
        try {
          const { query, k, label } = queryOf(upload);
          await turn();
          const options = { model, k, ...(label ? { label } : {}), localize: true, signal };
          const { image, audio } = query;
          const find = async () =>
            index.searchWithin(
              image
                ? {
                    ...options,
                    image: await decoding(() => decodeImage(image, { signal, maxPixels: limits.pixels })),
                  }
                : { ...options, audio: audio as Buffer },
              decoding,
            );
          const found = await service.searches.run(find, signal, client.key);
          const results = found.map((each) => described(each, basePath));
          return { query: image ? "image" : "audio", results };
        } catch (error) {
          throw namingFields(error, upload.paths);
        } finally {
          await upload.remove();
        }
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/thumbnail",
    { schema: itemSchema("An image of the index, as thumbnail", "image/jpeg") },
    (request, reply) =>
      service.accept(request, reply, async ({ client, signal, turn }) => {
        await turn();
        const item = await itemOf(index, request.params.id, "image");
        const thumbnail = await service.decoders.run(
          async () => {
            const { data, width, height } = await asIndexed(() => imageOf(item, signal));
            return sharp(data, { raw: { width, height, channels: 3 } })
              .resize({ width: THUMBNAIL, height: THUMBNAIL, fit: "inside", withoutEnlargement: true })
              .jpeg({ quality: 85 })
              .toBuffer();
          },
          signal,
          client.key,
        );
        reply.type("image/jpeg").header("cache-control", "private, max-age=60");
        return thumbnail;
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/v1/search/items/:id/audio",
    { schema: itemSchema("An audio file of the index; of a video its audio window, as WAV", "audio/*") },
    (request, reply) =>
      service.accept(request, reply, async ({ client, signal, turn }) => {
        await turn();
        const item = await itemOf(index, request.params.id, "audio");
        reply.header("cache-control", "private, max-age=60");
        if (item.at !== undefined) {
          const range = { at: item.at, window: model.config.audio.seconds, signal };
          const window = await service.videoDecoders.run(
            () => asIndexed(() => decodeVideoAudio(item.path, range)),
            signal,
            client.key,
          );
          reply.type("audio/wav");
          return Buffer.from(encodeWav(window));
        }
        const { bytes, content } = await asIndexed(() => fileOf(item));
        reply
          .type(audioTypes[extname(item.path).toLowerCase()] ?? "application/octet-stream")
          .header("content-length", bytes);
        return content;
      }),
  );
}

/** @throws {SoundspotError} ERR_INPUT unless exactly one file was sent, or when a field is out of range. */
function queryOf({ buffers, fields }: Upload) {
  const [image, audio] = [buffers.get("image"), buffers.get("audio")];
  if ((image === undefined) === (audio === undefined)) {
    throw new SoundspotError("ERR_INPUT", "Send one file: image, to find audio, or audio, to find images.");
  }
  if (image) checkImage(image);
  const k = numberIn(fields, "k", 1, MOST_RESULTS) ?? 10;
  if (!Number.isInteger(k)) throw new SoundspotError("ERR_INPUT", `k must be a whole number; it was ${k}.`);
  return { query: { image, audio }, k, label: fields.get("label") };
}

function described({ id, score, kind, name, label, box }: SearchResult, basePath: string) {
  const url = `${basePath}/v1/search/items/${id}/${kind === "image" ? "thumbnail" : "audio"}`;
  return { id, score, kind, name, label, url, box };
}

/** @throws {HttpError} 404 */
async function itemOf(index: SearchIndex, id: string, kind: SearchItem["kind"]): Promise<SearchItem> {
  const item = await index.item(id);
  if (item?.kind === kind) return item;
  const name = kind === "image" ? "image" : "audio";
  throw new HttpError(404, "ERR_NOT_FOUND", `The index has no ${name} of this id. Search again.`);
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

/** @throws {HttpError} 404 when a file has changed since it was indexed; the message has no path. */
async function asIndexed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isSoundspotError(cause) && cause.code === "ERR_ABORTED") throw cause;
    const message = "The file of this item is missing or unreadable. Update the index.";
    throw new HttpError(404, "ERR_NOT_FOUND", message, { cause });
  }
}
