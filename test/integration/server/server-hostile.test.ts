/** The service under attack: hostile requests, while and after which other clients are answered. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32, deflateSync, gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Semaphore } from "../../../src/core/semaphore.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  Model,
  SearchIndex,
  type ServedRequest,
  type Server,
  type ServerOptions,
  serve,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { Service } from "../../../src/server/service.js";
import { patience } from "../../support/patience.js";
import { tiny } from "../../support/tiny.js";
import { transpilePackage } from "../../support/transpiled.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-hostile-"));
const temporary = join(folder, "temporary");
const page = join(folder, "page");
const audio = Buffer.from(
  encodeWav({
    samples: Float32Array.from({ length: 16_000 }, (_, i) => Math.sin(i / 9) / 2),
    sampleRate: 16_000,
  }),
);
let png: Buffer;
let model: Model;
let ffmpeg: string;
const opened: Server[] = [];
const sockets: Socket[] = [];
const requests: ServedRequest[] = [];

beforeAll(async () => {
  mkdirSync(temporary);
  mkdirSync(join(page, "assets"), { recursive: true });
  writeFileSync(join(page, "index.html"), "<!doctype html><title>page</title>");
  writeFileSync(join(page, "assets", "main-abc.js"), "1".repeat(200_000));
  writeFileSync(join(folder, "secret.txt"), "secret");
  vi.stubEnv("TMPDIR", temporary);
  const data = Uint8Array.from({ length: 60 * 40 * 3 }, (_, i) => (i * 31 + ((i * i) % 97)) % 256);
  png = await encodeImage({ data, width: 60, height: 40 }, { format: "png" });
  model = await Model.create(tiny);
  ffmpeg = (await findFfmpeg()).path;
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(opened.splice(0).map((server) => server.close({ grace: 0 })));
  // No answer is an internal error, and no file stays on disk.
  expect(requests.splice(0).filter(({ status }) => status === 500)).toEqual([]);
  expect(folders()).toEqual([]);
});
afterAll(() => {
  model.dispose();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<ServerOptions> = {}): Promise<{ server: Server; url: string }> {
  const onRequest = (request: ServedRequest) => requests.push(request);
  const started = await serve({ model, port: 0, page, onRequest, ...options });
  opened.push(started.server);
  return started;
}

type Values = Readonly<Record<string, string | Uint8Array>>;

function post(url: string, values: Values, path = "/v1/localize"): Promise<Response> {
  const body = new FormData();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "string") body.append(name, value);
    else body.append(name, new Blob([new Uint8Array(value)]), name);
  }
  return fetch(url + path, { method: "POST", body });
}

/** A well-behaved client is answered. */
async function good(url: string): Promise<void> {
  const response = await post(url, { image: png, audio });
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ width: 60, height: 40 });
}

/** Attacks, while good clients are served, and serves one after. */
async function during(url: string, attack: () => Promise<void>): Promise<void> {
  let over = false;
  const serving = (async () => {
    do await good(url);
    while (!over);
  })();
  serving.catch(() => undefined);
  await attack().finally(() => {
    over = true;
  });
  await serving;
  await good(url);
  await idle(url);
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

/** Every place and every file has come back. */
async function idle(url: string): Promise<void> {
  await until(async () => {
    const counts = await Promise.all(
      ["soundspot_queue_depth", "soundspot_in_flight"].map((name) => metric(url, name)),
    );
    return counts.every((count) => count === 0) && files().length === 0;
  });
}

/** Made by the service or its decoders; the libraries of others have some of their own. */
function folders(): string[] {
  return readdirSync(temporary).filter((name) => name.startsWith("soundspot"));
}

function files(): string[] {
  return folders().flatMap((name) => readdirSync(join(temporary, name)));
}

async function until(condition: () => Promise<boolean> | boolean, seconds = 30): Promise<void> {
  const end = performance.now() + patience(seconds);
  while (performance.now() < end) {
    if (await condition()) return;
    await sleep(50);
  }
  throw new Error(`it did not happen within ${patience(seconds) / 1000} s`);
}

/** A connection by hand. */
async function raw(url: string) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk) => {
    text += chunk;
  });
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await Promise.race([closed, new Promise<void>((resolve) => socket.once("connect", () => resolve()))]);
  return { socket, received: () => text, closed };
}

/** Sends bytes and returns the answer until the service closes. */
async function sent(url: string, bytes: string | Buffer): Promise<string> {
  const { socket, received, closed } = await raw(url);
  socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  await closed;
  return received();
}

/** Statuses and codes of the answers in a text. */
function answersIn(text: string): [status: number, code: string | undefined][] {
  return text
    .split(/(?=HTTP\/1\.1 \d)/)
    .filter((each) => each.startsWith("HTTP/1.1 "))
    .map((each) => [Number(each.slice(9, 12)), /"code":"(\w+)"/.exec(each)?.[1]]);
}

/** One answer, a documented failure without internals of the service. */
function expectFailure(text: string, statuses: readonly number[]): void {
  const [answer, ...others] = answersIn(text);
  expect(others).toEqual([]);
  expect(statuses, text).toContain(answer?.[0]);
  const body = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4));
  expect(body).toEqual({ error: { code: expect.stringMatching(/^ERR_\w+$/), message: expect.any(String) } });
  expectNoInsides(body.error.message);
}

