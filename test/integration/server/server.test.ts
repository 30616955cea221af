/** The service over real sockets: answers, rejected requests, and shutdown. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Ajv } from "ajv";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { sharpeningOf } from "../../../src/config/methods.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  createServer,
  Model,
  type ServedRequest,
  type Server,
  type ServerOptions,
  type Spot,
  serve,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { Gate } from "../../../src/server/gate.js";
import { wantsImage } from "../../../src/server/localize-route.js";
import { patience } from "../../support/patience.js";
import { ofSlots, tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-server-"));
const temporary = join(folder, "temporary");
const image = Buffer.alloc(60 * 40 * 3);
const audio = Buffer.from(
  encodeWav({
    samples: Float32Array.from({ length: 16_000 }, (_, i) => Math.sin(i / 9) / 2),
    sampleRate: 16_000,
  }),
);
const clip = join(folder, "clip.mp4");
let png: Buffer;
let model: Model;
const opened: Server[] = [];
const sockets: Socket[] = [];

beforeAll(async () => {
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
  for (let i = 0; i < image.length; i++) image[i] = (i * 31 + ((i * i) % 97)) % 256;
  png = await encodeImage({ data: image, width: 60, height: 40 }, { format: "png" });
  model = await Model.create(tiny);
  const { path } = await findFfmpeg();
  const inputs =
    "-f lavfi -i testsrc=s=64x48:r=10:d=3 -f lavfi -i sine=frequency=440:sample_rate=16000:duration=3";
  execFileSync(path, ["-v", "error", ...inputs.split(" "), "-c:v", "libx264", "-c:a", "aac", clip]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(opened.splice(0).map((server) => server.close({ grace: 0 })));
  expect(readdirSync(temporary)).toEqual([]);
});
afterAll(() => {
  model.dispose();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<ServerOptions> = {}): Promise<{ server: Server; url: string }> {
  const started = await serve({ model, port: 0, page: join(folder, "no-page"), ...options });
  opened.push(started.server);
  return started;
}

type Values = Readonly<Record<string, string | Uint8Array>>;

function form(values: Values): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "string") data.append(name, value);
    else data.append(name, new Blob([new Uint8Array(value)]), name);
  }
  return data;
}

function post(url: string, values: Values, init: RequestInit = {}): Promise<Response> {
  return fetch(`${url}/v1/localize`, { method: "POST", body: form(values), ...init });
}

async function failure(
  response: Promise<Response>,
): Promise<[status: number, code: string, message: string]> {
  const { status, body } = await response.then(async (each) => ({
    status: each.status,
    body: await each.json(),
  }));
  const { code, message } = (body as { error: { code: string; message: string } }).error;
  return [status, code, message];
}

async function metric(url: string, line: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = text.split("\n").find((each) => each.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + patience(60);
  while (performance.now() < end) {
    if (await condition()) return;
    await sleep(10);
  }
  throw new Error(`it did not happen within ${patience(60) / 1000} s`);
}

/** A connection by hand. */
async function raw(url: string): Promise<{ socket: Socket; received: () => string; closed: Promise<void> }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  return { socket, received: () => text, closed };
}

const head = (length: number | string) =>
  `POST /v1/localize HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: ${length}\r\n\r\n`;
const openPart = (name: string) =>
  `--x\r\nContent-Disposition: form-data; name="${name}"; filename="${name}"\r\n\r\n`;

interface Localized {
  readonly width: number;
  readonly height: number;
  readonly confidence: number;
  readonly boxes: unknown;
  readonly settings: unknown;
  readonly attention: Record<string, { readonly shape: number[]; readonly data: number[] }>;
  readonly logits: Localized["attention"];
  readonly heatmap: { readonly shape: number[]; readonly data: string };
  readonly figures: Record<string, string>;
}
const json = async (response: Promise<Response>) => (await (await response).json()) as Localized;

