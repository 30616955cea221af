/** POST /v1/localize: localizes the sound source of an upload. */

import { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import { sharpeningOf, targetsOf } from "../config/methods.js";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import type { TensorData } from "../core/types.js";
import { type LocalizeInput, prepareInput } from "../model/inputs.js";
import { localizePrepared } from "../model/localize.js";
import type { Spot, SpotAttention } from "../model/spot.js";
import { choice, list, numberIn } from "./fields.js";
import { checkImage } from "./image-kinds.js";
import type { NamedModel } from "./models.js";
import { INCLUDABLE, localizeSchema } from "./schemas.js";
import type { Accepted, Service } from "./service.js";
import { readUpload, type Upload } from "./upload.js";

const FORM = {
  files: { image: "memory", audio: "memory", video: "disk" },
  fields: ["model", "at", "audioTrack", "sharpening", "threshold", "alpha", "refine", "include"],
  most: 2,
} as const;

type Includable = (typeof INCLUDABLE)[number];

interface Asked {
  readonly named: NamedModel;
  readonly input: LocalizeInput;
  readonly settings: {
    readonly sharpening: number;
    readonly threshold: number;
    readonly alpha: number;
    readonly refine: "none" | "iqr";
  };
  readonly include: ReadonlySet<Includable>;
}

export function localizeRoute(app: FastifyInstance, service: Service): void {
  const { models, limits } = service;

  function asked({ buffers, paths, fields }: Upload): Asked {
    const named = models.get(fields.get("model"));
    return {
      named,
      input: inputOf(buffers, paths, {
        at: numberIn(fields, "at", 0, Number.MAX_VALUE),
        audioTrack: numberIn(fields, "audioTrack", 0, Number.MAX_VALUE),
      }),
      settings: {
        sharpening: numberIn(fields, "sharpening", 1e-6, 1e6) ?? sharpeningOf(named.model.config),
        threshold: numberIn(fields, "threshold", 0, 1) ?? MASK_THRESHOLD,
        alpha: numberIn(fields, "alpha", 0, 1) ?? AUDIO_WEIGHT,
        refine: choice(fields, "refine", ["none", "iqr"]) ?? "none",
      },
      include: list(fields, "include", INCLUDABLE),
    };
  }

  /** Localizes, and lets `use` make the answer while memory is reserved for it. */
  async function localize<T>(
    { named: { name, model }, input, settings }: Asked,
    { client, signal }: Pick<Accepted, "client" | "signal">,
    use: (spot: Spot) => Promise<T>,
  ): Promise<T> {
    const decode = async () => {
      const prepared = await prepareInput(input, model.config, { signal, maxPixels: limits.pixels });
      const { width = 0, height = 0 } = prepared.image ?? {};
      return [prepared, await service.takeArea(width * height, signal, client)] as const;
    };
    const [sample, giveBack] = await ("video" in input
      ? service.videoDecoders.run(decode, signal, client.key)
      : service.turns.decode(decode, signal, client.key));
    try {
      const { precision } = service;
      const [spot] = await service.turns.compute(
        () => localizePrepared(model, [sample], { ...settings, precision, signal }),
        signal,
        client.key,
      );
      service.metrics.localized(name);
      throwIfAborted(signal);
      return await use(spot as Spot);
    } finally {
      giveBack();
    }
  }

  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    return service.accept(request, reply, async ({ client, signal, turn }) => {
      const upload = await readUpload(request, FORM, { service, client, signal });
      try {
        const wanted = asked(upload);
        await turn();
        return await localize(wanted, { client, signal }, async (spot) => {
          const image = wantsImage(request.headers.accept);
          const large = image || wanted.include.has("heatmap") || wanted.include.has("overlay");
          if (large) service.holdAnswer(spot.width * spot.height, reply, client);
          reply.type(image ? "image/png" : "application/json; charset=utf-8");
          return image ? await spot.overlay({ signal }) : await bodyOf(spot, wanted, models.size > 1, signal);
        });
      } catch (error) {
        throw namingFields(error, upload.paths);
      } finally {
        await upload.remove();
      }
    });
  }

  app.post("/v1/localize", { schema: localizeSchema, validatorCompiler: () => () => true }, answer);
}

