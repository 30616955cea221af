/** The Fastify application: routes, limits and error answers. */

import multipart from "@fastify/multipart";
import swagger from "@fastify/swagger";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { packageVersion } from "../core/package.js";
import { answerToBrokenRequest, guardConnections } from "./connections.js";
import { answerTo, HttpError } from "./http-error.js";
import { localizeRoute } from "./localize-route.js";
import { answerForFile, otherMethods } from "./methods.js";
import { describedModel, type NamedModel } from "./models.js";
import { basePathOf, type ServedRequest, type ServerOptions } from "./options.js";
import { guardOrigins } from "./origins.js";
import { defaultPage, page } from "./page.js";
import { documentSchema, healthSchema, infoSchema, metricsSchema, modelsSchema } from "./schemas.js";
import { searchRoutes } from "./search-routes.js";
import type { Service } from "./service.js";
import { FIELD_BYTES } from "./upload.js";
import { Warnings } from "./warnings.js";

/** Seconds in which the head of a request must arrive. */
const HEAD_SECONDS = 10;
/** Seconds that an idle connection is kept for another request. */
const KEEP_ALIVE_SECONDS = 30;
/** Greatest number of open connections. */
const CONNECTIONS = 2048;

/** What a service offers below which path. */
interface Offer {
  readonly basePath: string;
  /** The model of the index, where there is one. */
  readonly searched: NamedModel | undefined;
}

/** @param searched the model that made the index of the options */
export async function createApp(
  service: Service,
  options: ServerOptions,
  searched?: NamedModel,
): Promise<FastifyInstance> {
  const { limits } = service;
  const basePath = basePathOf(options);
  const warnings = new Warnings(options.onWarning);
  let files: ReadonlySet<string> = new Set();
  const app = fastify({
    logger: false,
    requestTimeout: 1000 * limits.uploadTimeout,
    // A connection is silent while its request waits for its turn and is worked on.
    connectionTimeout: 1000 * (limits.uploadTimeout + limits.timeout + HEAD_SECONDS),
    keepAliveTimeout: 1000 * KEEP_ALIVE_SECONDS,
    return503OnClosing: false,
    http: {
      headersTimeout: 1000 * Math.min(HEAD_SECONDS, limits.uploadTimeout),
      connectionsCheckingInterval: 500,
      requireHostHeader: false, // guardConnections answers it like every other failure
    },
    // Proxies may pass the base path on or take it away.
    rewriteUrl: ({ url = "/" }) => withoutBase(url, basePath),
    clientErrorHandler: answerToBrokenRequest,
    frameworkErrors: (_error, request, reply) =>
      answerFailure(reply, new HttpError(400, "ERR_INPUT", `${shown(request)} is not a valid address.`)),
  });
  app.server.maxConnections = CONNECTIONS;
  app.removeAllContentTypeParsers();
  const missing = (request: FastifyRequest) =>
    new HttpError(404, "ERR_NOT_FOUND", notFound(request, basePath, options.index !== undefined));
  app.setErrorHandler((error, request, reply) =>
    // A file that the page's folder rejects counts as missing.
    answerFailure(reply, (error as { statusCode?: number }).statusCode === 403 ? missing(request) : error),
  );
  app.setNotFoundHandler(async (request, reply) => {
    const path = pathOf(request.url);
    const reads = request.method === "GET" || request.method === "HEAD";
    if (!reads && files.has(path)) return answerForFile(request.method, basePath + path, reply);
    return answerFailure(reply, missing(request));
  });
  observe(app, service, options.onRequest);
  guardConnections(app, limits.uploadTimeout);
  guardOrigins(app, options.cors ?? [], warnings);
  app.addHook("onRequest", async (request, reply) => {
    if (service.clients.ignores(request.raw)) {
      warnings.once(
        "proxy",
        "Requests come through a proxy, and all of them count as one client. To count those behind it, start with --trust-proxy and the proxy's address (in code: trustProxy).",
      );
    }
    // Addresses in the page are relative to this slash.
    const reads = request.method === "GET" || request.method === "HEAD";
    if (basePath !== "" && reads && pathOf(request.originalUrl) === basePath) {
      return reply.redirect(`${basePath}/${request.originalUrl.slice(basePath.length)}`, 308);
    }
  });
  app.addHook("onRequest", async (_request, reply) => {
    if (!service.closing) return;
    reply.header("connection", "close");
    service.checkOpen();
  });

  await app.register(multipart, { throwFileSizeLimit: false });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "soundspot",
        description: "Finds where a sound comes from in an image.",
        version: packageVersion(),
        license: { name: "MIT" },
      },
      ...(basePath === "" ? {} : { servers: [{ url: basePath }] }),
      tags: [
        { name: "localization", description: "Where a sound comes from." },
        { name: "search", description: "Images by audio, audio by an image." },
        { name: "service", description: "The service itself." },
        { name: "page", description: "For people." },
      ],
    },
  });
  const addOtherMethods = otherMethods(app, basePath);
  files = await page(app, options.page ?? defaultPage(), basePath);
  serviceRoutes(app, service, { basePath, searched });
  localizeRoute(app, service);
  const { index } = options;
  if (index && searched) searchRoutes(app, service, { index, model: searched.model, basePath });
  addOtherMethods();
  await app.ready();
  return app;
}

