/** Limits of a connection: requests sent ahead, and the time to take an answer. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { HttpError, type HttpErrorCode } from "./http-error.js";

/** Requests that a connection may send before it has its answers. */
const AHEAD = 64;

/** The unanswered requests of a connection. */
interface Line {
  current?: { readonly request: IncomingMessage; readonly response: ServerResponse };
  /** Called when their turn comes, or the connection is closed. */
  readonly waiting: (() => void)[];
}

const lines = new WeakMap<Socket, Line>();

function lineOf(socket: Socket): Line {
  const known = lines.get(socket);
  if (known) return known;
  const line: Line = { waiting: [] };
  lines.set(socket, line);
  socket.once("close", () => {
    for (const each of line.waiting.splice(0)) each();
  });
  return line;
}

/**
 * Handles the requests of a connection one after the other: those sent ahead take only the memory of their heads. A
 * client that does not take its answer within `seconds` is disconnected.
 */
export function guardConnections(app: FastifyInstance, seconds: number): void {
  app.server.on("checkExpectation", (_request, response: ServerResponse) => {
    const [body, headers] = bare("ERR_INPUT", "Expect may be 100-continue alone. Leave it out.");
    response.writeHead(417, headers).end(body);
  });
  app.addHook("onRequest", async ({ raw: request }, { raw: response }) => {
    const { socket } = request;
    response.setMaxListeners(30); // limits, metrics and files all wait for its end
    const line = lineOf(socket);
    if (line.current) {
      if (line.waiting.length >= AHEAD) {
        response.setHeader("connection", "close");
        throw new HttpError(
          429,
          "ERR_OVERLOADED",
          `More than ${AHEAD} requests were sent ahead on one connection. Wait for their answers.`,
          { retryAfter: 1 },
        );
      }
      await new Promise<void>((resolve) => line.waiting.push(resolve));
      if (socket.destroyed) throw new HttpError(499, "ERR_CLIENT_GONE", "The client went away.");
    }
    line.current = { request, response };
    response.once("close", () => {
      delete line.current;
      line.waiting.shift()?.();
    });
    if (request.httpVersion !== "1.0" && request.headers.host === undefined) {
      throw new HttpError(400, "ERR_INPUT", "The request has no Host. Name it in the head.");
    }
  });
  app.addHook("onSend", async ({ raw: { socket } }, { raw: response }) => {
    // Answers queued behind it, of rejected requests, are sent after it.
    if (lines.get(socket)?.current?.response !== response) return;
    const timer = setTimeout(() => response.destroy(), 1000 * seconds);
    response.once("close", () => clearTimeout(timer));
  });
}

function bare(code: HttpErrorCode, message: string): [body: string, headers: Record<string, string>] {
  const body = JSON.stringify({ error: { code, message } });
  return [
    body,
    {
      "content-type": "application/json; charset=utf-8",
      "content-length": String(Buffer.byteLength(body)),
      "x-content-type-options": "nosniff",
      connection: "close",
    },
  ];
}

/** Requests that are not HTTP, too slow, or too large in their head never reach a route. */
export function answerToBrokenRequest(error: Error & { readonly code?: string }, socket: Socket): void {
  const current = lines.get(socket)?.current;
  // The broken part follows a request that is not answered yet: an answer now would be taken for that one's.
  const late = current !== undefined && (current.request.complete || current.response.headersSent);
  if (error.code === "ECONNRESET" || !socket.writable || late) {
    socket.destroy();
    return;
  }
  const [status, code, message] = reasonOf(error.code);
  const [body, headers] = bare(code, message);
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fields.join("")}\r\n${body}`, () =>
    socket.destroy(),
  );
}

function reasonOf(code: string | undefined): [status: number, code: HttpErrorCode, message: string] {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [408, "ERR_TIMEOUT", "The request did not arrive in time. Send it faster."];
    case "HPE_HEADER_OVERFLOW":
      return [431, "ERR_TOO_LARGE", "The head of the request is too large."];
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return [413, "ERR_TOO_LARGE", "The extensions of a chunk are too large."];
    default:
      return [400, "ERR_INPUT", "This is not HTTP/1.1."];
  }
}
