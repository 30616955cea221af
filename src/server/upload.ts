/** Files and fields of a multipart request, within limits. */
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Multipart, MultipartFile } from "@fastify/multipart";
import type { FastifyRequest } from "fastify";
import { isError, isSoundspotError, throwIfAborted } from "../core/errors.js";
import type { Client } from "./clients.js";
import { HttpError, NOT_A_FORM } from "./http-error.js";
import type { Service } from "./service.js";

/** Bytes of a field's value. */
export const FIELD_BYTES = 1024;
/** Bytes of boundaries and headers of all parts together. */
const FRAMING_BYTES = 2 ** 16;

export interface UploadForm {
  /** Accepted files, and where they are stored. */
  readonly files: Readonly<Record<string, "memory" | "disk">>;
  readonly fields: readonly string[];
  /** Files of the greatest size that one request may have. */
  readonly most: number;
}

export interface UploadOptions {
  /** Gives the limits and the folder for files on disk, and counts the bytes of all uploads. */
  readonly service: Service;
  readonly client: Client;
  readonly signal: AbortSignal;
}

export interface Upload {
  /** Files in memory by their field. */
  readonly buffers: ReadonlyMap<string, Buffer>;
  /** Files on the disk by their field. */
  readonly paths: ReadonlyMap<string, string>;
  readonly fields: ReadonlyMap<string, string>;
  /** Removes the files on disk and gives the memory back; calling it again has no effect. */
  remove(): Promise<void>;
}

/**
 * Reads a form to its end. No file is left on disk when it fails.
 * @throws {HttpError} 400 for a form that is malformed or has other fields than `form` names, 413 for one that is too
 * large, 415 for any other content type.
 */
export async function readUpload(
  request: FastifyRequest,
  form: UploadForm,
  options: UploadOptions,
): Promise<Upload> {
  const { service, signal } = options;
  const { uploadBytes } = service.limits;
  if (!request.isMultipart()) {
    throw new HttpError(415, "ERR_MEDIA_TYPE", NOT_A_FORM);
  }
  const most = form.most * uploadBytes + form.fields.length * FIELD_BYTES + FRAMING_BYTES;
  if (Number(request.headers["content-length"] ?? 0) > most) throw tooLarge(uploadBytes);
  const upload = new Received(form, options);
  countBytes(request, most, upload, () => upload.fail(tooLarge(uploadBytes)));
  try {
    const names = Object.keys(form.files).length;
    const limits = {
      fileSize: uploadBytes,
      files: names,
      fields: form.fields.length,
      parts: names + form.fields.length,
      fieldSize: FIELD_BYTES,
      fieldNameSize: 64,
      headerPairs: 16,
    };
    for await (const part of request.parts({ limits })) await upload.take(part);
    throwIfAborted(signal);
    upload.check();
    return upload;
  } catch (error) {
    await upload.remove();
    throwIfAborted(signal);
    throw upload.failure ?? readable(error);
  } finally {
    // The rest is read and dropped: the answer then reaches a client that is still sending.
    request.raw.unpipe();
    request.raw.resume();
  }
}

/** Calls `tooMany` when the body is longer than `most`; an endless one is disconnected. */
function countBytes({ raw }: FastifyRequest, most: number, upload: Received, tooMany: () => void): void {
  let received = 0;
  raw.on("data", (chunk: Buffer) => {
    received += chunk.length;
    upload.count(chunk.length);
    if (received > most) tooMany();
    if (received > 4 * most) raw.destroy();
  });
}

class Received implements Upload {
  readonly buffers = new Map<string, Buffer>();
  readonly paths = new Map<string, string>();
  readonly fields = new Map<string, string>();
  failure: HttpError | undefined;
  readonly #form: UploadForm;
  readonly #options: UploadOptions;
  #current: MultipartFile["file"] | undefined;
  #bytes = 0;
  #removed = false;

  constructor(form: UploadForm, options: UploadOptions) {
    this.#form = form;
    this.#options = options;
  }

  /** Ends the reading with this failure, the first one of them. */
  fail(failure: HttpError): void {
    this.failure ??= failure;
    this.#current?.destroy(failure);
  }

