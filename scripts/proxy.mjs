/**
 * Downloads through the proxy that npm or the environment names. Node.js' own fetch knows neither before version 24.
 *
 * In this order, as npm does it:
 *
 *   npm_config_https_proxy, npm_config_proxy   npm's settings, which it gives its scripts; proxy serves https too
 *   https_proxy, HTTPS_PROXY                   for https
 *   http_proxy, HTTP_PROXY                     for http, and for https where nothing else is set
 *   npm_config_noproxy, no_proxy, NO_PROXY     hosts to reach directly: names with all names below them, or `*`
 */

/** npm writes its own "no" in these words. */
const NONE = new Set(["", "null", "undefined", "false"]);

/** The first of the variables that is set, in its name and value. */
function firstOf(env, names) {
  for (const name of names) {
    const value = env[name]?.trim() ?? "";
    if (!NONE.has(value)) return { name, value };
  }
  return undefined;
}

const npm = (name) => [`npm_config_${name}`, `NPM_CONFIG_${name.toUpperCase()}`];
const both = (name) => [name, name.toUpperCase()];

/** @throws {Error} when it is no address of an HTTP proxy. */
function proxyAt({ name, value }) {
  const address = /^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  let url;
  try {
    url = new URL(address);
  } catch {
    throw new Error(`${name} is no address of a proxy: give http://host:port.`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Error(
      `${name} names a proxy of ${url.protocol}//, which is not supported: give http://host:port.`,
    );
  }
  // Without user and password, to be printed.
  return { url: url.href, shown: `${url.protocol}//${url.host}`, name };
}

/**
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {{ http?: Proxy, https?: Proxy, none: string[] }} `none` are the hosts that are reached directly.
 * @throws {Error} that names a variable with another value than the address of an HTTP proxy.
 *
 * @typedef {object} Proxy
 * @property {string} url
 * @property {string} shown The same without credentials.
 * @property {string} name Of the variable that it is from.
 */
export function proxySettings(env = process.env) {
  const http = firstOf(env, [...npm("proxy"), ...both("http_proxy")]);
  const https = firstOf(env, [...npm("https_proxy"), ...npm("proxy"), ...both("https_proxy")]) ?? http;
  const none = firstOf(env, [...npm("noproxy"), ...both("no_proxy")]);
  return {
    ...(http ? { http: proxyAt(http) } : {}),
    ...(https ? { https: proxyAt(https) } : {}),
    none: (none?.value ?? "").split(/[\s,]+/).filter((host) => host !== ""),
  };
}

/**
 * What other programs, such as pip, need in their environment to use the same proxies.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Record<string, string>}
 */
export function proxyEnvironment(env = process.env) {
  const { http, https, none } = proxySettings(env);
  const all = { http_proxy: http?.url, https_proxy: https?.url, no_proxy: none.join(",") || undefined };
  return Object.fromEntries(
    Object.entries(all)
      .filter(([, value]) => value !== undefined)
      .flatMap(([name, value]) => both(name).map((each) => [each, value])),
  );
}

/**
 * @param {string | URL} address
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Proxy | undefined} undefined where it is reached directly.
 */
export function proxyFor(address, env = process.env) {
  return proxyOf(address, proxySettings(env));
}

function proxyOf(address, { http, https, none }) {
  const { protocol, hostname, port } = new URL(address);
  const ports = [port || (protocol === "https:" ? "443" : "80"), undefined];
  const direct = none.some((entry) => {
    if (entry === "*") return true;
    const [, name, wanted] = /^(?:\*?\.)?(.+?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    return ports.includes(wanted) && (hostname === name || hostname.endsWith(`.${name}`));
  });
  if (direct) return undefined;
  return protocol === "https:" ? https : http;
}

/** Open connections, by the settings that they are made by. */
const dispatchers = new Map();

async function dispatcherFor(settings) {
  const { Agent, Pool, ProxyAgent } = await import("undici");
  const key = JSON.stringify(settings);
  let dispatcher = dispatchers.get(key);
  if (!dispatcher) {
    dispatcher = new Agent({
      factory(origin, options) {
        const proxy = proxyOf(origin, settings);
        return proxy ? new ProxyAgent(proxy.url) : new Pool(origin, options);
      },
    });
    dispatchers.set(key, dispatcher);
  }
  return dispatcher;
}

/**
 * fetch, through the proxy for this address and for each that it redirects to.
 *
 * @param {string} url
 * @param {RequestInit} [options]
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<Response>}
 * @throws {Error} whose message names the proxy, where one is used.
 */
export async function fetchThroughProxy(url, options = {}, env = process.env) {
  const settings = proxySettings(env);
  if (!settings.http && !settings.https) return fetch(url, options);
  const dispatcher = await dispatcherFor(settings);
  // Another version's fetch may not know this dispatcher.
  const { fetch: fetchBy } = await import("undici");
  try {
    return await fetchBy(url, { ...options, dispatcher });
  } catch (error) {
    const proxy = proxyOf(url, settings);
    if (options.signal?.aborted || !proxy) throw error;
    throw new Error(`${innermost(error).message} (${proxy.name} is ${proxy.shown})`);
  }
}

/** The reason of the reason: of a tunnel that the proxy does not open, its answer. */
function innermost(error) {
  return error.cause instanceof Error ? innermost(error.cause) : error;
}
