/** Methods of the paths, and pages of other origins. */
import { mkdirSync, writeFileSync } from "node:fs";
import { METHODS, request as send } from "node:http";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SearchIndex, type ServerOptions } from "../../../src/index.js";
import { audio, png, Services } from "../../support/service.js";

const services = new Services();
let index: SearchIndex;
let page: string;

beforeAll(async () => {
  await services.begin();
  const media = join(services.folder, "media");
  mkdirSync(media);
  writeFileSync(join(media, "a.png"), await png());
  writeFileSync(join(media, "a.wav"), audio);
  index = await SearchIndex.create(join(services.folder, "media.index"), { model: services.model });
  await index.update({ model: services.model, folder: media });
  page = join(services.folder, "page");
  mkdirSync(join(page, "assets"), { recursive: true });
  writeFileSync(join(page, "index.html"), "<!doctype html><title>page</title>");
  writeFileSync(join(page, "assets", "main-abc.js"), "1");
});
afterEach(() => services.close());
afterAll(async () => {
  index.close();
  await services.end();
});

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

/** Any method; fetch has not all of them. */
function ask(
  url: string,
  method: string,
  headers: Record<string, string> = {},
  body?: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = send(url, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    sent.on("error", reject).end(body);
  });
}

const start = (options: Partial<ServerOptions> = {}) => services.start({ index, page, ...options });

const READ = "GET, HEAD, OPTIONS";
const SEND = "OPTIONS, POST";
const paths: readonly (readonly [path: string, allow: string])[] = [
  ["/", READ],
  ["/index.html", READ],
  ["/assets/main-abc.js", READ],
  ["/healthz", READ],
  ["/metrics", READ],
  ["/openapi.json", READ],
  ["/v1/info", READ],
  ["/v1/models", READ],
  ["/v1/localize", SEND],
  ["/v1/search", SEND],
  [`/v1/search/items/${"0".repeat(32)}/thumbnail`, READ],
  [`/v1/search/items/${"0".repeat(32)}/audio`, READ],
];

describe("a path", () => {
  it.each(paths)("%s has %s, and 405 with Allow for every other method", async (path, allow) => {
    const { url } = await start();
    const all = METHODS.filter((method) => method !== "CONNECT" && !allow.split(", ").includes(method));
    expect(all.length).toBeGreaterThan(25);
    for (const method of all) {
      // A body of any type changes nothing.
      const { status, headers, text } = await ask(
        url + path,
        method,
        { "content-type": "application/json", "content-length": "2" },
        "{}",
      );
      expect([method, status, headers.allow]).toEqual([method, 405, allow]);
      if (method === "HEAD") continue;
      const { error } = JSON.parse(text);
      expect(error.code).toBe("ERR_METHOD");
      expect(error.message).toMatch(new RegExp(` has no ${method}\\. Use ${allow}\\.$`));
    }
    const options = await ask(url + path, "OPTIONS");
    expect([options.status, options.headers.allow, options.text]).toEqual([204, allow, ""]);
    expect(options.headers["access-control-allow-origin"]).toBeUndefined();
  });

  it("has HEAD where it has GET, with the same head", async () => {
    const { url } = await start();
    const found = (await (await fetch(`${url}/v1/search`, { method: "POST", body: formOf() })).json()) as {
      results: { url: string }[];
    };
    const item = found.results[0]?.url as string;
    for (const path of [...paths.filter(([, allow]) => allow === READ).map(([each]) => each), item]) {
      const [get, head] = [await ask(url + path, "GET"), await ask(url + path, "HEAD")];
      const typeOf = ({ headers }: Answer) => headers["content-type"];
      expect([path, head.status, typeOf(head), head.text]).toEqual([path, get.status, typeOf(get), ""]);
      if (path === "/metrics") continue; // its numbers change
      expect([path, head.headers["content-length"]]).toEqual([path, get.headers["content-length"]]);
    }
  });

  it("that does not exist has no method at all", async () => {
    const { url } = await start();
    for (const path of ["/v2", "/v1", "/assets", "/assets/other.js", "/v1/localize/", "/index.html/x"]) {
      for (const method of ["GET", "POST", "PUT", "OPTIONS", "PROPFIND"]) {
        const { status, headers } = await ask(url + path, method);
        expect([path, method, status, headers.allow]).toEqual([path, method, 404, undefined]);
      }
    }
  });

  function formOf(): FormData {
    const data = new FormData();
    data.append("audio", new Blob([new Uint8Array(audio)]), "audio");
    return data;
  }
});

describe("pages of other origins", () => {
  const origin = "https://example.org";
  const preflight = (from: string) => ({
    origin: from,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
  });

  it("may send Authorization where cors names them", async () => {
    for (const cors of [[origin], ["*"]]) {
      const { url } = await start({ cors });
      const { status, headers } = await ask(`${url}/v1/localize`, "OPTIONS", preflight(origin));
      expect([status, headers["access-control-allow-origin"]]).toEqual([204, cors[0]]);
      expect(String(headers["access-control-allow-headers"]).split(", ")).toContain("Authorization");
      expect(String(headers["access-control-allow-methods"]).split(", ")).toEqual(["GET", "HEAD", "POST"]);
    }
  });

  it("are reported once each where cors does not name them", async () => {
    for (const [cors, expected] of [
      [
        undefined,
        /^A page of "https:\/\/example\.org" asked .* --cors is not on\. .* --cors "https:\/\/example\.org"/,
      ],
      [["https://other.org"], /^A page of "https:\/\/example\.org" asked .* --cors does not name it\./],
    ] as const) {
      const warnings: string[] = [];
      const { url } = await start({
        ...(cors ? { cors } : {}),
        onWarning: (message) => warnings.push(message),
      });
      await ask(`${url}/v1/localize`, "OPTIONS"); // no preflight
      await ask(`${url}/v1/localize`, "GET", { origin });
      expect(warnings).toEqual([]);
      for (const path of ["/v1/localize", "/v1/localize", "/v1/search", "/nothing"]) {
        const { headers } = await ask(url + path, "OPTIONS", preflight(origin));
        expect(headers["access-control-allow-origin"]).toBeUndefined();
      }
      expect(warnings).toEqual([expect.stringMatching(expected)]);
      await ask(`${url}/v1/localize`, "OPTIONS", preflight("http://localhost:3000"));
      expect(warnings).toHaveLength(2);
    }
  });

  it("fill no log, whatever origins they claim", async () => {
    const warnings: string[] = [];
    const { server } = await start({ onWarning: (message) => warnings.push(message) });
    for (let i = 0; i < 300; i++) {
      const headers = preflight(`https://${i}.${"x".repeat(1000)}`);
      await server.app.inject({ method: "OPTIONS", url: "/v1/localize", headers });
    }
    expect(warnings).toHaveLength(100);
    expect(Math.max(...warnings.map(({ length }) => length))).toBeLessThan(700);
  });
});
