/** Answers the page as the service does, with a model at hand, and keeps what it was asked. */

import { createHash } from "node:crypto";
import { resolve } from "node:path";
import multipart from "@fastify/multipart";
import files from "@fastify/static";
import Fastify, { type FastifyRequest } from "fastify";
import sharp from "sharp";
import { sharpeningOf, targetsOf } from "../../src/config/methods.js";
import { type Model, SoundspotError, type TensorData } from "../../src/index.js";

/** One request to /v1/localize or /v1/search. */
export interface Asked {
  readonly path: string;
  /** Names of the fields and files. */
  readonly parts: readonly string[];
  /** Of each file. */
  readonly digests: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  /** Seconds of audio, where it is WAV as the page writes it. */
  readonly seconds?: number;
}

export interface PageService {
  readonly url: string;
  readonly asked: Asked[];
  /** The answers of /v1/localize. */
  readonly answers: { readonly logits: Readonly<Record<string, { readonly data: readonly number[] }>> }[];
  /** Answers that many requests with 429 first. */
  busy: number;
  /** Most requests to /v1/localize that were answered at a time. */
  most: number;
  /** Fails every request with this message. */
  failing: string | undefined;
  /** Whether its model is the demo model. */
  demo: boolean;
  close(): Promise<void>;
}

const plain = ({ shape, data }: TensorData) => ({ shape, data: Array.from(data) });

export async function servePage(model: Model, folder = "dist/web"): Promise<PageService> {
  const server = Fastify({ bodyLimit: 2 ** 26 });
  await server.register(multipart, { limits: { fileSize: 2 ** 26 } });
  await server.register(files, { root: resolve(folder) });
  const asked: Asked[] = [];
  const service = {
    url: "",
    asked,
    answers: [] as PageService["answers"],
    busy: 0,
    most: 0,
    failing: undefined as string | undefined,
    demo: false,
    close: () => server.close(),
  };

  server.get("/v1/info", () => ({
    name: "soundspot",
    version: "0.0.0",
    model: {
      imageSize: model.config.imageSize,
      seconds: model.config.audio.seconds,
      sampleRate: model.config.audio.sampleRate,
      targetSlots: targetsOf(model.config),
      offTargetSlots: 1,
      sharpening: sharpeningOf(model.config),
      ...(service.demo ? { demo: true } : {}),
    },
    limits: { uploadBytes: 2 ** 26 },
    search: true,
  }));

  const taken = async (request: FastifyRequest) => {
    const parts: Record<string, Buffer> = {};
    const fields: Record<string, string> = {};
    for await (const part of request.parts()) {
      if (part.type === "file") parts[part.fieldname] = await part.toBuffer();
      else fields[part.fieldname] = String(part.value);
    }
    const digests = Object.fromEntries(
      Object.entries(parts).map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]),
    );
    const wav = parts.audio?.subarray(0, 4).toString() === "RIFF" ? parts.audio : undefined;
    asked.push({
      path: request.url,
      parts: [...Object.keys(parts), ...Object.keys(fields)],
      digests,
      fields,
      ...(wav && { seconds: (wav.length - 44) / wav.readUInt32LE(28) }),
    });
    return { parts, fields };
  };

  let running = 0;
  server.addHook("onRequest", async ({ url }) => {
    if (url === "/v1/localize") service.most = Math.max(service.most, ++running);
  });
  server.addHook("onResponse", async ({ url }) => {
    if (url === "/v1/localize") running--;
  });
  server.post("/v1/localize", async (request, reply) => {
    const { parts } = await taken(request);
    if (service.busy > 0) {
      service.busy--;
      return reply
        .code(429)
        .header("Retry-After", "1")
        .send({ error: { code: "ERR_BUSY", message: "The queue is full. Try again later." } });
    }
    if (service.failing !== undefined) {
      return reply.code(500).send({ error: { code: "ERR_INTERNAL", message: service.failing } });
    }
    if (!parts.image || !parts.audio) {
      return reply.code(400).send({ error: { code: "ERR_INPUT", message: "Give image and audio." } });
    }
    try {
      const spot = await model.localize({ image: parts.image, audio: parts.audio });
      const answer = {
        width: spot.width,
        height: spot.height,
        confidence: spot.confidence,
        boxes: spot.boxes,
        logits: Object.fromEntries(
          Object.entries(spot.logits ?? {}).map(([name, tensor]) => [name, plain(tensor)]),
        ),
      };
      service.answers.push(answer);
      return answer;
    } catch (error) {
      if (!(error instanceof SoundspotError)) throw error;
      return reply.code(400).send({ error: { code: error.code, message: error.message } });
    }
  });

  server.post("/v1/search", async (request) => {
    const { parts } = await taken(request);
    const results = [
      {
        id: "a",
        score: 0.91,
        kind: "image",
        name: "street.jpg",
        label: "car",
        url: "/v1/search/items/a/thumbnail",
      },
      { id: "b", score: 0.7, kind: "audio", name: "horn.wav", label: null, url: "/v1/search/items/b/audio" },
    ];
    return { query: parts.image ? "image" : "audio", results };
  });
  server.get("/v1/search/items/a/thumbnail", async (_, reply) =>
    reply.type("image/jpeg").send(
      await sharp({ create: { width: 64, height: 48, channels: 3, background: "teal" } })
        .jpeg()
        .toBuffer(),
    ),
  );

  service.url = await server.listen({ port: 0, host: "127.0.0.1" });
  return service;
}
