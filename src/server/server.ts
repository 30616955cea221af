/** Models served over HTTP. */

import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { check, checkFields } from "../core/arguments.js";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { aModel } from "../model/loaded.js";
import type { SearchIndex } from "../search/search-index.js";
import type { Models, NamedModel } from "./models.js";
import { basePathOf, type ServerOptions } from "./options.js";
import type { Service } from "./service.js";

export type { ServedRequest, ServerOptions, TrustProxy } from "./options.js";

/** Address that a server listens on. */
export interface ListenOptions {
  /** Default 127.0.0.1: this computer only. */
  readonly host?: string;
  /** 0 takes a free one. Default 8080. */
  readonly port?: number;
}

/** How a server shuts down. */
export interface CloseOptions {
  /** Seconds to answer accepted requests. Default 30. */
  readonly grace?: number;
}

/** Models served over HTTP: made by {@link createServer} or {@link serve}. */
export class Server implements AsyncDisposable {
  /** The Fastify application, with `inject` for tests. */
  readonly app: FastifyInstance;
  readonly #service: Service;
  readonly #basePath: string;
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor(app: FastifyInstance, service: Service, basePath = "") {
    this.app = app;
    this.#service = service;
    this.#basePath = basePath;
  }

  /**
   * Starts to listen.
   * @returns the address with the base path, such as "http://127.0.0.1:8080"
   * @throws {SoundspotError} ERR_BUSY when the port is taken, ERR_INPUT when host or port is unavailable, ERR_DISPOSED.
   */
  async listen({ host = "127.0.0.1", port = 8080 }: ListenOptions = {}): Promise<string> {
    if (this.#closed) throw new SoundspotError("ERR_DISPOSED", "The server was closed. Create it again.");
    await this.app.listen({ host, port }).catch((cause: NodeJS.ErrnoException) => {
      throw listenError(cause, host, port);
    });
    const { address, port: bound, family } = this.app.server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${bound}${this.#basePath}`;
  }

  /**
   * Shuts down: new requests get 503, accepted ones are finished within `grace` seconds and aborted after that,
   * temporary files are removed. The models stay open.
   */
  close({ grace = 30 }: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(grace);
    return this.#closed;
  }

  async #close(grace: number): Promise<void> {
    await this.#service.drain(grace);
    const closed = this.app.close();
    // Answers in transfer may end; clients that do not take them are disconnected.
    const timer = setTimeout(() => this.app.server.closeAllConnections(), 1000);
    await closed;
    clearTimeout(timer);
    await this.#service.folder.remove();
  }

  /** `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): SoundspotError {
  if (cause.code === "EADDRINUSE") {
    return new SoundspotError(
      "ERR_BUSY",
      `Port ${port} of ${host} is taken by another program. Give another port, or 0 for a free one.`,
      { cause },
    );
  }
  const reason =
    cause.code === "EACCES"
      ? "this user may not open it. Give a port of at least 1024"
      : cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND"
        ? "this computer has no such address. Give one of its own, or 0.0.0.0 for all"
        : `${cause.message}. Give another host or port`;
  return new SoundspotError("ERR_INPUT", `Cannot listen on ${host}, port ${port}: ${reason}.`, { cause });
}

/**
 * A server that does not listen yet.
 * @throws {SoundspotError} ERR_INPUT when an option is out of range, ERR_DISPOSED; ERR_INDEX_MISMATCH when none of
 * several models made the index.
 * @example
 * const server = await createServer({ model });
 * console.log(await server.listen({ port: 8080 }));
 * await server.close();
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  checkFields(options, {});
  check(options.model, aModel, "model");
  // Fastify is loaded only to serve, not by every import of the package.
  const [{ createApp }, { Service }] = await Promise.all([import("./app.js"), import("./service.js")]);
  const service = new Service(options);
  const searched = options.index && (await modelOf(options.index, service.models));
  return new Server(await createApp(service, options, searched), service, basePathOf(options));
}

/** The model that made an index. One model alone is checked by every search. */
async function modelOf(index: SearchIndex, models: Models): Promise<NamedModel> {
  if (models.size === 1) return models.first;
  for (const named of models) {
    try {
      await index.checkModel(named.model);
      return named;
    } catch (error) {
      if (!(isSoundspotError(error) && error.code === "ERR_INDEX_MISMATCH")) throw error;
    }
  }
  throw new SoundspotError(
    "ERR_INDEX_MISMATCH",
    `The index ${index.folder} was made with none of the models ${models.names.join(", ")}. Serve the one that it was made with too, or make an index with one of them.`,
  );
}

/**
 * Makes a server and listens: `createServer` and `listen` in one.
 * @throws {SoundspotError} as both of them.
 */
export async function serve(
  options: ServerOptions & ListenOptions,
): Promise<{ readonly server: Server; readonly url: string }> {
  const server = await createServer(options);
  try {
    return { server, url: await server.listen(options) };
  } catch (error) {
    await server.close({ grace: 0 });
    throw error;
  }
}