function expectNoInsides(message: string): void {
  expect(message).not.toContain(folder);
  expect(message).not.toContain(process.cwd());
  expect(message).not.toMatch(/node_modules|\bat \S+:\d+|undefined|Cannot read|\.[jt]s:\d|FST_/);
  expect(message.length).toBeLessThan(1500);
}

const host = "Host: localhost\r\n";
const get = (path: string) => `GET ${path} HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
const head = (fields: string) => `POST /v1/localize HTTP/1.1\r\n${host}${fields}\r\n\r\n`;
const multipart = "Content-Type: multipart/form-data; boundary=x";
const withBody = (body: string | Buffer, type = multipart) => {
  const bytes = typeof body === "string" ? Buffer.from(body, "latin1") : body;
  return Buffer.concat([
    Buffer.from(head(`${type}\r\nContent-Length: ${bytes.length}\r\nConnection: close`)),
    bytes,
  ]);
};
const part = (fields: string, value: string | Buffer = "v") =>
  `--x\r\n${fields}\r\n\r\n${value.toString("latin1")}\r\n`;
const field = (name: string, value = "v") => part(`Content-Disposition: form-data; name="${name}"`, value);
const file = (name: string, fileName = name, value: string | Buffer = "v") =>
  part(`Content-Disposition: form-data; name="${name}"; filename="${fileName}"`, value);
const end = "--x--\r\n";
/** A file without an end. */
const unfinished = file("video", "v", "x".repeat(1000)).slice(0, -2);
const pair = () => withBody(file("image", "i", png) + file("audio", "a", audio) + end);

describe("addresses", () => {
  it.each([
    "/../secret.txt",
    "/../../../../../../etc/passwd",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/%252e%252e%252fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/assets/../../secret.txt",
    "/assets/..;/secret.txt",
    "/assets/%00",
    "/index.html%00.js",
    "//etc/passwd",
    "/etc/passwd",
    "http://localhost/etc/passwd",
    "file:///etc/passwd",
    "/%c0%ae%c0%ae/secret.txt",
    "/%",
    "/%ff",
    "/.env",
    "/assets",
    "/assets/",
    `/${"a".repeat(9000)}`,
    `/${"../".repeat(2000)}etc/passwd`,
    "/v1/localize/../../secret.txt",
    "/v1/search/items/..%2f..%2fsecret.txt/thumbnail",
    `/v1/search/items/${"0".repeat(500)}/audio`,
  ])("%s gives no file", async (path) => {
    const { url } = await start();
    const text = await sent(url, get(path));
    expectFailure(text, [400, 404]);
    expect(text).not.toMatch(/root:|secret$/);
  });

  it("serves the files of the page all the same", async () => {
    const { url } = await start();
    expect((await fetch(`${url}/assets/main-abc.js`)).status).toBe(200);
    expect((await fetch(`${url}/?x=%&__proto__=1&constructor[prototype]=2`)).status).toBe(200);
    expectFailure(await sent(url, get("/index.html").replace(host, `${host}Range: bytes=9999-\r\n`)), [416]);
  });
});

describe("HTTP that is none", () => {
  const chunked = `${multipart}\r\nTransfer-Encoding: chunked`;
  it.each<[string, string | Buffer, number[]]>([
    ["an unknown method", `FOO / HTTP/1.1\r\n${host}\r\n`, [400]],
    ["a method that no route has", `PROPFIND / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, [405]],
    ["TRACE", `TRACE / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, [405]],
    ["an unknown version", `GET / HTTP/3.0\r\n${host}\r\n`, [400]],
    ["no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", [400]],
    ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]],
    ["noise", Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 256)), [400]],
    ["two lengths", `${head(`${multipart}\r\nContent-Length: 4\r\nContent-Length: 5`)}abcde`, [400]],
    [
      "a length and chunks",
      `${head(`Content-Length: 4\r\n${chunked}`)}0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n`,
      [400],
    ],
    ["chunks and a length", `${head(`${chunked}\r\nContent-Length: 4`)}0\r\n\r\n`, [400]],
    ["an unknown encoding", `${head(`${multipart}\r\nTransfer-Encoding: xchunked`)}0\r\n\r\n`, [400]],
    [
      "chunks that are not last",
      `${head(`${multipart}\r\nTransfer-Encoding: chunked, identity`)}0\r\n\r\n`,
      [400],
    ],
    ["a space before the colon", `${head(`${multipart}\r\nTransfer-Encoding : chunked`)}0\r\n\r\n`, [400]],
    ["a negative length", head(`${multipart}\r\nContent-Length: -1`), [400]],
    ["a length beyond numbers", head(`${multipart}\r\nContent-Length: 99999999999999999999999`), [400]],
    [
      "a length beyond the limit",
      head(`${multipart}\r\nConnection: close\r\nContent-Length: 999999999999`),
      [413],
    ],
    ["a chunk of no size", `${head(chunked)}ZZ\r\n`, [400]],
    ["an extension of 20,000 bytes", `${head(chunked)}1;${"a".repeat(20_000)}\r\nx\r\n`, [413]],
    ["a header of 20,000 bytes", `GET / HTTP/1.1\r\n${host}a: ${"b".repeat(20_000)}\r\n\r\n`, [431]],
    ["5,000 headers", `GET / HTTP/1.1\r\n${host}${"aaaa: bbbb\r\n".repeat(5000)}\r\n`, [431]],
    ["a folded header", `GET /healthz HTTP/1.1\r\n${host}a: b\r\n c\r\n\r\n`, [400]],
    ["a zero in a header", `GET /healthz HTTP/1.1\r\n${host}a: \0\r\n\r\n`, [400]],
    ["an escape in the address", Buffer.from(`GET /\x9b31m HTTP/1.1\r\n${host}\r\n`, "latin1"), [400]],
    ["an unknown expectation", `GET / HTTP/1.1\r\n${host}Expect: tea\r\nConnection: close\r\n\r\n`, [417]],
  ])("%s", async (_what, bytes, statuses) => {
    const { url } = await start();
    expectFailure(await sent(url, bytes), statuses);
    await good(url);
  });

  it("supports no upgrades and no tunnels", async () => {
    const { url } = await start();
    for (const protocol of ["websocket", "h2c"]) {
      const fields = `Connection: Upgrade, close\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAA\r\n`;
      const text = await sent(url, `GET /healthz HTTP/1.1\r\n${host}${fields}\r\n`);
      expect(answersIn(text)).toEqual([[200, undefined]]);
    }
    expect(await sent(url, `CONNECT example.org:443 HTTP/1.1\r\n${host}\r\n`)).toBe("");
  });

  it("answers no request with the failure of the one behind it", async () => {
    const { url } = await start();
    const whole = pair().toString("latin1").replace("Connection: close\r\n", "");
    for (const text of await Promise.all(
      Array.from({ length: 5 }, () => sent(url, `${whole}garbage\r\n\r\n`)),
    )) {
      for (const [status] of answersIn(text)) expect(status).toBe(200);
    }
    await good(url);
    await idle(url);
  });

  it("works on the requests of a connection one after the other", async () => {
    const { url } = await start();
    const text = await sent(
      url,
      get("/healthz").replace("Connection: close\r\n", "").repeat(20) + get("/v2"),
    );
    expect(answersIn(text)).toEqual([...Array(20).fill([200, undefined]), [404, "ERR_NOT_FOUND"]]);
  });

  it.skipIf(process.platform !== "linux")("gives descriptors back when 1,000 are sent ahead", async () => {
    const { url } = await start();
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    await during(url, async () => {
      for (let round = 0; round < 3; round++) {
        const all = await Promise.all(Array.from({ length: 10 }, () => raw(url)));
        for (const { socket } of all) {
          socket.pause();
          socket.write(get("/assets/main-abc.js").replace("Connection: close\r\n", "").repeat(1000));
        }
        await sleep(500);
        for (const { socket } of all) socket.destroy();
      }
    });
    await until(() => descriptors() < before + 30);
    const text = await sent(url, get("/healthz").replace("Connection: close\r\n", "").repeat(1000));
    const answers = answersIn(text);
    expect(answers.filter(([status]) => status === 200).length).toBeGreaterThanOrEqual(65);
    expect(answers.at(-1)).toEqual([429, "ERR_OVERLOADED"]);
  });
});

describe("forms", () => {
  const cases: [string, Buffer, number[]][] = [
    ["no boundary", withBody("x", "Content-Type: multipart/form-data"), [400]],
    ["an empty boundary", withBody("x", `${multipart.slice(0, -1)}`), [400]],
    ["a boundary of 10,000", withBody("x", multipart + "x".repeat(10_000)), [400]],
    ["another boundary", withBody(field("at") + end, multipart.replace("=x", "=y")), [400]],
    [
      "a form in a form",
      withBody(
        part(
          'Content-Disposition: form-data; name="image"; filename="a"\r\nContent-Type: multipart/mixed; boundary=z',
          "--z\r\n\r\na\r\n--z--",
        ) + end,
      ),
      [400],
    ],
    ["no end", withBody(field("at")), [400]],
    ["a part without a name", withBody(part("Content-Disposition: form-data") + end), [400]],
    ["a file without a name", withBody(part('Content-Disposition: form-data; filename="a"') + end), [400]],
    ["an empty name", withBody(field("") + end), [400]],
    ["no disposition", withBody(part("a: b") + end), [400]],
    ["no headers", withBody(`--x\r\n\r\nv\r\n${end}`), [400]],
    ["a header that is none", withBody(part("foo") + end), [400]],
    ["a field twice", withBody(field("at", "1") + field("at", "2") + end), [400]],
    ["a file twice", withBody(file("image") + file("image") + end), [400]],
    ["JSON", withBody("{}", "Content-Type: application/json"), [415]],
    ["no type", withBody("{}", "a: b"), [415]],
    ["a type that is none", withBody("{}", "Content-Type: ;;;"), [415]],
    ["nothing", withBody(""), [400]],
    [
      "noise",
      withBody(Buffer.from(Array.from({ length: 300_000 }, (_, i) => ((i * 7919) >> 3) % 256))),
      [400],
    ],
    [
      "a form in gzip",
      withBody(gzipSync(field("at") + end), `${multipart}\r\nContent-Encoding: gzip`),
      [400],
    ],
    ["100,000 fields", withBody(field("at", "1").repeat(100_000) + end), [400, 413]],
    ["20,000 parts without a name", withBody(part("a: b").repeat(20_000) + end), [400, 413]],
    ["20 files", withBody(Array.from({ length: 20 }, (_, i) => file(`f${i}`)).join("") + end), [400]],
    ["line ends in a name", withBody(field("a%0d%0aX: y\\r\\nb") + end), [400]],
    ["control characters in a name", withBody(field("a\0b\x1b[31m") + end), [400]],
    ["a name of 5,000", withBody(field("n".repeat(5000)) + end), [400]],
    [
      "a header of 40,000",
      withBody(part(`Content-Disposition: form-data; name="at"\r\na: ${"b".repeat(40_000)}`) + end),
      [400],
    ],
    ["a field of 200,000", withBody(field("include", "x".repeat(200_000)) + end), [413]],
    ["10,000 names to include", withBody(field("include", "heatmap,".repeat(10_000)) + end), [413]],
    [
      "a field of JSON",
      withBody(
        part(
          'Content-Disposition: form-data; name="at"\r\nContent-Type: application/json',
          '{"toString":1}',
        ) + end,
      ),
      [400],
    ],
    ["a path as a file's name", withBody(file("video", "../../../etc/passwd") + end), [400]],
    ["a path as a field's name", withBody(file("../../../etc/passwd") + end), [400]],
    ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"].flatMap(
      (name): [string, Buffer, number[]][] => [
        [`a field ${name}`, withBody(field(name) + end), [400]],
        [`a file ${name}`, withBody(file(name) + end), [400]],
      ],
    ),
  ];
  it.each(cases)("%s", async (_what, bytes, statuses) => {
    const { url } = await start();
    expectFailure(await sent(url, bytes), statuses);
    await idle(url);
  });

  it.each(["NaN", "Infinity", "1e999", "-1e999", "-1", "", " ", "1,5", "0x", "1e", "null", "[]", "\u0661"])(
    "the number %j",
    async (value) => {
      const { url } = await start();
      for (const name of ["threshold", "alpha", "sharpening"]) {
        const response = await post(url, { image: png, audio, [name]: value });
        expect(response.status).toBe(400);
        expect(await response.json()).toEqual({
          error: {
            code: "ERR_INPUT",
            message: expect.stringMatching(new RegExp(`^${name} must be a number`)),
          },
        });
      }
    },
  );

  it("gives finite numbers at the ends of the ranges", async () => {
    const { url } = await start();
    for (const [sharpening, threshold] of [
      ["1e-6", "0"],
      ["1e6", "1"],
    ] as const) {
      const response = await post(url, { image: png, audio, sharpening, threshold, include: "attention" });
      expect(response.status).toBe(200);
      expect(await response.text()).not.toContain("null");
    }
  });
});

describe("files that are traps", () => {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const pngOf = (width: number, height: number, pixels: Buffer) => {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2], 8);
    return Buffer.concat([
      Buffer.from("89504e470d0a1a0a", "hex"),
      chunk("IHDR", header),
      chunk("IDAT", deflateSync(pixels)),
      chunk("IEND", Buffer.alloc(0)),
    ]);
  };
  const svg = (inner: string, before = "") =>
    Buffer.from(`${before}<svg xmlns="http://www.w3.org/2000/svg" width="4000" height="4000">${inner}</svg>`);
  const entities = [..."bcdefghij"].map(
    (name, i) => `<!ENTITY ${name} "${`&${"abcdefghi"[i]};`.repeat(10)}">`,
  );
  const nested = Array.from(
    { length: 8 },
    (_, i) => `<g id="a${i + 1}">${`<use href="#a${i}"/>`.repeat(10)}</g>`,
  );
  const claimed = Buffer.from(audio);
  claimed.writeUInt32LE(0xfffffff0, 4);
  claimed.writeUInt32LE(0xfffffff0, 40);
  const wideWav = Buffer.from(audio);
  wideWav.writeUInt16LE(65_535, 22);
  const rate = (hertz: number) => {
    const wav = Buffer.from(audio);
    wav.writeUInt32LE(hertz, 24);
    return wav;
  };
  /** A STREAMINFO that claims 2³⁵ samples of 16 bits in 8 channels, without any data. */
  const flac = Buffer.alloc(42 + 4000);
  flac.write("fLaC\x80\x00\x00\x22\x10\x00\x10\x00", "latin1");
  flac.writeUIntBE(0x0bb80e, 18, 3);
  flac.set([0xff, 0xff, 0xff, 0xff, 0xff], 21);

  it.each<[string, () => Values]>([
    ["a PNG of 60,000 × 60,000", () => ({ image: pngOf(60_000, 60_000, Buffer.alloc(4_000_000)), audio })],
    ["a PNG whose pixels are missing", () => ({ image: pngOf(4000, 4000, Buffer.alloc(100)), audio })],
    ["a cut PNG", () => ({ image: png.subarray(0, 100), audio })],
    [
      "an SVG of entities",
      () => ({
        image: svg("<text>&j;</text>", `<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa">${entities.join("")}]>`),
        audio,
      }),
    ],
    [
      "an SVG with a file of the service",
      () => ({
        image: svg(
          '<image href="file:///etc/passwd"/><text>&x;</text>',
          '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        ),
        audio,
      }),
    ],
    [
      "an SVG that draws for hours",
      () => ({
        image: svg(`<defs><rect id="a0" width="9" height="9"/>${nested.join("")}</defs><use href="#a8"/>`),
        audio,
      }),
    ],
    ["an SVG in gzip", () => ({ image: gzipSync(svg("")), audio })],
    ["a WAV of 65,535 channels", () => ({ image: png, audio: wideWav })],
    ["a WAV at 4 GHz", () => ({ image: png, audio: rate(0xffffffff) })],
    ["a WAV at 0 Hz", () => ({ image: png, audio: rate(0) })],
    ["a FLAC that claims 2³⁵ samples", () => ({ image: png, audio: flac })],
    ["text as audio", () => ({ image: png, audio: Buffer.from("junk ".repeat(500)) })],
    [
      "noise as a video",
      () => ({ video: Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * i * 31) % 251)) }),
    ],
  ])("%s", async (_what, values) => {
    const { url } = await start();
    const resident = await metric(url, "process_resident_memory_bytes");
    await during(url, async () => {
      const response = await post(url, values());
      const { error } = (await response.json()) as { error: { code: string; message: string } };
      expect([response.status, error.code]).toEqual([
        400,
        expect.stringMatching(/^ERR_(MEDIA_DECODE|INPUT|NO_AUDIO|AUDIO_EMPTY)$/),
      ]);
      expectNoInsides(error.message);
    });
    expect((await metric(url, "process_resident_memory_bytes")) - resident).toBeLessThan(3e8);
  });

  it("takes a WAV that claims 2³² bytes for as long as it is", async () => {
    const { url } = await start();
    const resident = await metric(url, "process_resident_memory_bytes");
    const [whole, open] = await Promise.all(
      [audio, claimed].map(async (each) => (await post(url, { image: png, audio: each })).json()),
    );
    expect(whole).toMatchObject({ confidence: expect.any(Number) });
    expect(open).toEqual(whole);
    expect((await metric(url, "process_resident_memory_bytes")) - resident).toBeLessThan(3e8);
  });

  it("takes one frame of an animation, and only the audio window of long audio", async () => {
    const { url } = await start();
    const gif = join(folder, "many.gif");
    const long = join(folder, "long.flac");
    execFileSync(ffmpeg, ["-v", "error", "-y", ..."-f lavfi -i color=s=1500x1500:r=25:d=20".split(" "), gif]);
    execFileSync(ffmpeg, [
      "-v",
      "error",
      "-y",
      ..."-f lavfi -i anullsrc=r=48000:cl=stereo -t 7200".split(" "),
      long,
    ]);
    const resident = await metric(url, "process_resident_memory_bytes");
    await during(url, async () => {
      const response = await post(url, { image: readFileSync(gif), audio: readFileSync(long) });
      expect(await response.json()).toMatchObject({ width: 1500, height: 1500 });
    });
    expect((await metric(url, "process_resident_memory_bytes")) - resident).toBeLessThan(6e8);
  });

  it("rejects a video of huge frames before it decodes one", async () => {
    const { url } = await start({ pixels: 100_000 });
    const video = join(folder, "huge.mp4");
    const inputs =
      "-f lavfi -i color=s=4096x4096:r=1:d=2 -f lavfi -i sine=d=2 -c:v libx264 -preset ultrafast -c:a aac";
    execFileSync(ffmpeg, ["-v", "error", "-y", ...inputs.split(" "), video]);
    const response = await post(url, { video: readFileSync(video) });
    expect([response.status, await response.json()]).toEqual([
      400,
      {
        error: {
          code: "ERR_MEDIA_DECODE",
          message: "video has frames of 4096 × 4096. Give one of at most 100000 pixels.",
        },
      },
    ]);
  });

  it("opens no file that an upload names", async () => {
    const { url } = await start();
    const secret = join(folder, "secret.ts");
    const inputs =
      "-f lavfi -i testsrc=s=64x48:r=10:d=3 -f lavfi -i sine=d=3 -c:v libx264 -c:a aac -f mpegts";
    execFileSync(ffmpeg, ["-v", "error", "-y", ...inputs.split(" "), secret]);
    // As a video itself it is good.
    expect((await post(url, { video: readFileSync(secret) })).status).toBe(200);
    const hls = `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\nfile://${secret}\n#EXT-X-ENDLIST\n`;
    const tag = (size: number) =>
      Buffer.concat([Buffer.from("ID3\x03\0\0\0\0\0", "latin1"), Buffer.from([size]), Buffer.alloc(size)]);
    const dash = `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0"><BaseURL>file://${secret}</BaseURL></Representation></AdaptationSet></Period></MPD>`;
    for (const text of [
      Buffer.from(hls),
      Buffer.concat([tag(10), Buffer.from(hls)]),
      Buffer.concat([tag(20), tag(0), Buffer.from(hls)]),
      Buffer.from(hls.replace("file://", "http://127.0.0.1:1/")),
      Buffer.from(`ffconcat version 1.0\nfile ${secret}\n`),
      Buffer.from("ffconcat version 1.0\nfile 1\n"),
      Buffer.from(dash),
      Buffer.from(`\n ${dash}`),
      Buffer.from("# VobSub index file, v7\n"),
    ]) {
      for (const values of [{ video: text }, { image: png, audio: text }]) {
        const response = await post(url, values);
        const { error } = (await response.json()) as { error: { code: string; message: string } };
        expect([response.status, error.code]).toEqual([400, "ERR_MEDIA_DECODE"]);
        expectNoInsides(error.message);
      }
    }
  });
});

