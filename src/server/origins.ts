/** Pages of other origins: which may call the service, and what is reported of those that may not. */
import type { FastifyInstance } from "fastify";
import { HttpError } from "./http-error.js";
import type { Warnings } from "./warnings.js";

const PERMITTED = {
  "access-control-allow-methods": "GET, HEAD, POST",
  // A proxy may ask for Authorization. "*" does not include it.
  "access-control-allow-headers": "Accept, Authorization, Content-Type",
  "access-control-max-age": 86_400,
};

/** Pages of other origins may call the service only if `origins` names them. */
export function guardOrigins(app: FastifyInstance, origins: readonly string[], warnings: Warnings): void {
  const all = origins.includes("*");
  app.addHook("onRequest", async (request, reply) => {
    const { origin } = request.headers;
    const named = origin !== undefined && (all || origins.includes(origin));
    const preflight =
      origin !== undefined &&
      request.method === "OPTIONS" &&
      request.headers["access-control-request-method"] !== undefined;
    if (origins.length > 0) reply.header("vary", "Origin");
    else reply.header("cross-origin-resource-policy", "same-origin");
    if (named) {
      reply.headers({
        "access-control-allow-origin": all ? "*" : origin,
        "access-control-expose-headers": "Retry-After",
      });
      if (preflight) return reply.headers(PERMITTED).code(204).send();
      return;
    }
    if (preflight) warnings.once(`origin ${origin}`, closedTo(origin, origins.length > 0));
    // A page could keep the model busy without reading answers. Another port of this computer is another origin, same site.
    const site = request.headers["sec-fetch-site"];
    if ((site === "cross-site" || site === "same-site") && request.method === "POST") {
      const pages = origin === undefined ? "other origins" : origin.slice(0, 200);
      throw new HttpError(403, "ERR_ORIGIN", `Pages of ${pages} may not call this service.`);
    }
  });
}

function closedTo(origin: string, others: boolean): string {
  const shown = JSON.stringify(origin.slice(0, 200));
  const state = others ? "--cors does not name it" : "--cors is not on";
  return `A page of ${shown} asked whether it may call this service, and ${state}. To let it, start with --cors ${shown} (in code: cors).`;
}
