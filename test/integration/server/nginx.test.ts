/** The documented configuration of nginx, run by nginx where it is installed. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../src/cli/processes.js";
import type { ServedRequest } from "../../../src/index.js";
import { bound } from "../../support/ends-with-tests.js";
import { audio, png, post, Services, until } from "../../support/service.js";

const NGINX = process.env.NGINX_PATH ?? "nginx";
const installed = spawnSync(NGINX, ["-v"]).status === 0;
const services = new Services();
let image: Buffer;
let running: ChildProcess | undefined;

beforeAll(async () => {
  await services.begin();
  image = await png();
});
afterEach(async () => {
  if (running) {
    const ended = new Promise((resolve) => running?.once("close", resolve));
    running.kill("SIGTERM");
    await ended;
    running = undefined;
  }
  await services.close();
});
afterAll(() => services.end());

/** Runs nginx with the location of the documentation, before a service on another port. @returns its address */
async function nginxBefore(service: string, change: (location: string) => string): Promise<string> {
  const [, location = ""] = /```nginx\n(.*?)```/s.exec(readFileSync("docs/serve.md", "utf8")) ?? [];
  const folder = join(services.folder, "nginx");
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder};`,
  );
  const own = change(location.replace("http://127.0.0.1:8080", new URL(service).origin));
  writeFileSync(
    join(folder, "nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""} daemon off; pid ${folder}/pid; error_log stderr;
events {}
http { access_log off; ${temporary.join(" ")} server { listen 127.0.0.1:${port}; ${own} } }`,
  );
  running = spawn(...bound(NGINX, ["-p", folder, "-c", join(folder, "nginx.conf")]), { stdio: "inherit" });
  const url = `http://127.0.0.1:${port}/sound`;
  await until(async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.status === 200);
  return url;
}

describe.skipIf(!installed)("nginx (skipped without it: install nginx-light, or set NGINX_PATH)", () => {
  it.each([
    ["passes the base path on", (location: string) => location],
    ["takes it away", (location: string) => location.replace(/(proxy_pass [^;]+);/, "$1/;")],
  ])("%s", async (_what, change) => {
    const requests: ServedRequest[] = [];
    const { url } = await services.start({
      basePath: "/sound",
      trustProxy: ["127.0.0.1"],
      onRequest: (request) => requests.push(request),
    });
    const outside = await nginxBefore(url, change);
    expect(await (await fetch(outside)).text()).toContain("/sound/openapi.json");
    const spot = await services.model.localize({ image, audio });
    const answer = await post(outside, { image, audio }, { "x-forwarded-for": "203.0.113.7" });
    expect(((await answer.json()) as { confidence: number }).confidence).toBe(spot.confidence);
    await until(() => requests.some(({ path }) => path.endsWith("/v1/localize")));
    // nginx adds the address that it sees, which is trusted: the one before it counts.
    expect(requests.find(({ path }) => path.endsWith("/v1/localize"))?.address).toBe("203.0.113.7");
    const wrong = await fetch(`${outside}/v1/localize`);
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "OPTIONS, POST"]);
  });
});
