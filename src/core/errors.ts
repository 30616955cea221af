/** The one error class of the package, with codes that stay stable between releases. */
import { types } from "node:util";

/** The stable codes of {@link SoundspotError}; the README lists the meaning and the fix of each. */
export type ErrorCode =
  | "ERR_ABORTED"
  | "ERR_ADDON_MISSING"
  | "ERR_AUDIO_EMPTY"
  | "ERR_AUDIO_NOT_FINITE"
  | "ERR_BUNDLED"
  | "ERR_BUSY"
  | "ERR_CHECKPOINT_CORRUPT"
  | "ERR_CHECKPOINT_MISMATCH"
  | "ERR_CONFIG"
  | "ERR_DATASET"
  | "ERR_DEMO_MODEL_MISSING"
  | "ERR_DEVICE"
  | "ERR_DISPOSED"
  | "ERR_DISTRIBUTED"
  | "ERR_FFMPEG_MISSING"
  | "ERR_FILE_EMPTY"
  | "ERR_FILE_NOT_FOUND"
  | "ERR_FILE_WRITE"
  | "ERR_INDEX_CORRUPT"
  | "ERR_INDEX_MISMATCH"
  | "ERR_INPUT"
  | "ERR_INTERNAL"
  | "ERR_LANCEDB_MISSING"
  | "ERR_LIBTORCH_MISSING"
  | "ERR_MEDIA_DECODE"
  | "ERR_NETWORK"
  | "ERR_NO_AUDIO"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_OUTPUT_IS_INPUT"
  | "ERR_SHAPE";

/** Every failure that a caller can meet. `message` names the file or field and says what to do. */
export class SoundspotError extends Error {
  override readonly name = "SoundspotError";
  readonly code: ErrorCode;

  /** `options.cause` is the error that led to this one. */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether a value is an error, of any realm: code run by Jest or `vm` has its own classes. */
export function isError(value: unknown): value is Error {
  // util.types does not recognize DOMException as a native error.
  return types.isNativeError(value) || Object.prototype.toString.call(value) === "[object DOMException]";
}

/** Whether an error is this package's. Its ESM and CommonJS builds have one class each. */
export function isSoundspotError(value: unknown): value is SoundspotError {
  return (
    isError(value) && value.name === "SoundspotError" && typeof (value as SoundspotError).code === "string"
  );
}

/** @throws {SoundspotError} ERR_ABORTED when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new SoundspotError("ERR_ABORTED", "The operation was aborted by its signal.", {
      cause: signal.reason,
    });
  }
}

/** Fires when one of two signals does. The first may be of another realm, which `AbortSignal.any` rejects. */
export function eitherSignal(first: AbortSignal, second: AbortSignal): AbortSignal {
  if ((first as object) instanceof EventTarget) return AbortSignal.any([first, second]);
  const either = new AbortController();
  const forward = () => either.abort(first.reason);
  if (first.aborted) forward();
  else first.addEventListener("abort", forward, { once: true });
  return AbortSignal.any([either.signal, second]);
}