function serviceRoutes(app: FastifyInstance, service: Service, { basePath, searched }: Offer): void {
  const { models, limits } = service;
  const info = {
    name: "soundspot",
    version: packageVersion(),
    model: describedModel(models.first.model),
    models: models.names,
    limits: { ...limits, fieldBytes: FIELD_BYTES },
    search: searched !== undefined,
    ...(basePath === "" ? {} : { basePath }),
  };
  const list = {
    default: models.first.name,
    models: [...models].map(({ name, model }) => ({
      name,
      ...describedModel(model),
      search: searched?.name === name,
    })),
  };
  app.get("/v1/info", { schema: infoSchema }, async () => info);
  app.get("/v1/models", { schema: modelsSchema }, async () => list);
  app.get("/healthz", { schema: healthSchema }, async () => ({ status: "ok" }));
  app.get("/metrics", { schema: metricsSchema }, async (_request, reply) => {
    const { registry } = service.metrics;
    return reply.type(registry.contentType).send(await registry.metrics());
  });
  app.get("/openapi.json", { schema: documentSchema }, async () => app.swagger());
}

/** Counts every ended request, and calls `onRequest`. */
function observe(app: FastifyInstance, service: Service, onRequest: ServerOptions["onRequest"]): void {
  app.addHook("onRequest", async (request, reply) => {
    const started = performance.now();
    const { address } = service.clients.of(request.raw); // the connection may be closed at the end
    reply.raw.once("close", () => {
      const status = reply.raw.writableFinished ? reply.statusCode : 499;
      const milliseconds = performance.now() - started;
      const route = request.routeOptions.url ?? "unknown";
      service.metrics.ended(request.method, route, status, milliseconds / 1000);
      const failure = failures.get(reply);
      onRequest?.({
        method: request.method,
        path: pathOf(request.originalUrl),
        status,
        milliseconds,
        address,
        ...(failure ? { code: failure.code } : {}),
        ...(failure && failure.status >= 500 && failure.cause ? { error: failure.cause } : {}),
      } satisfies ServedRequest);
    });
  });
}

const failures = new WeakMap<FastifyReply, HttpError>();

function answerFailure(reply: FastifyReply, error: unknown): FastifyReply {
  const failure = answerTo(error);
  failures.set(reply, failure);
  if (failure.retryAfter !== undefined) reply.header("retry-after", String(failure.retryAfter));
  if (failure.allow !== undefined) reply.header("allow", failure.allow);
  return reply
    .code(failure.status)
    .type("application/json; charset=utf-8")
    .send(JSON.stringify({ error: { code: failure.code, message: failure.message } }));
}

function pathOf(url: string): string {
  return url.split("?", 1)[0] as string;
}

/** The address without the base path, where it has it. */
function withoutBase(url: string, basePath: string): string {
  if (basePath === "") return url;
  const path = url.replace(/^https?:\/\/[^/?]*(?=\/)/i, ""); // clients may name the host before it
  if (!path.startsWith(basePath)) return url;
  const rest = path.slice(basePath.length);
  if (rest.startsWith("/")) return rest;
  return rest === "" || rest.startsWith("?") ? `/${rest}` : url;
}

function shown({ method, originalUrl }: FastifyRequest): string {
  return `${method} ${pathOf(originalUrl).slice(0, 200)}`;
}

function notFound(request: FastifyRequest, basePath: string, search: boolean): string {
  if (!search && request.url.startsWith("/v1/search")) return "This service has no index to search.";
  return `There is no ${shown(request)}. See ${basePath}/openapi.json for the routes.`;
}
