/** Failures as HTTP answers: `{ error: { code, message } }` with a status. */
import { tmpdir } from "node:os";
import { type ErrorCode, isSoundspotError } from "../core/errors.js";

/** Codes of the package, and those of the HTTP service. */
export type HttpErrorCode =
  | ErrorCode
  | "ERR_CLIENT_GONE"
  | "ERR_CLOSING"
  | "ERR_MEDIA_TYPE"
  | "ERR_METHOD"
  | "ERR_NOT_FOUND"
  | "ERR_ORIGIN"
  | "ERR_OVERLOADED"
  | "ERR_TIMEOUT"
  | "ERR_TOO_LARGE";

/** A failure with its HTTP status. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly code: HttpErrorCode;
  /** Whole seconds after which a client should try again. */
  readonly retryAfter: number | undefined;
  /** The methods of the path, of a wrong method. */
  readonly allow: string | undefined;

  constructor(
    status: number,
    code: HttpErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfter?: number; readonly allow?: string } = {},
  ) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.retryAfter = options.retryAfter;
    this.allow = options.allow;
  }
}

/** Codes for wrong input of the client. */
const ofInput: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "ERR_AUDIO_EMPTY",
  "ERR_AUDIO_NOT_FINITE",
  "ERR_FILE_EMPTY",
  "ERR_INPUT",
  "ERR_MEDIA_DECODE",
  "ERR_NO_AUDIO",
  "ERR_SHAPE",
]);

const ofStatus: Readonly<Record<number, HttpErrorCode>> = {
  404: "ERR_NOT_FOUND",
  408: "ERR_TIMEOUT",
  413: "ERR_TOO_LARGE",
  415: "ERR_MEDIA_TYPE",
};

const OWN_FAILURE = "The service failed. The error is in its log; try again, and report it if it persists.";

export const NOT_A_FORM = "Send the files as multipart/form-data.";

/** Messages of the decoders may contain the path of an upload's copy. */
function withoutPaths(message: string): string {
  return message
    .split(/(\s+)/)
    .map((word) => (word.includes(tmpdir()) ? "the file" : word))
    .join("");
}

/** The answer to any failure. The message of an internal one stays in the log. */
export function answerTo(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (isSoundspotError(error)) {
    if (error.cause instanceof HttpError) return error.cause; // the reason of the fired signal
    if (!ofInput.has(error.code)) return new HttpError(500, error.code, OWN_FAILURE, { cause: error });
    return new HttpError(400, error.code, withoutPaths(error.message), { cause: error });
  }
  const { statusCode = 500, message: text } = (error ?? {}) as { statusCode?: number; message?: string };
  const message = statusCode === 415 ? NOT_A_FORM : `${text}.`;
  if (statusCode >= 400 && statusCode < 500) {
    return new HttpError(statusCode, ofStatus[statusCode] ?? "ERR_INPUT", message, { cause: error });
  }
  return new HttpError(500, "ERR_INTERNAL", OWN_FAILURE, { cause: error });
}
