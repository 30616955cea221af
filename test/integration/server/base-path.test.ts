/** The service below a path of a reverse proxy: page, calls and addresses in answers. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createServer, SearchIndex, type ServedRequest, type ServerOptions } from "../../../src/index.js";
import { type ProxyOptions, proxyTo, type ReverseProxy } from "../../support/proxy.js";
import { audio, failure, form, png, post, Services, until } from "../../support/service.js";

const CHROMIUM = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
const services = new Services();
const proxies: ReverseProxy[] = [];
const page = join(services.folder, "web");
let image: Buffer;
let index: SearchIndex;

beforeAll(async () => {
  await services.begin();
  image = await png();
  await build({ root: "web", logLevel: "error", build: { outDir: page } });
  const media = join(services.folder, "media");
  mkdirSync(media);
  writeFileSync(join(media, "a.png"), image);
  writeFileSync(join(media, "a.wav"), audio);
  index = await SearchIndex.create(join(services.folder, "media.index"), { model: services.model });
  await index.update({ model: services.model, folder: media });
});
afterEach(async () => {
  for (const proxy of proxies.splice(0)) proxy.close();
  await services.close();
});
afterAll(async () => {
  index.close();
  await services.end();
});

async function behind(
  { strip, ...proxied }: Pick<ProxyOptions, "strip" | "client">,
  options: Partial<ServerOptions> = {},
): Promise<{ outside: string; inside: string }> {
  const { url } = await services.start({ index, page, basePath: "/apps/sound", trustProxy: 1, ...options });
  const target = new URL(url).origin;
  const proxy = await proxyTo({ prefix: "/apps/sound", strip, target, ...proxied });
  proxies.push(proxy);
  return { outside: `${proxy.url}/apps/sound`, inside: url };
}

describe.each([
  ["keeps the path", false],
  ["takes it away", true],
])("behind a proxy that %s", (_what, strip) => {
  it("the page has its files and calls below the path", async () => {
    const { outside } = await behind({ strip });
    const response = await fetch(`${outside}/`);
    const html = await response.text();
    expect([response.status, html.includes("<title>soundspot</title>")]).toEqual([200, true]);
    const files = [...html.matchAll(/(?:src|href)="([^"#][^"]*)"/g)].map(([, address]) => address as string);
    expect(files.length).toBeGreaterThanOrEqual(3);
    for (const address of files) {
      expect([address, (await fetch(new URL(address, `${outside}/`))).status]).toEqual([address, 200]);
    }
    for (const name of readdirSync(join(page, "assets"))) {
      expect((await fetch(`${outside}/assets/${name}`)).status).toBe(200);
    }
  });

  it("answers and finds, with addresses below the path", async () => {
    const { outside, inside } = await behind({ strip });
    expect(new URL(inside).pathname).toBe("/apps/sound");
    const spot = await services.model.localize({ image, audio });
    for (const url of [outside, inside, new URL(inside).origin]) {
      const answer = (await (await post(url, { image, audio })).json()) as { confidence: number };
      expect(answer.confidence).toBe(spot.confidence);
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
    }
    const search = await fetch(`${outside}/v1/search`, { method: "POST", body: form({ audio }) });
    const { results } = (await search.json()) as { results: { url: string }[] };
    const found = results[0]?.url as string;
    expect(found).toMatch(/^\/apps\/sound\/v1\/search\/items\/\w+\/thumbnail$/);
    const thumbnail = await fetch(new URL(found, outside));
    expect([thumbnail.status, thumbnail.headers.get("content-type")]).toEqual([200, "image/jpeg"]);
    const { servers } = (await (await fetch(`${outside}/openapi.json`)).json()) as { servers: unknown };
    expect(servers).toEqual([{ url: "/apps/sound" }]);
    expect(await (await fetch(`${outside}/v1/info`)).json()).toMatchObject({ basePath: "/apps/sound" });
    expect(await failure(fetch(`${outside}/v2`))).toEqual([
      404,
      "ERR_NOT_FOUND",
      expect.stringMatching(/^There is no GET .*\/v2\. See \/apps\/sound\/openapi\.json/),
    ]);
    const wrong = await fetch(`${outside}/v1/localize`);
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "OPTIONS, POST"]);
  });

  it.skipIf(!existsSync(CHROMIUM))("the page works in a browser", async () => {
    const { outside } = await behind({ strip });
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    try {
      const tab = await browser.newPage();
      const wrong: string[] = [];
      tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
      tab.on("pageerror", (error) => wrong.push(error.message));
      await tab.goto(`${outside}/`);
      const answered = (end: string) => tab.waitForResponse((response) => response.url().endsWith(end));
      const [sample] = await Promise.all([answered("/v1/localize"), tab.locator("#sample:enabled").click()]);
      expect([sample.status(), sample.url()]).toEqual([200, `${outside}/v1/localize`]);
      const [shown] = await Promise.all([answered("/thumbnail"), tab.locator("#search-audio").click()]);
      expect([shown.status(), shown.url().startsWith(`${outside}/v1/search/items/`)]).toEqual([200, true]);
      expect(wrong).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});

describe("the base path", () => {
  it("without a slash leads to the page", async () => {
    const { outside } = await behind({ strip: false });
    const response = await fetch(`${outside}?a=b`, { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([308, "/apps/sound/?a=b"]);
    expect(await (await fetch(outside)).text()).toContain("<title>soundspot</title>");
  });

  it("is found in every form of an address, and nowhere else", async () => {
    const { url } = await services.start({ basePath: "/x" });
    const { hostname, port, origin } = new URL(url);
    const statusOf = (path: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        get({ hostname, port, path, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on("error", reject);
      });
    for (const path of [
      "/x/healthz",
      "/healthz",
      "/x/healthz?a=/b",
      `${origin}/x/healthz`,
      `${origin}/healthz`,
    ]) {
      expect([path, await statusOf(path)]).toEqual([path, 200]);
    }
    for (const path of [
      "/xx/healthz",
      "/x//healthz",
      "/x/x/healthz",
      "/X/healthz",
      `${origin}/y/x/healthz`,
      "/x/../healthz",
    ]) {
      expect([path, await statusOf(path)]).toEqual([path, 404]);
    }
  });

  it("is in the log, with the address that the proxy reports", async () => {
    const requests: ServedRequest[] = [];
    const { outside } = await behind(
      { strip: false, client: "203.0.113.7" },
      { onRequest: (request) => requests.push(request) },
    );
    await (await fetch(`${outside}/v1/info?x`, { headers: { "x-forwarded-for": "198.51.100.1" } })).text();
    await until(() => requests.length === 1);
    expect(requests[0]).toMatchObject({ path: "/apps/sound/v1/info", address: "203.0.113.7" });
  });

  it("is a path of the service's page without a build", async () => {
    const { url } = await services.start({ basePath: "/x/" });
    expect(new URL(url).pathname).toBe("/x");
    expect(await (await fetch(`${url}/`)).text()).toContain("/x/openapi.json");
    expect((await fetch(`${url}y/healthz`)).status).toBe(404);
  });

  it.each(["x", "//x", "/x/../y", "/x//y", "/.", "/x?y", "/x y", "/%2e", "https://x"])(
    "rejects %s",
    async (basePath) => {
      await expect(createServer({ model: services.model, basePath })).rejects.toMatchObject({
        code: "ERR_INPUT",
        message: expect.stringMatching(/^basePath must be a path such as \/sound/),
      });
    },
  );
});