describe("POST /v1/localize", () => {
  it("answers with the result of model.localize", async () => {
    const { url } = await start();
    const spot = await model.localize({ image: png, audio });
    const response = await post(url, { image: png, audio });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(await response.json()).toEqual({
      width: 60,
      height: 40,
      confidence: spot.confidence,
      boxes: spot.boxes,
      settings: {
        sharpening: sharpeningOf(model.config),
        threshold: 0.6,
        alpha: 0.4,
        refine: "none",
        targetSlots: 1,
      },
    });
  });

  it("takes the settings, and adds the parts that include names", async () => {
    const { url } = await start();
    const settings = { sharpening: 2, threshold: 0.3, alpha: 0.7, refine: "iqr" } as const;
    const spot = await model.localize({ image: png, audio }, settings);
    const fields = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
    const include = "attention, heatmap,overlay,spectrogram";
    const answer = await json(post(url, { image: png, audio, ...fields, include }));
    expect(answer.settings).toEqual({ ...settings, targetSlots: 1 });
    expect(answer.boxes).toEqual(spot.boxes);
    for (const name of ["audioOnImage", "imageOnImage", "audioOnAudio", "imageOnAudio"] as const) {
      const { shape, data } = ofSlots(spot).attention[name];
      expect(answer.attention[name]).toEqual({ shape: [...shape], data: [...data] });
    }
    expect(answer.heatmap.shape).toEqual([40, 60]);
    const bytes = Buffer.from(answer.heatmap.data, "base64");
    expect(Array.from({ length: 2400 }, (_, i) => bytes.readFloatLE(4 * i))).toEqual([...spot.heatmap]);
    expect(Buffer.from(answer.figures.overlay ?? "", "base64")).toEqual(await spot.overlay());
    expect(Buffer.from(answer.figures.spectrogram ?? "", "base64")).toEqual(await spot.spectrogram());
  });

  it("gives logits if the model has them, and an error if not", async () => {
    const { url } = await start();
    const { logits } = (await model.localize({ image: png, audio })) as Required<Spot>;
    const { shape, data } = logits.audioOnImage;
    const answer = await json(post(url, { image: png, audio, include: "logits" }));
    expect(answer.logits.audioOnImage).toEqual({ shape: [...shape], data: [...data] });
    const without = await start({ model: await Model.create({ ...tiny, method: { name: "similarity" } }) });
    const response = post(without.url, { image: png, audio, include: "logits" });
    expect(await failure(response)).toEqual([400, "ERR_INPUT", expect.stringMatching(/logits/)]);
  });

  it("takes a heatmap of any size", async () => {
    const { url } = await start();
    const large = await encodeImage(
      { data: new Uint8Array(501 * 401 * 3), width: 501, height: 401 },
      { format: "png" },
    );
    const spot = await model.localize({ image: large, audio });
    const answer = await json(post(url, { image: large, audio, include: "heatmap" }));
    const expected = Buffer.from(spot.heatmap.buffer, spot.heatmap.byteOffset, spot.heatmap.byteLength);
    expect(Buffer.from(answer.heatmap.data, "base64").equals(expected)).toBe(true);
  });

  it("takes a video and a moment of it", async () => {
    const { url } = await start();
    const video = readFileSync(clip);
    const spot = await model.localize({ video: clip, at: 2.25 });
    expect(await json(post(url, { video, at: "2.25" }))).toMatchObject({
      width: 64,
      height: 48,
      confidence: spot.confidence,
      boxes: spot.boxes,
    });
    const middle = await model.localize({ video: clip });
    expect((await json(post(url, { video }))).confidence).toBe(middle.confidence);
  });

  it("answers with the overlay when a PNG is requested", async () => {
    const { url } = await start();
    const response = await post(url, { image: png, audio }, { headers: { accept: "image/png" } });
    expect(response.headers.get("content-type")).toBe("image/png");
    const spot = await model.localize({ image: png, audio });
    expect(Buffer.from(await response.arrayBuffer())).toEqual(await spot.overlay());
  });

  it.each([
    ["image/png", true],
    ["image/png, application/json", false],
    ["application/json;q=0.5, image/png;q=0.9", true],
    ["*/*", false],
    ["image/png;q=0", false],
  ])("reads Accept: %s", (accept, image) => {
    expect(wantsImage(accept)).toBe(image);
  });
});

