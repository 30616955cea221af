/** The page, and the security headers of all answers. */
import { existsSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import serveStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import { escapeHtml, pageHtml, styleDigest } from "../../scripts/html-page.mjs";
import { packageRoot } from "../core/package.js";
import { pageSchema } from "./schemas.js";

/** The folder that the build writes the page to. */
export function defaultPage(): string {
  return join(packageRoot(), "dist", "web");
}

const YEAR = 31_536_000;

const forAll = {
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Answers of the API must not run anything. */
const forData = "default-src 'none'; frame-ancestors 'none'";

/** The page's own scripts and styles; images, audio and videos that it loaded or made. */
const forPage = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Instead of a page that was not built. */
const bare = (basePath: string) =>
  pageHtml({
    title: "soundspot",
    summary: "This is the service of soundspot. Its page was not built.",
    sections: [
      {
        html: `<p>Its API is described at <a href="openapi.json">${escapeHtml(basePath)}/openapi.json</a>.</p>`,
      },
    ],
  });

/**
 * Registers `/` and the files of the page's folder.
 * @returns the paths of the files that it has at the moment
 */
export async function page(
  app: FastifyInstance,
  folder: string,
  basePath: string,
): Promise<ReadonlySet<string>> {
  const built = existsSync(join(folder, "index.html"));
  const policy = built ? forPage : forPage.replace("style-src 'self'", `style-src '${styleDigest}'`);
  app.addHook("onSend", async (_request, reply) => {
    const isPage = String(reply.getHeader("content-type") ?? "").startsWith("text/html");
    reply.headers({
      ...forAll,
      "content-security-policy": isPage ? policy : forData,
      ...(isPage ? { "permissions-policy": "camera=(self), microphone=(self), geolocation=()" } : {}),
    });
  });
  if (!built) {
    app.get("/", { schema: pageSchema }, async (_request, reply) =>
      reply.type("text/html; charset=utf-8").header("cache-control", "no-cache").send(bare(basePath)),
    );
    return new Set();
  }
  await app.register(serveStatic, {
    root: folder,
    index: false,
    cacheControl: false,
    schemaHide: true,
    setHeaders(reply, path) {
      // The build names the files in assets/ by their content.
      const named = path.startsWith(join(folder, "assets"));
      reply.header("cache-control", named ? `public, max-age=${YEAR}, immutable` : "no-cache");
    },
  });
  app.get("/", { schema: pageSchema }, async (_request, reply) => reply.sendFile("index.html"));
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return new Set(
    files.map(({ parentPath, name }) => `/${relative(folder, join(parentPath, name)).replaceAll(sep, "/")}`),
  );
}