describe("uploads", () => {
  const body = (length: number) =>
    Buffer.concat([Buffer.from(file("image").split("v\r\n")[0] ?? ""), Buffer.alloc(length)]);

  it("that are too large, of a known length and of none", async () => {
    const { url } = await start({ uploadBytes: 100_000 });
    const large = Buffer.concat([body(150_000), Buffer.from(`\r\n${end}`)]);
    expectFailure(await sent(url, withBody(large)), [413]);
    const chunks = Buffer.concat([
      Buffer.from(head(`${multipart}\r\nTransfer-Encoding: chunked\r\nConnection: close`)),
      Buffer.from(`${large.length.toString(16)}\r\n`),
      large,
      Buffer.from("\r\n0\r\n\r\n"),
    ]);
    expectFailure(await sent(url, chunks), [413]);
    await good(url);
    await idle(url);
  });

  it("that are slow, stop or are cut off", async () => {
    const { url } = await start({ uploadTimeout: 3 });
    await during(url, async () => {
      const all = await Promise.all(Array.from({ length: 60 }, () => raw(url)));
      const dripping: NodeJS.Timeout[] = [];
      for (const [i, { socket }] of all.entries()) {
        if (i % 3 === 0) {
          // A head, byte by byte.
          socket.write(`POST /v1/localize HTTP/1.1\r\n${host}a: `);
        } else socket.write(head(`${multipart}\r\nContent-Length: 1000000`) + unfinished);
        if (i % 3 < 2) dripping.push(setInterval(() => socket.write("x"), 100));
      }
      await Promise.all(all.map(({ closed }) => closed)).finally(() => {
        for (const each of dripping) clearInterval(each);
      });
      for (const { received } of all) expectFailure(received(), [408]);
      for (let i = 0; i < 20; i++) {
        const { socket } = await raw(url);
        socket.end(head(`${multipart}\r\nContent-Length: 1000000`) + unfinished);
      }
    });
  });

  it("in all places: others get 429 and come again", async () => {
    const { url } = await start({ uploadTimeout: 3, concurrency: 2, queue: 4 });
    const all = await Promise.all(Array.from({ length: 6 }, () => raw(url)));
    for (const { socket } of all) socket.write(head(`${multipart}\r\nContent-Length: 1000`));
    await until(async () => (await metric(url, "soundspot_queue_depth")) === 6);
    const rejected = await post(url, { image: png, audio });
    expect([rejected.status, rejected.headers.get("retry-after")]).toEqual([429, "1"]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    await Promise.all(all.map(({ closed }) => closed));
    await idle(url);
    await good(url);
  });

  it("are counted: all of them together stay below a gigabyte", async () => {
    const service = new Service({ model });
    service.takeUpload(2 ** 29, 0);
    service.takeUpload(2 ** 29, 2 ** 29);
    expect(() => service.takeUpload(1, 0)).toThrow(/^Other uploads/);
    service.takeUpload(2 ** 29, 2 ** 30); // one form alone may have more
    expect(() => service.takeUpload(1, 2 ** 30)).toThrow(expect.objectContaining({ status: 429 }));
    service.giveUploadBack(2 ** 30 + 2 ** 29);
    service.takeUpload(2 ** 30, 0);

    const { takeUpload } = Service.prototype;
    const full = vi
      .spyOn(Service.prototype, "takeUpload")
      .mockImplementation(() => takeUpload.call(service, 1, 0));
    const { url } = await start();
    for (const values of [{ image: png, audio }, { video: audio }] as Values[]) {
      const response = await post(url, values);
      expect(response.headers.get("retry-after")).toBe("1");
      expect([response.status, await response.json()]).toEqual([
        429,
        {
          error: {
            code: "ERR_OVERLOADED",
            message: expect.stringMatching(/^Other uploads .* after 1 s/),
          },
        },
      ]);
    }
    full.mockRestore();
    await good(url);
  });

  it("of 400 clients that vanish at random", async () => {
    const { url } = await start();
    let held = 0;
    const { takeUpload, giveUploadBack } = Service.prototype;
    vi.spyOn(Service.prototype, "takeUpload").mockImplementation(function (this: Service, bytes, before) {
      held += bytes;
      takeUpload.call(this, bytes, before);
    });
    vi.spyOn(Service.prototype, "giveUploadBack").mockImplementation(function (this: Service, bytes) {
      held -= bytes;
      giveUploadBack.call(this, bytes);
    });
    const clip = join(folder, "clip.mp4");
    const inputs = "-f lavfi -i testsrc=s=320x240:r=10:d=3 -f lavfi -i sine=d=3 -c:v libx264 -c:a aac";
    execFileSync(ffmpeg, ["-v", "error", "-y", ...inputs.split(" "), clip]);
    const whole = [
      pair(),
      withBody(file("video", "v", readFileSync(clip)) + end),
      withBody(
        file("image", "i", png) + file("audio", "a", audio) + field("include", "heatmap,overlay") + end,
      ),
    ];
    let seed = 1;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    await during(url, async () => {
      for (let round = 0; round < 8; round++) {
        await Promise.all(
          Array.from({ length: 50 }, async () => {
            const bytes = whole[Math.floor(3 * random())] as Buffer;
            const [share, wait] = [random(), 400 * random()];
            const { socket } = await raw(url);
            socket.write(bytes.subarray(0, Math.ceil(Math.min(1, 2 * share) * bytes.length)));
            await sleep(wait);
            socket.destroy();
          }),
        );
      }
    });
    expect(held).toBe(0);
    expect(requests.some(({ status }) => status === 499)).toBe(true);
    // Every place of the decoders and all memory for maps are there for as many as there are.
    await Promise.all(Array.from({ length: 40 }, () => good(url)));
  });
});

describe("connections", () => {
  it.skipIf(process.platform !== "linux")("1,000 that are idle, and 1,000 with half a head", async () => {
    const { server, url } = await start({ uploadTimeout: 8 });
    expect(server.app.server.maxConnections).toBe(2048);
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    for (const text of ["", `POST /v1/localize HTTP/1.1\r\n${host}a: `]) {
      const resident = await metric(url, "process_resident_memory_bytes");
      const all = [];
      for (let i = 0; i < 20; i++)
        all.push(...(await Promise.all(Array.from({ length: 50 }, () => raw(url)))));
      for (const { socket } of all) if (text !== "") socket.write(text);
      await good(url);
      expect(await metric(url, "soundspot_queue_depth")).toBe(0);
      expect((await metric(url, "process_resident_memory_bytes")) - resident).toBeLessThan(2e8);
      await Promise.all(all.map(({ closed }) => closed)); // the service ends them
      for (const { received } of all) if (text !== "") expectFailure(received(), [408]);
      await good(url);
    }
    await until(() => descriptors() < before + 30);
  });

  it("beyond the limit are closed without an answer", async () => {
    const { server, url } = await start();
    server.app.server.maxConnections = 20;
    const all = await Promise.all(Array.from({ length: 20 }, () => raw(url)));
    await until(
      () => new Promise((resolve) => server.app.server.getConnections((_, count) => resolve(count === 20))),
    );
    expect(await sent(url, get("/healthz"))).toBe("");
    for (const { socket } of all) socket.destroy();
    await until(() =>
      fetch(`${url}/healthz`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    );
    await good(url);
  });

  it("that do not take their answers are cut off, and have no more than their share of the memory", async () => {
    const { url } = await start({ uploadTimeout: 40 });
    const large = await encodeImage(
      { data: new Uint8Array(4096 * 4096 * 3), width: 4096, height: 4096 },
      { format: "png" },
    );
    const ask = withBody(
      file("image", "i", large) + file("audio", "a", audio) + field("include", "heatmap") + end,
    );
    const before = await metric(url, "process_resident_memory_bytes");
    await during(url, async () => {
      const all = await Promise.all(Array.from({ length: 6 }, () => raw(url)));
      for (const { socket } of all) {
        socket.once("data", () => socket.pause());
        socket.write(ask);
      }
      await until(() => all.every(({ received }) => received() !== ""), 90);
      const statuses = all.map(({ received }) => answersIn(received())[0]?.[0]).sort();
      expect(statuses).toEqual([200, 200, 200, 200, 429, 429]);
      expect((await metric(url, "process_resident_memory_bytes")) - before).toBeLessThan(2e9);
      await until(() => requests.filter(({ status }) => status === 499).length >= 4, 60);
    });
    const response = await post(url, { image: large, audio, include: "heatmap" });
    expect(((await response.json()) as { heatmap: { shape: number[] } }).heatmap.shape).toEqual([4096, 4096]);
  });
});

describe("search", () => {
  it("takes no more than the service does, decodes in its turn, and gives no other files", async () => {
    const media = join(folder, "media", "dog");
    mkdirSync(media, { recursive: true });
    writeFileSync(join(media, "a.png"), png);
    writeFileSync(join(media, "a.wav"), audio);
    using index = await SearchIndex.create(join(folder, "media.index"), { model });
    await index.update({ model, folder: join(folder, "media") });
    const { url } = await start({ index, pixels: 3000 });
    const search = async (values: Values) => {
      const response = await post(url, values, "/v1/search");
      return [response.status, await response.text()] as const;
    };
    const run = vi.spyOn(Semaphore.prototype, "run");
    expect((await search({ image: png }))[0]).toBe(200);
    expect(run).toHaveBeenCalledTimes(3); // the search, the image, and the model's input from it
    run.mockClear();
    const [status, text] = await search({ audio });
    expect(status).toBe(200);
    expect(run).toHaveBeenCalledTimes(3); // the search, the audio, and the image that it finds
    run.mockClear();
    const [{ url: thumbnail }] = JSON.parse(text).results;
    expect((await fetch(url + thumbnail)).status).toBe(200);
    expect(run).toHaveBeenCalledTimes(1);
    run.mockRestore();

    const wide = await encodeImage(
      { data: new Uint8Array(100 * 100 * 3), width: 100, height: 100 },
      { format: "png" },
    );
    for (const [values, expected] of [
      [{ image: wide }, /^image cannot be decoded: .* at most 3000 pixels/],
      [{ image: Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>") }, /^image cannot be decoded/],
      [{ audio: Buffer.from("#EXTM3U\nfile:///etc/passwd\n") }, /^audio cannot be decoded/],
      [{ audio: Buffer.from("junk".repeat(100)) }, /^audio cannot be decoded/],
      ...["NaN", "1e999", "-1", "0", "101", "1.5", ""].map((k) => [{ audio, k }, /^k must be/] as const),
    ] as [Values, RegExp][]) {
      const [rejected, body] = await search(values);
      const { error } = JSON.parse(body);
      expect([rejected, error.message]).toEqual([400, expect.stringMatching(expected)]);
      expectNoInsides(error.message);
    }
    for (const label of ["' OR 1=1 --", "dog' OR 'a'='a", "\\", "\0", "%"]) {
      const [found, body] = await search({ audio, label });
      expect([label, found, JSON.parse(body).results]).toEqual([label, 200, []]);
    }
    for (const id of ["..%2f..%2fsecret.txt", "%00", "a'b", "A".repeat(32), "0".repeat(33), "__proto__"]) {
      for (const kind of ["thumbnail", "audio"]) {
        expectFailure(await sent(url, get(`/v1/search/items/${id}/${kind}`)), [404]);
      }
    }
    await idle(url);
  });
});

const CHROMIUM = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";

describe("the page", () => {
  it("is closed to other pages, and every answer has security headers", async () => {
    const { url } = await start();
    for (const site of ["cross-site", "same-site"]) {
      const text = await sent(url, withBody("", `${multipart}\r\nSec-Fetch-Site: ${site}`));
      expectFailure(text, [403]);
    }
    for (const path of ["/", "/healthz", "/nothing", "/assets/main-abc.js"]) {
      const { headers } = await fetch(url + path);
      expect(headers.get("content-security-policy")).toMatch(/^default-src 'none';.*frame-ancestors 'none'$/);
      expect(headers.get("content-security-policy")).not.toMatch(/unsafe|\*/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
    }
  });

  it.skipIf(!existsSync(CHROMIUM))("works under its policy", async () => {
    const web = join(folder, "web");
    await build({ root: "web", logLevel: "error", build: { outDir: web } });
    const { url } = await start({ page: web });
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    });
    try {
      const tab = await browser.newPage();
      const wrong: string[] = [];
      tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
      tab.on("pageerror", (error) => wrong.push(error.message));
      await tab.goto(url);
      const answered = () => tab.waitForResponse((response) => response.url().endsWith("/v1/localize"));
      const [sample] = await Promise.all([answered(), tab.locator("#sample:enabled").click()]);
      expect(sample.status()).toBe(200);
      const [live] = await Promise.all([answered(), tab.locator("#camera").click()]);
      expect(live.status()).toBe(200);
      expect(wrong).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});

describe("soundspot serve", () => {
  it("ends with 0 after SIGTERM in the midst of it all, and leaves no file", async () => {
    const cli = join(transpilePackage(join(folder, "package")), "cli", "main.js");
    const checkpoint = join(folder, "tiny.safetensors");
    await model.save(checkpoint);
    const flags = ["serve", checkpoint, "--port", "0", "--json", "--grace", "1"];
    const child: ChildProcess = spawn(process.execPath, [cli, ...flags], {
      env: { ...process.env, TMPDIR: temporary },
    });
    try {
      let errors = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        errors += text;
      });
      const lines: Record<string, unknown>[] = [];
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) =>
        lines.push(JSON.parse(line)),
      );
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
      await until(() => lines.length > 0, 60);
      const url = String(lines[0]?.url);
      const all = await Promise.all(Array.from({ length: 200 }, () => raw(url)));
      for (const [i, { socket }] of all.entries()) {
        if (i % 4 === 1) socket.write("POST /v1/localize HTTP/1.1\r\n");
        if (i % 4 === 2) socket.write(head(`${multipart}\r\nContent-Length: 1000000`) + unfinished);
        if (i % 4 === 3)
          socket.pause().write(get("/openapi.json").replace("Connection: close\r\n", "").repeat(50));
      }
      await until(() => files().length === 50);
      await good(url);
      child.kill("SIGTERM");
      expect(await ended).toBe(0);
      expect(errors).toBe("");
      expect(lines.filter(({ status }) => status === 500)).toEqual([]);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
