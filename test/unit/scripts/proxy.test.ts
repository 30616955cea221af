/** Downloads go through the proxy of npm or of the environment, and past it where it is not for a host. */
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fetchThroughProxy, proxyEnvironment, proxyFor, proxySettings } from "../../../scripts/proxy.mjs";
import { startProxy, type TestProxy } from "../../support/forward-proxy.js";

describe("the proxy", () => {
  /** In order of precedence. */
  const http = ["npm_config_proxy", "NPM_CONFIG_PROXY", "http_proxy", "HTTP_PROXY"];
  const https = [
    "npm_config_https_proxy",
    "NPM_CONFIG_HTTPS_PROXY",
    "npm_config_proxy",
    "NPM_CONFIG_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
  ];
  const none = ["npm_config_noproxy", "NPM_CONFIG_NOPROXY", "no_proxy", "NO_PROXY"];

  it("is the first that is set, of npm, then of the environment, in any combination of them", () => {
    const value = fc.constantFrom(undefined, "", "null", "false", "set");
    const names = [...new Set([...http, ...https])];
    fc.assert(
      fc.property(fc.array(value, { minLength: names.length, maxLength: names.length }), (values) => {
        const env = Object.fromEntries(
          names.map((name, i) => [name, values[i] === "set" ? `http://p${i}.example:8080` : values[i]]),
        );
        const first = (order: string[]) => order.find((name) => env[name]?.startsWith("http"));
        const found = proxySettings(env);
        expect(found.http?.name).toBe(first(http));
        expect(found.https?.name).toBe(first(https));
        const name = first(https);
        expect(found.https?.url).toBe(name === undefined ? undefined : `${env[name]}/`);
      }),
    );
  });

  it("is not used for the hosts of the first list that is set", () => {
    for (const [i, name] of none.entries()) {
      const env = Object.fromEntries(none.slice(i).map((each) => [each, `${each}.example, .b.example`]));
      expect(proxySettings(env).none).toEqual([`${name}.example`, ".b.example"]);
    }
    expect(proxySettings({}).none).toEqual([]);
  });

  it("is not used for a host of the list, nor for names below it, whatever its case, at the port that is named", () => {
    const label = fc.stringMatching(/^[a-z]([a-z\d-]{0,4}[a-z\d])?$/);
    const dotted = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
    const below = fc.constantFrom("", "a.", "b.c.");
    const mark = fc.constantFrom("", ".", "*.");
    const ports = fc.constantFrom("", ":80", ":443", ":8080");
    const scheme = fc.constantFrom("http", "https");
    fc.assert(
      fc.property(
        dotted,
        dotted,
        below,
        mark,
        ports,
        ports,
        scheme,
        (name, other, sub, dot, listed, used, http) => {
          const env = {
            HTTP_PROXY: "http://p.example:1",
            NO_PROXY: `x.example ${dot}${name.toUpperCase()}${listed}`,
          };
          const found = (host: string) => proxyFor(`${http}://${host}${used}/a`, env)?.shown;
          const port = used || (http === "https" ? ":443" : ":80");
          const direct = listed === "" || listed === port;
          expect(found(`${sub}${name}`)).toBe(direct ? undefined : "http://p.example:1");
          const related = other === name || other.endsWith(`.${name}`) || `${other}.example` === "x.example";
          if (!related) expect(found(other)).toBe("http://p.example:1");
          expect(found(`not${name}`), "only the end of its name").toBe("http://p.example:1");
        },
      ),
    );
    expect(
      proxyFor("https://a.example", { HTTPS_PROXY: "http://p.example:1", NO_PROXY: "*" }),
    ).toBeUndefined();
  });

  it("may lack its scheme, and is shown without user and password", () => {
    expect(proxySettings({ HTTPS_PROXY: "proxy.example:3128" }).https).toEqual({
      url: "http://proxy.example:3128/",
      shown: "http://proxy.example:3128",
      name: "HTTPS_PROXY",
    });
    const { https } = proxySettings({ https_proxy: "http://me:s%40cret@proxy.example:3128" });
    expect(https?.shown).toBe("http://proxy.example:3128");
  });

  it("of another kind is rejected by the name of its variable, without the password in its value", () => {
    for (const value of [
      "socks5://me:secret@proxy.example:1080",
      "http://me:secret@:::",
      "ftp://me:secret@x",
    ]) {
      let message = "";
      try {
        proxySettings({ HTTPS_PROXY: value });
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message, value).toMatch(/^HTTPS_PROXY .*give http:\/\/host:port\.$/);
      expect(message).not.toContain("secret");
    }
  });

  it("is given to other programs by both spellings of each variable", () => {
    expect(proxyEnvironment({})).toEqual({});
    expect(proxyEnvironment({ npm_config_https_proxy: "http://a:1", npm_config_noproxy: "b,c" })).toEqual({
      https_proxy: "http://a:1/",
      HTTPS_PROXY: "http://a:1/",
      no_proxy: "b,c",
      NO_PROXY: "b,c",
    });
  });
});

const hasOpenssl = spawnSync("openssl", ["version"], { stdio: "ignore" }).status === 0;