describe("rejects", () => {
  const both = () => ({ image: png, audio });
  it.each<[string, () => Values, number, string, RegExp]>([
    ["no parts", () => ({}), 400, "ERR_INPUT", /image and audio are missing/],
    ["an image alone", () => ({ image: png }), 400, "ERR_INPUT", /^audio is missing/],
    ["audio alone", () => ({ audio }), 400, "ERR_INPUT", /^image is missing/],
    [
      "a video beside them",
      () => ({ ...both(), video: readFileSync(clip) }),
      400,
      "ERR_INPUT",
      /video alone/,
    ],
    [
      "a video beside one",
      () => ({ image: png, video: readFileSync(clip) }),
      400,
      "ERR_INPUT",
      /video alone/,
    ],
    ["a moment of an image", () => ({ ...both(), at: "1" }), 400, "ERR_INPUT", /^at is a moment of a video/],
    [
      "a moment past the end",
      () => ({ video: readFileSync(clip), at: "99" }),
      400,
      "ERR_INPUT",
      /length of video, got 99/,
    ],
    [
      "a negative moment",
      () => ({ video: readFileSync(clip), at: "-1" }),
      400,
      "ERR_INPUT",
      /^at must be a number of at least 0/,
    ],
    [
      "a threshold above 1",
      () => ({ ...both(), threshold: "1.01" }),
      400,
      "ERR_INPUT",
      /^threshold must be a number from 0 to 1; it was "1.01"/,
    ],
    ["an empty alpha", () => ({ ...both(), alpha: "" }), 400, "ERR_INPUT", /^alpha must be/],
    ["no number", () => ({ ...both(), sharpening: "NaN" }), 400, "ERR_INPUT", /^sharpening must be/],
    [
      "another refinement",
      () => ({ ...both(), refine: "ogl" }),
      400,
      "ERR_INPUT",
      /^refine must be one of none, iqr; it was "ogl"/,
    ],
    [
      "an unknown include",
      () => ({ ...both(), include: "heatmap,mask" }),
      400,
      "ERR_INPUT",
      /^include must be .*; it was "mask"/,
    ],
    ["an unknown field", () => ({ ...both(), k: "1" }), 400, "ERR_INPUT", /no field "k"/],
    ["an unknown file", () => ({ picture: png, audio }), 400, "ERR_INPUT", /no file "picture"/],
    ["a field of Object", () => ({ ...both(), constructor: "1" }), 400, "ERR_INPUT", /./],
    [
      "a path as an image",
      () => ({ image: "/etc/passwd", audio }),
      400,
      "ERR_INPUT",
      /^image must be a file/,
    ],
    [
      "a file as a field",
      () => ({ image: png, alpha: png }),
      400,
      "ERR_INPUT",
      /^alpha must be a plain field/,
    ],
    [
      "a file that is no image",
      () => ({ image: audio, audio }),
      400,
      "ERR_MEDIA_DECODE",
      /^image cannot be decoded/,
    ],
    [
      "a file that is no audio",
      () => ({ image: png, audio: png }),
      400,
      "ERR_NO_AUDIO",
      /^audio has no audio stream/,
    ],
    [
      "a file that is no video",
      () => ({ video: audio }),
      400,
      "ERR_MEDIA_DECODE",
      /^video cannot be decoded as video/,
    ],
    ["an empty image", () => ({ image: Buffer.alloc(0), audio }), 400, "ERR_FILE_EMPTY", /^image is empty/],
    ["an empty video", () => ({ video: Buffer.alloc(0) }), 400, "ERR_FILE_EMPTY", /^video is empty/],
    [
      "a long field",
      () => ({ ...both(), include: "x".repeat(2000) }),
      413,
      "ERR_TOO_LARGE",
      /^include is longer than 1024/,
    ],
  ])("%s", async (_what, values, status, code, message) => {
    const { url } = await start();
    expect(await failure(post(url, values()))).toEqual([status, code, expect.stringMatching(message)]);
  });

  it("files, forms and images that are too large", async () => {
    const { url } = await start({ uploadBytes: 100_000, pixels: 2000 });
    const wide = Buffer.alloc(100_001);
    expect(await failure(post(url, { image: png, audio: wide }))).toEqual([
      413,
      "ERR_TOO_LARGE",
      expect.stringMatching(/^audio is larger than 0.1 MB/),
    ]);
    expect(await failure(post(url, { video: wide }))).toEqual([
      413,
      "ERR_TOO_LARGE",
      expect.stringMatching(/^video/),
    ]);
    expect(await failure(post(url, { image: Buffer.alloc(1e6), audio }))).toEqual([
      413,
      "ERR_TOO_LARGE",
      expect.anything(),
    ]);
    expect(await failure(post(url, { image: png, audio }))).toEqual([
      400,
      "ERR_MEDIA_DECODE",
      expect.stringMatching(/at most 2000 pixels/),
    ]);
    expect(await failure(post(url, { video: readFileSync(clip) }))).toEqual([
      400,
      "ERR_MEDIA_DECODE",
      expect.stringMatching(/^video has frames of 64 × 48/),
    ]);
  });

  it("an endless body", async () => {
    const { url } = await start({ uploadBytes: 1000 });
    const { socket, received, closed } = await raw(url);
    socket.write(head("1").replace("Content-Length: 1", "Transfer-Encoding: chunked"));
    const chunk = `10000\r\n${"-".repeat(0x10000)}\r\n`;
    const sending = setInterval(() => socket.write(chunk), 1);
    await closed.finally(() => clearInterval(sending));
    expect(received()).toMatch(/^(HTTP\/1.1 413 |$)/);
  });

  it.each([
    ["no end", `${openPart("image")}abc`],
    ["no part", "junk"],
    ["nothing", ""],
  ])("a form with %s", async (_what, body) => {
    const { url } = await start();
    const headers = { "content-type": "multipart/form-data; boundary=x" };
    const response = fetch(`${url}/v1/localize`, { method: "POST", headers, body });
    expect(await failure(response)).toEqual([400, "ERR_INPUT", expect.any(String)]);
  });

  it("other content than a form", async () => {
    const { url } = await start();
    for (const headers of [
      { "content-type": "application/json" },
      { "content-type": "multipart/mixed; boundary=x" },
    ]) {
      const response = fetch(`${url}/v1/localize`, { method: "POST", headers, body: "{}" });
      expect(await failure(response)).toEqual([
        415,
        "ERR_MEDIA_TYPE",
        "Send the files as multipart/form-data.",
      ]);
    }
    const headers = { "content-type": "multipart/form-data" };
    const response = fetch(`${url}/v1/localize`, { method: "POST", headers, body: "x" });
    expect(await failure(response)).toEqual([400, "ERR_INPUT", expect.stringMatching(/Boundary not found/)]);
  });

  it("other protocols than HTTP, and unknown routes", async () => {
    const { url } = await start();
    const { socket, received, closed } = await raw(url);
    socket.write("hello\r\n\r\n");
    await closed;
    expect(received()).toMatch(/^HTTP\/1.1 400 .*"code":"ERR_INPUT"/s);
    expect(await failure(fetch(`${url}/v2`))).toEqual([
      404,
      "ERR_NOT_FOUND",
      expect.stringMatching(/^There is no GET \/v2/),
    ]);
    expect(await failure(fetch(`${url}/v1/search`, { method: "POST", body: form({}) }))).toEqual([
      404,
      "ERR_NOT_FOUND",
      expect.stringMatching(/index/),
    ]);
  });

  it("options out of range, and a disposed model", async () => {
    await expect(createServer({ model, queue: -1 })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: "queue must be a whole number from 0 to 100000; it was -1.",
    });
    const freed = await Model.create(tiny);
    freed.dispose();
    await expect(createServer({ model: freed })).rejects.toMatchObject({ code: "ERR_DISPOSED" });
  });

  it("a port that is taken", async () => {
    const { url } = await start();
    const port = Number(new URL(url).port);
    await expect(serve({ model, port })).rejects.toMatchObject({
      code: "ERR_BUSY",
      message: expect.stringContaining(`Port ${port} of 127.0.0.1 is taken`),
    });
    await expect(serve({ model, host: "203.0.113.1", port: 0 })).rejects.toMatchObject({ code: "ERR_INPUT" });
  });
});

