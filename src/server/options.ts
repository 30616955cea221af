/** Options of a server and their checks. */

import { aFunction, aList, aPath, aText, checkFields, shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { Precision } from "../model/compute.js";
import type { Model } from "../model/model.js";
import type { SearchIndex } from "../search/search-index.js";
import type { TrustProxy } from "./clients.js";
import type { HttpErrorCode } from "./http-error.js";

export type { TrustProxy } from "./clients.js";

/** A request that has ended. */
export interface ServedRequest {
  readonly method: string;
  /** Without the query string, with the base path. */
  readonly path: string;
  /** 499 when the client disconnected before the answer. */
  readonly status: number;
  readonly milliseconds: number;
  /** Of the client: from the connection, or from proxies that `trustProxy` names. */
  readonly address: string;
  readonly code?: HttpErrorCode;
  /** The error behind a status of 500 or more. */
  readonly error?: unknown;
}

/** Options of a server. */
export interface ServerOptions {
  /** Used where a request names none. Owned by the caller: closing the server does not dispose it. */
  readonly model: Model;
  /** Its name. Default "default". */
  readonly modelName?: string;
  /** Further models, which requests choose by name; owned by the caller too. Names have letters, digits, ".", "-" and "_". */
  readonly models?: Readonly<Record<string, Model>>;
  /** Searched by `POST /v1/search`; made by one of the models. Owned by the caller too. */
  readonly index?: SearchIndex;
  /** Of the encoders. Default "auto". */
  readonly precision?: Precision;
  /** Requests at work at a time: decoded, in the model's batch of up to 32, or ready for the next one. Default 80. */
  readonly concurrency?: number;
  /** Requests beyond those that may be received or wait; more are answered with 429. Default 64. */
  readonly queue?: number;
  /**
   * Requests of a client that is alone: IPv4 address or IPv6 /64. With others it has fewer, so that a newcomer finds a
   * free place. Has no effect on clients of this computer. Default half of `concurrency` and `queue` together.
   */
  readonly perClient?: number;
  /**
   * Proxies whose `X-Forwarded-For` and `Forwarded` name the client: their number before the service, or a list of their
   * addresses and blocks such as 10.0.0.0/8. Default none: the client is whoever connects.
   */
  readonly trustProxy?: TrustProxy;
  /** Path below which a proxy offers the service, such as "/sound". Default none. */
  readonly basePath?: string;
  /** Bytes of an uploaded file. Default 32,000,000. */
  readonly uploadBytes?: number;
  /** Pixels of an image or of a video's frames. Default 16,777,216. */
  readonly pixels?: number;
  /** Seconds for a whole request to arrive. Default 60. */
  readonly uploadTimeout?: number;
  /** Seconds from there to the answer. Default 60. */
  readonly timeout?: number;
  /** Origins whose pages may call the service, or "*". Default none but its own. */
  readonly cors?: readonly string[];
  /** Folder of the page. Default the package's own. */
  readonly page?: string;
  /** Called for every ended request. */
  readonly onRequest?: (request: ServedRequest) => void;
  /** Called once for each setting that seems to be missing, such as an origin for `cors`. */
  readonly onWarning?: (message: string) => void;
}

export const DEFAULTS = {
  concurrency: 80,
  queue: 64,
  uploadBytes: 32_000_000,
  pixels: 2 ** 24,
  uploadTimeout: 60,
  timeout: 60,
} as const;

/** Numbers of a server. */
export type Limits = { readonly [name in keyof typeof DEFAULTS | "perClient"]: number };

/** Default of `perClient`: others find as many places as one client has taken. */
export function halfOf({ concurrency, queue }: Pick<Limits, "concurrency" | "queue">): number {
  return Math.ceil((concurrency + queue) / 2);
}

const ranges: { readonly [name in keyof Limits]: readonly [least: number, most: number, whole: boolean] } = {
  concurrency: [1, 10_000, true],
  queue: [0, 100_000, true],
  perClient: [1, 110_000, true],
  uploadBytes: [1, 2 ** 40, true],
  pixels: [1, 2 ** 27, true],
  uploadTimeout: [0.1, 86_400, false],
  timeout: [0.1, 86_400, false],
};

/** @throws {SoundspotError} ERR_INPUT with the name of the option. */
export function limitsOf(options: ServerOptions): Limits {
  checkFields(options, {
    cors: aList,
    page: aPath,
    modelName: aText,
    basePath: aText,
    onRequest: aFunction,
    onWarning: aFunction,
  });
  const limits: Record<keyof Limits, number> = { ...DEFAULTS, perClient: 0 };
  for (const name of Object.keys(limits) as (keyof Limits)[]) {
    const value = options[name] ?? (name === "perClient" ? halfOf(limits) : DEFAULTS[name]);
    const [least, most, whole] = ranges[name];
    if (
      !(typeof value === "number" && value >= least && value <= most && (!whole || Number.isInteger(value)))
    ) {
      throw new SoundspotError(
        "ERR_INPUT",
        `${name} must be a ${whole ? "whole " : ""}number from ${least} to ${most}; it was ${shown(value)}.`,
      );
    }
    limits[name] = value;
  }
  return limits;
}

/** Segments of letters, digits, points, hyphens, underscores and tildes. */
const BASE_PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)+$/;

/**
 * The base path without a slash at its end; empty for none.
 * @throws {SoundspotError} ERR_INPUT
 */
export function basePathOf({ basePath = "" }: Pick<ServerOptions, "basePath">): string {
  const path = basePath.replace(/\/$/, "");
  if (path === "" || BASE_PATH.test(path)) return path;
  throw new SoundspotError(
    "ERR_INPUT",
    `basePath must be a path such as /sound or /apps/sound, of letters, digits and .-_~; it was ${JSON.stringify(basePath)}.`,
  );
}