/** @throws {SoundspotError} ERR_INPUT when files are missing or too many. */
function inputOf(
  buffers: ReadonlyMap<string, Buffer>,
  paths: ReadonlyMap<string, string>,
  { at, audioTrack }: { readonly at: number | undefined; readonly audioTrack: number | undefined },
): LocalizeInput {
  const [image, audio, video] = [buffers.get("image"), buffers.get("audio"), paths.get("video")];
  if (video !== undefined) {
    if (image || audio) {
      throw new SoundspotError("ERR_INPUT", "Send image and audio, or video alone: a video has both.");
    }
    return {
      video,
      ...(at === undefined ? {} : { at }),
      ...(audioTrack === undefined ? {} : { audioTrack }),
    };
  }
  if (!image || !audio) {
    const missing = image ? "audio is" : audio ? "image is" : "image and audio are";
    throw new SoundspotError(
      "ERR_INPUT",
      `${missing} missing. Send image and audio as files, or video alone.`,
    );
  }
  if (at !== undefined) {
    throw new SoundspotError("ERR_INPUT", "at is a moment of a video. Leave it out beside image and audio.");
  }
  if (audioTrack !== undefined) {
    throw new SoundspotError("ERR_INPUT", "audioTrack is of a video. Leave it out beside image and audio.");
  }
  checkImage(image);
  return { image, audio };
}

/** Whether the client prefers an image to JSON. */
export function wantsImage(accept: string | undefined): boolean {
  const weightOf = (type: string): number => {
    for (const entry of (accept ?? "").toLowerCase().split(",")) {
      const [name = "", ...parameters] = entry.split(";").map((part) => part.trim());
      if (name !== type) continue;
      const quality = parameters.find((parameter) => parameter.startsWith("q="));
      return quality === undefined ? 1 : Number(quality.slice(2)) || 0;
    }
    return 0;
  };
  return weightOf("image/png") > weightOf("application/json");
}

/** Makes messages name the field, not the path of the upload. */
export function namingFields(error: unknown, paths: ReadonlyMap<string, string>): unknown {
  if (!isSoundspotError(error)) return error;
  let message = error.message.replace(/^The image buffer/, "image").replace(/^The audio buffer/, "audio");
  for (const [name, path] of paths)
    message = message.replaceAll(`The file ${path}`, name).replaceAll(path, name);
  return message === error.message ? error : new SoundspotError(error.code, message, { cause: error.cause });
}

const plain = ({ shape, data }: TensorData) => ({ shape, data: Array.from(data) });

function plainAttention(attention: SpotAttention) {
  return {
    audioOnImage: plain(attention.audioOnImage),
    imageOnImage: plain(attention.imageOnImage),
    audioOnAudio: plain(attention.audioOnAudio),
    imageOnAudio: plain(attention.imageOnAudio),
  };
}

/** @throws {SoundspotError} ERR_INPUT when the model has none. */
function attentionOf({ attention }: Spot): SpotAttention {
  if (attention) return attention;
  throw new SoundspotError("ERR_INPUT", "This model has no slots. Leave attention out of include.");
}

/** @throws {SoundspotError} ERR_INPUT when the model has none. */
function logitsOf({ logits }: Spot): SpotAttention {
  if (logits) return logits;
  throw new SoundspotError("ERR_INPUT", "This model gives no logits. Leave logits out of include.");
}

/** The answer. It is sent after the place is given back: a slow client does not block others. */
async function bodyOf(
  spot: Spot,
  { named, settings, include }: Asked,
  withName: boolean,
  signal: AbortSignal,
): Promise<unknown> {
  const figure = async (name: "overlay" | "spectrogram") =>
    include.has(name) ? { [name]: (await spot[name]({ signal })).toString("base64") } : {};
  const figures = { ...(await figure("overlay")), ...(await figure("spectrogram")) };
  const { width, height, confidence, silent, time, boxes } = spot;
  const body = {
    ...(withName ? { model: named.name } : {}),
    width,
    height,
    confidence,
    ...(silent ? { silent } : {}),
    ...(time === undefined ? {} : { time }),
    boxes,
    settings: { ...settings, targetSlots: targetsOf(named.model.config) },
    ...(include.has("attention") ? { attention: plainAttention(attentionOf(spot)) } : {}),
    ...(include.has("logits") ? { logits: plainAttention(logitsOf(spot)) } : {}),
    ...(Object.keys(figures).length > 0 ? { figures } : {}),
  };
  return include.has("heatmap") ? Readable.from(withHeatmap(JSON.stringify(body), spot)) : body;
}

/** Bytes of a heatmap encoded at a time: a multiple of 3, because base64 pads only at the end. */
const SLICE = 3 * 2 ** 16;

/** The answer with the heatmap as its last property, in parts: a large one would block the event loop. */
function* withHeatmap(json: string, { heatmap, width, height }: Spot): Generator<string> {
  yield `${json.slice(0, -1)},"heatmap":{"shape":[${height},${width}],"data":"`;
  const bytes = Buffer.from(heatmap.buffer, heatmap.byteOffset, heatmap.byteLength);
  for (let at = 0; at < bytes.length; at += SLICE) {
    yield bytes.toString("base64", at, Math.min(at + SLICE, bytes.length));
  }
  yield '"}}';
}