describe("under load", () => {
  /** A request that is accepted and does not end until `finish`. */
  async function unfinished(url: string): Promise<{ finish(): Promise<string>; socket: Socket }> {
    const { socket, received, closed } = await raw(url);
    const body = `${openPart("image")}x\r\n--x--\r\n`;
    const before = await metric(url, "soundspot_queue_depth");
    socket.write(head(body.length) + body.slice(0, 40));
    await until(async () => (await metric(url, "soundspot_queue_depth")) > before);
    return {
      socket,
      async finish() {
        socket.write(body.slice(40));
        await Promise.race([closed, until(() => received() !== "")]);
        return received();
      },
    };
  }

  it("answers 429 with the time to try again when all places are taken", async () => {
    const { url } = await start({ concurrency: 1, queue: 1 });
    const first = await unfinished(url);
    const second = await unfinished(url);
    const response = await post(url, { image: png, audio });
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await failure(Promise.resolve(response))).toEqual([
      429,
      "ERR_OVERLOADED",
      expect.stringMatching(/^2 requests/),
    ]);
    expect(await first.finish()).toMatch(/^HTTP\/1.1 400 .*audio is missing/s);
    expect((await post(url, { image: png, audio })).status).toBe(200);
    await second.finish();
  });

  it("removes a disconnected client from the queue", async () => {
    const ended: ServedRequest[] = [];
    const { url } = await start({ concurrency: 1, queue: 0, onRequest: (request) => ended.push(request) });
    const { socket } = await unfinished(url);
    expect((await post(url, { image: png, audio })).status).toBe(429);
    socket.destroy();
    await until(() => ended.some(({ status }) => status === 499));
    expect((await post(url, { image: png, audio })).status).toBe(200);
  });

  it("stops the work for a disconnected client, and removes its video", async () => {
    const ended: ServedRequest[] = [];
    const { url } = await start({ concurrency: 1, queue: 0, onRequest: (request) => ended.push(request) });
    const controller = new AbortController();
    const sent = post(url, { video: readFileSync(clip) }, { signal: controller.signal });
    await until(async () => (await metric(url, "soundspot_in_flight")) === 1);
    controller.abort();
    await expect(sent).rejects.toThrow();
    await until(async () => (await metric(url, "soundspot_in_flight")) === 0);
    expect(ended.find(({ path }) => path === "/v1/localize")?.status).toBe(499);
    await until(() =>
      readdirSync(temporary).every((name) => readdirSync(join(temporary, name)).length === 0),
    );
    expect(await metric(url, "soundspot_localized_pairs_total")).toBe(0);
  });

  it("answers many at a time as it answers one", async () => {
    const { url } = await start({ concurrency: 20, queue: 20 });
    const expected = await json(post(url, { image: png, audio }));
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => json(post(url, { image: png, audio }))),
    );
    for (const { boxes, confidence } of answers) {
      expect(confidence).toBeCloseTo(expected.confidence, 5);
      expect(boxes).toHaveLength((expected.boxes as unknown[]).length);
    }
    expect(await metric(url, "soundspot_localized_pairs_total")).toBe(41);
  });

  it("cuts off an upload that takes too long", async () => {
    const { url } = await start({ uploadTimeout: 0.3, concurrency: 1, queue: 0 });
    const { received, closed, socket } = await raw(url);
    socket.write(head(1000) + openPart("video"));
    const dripping = setInterval(() => socket.write("x"), 50);
    await closed.finally(() => clearInterval(dripping));
    expect(received()).toMatch(/^HTTP\/1.1 408 .*ERR_TIMEOUT/s);
    await until(async () => (await metric(url, "soundspot_queue_depth")) === 0);
  });

  it("aborts requests that take too long", async () => {
    const { url } = await start({ timeout: 0.1 });
    const slow = join(folder, "long.mp4");
    const { path } = await findFfmpeg();
    const inputs = "-f lavfi -i testsrc2=s=640x480:r=25:d=60 -f lavfi -i sine=duration=60";
    execFileSync(path, [
      "-v",
      "error",
      "-y",
      ...inputs.split(" "),
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      // One frame that stands by itself: all before the one that is wanted are decoded.
      "-g",
      "100000",
      slow,
    ]);
    const response = await post(url, { video: readFileSync(slow), at: "55" });
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await failure(Promise.resolve(response))).toEqual([
      503,
      "ERR_TIMEOUT",
      expect.stringMatching(/within 0.1 s/),
    ]);
  });

  it("measures how long a client should wait", async () => {
    let now = 0;
    const gate = new Gate({ concurrency: 2, queue: 100 }, () => now);
    const { signal } = new AbortController();
    expect(gate.retryAfter).toBe(1);
    for (let i = 0; i < 50; i++) {
      const ticket = gate.admit();
      await ticket.turn(signal);
      now += 500;
      ticket.leave(true);
      now += 60_000; // no request is at work
    }
    const tickets = Array.from({ length: 100 }, () => gate.admit());
    expect(gate.retryAfter).toBe(50);
    expect([gate.waiting, gate.atWork]).toEqual([100, 0]);
    for (const ticket of tickets.slice(0, 90)) ticket.leave(false);
    expect(gate.retryAfter).toBe(5);
  });
});