  /** Counts received bytes, until it fails or is removed. */
  count(bytes: number): void {
    if (this.failure || this.#removed) return;
    try {
      this.#options.service.takeUpload(bytes, this.#bytes, this.#options.client);
      this.#bytes += bytes;
    } catch (error) {
      this.fail(error as HttpError);
    }
  }

  async take(part: Multipart): Promise<void> {
    if (this.failure) throw this.failure;
    // A part may have none.
    const name: string | undefined = part.fieldname;
    if (name === undefined) throw wrong("A part of the form has no name. Name each.");
    const kind = Object.hasOwn(this.#form.files, name) ? this.#form.files[name] : undefined;
    if (this.buffers.has(name) || this.paths.has(name) || this.fields.has(name)) {
      throw wrong(`${name} was given twice. Give it once.`);
    }
    if (part.type === "field") return this.#takeField(name, part, kind !== undefined);
    if (!kind) {
      throw wrong(
        this.#form.fields.includes(name)
          ? `${name} must be a plain field, not a file.`
          : this.#unknown("file", name, Object.keys(this.#form.files)),
      );
    }
    this.#current = part.file;
    if (kind === "memory") this.buffers.set(name, await part.toBuffer());
    else await this.#toDisk(name, part);
    this.#current = undefined;
    if (part.file.truncated) throw tooLarge(this.#options.service.limits.uploadBytes, name);
  }

  check(): void {
    if (this.failure) throw this.failure;
  }

  async remove(): Promise<void> {
    this.#removed = true;
    this.#options.service.giveUploadBack(this.#bytes, this.#options.client);
    this.#bytes = 0;
    await Promise.all([...this.paths.values()].map((path) => rm(path, { force: true })));
  }

  #takeField(name: string, part: Extract<Multipart, { type: "field" }>, isFile: boolean): void {
    if (isFile) throw wrong(`${name} must be a file: send it with a file name.`);
    if (!this.#form.fields.includes(name)) throw wrong(this.#unknown("field", name, this.#form.fields));
    if (part.valueTruncated) {
      throw new HttpError(413, "ERR_TOO_LARGE", `${name} is longer than ${FIELD_BYTES} bytes.`);
    }
    if (typeof part.value !== "string")
      throw wrong(`${name} must be plain text. Send no Content-Type with it.`);
    this.fields.set(name, part.value);
  }

  #unknown(kind: string, name: string, known: readonly string[]): string {
    return `There is no ${kind} ${JSON.stringify(name.slice(0, 64))}. Use ${known.join(", ")}.`;
  }

  async #toDisk(name: string, part: MultipartFile): Promise<void> {
    const path = await this.#options.service.folder.newPath();
    this.paths.set(name, path);
    try {
      await pipeline(part.file, createWriteStream(path, { flags: "wx", mode: 0o600 }), {
        signal: this.#options.signal,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      throw new HttpError(
        503,
        "ERR_FILE_WRITE",
        "The upload cannot be written to the service's folder for temporary files. Try again later.",
        { cause: error, retryAfter: this.#options.service.gate.retryAfter },
      );
    }
  }
}

function wrong(message: string): HttpError {
  return new HttpError(400, "ERR_INPUT", message);
}

function tooLarge(uploadBytes: number, name = "A file"): HttpError {
  const megabytes = (uploadBytes / 1e6).toLocaleString("en", { maximumFractionDigits: 3 });
  return new HttpError(413, "ERR_TOO_LARGE", `${name} is larger than ${megabytes} MB. Send a smaller one.`);
}

/** An error of the parser, as a failure of the client. */
function readable(error: unknown): unknown {
  if (error instanceof HttpError || isSoundspotError(error)) return error;
  const { code } = error as { code?: string };
  if (code === "FST_PARTS_LIMIT" || code === "FST_FILES_LIMIT" || code === "FST_FIELDS_LIMIT") {
    return new HttpError(
      413,
      "ERR_TOO_LARGE",
      "The form has more parts than there are fields. Leave some out.",
      {
        cause: error,
      },
    );
  }
  return new HttpError(400, "ERR_INPUT", `The form is not valid multipart/form-data: ${reasonOf(error)}.`, {
    cause: error,
  });
}

/** The parser's own message, without messages of the program. */
function reasonOf(error: unknown): string {
  const { message } = error as Error;
  const known = /^(Multipart: Boundary not found|Unexpected end|Part terminated early|prototype property)/;
  return (isError(error) && error.name === "TypeError") || !known.test(message)
    ? "it cannot be read"
    : message.replace(/\.$/, "");
}