describe("a download", () => {
  let server: Server;
  let port: number;
  let proxy: TestProxy;
  let closed: TestProxy;
  beforeAll(async () => {
    server = createServer((request, response) => {
      if (request.url === "/elsewhere") {
        response.writeHead(302, { location: `http://other.invalid/archive` }).end();
      } else {
        response.end(`${request.headers.host} ${request.url}`);
      }
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    port = (server.address() as AddressInfo).port;
    const hosts = { "files.invalid": port, "other.invalid": port };
    proxy = await startProxy(hosts);
    closed = await startProxy(hosts, "me:s@cret");
  });
  afterAll(async () => {
    await Promise.all([proxy.close(), closed.close()]);
    server.closeAllConnections();
    server.close();
  });

  const get = async (url: string, env: Record<string, string>) => {
    proxy.log.length = closed.log.length = 0;
    return (await fetchThroughProxy(url, {}, env)).text();
  };

  it.each(["HTTP_PROXY", "http_proxy", "npm_config_proxy"])("goes through the tunnel of %s", async (name) => {
    expect(await get("http://files.invalid/a", { [name]: proxy.url })).toBe("files.invalid /a");
    expect(proxy.log).toEqual(["CONNECT files.invalid:80"]);
  });

  it("follows a redirect to another host, which the proxy finds too", async () => {
    expect(await get("http://files.invalid/elsewhere", { HTTP_PROXY: proxy.url })).toBe(
      "other.invalid /archive",
    );
    // The connection to the first host may be open from before.
    expect(proxy.log.at(-1)).toBe("CONNECT other.invalid:80");
  });

  it("goes past it for hosts that need none", async () => {
    const url = `http://127.0.0.1:${port}/b`;
    for (const none of ["127.0.0.1", `127.0.0.1:${port}`, "x.example, 127.0.0.1", "*"]) {
      expect(await get(url, { HTTP_PROXY: proxy.url, NO_PROXY: none }), none).toBe(`127.0.0.1:${port} /b`);
      expect(proxy.log, none).toEqual([]);
    }
    expect(await get(url, { HTTP_PROXY: proxy.url, NO_PROXY: "7.0.0.1, x.example" })).toContain("/b");
    expect(proxy.log).toEqual([`CONNECT 127.0.0.1:${port}`]);
    expect(await get(url, { HTTPS_PROXY: proxy.url }), "a proxy for https alone").toContain("/b");
    expect(proxy.log).toEqual([]);
  });

  it("sends user and password, and an error names the proxy without them", async () => {
    const login = (password: string) => closed.url.replace("//", `//me:${encodeURIComponent(password)}@`);
    expect(await get("http://files.invalid/c", { HTTP_PROXY: login("s@cret") })).toBe("files.invalid /c");
    const rejected = await get("http://files.invalid/c", { HTTP_PROXY: login("wr@ng") }).catch(
      (error) => error,
    );
    expect((rejected as Error).message).toMatch(/407.*\(HTTP_PROXY is http:\/\/127\.0\.0\.1:\d+\)$/);
    const gone = await get("http://files.invalid/c", { http_proxy: "http://127.0.0.1:1" }).catch(
      (error) => error,
    );
    expect((gone as Error).message).toMatch(/ECONNREFUSED.*\(http_proxy is http:\/\/127\.0\.0\.1:1\)$/);
  });

  it("prints no warning of the library that does it", async () => {
    const script = `
      const { fetchThroughProxy } = await import(${JSON.stringify(new URL("../../../scripts/proxy.mjs", import.meta.url).href)});
      const response = await fetchThroughProxy("http://files.invalid/d");
      console.log(await response.text());`;
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", script],
      { env: { PATH: process.env.PATH, HTTP_PROXY: proxy.url } },
    );
    expect([stdout, stderr]).toEqual(["files.invalid /d\n", ""]);
  });

  it.skipIf(!hasOpenssl)(
    "by https is a tunnel that the proxy cannot read (skipped without openssl)",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "soundspot-proxy-"));
      const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
      const subject = ["-subj", "/CN=files.invalid", "-addext", "subjectAltName=DNS:files.invalid"];
      const options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key, "-out", cert];
      await promisify(execFile)("openssl", ["req", ...options, ...subject]);
      const secure = createSecureServer(
        { key: readFileSync(key), cert: readFileSync(cert) },
        (request, response) => void response.end(`${request.headers.host} ${request.url}`),
      );
      await new Promise<void>((done) => secure.listen(0, "127.0.0.1", done));
      const own = await startProxy({ "files.invalid": (secure.address() as AddressInfo).port });
      const script = `
      const { fetchThroughProxy } = await import(${JSON.stringify(new URL("../../../scripts/proxy.mjs", import.meta.url).href)});
      const response = await fetchThroughProxy("https://files.invalid/e");
      console.log(await response.text());`;
      const read = (more: Record<string, string>) =>
        promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
          env: { PATH: process.env.PATH, HTTPS_PROXY: own.url, ...more },
        });
      try {
        expect(await read({ NODE_EXTRA_CA_CERTS: cert })).toEqual({
          stdout: "files.invalid /e\n",
          stderr: "",
        });
        expect(own.log).toEqual(["CONNECT files.invalid:443"]);
        await expect(read({})).rejects.toThrow(/self-signed certificate/);
      } finally {
        await own.close();
        secure.closeAllConnections();
        secure.close();
        rmSync(folder, { recursive: true });
      }
    },
  );
});