describe("the service itself", () => {
  it("reports model and limits", async () => {
    const { url } = await start({ uploadBytes: 5_000_000 });
    expect(await (await fetch(`${url}/v1/info`)).json()).toMatchObject({
      name: "soundspot",
      model: {
        imageSize: 32,
        seconds: 0.5,
        sampleRate: 16_000,
        targetSlots: 1,
        offTargetSlots: 1,
        sharpening: 0.1,
      },
      limits: { uploadBytes: 5_000_000, concurrency: 80, queue: 64 },
      search: false,
    });
  });

  it("counts", async () => {
    const { url } = await start();
    const total = (status: number) =>
      metric(url, `soundspot_http_requests_total{method="POST",route="/v1/localize",status="${status}"}`);
    expect(await total(200)).toBe(0);
    await (await post(url, { image: png, audio })).arrayBuffer();
    await (await post(url, { image: png })).arrayBuffer();
    await until(async () => (await total(200)) === 1 && (await total(400)) === 1);
    expect(await metric(url, "soundspot_localized_pairs_total")).toBe(1);
    expect(await metric(url, 'soundspot_http_request_duration_seconds_count{route="/v1/localize"}')).toBe(2);
    expect(await metric(url, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
  });

  it("describes every route, and answers as described", async () => {
    const { server, url } = await start();
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document;
    expect(document.openapi).toMatch(/^3\.1/);
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = [
      "GET /",
      "GET /healthz",
      "GET /metrics",
      "GET /openapi.json",
      "GET /v1/info",
      "GET /v1/models",
      "POST /v1/localize",
    ];
    expect(described.sort()).toEqual(routes);
    expect(server.app.hasRoute({ method: "POST", url: "/v1/localize" })).toBe(true);

    const ajv = new Ajv({ strict: false, formats: { binary: true } });
    const matches = async (path: string, method: string, pending: Promise<Response>) => {
      const response = await pending;
      const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
      const schema = document.paths[path]?.[method]?.responses[response.status]?.content[type]?.schema;
      expect(schema, `${method} ${path} ${response.status} ${type}`).toBeDefined();
      const text = await response.text();
      const closed = JSON.parse(
        JSON.stringify(schema, (_key, value) =>
          value?.properties ? { additionalProperties: false, ...value } : value,
        ),
      );
      const valid = ajv.compile(closed);
      expect(valid(type === "application/json" ? JSON.parse(text) : text), JSON.stringify(valid.errors)).toBe(
        true,
      );
    };
    const include = "attention,heatmap,overlay,spectrogram";
    await matches("/v1/localize", "post", post(url, { image: png, audio, include }));
    await matches("/v1/localize", "post", post(url, { image: png, audio }));
    await matches("/v1/localize", "post", post(url, { image: png }));
    await matches("/v1/localize", "post", fetch(`${url}/v1/localize`, { method: "POST", body: "x" }));
    await matches(
      "/v1/localize",
      "post",
      post(url, { image: png, audio }, { headers: { accept: "image/png" } }),
    );
    for (const path of ["/", "/healthz", "/metrics", "/openapi.json", "/v1/info", "/v1/models"]) {
      await matches(path, "get", fetch(url + path));
    }
  });

  it("serves the page with headers that keep it to itself", async () => {
    const page = join(folder, "page");
    mkdirSync(join(page, "assets"), { recursive: true });
    writeFileSync(join(page, "index.html"), "<!doctype html><title>page</title>");
    writeFileSync(join(page, "assets", "main-abc.js"), "1");
    const { url } = await start({ page });
    const index = await fetch(`${url}/`);
    expect(await index.text()).toContain("<title>page</title>");
    expect(index.headers.get("cache-control")).toBe("no-cache");
    expect(index.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';.*media-src 'self' blob:.*frame-ancestors 'none'$/,
    );
    expect(index.headers.get("permissions-policy")).toMatch(/camera=\(self\), microphone=\(self\)/);
    expect(index.headers.get("x-content-type-options")).toBe("nosniff");
    const script = await fetch(`${url}/assets/main-abc.js`);
    expect(script.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    expect(script.headers.get("content-type")).toMatch(/javascript/);
    expect((await fetch(`${url}/..%2f..%2fpackage.json`)).status).toBeGreaterThanOrEqual(400);
    expect(await failure(fetch(`${url}/nothing.js`))).toEqual([404, "ERR_NOT_FOUND", expect.any(String)]);
    const bare = await start();
    expect(await (await fetch(`${bare.url}/`)).text()).toContain("/openapi.json");
  });

  it("lets pages of named origins call it, and no others", async () => {
    const origin = "https://example.org";
    const foreign = { origin, "sec-fetch-site": "cross-site" };
    const closed = await start();
    const rejected = await closed.server.app.inject({
      method: "POST",
      url: "/v1/localize",
      headers: foreign,
    });
    expect([rejected.statusCode, rejected.json().error.code]).toEqual([403, "ERR_ORIGIN"]);
    expect(
      (await fetch(`${closed.url}/v1/info`, { headers: { origin } })).headers.get(
        "access-control-allow-origin",
      ),
    ).toBeNull();
    const { server } = await start({ cors: [origin] });
    const preflight = await server.app.inject({
      method: "OPTIONS",
      url: "/v1/localize",
      headers: { ...foreign, "access-control-request-method": "POST" },
    });
    expect([preflight.statusCode, preflight.headers["access-control-allow-origin"]]).toEqual([204, origin]);
    const answered = await server.app.inject({ method: "POST", url: "/v1/localize", headers: foreign });
    expect([answered.statusCode, answered.headers["access-control-allow-origin"]]).toEqual([415, origin]);
  });

  it("finishes accepted requests, and accepts no more", async () => {
    const { server, url } = await start();
    const { socket, received } = await raw(url);
    const idle = await raw(url);
    const body = `${openPart("image")}x\r\n--x--\r\n`;
    socket.write(head(body.length) + body.slice(0, 40));
    await until(async () => (await metric(url, "soundspot_queue_depth")) === 1);
    const closing = server.close({ grace: 5 });
    const health = await fetch(`${url}/healthz`);
    expect(health.headers.get("retry-after")).toBe("5");
    expect(await failure(Promise.resolve(health))).toEqual([503, "ERR_CLOSING", expect.any(String)]);
    expect((await post(url, { image: png, audio })).status).toBe(503);
    socket.write(body.slice(40));
    await closing;
    expect(received()).toMatch(/^HTTP\/1.1 400 .*audio is missing/s);
    await idle.closed;
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it("aborts after its grace period, and leaves no file", async () => {
    const { server, url } = await start();
    const { socket, received } = await raw(url);
    socket.write(head(1e6) + openPart("video") + "x".repeat(1000));
    await until(() => readdirSync(temporary).some((name) => readdirSync(join(temporary, name)).length === 1));
    await server.close({ grace: 0.1 });
    expect(received()).toMatch(/^HTTP\/1.1 503 .*ERR_CLOSING/s);
    expect(readdirSync(temporary)).toEqual([]);
  });
});

describe("soundspot serve", () => {
  const running = new Set<ChildProcess>();
  let cli: string;
  const checkpoint = join(folder, "tiny.safetensors");
  beforeAll(async () => {
    cli = join(transpilePackage(join(folder, "package")), "cli", "main.js");
    await model.save(checkpoint);
  });
  afterAll(() => {
    for (const child of running) child.kill("SIGKILL");
  });

  async function command(...flags: string[]) {
    const child = spawn(process.execPath, [cli, "serve", checkpoint, "--port", "0", "--json", ...flags], {
      env: { ...process.env, TMPDIR: temporary },
    });
    running.add(child);
    const lines: Record<string, unknown>[] = [];
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line)));
    const ended = new Promise<number | null>((resolve) => {
      child.once("close", (code) => {
        running.delete(child);
        resolve(code);
      });
    });
    await Promise.race([until(() => lines.length > 0), ended]);
    return { child, lines, ended, errors: () => errors, url: String(lines[0]?.url) };
  }

  it("finishes the running request after SIGTERM and exits with 0", async () => {
    const { child, lines, ended, url } = await command();
    const { socket, received } = await raw(url);
    const body = Buffer.concat([
      Buffer.from(openPart("image")),
      png,
      Buffer.from(`\r\n${openPart("audio")}`),
      audio,
      Buffer.from("\r\n--x--\r\n"),
    ]);
    socket.write(Buffer.concat([Buffer.from(head(body.length)), body.subarray(0, 300)]));
    await until(async () => (await metric(url, "soundspot_queue_depth")) === 1);
    child.kill("SIGTERM");
    await until(async () => (await fetch(`${url}/healthz`)).status === 503);
    socket.write(body.subarray(300));
    expect(await ended).toBe(0);
    expect(received()).toMatch(/^HTTP\/1.1 200 .*"confidence":/s);
    expect(lines.find(({ path }) => path === "/v1/localize")).toMatchObject({ method: "POST", status: 200 });
  });

  it("ends at once on the second signal, and leaves no file", async () => {
    const { child, ended, url } = await command();
    const { socket } = await raw(url);
    socket.write(head(1e6) + openPart("video") + "x".repeat(1000));
    await until(() => readdirSync(temporary).some((name) => readdirSync(join(temporary, name)).length === 1));
    child.kill("SIGINT");
    await until(async () => (await fetch(`${url}/healthz`)).status === 503);
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("serves several models below a path, and warns of what seems to be missing", async () => {
    const small = join(folder, "small.safetensors");
    const other = await Model.create({ ...tiny, imageSize: 48 });
    await other.save(small);
    other.dispose();
    const { child, lines, ended, url, errors } = await command(`small=${small}`, "--base-path", "/x");
    expect(new URL(url).pathname).toBe("/x");
    const { models } = (await (await fetch(`${url}/v1/models`)).json()) as {
      models: Record<string, unknown>[];
    };
    expect(models.map(({ name, imageSize }) => [name, imageSize])).toEqual([
      ["default", 32],
      ["small", 48],
    ]);
    expect(await json(post(url, { image: png, audio, model: "small" }))).toMatchObject({
      model: "small",
      width: 60,
    });
    const preflight = { origin: "https://example.org", "access-control-request-method": "POST" };
    for (let i = 0; i < 2; i++) {
      await fetch(`${url}/v1/localize`, { method: "OPTIONS", headers: preflight });
      await fetch(`${url}/healthz`, { headers: { "x-forwarded-for": "203.0.113.7" } });
    }
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(errors()).toBe("");
    expect(lines.flatMap(({ warning }) => (warning === undefined ? [] : [warning]))).toEqual([
      expect.stringMatching(/--cors "https:\/\/example\.org"/),
      expect.stringMatching(/--trust-proxy/),
    ]);
  });

  it("reports invalid options", async () => {
    const { url } = await start();
    const taken = await command("--port", new URL(url).port);
    expect(await taken.ended).toBe(1);
    expect(taken.errors()).toMatch(
      /^soundspot: Port \d+ of 127.0.0.1 is taken by another program\. .*\[ERR_BUSY\]\n$/,
    );
    for (const [flag, value, message] of [
      ["--queue", "-1", /whole number of at least 0/],
      ["--per-client", "0", /whole number of at least 1/],
      ["--trust-proxy", "10.0.0.1,nginx", /trustProxy must have addresses .* one was nginx/],
      ["--trust-proxy", "101", /from 1 to 100/],
      ["--base-path", "x", /basePath must be a path such as \/sound/],
    ] as const) {
      const wrong = await command(flag, value);
      expect([flag, value, await wrong.ended]).toEqual([flag, value, 2]);
      expect(wrong.errors()).toMatch(message);
    }
    const unnamed = await command(checkpoint);
    expect(await unnamed.ended).toBe(2);
    expect(unnamed.errors()).toMatch(
      /^soundspot: Requests choose among several checkpoints by name\. .*\[ERR_CONFIG\]\n$/,
    );
  });
});

interface Document {
  readonly openapi: string;
  readonly paths: Record<
    string,
    Record<
      string,
      {
        readonly responses: Record<string, { readonly content: Record<string, { readonly schema: object }> }>;
      }
    >
  >;
}
