/** Methods that a path does not have: 405 with `Allow`, and OPTIONS with what it has. */
import { METHODS } from "node:http";
import type { FastifyInstance, FastifyReply } from "fastify";
import { HttpError } from "./http-error.js";

/** Paths of files end with it; they are not known by name. */
const WILDCARD = "*";

/** `Allow` of the methods that routes have: HEAD where GET is, and OPTIONS everywhere. */
function allowOf(methods: Iterable<string>): string {
  const all = new Set(methods);
  if (all.has("GET")) all.add("HEAD");
  return [...all.add("OPTIONS")].sort().join(", ");
}

/** The failure of a method that a path does not have. */
function wrongMethod(method: string, path: string, allow: string): HttpError {
  return new HttpError(405, "ERR_METHOD", `${path} has no ${method}. Use ${allow}.`, { allow });
}

/** Answers OPTIONS where `Allow` is known. */
export function sendOptions(reply: FastifyReply, allow: string): FastifyReply {
  return reply.header("allow", allow).code(204).send();
}

/** The answer to a method other than GET and HEAD for a file of the page. @throws {HttpError} 405 */
export function answerForFile(method: string, path: string, reply: FastifyReply): FastifyReply {
  const allow = allowOf(["GET"]);
  if (method === "OPTIONS") return sendOptions(reply, allow);
  throw wrongMethod(method, path, allow);
}

/**
 * Collects the methods of all routes that are added from now on.
 * @returns adds routes for all other methods of their paths
 */
export function otherMethods(app: FastifyInstance, basePath: string): () => void {
  const routes = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    if (url.endsWith(WILDCARD)) return;
    const known = routes.get(url) ?? new Set();
    for (const each of [method].flat()) known.add(each);
    routes.set(url, known);
  });
  const known = METHODS.filter((method) => method !== "CONNECT"); // node:http answers it by closing the connection
  for (const method of known) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method);
  return () => {
    for (const [url, methods] of [...routes]) {
      const allow = allowOf(methods);
      const has = new Set(allow.split(", "));
      app.route({
        method: "OPTIONS",
        url,
        schema: { hide: true },
        handler: async (_request, reply) => sendOptions(reply, allow),
      });
      app.route({
        method: known.filter((method) => !has.has(method)),
        url,
        schema: { hide: true },
        // Before the body is read: its type is not what is wrong.
        onRequest: async ({ method }) => {
          throw wrongMethod(method, basePath + url, allow);
        },
        handler: async () => undefined,
      });
    }
  };
}
