/** An archive that is read from a web server as it is needed, and on from where a connection broke. */
import { setTimeout as sleep } from "node:timers/promises";
import { fetchThroughProxy } from "../../../scripts/proxy.mjs";
import { eitherSignal, SoundspotError, throwIfAborted } from "../../core/errors.js";
import { type ArchiveBytes, damaged, skipByReading } from "../../media/tar.js";

export interface HttpBytesOptions {
  /** Sent with each request, for instance `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Requests in a row that bring nothing before it is given up. Default 6. */
  readonly attempts?: number;
  /** Milliseconds before another after one that brought nothing; doubled each time. Default 500. */
  readonly retryDelay?: number;
  /** Milliseconds without a byte after which a connection counts as broken. Default 60000. */
  readonly idle?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Less is read and dropped: a new request takes longer. */
const WORTH_A_REQUEST = 2 ** 18;

/** What another request may fix. */
class Broken extends Error {}

export class HttpBytes implements ArchiveBytes {
  readonly name: string;
  position = 0;
  length: number | undefined;
  readonly #options: HttpBytesOptions;
  /** Of the file at the first request: another version is no continuation. */
  #version: string | undefined;
  #ranges = true;
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #request: AbortController | undefined;
  /** Whether the connection at hand has brought any bytes. */
  #brought = false;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(url: string, options: HttpBytesOptions = {}) {
    this.name = url;
    this.#options = options;
  }

  /**
   * @throws {SoundspotError} ERR_FILE_NOT_FOUND for 404 and 410, ERR_NETWORK for what the server rejects otherwise and
   * when it stays out of reach, ERR_MEDIA_DECODE when the file has changed meanwhile, ERR_ABORTED.
   */
  async read(count: number): Promise<Uint8Array> {
    const { attempts = 6, retryDelay = 500, signal } = this.#options;
    for (let attempt = 1; this.#rest.length === 0; attempt++) {
      throwIfAborted(signal);
      try {
        if (this.length !== undefined && this.position >= this.length) return new Uint8Array(0);
        this.#rest = await this.#receive();
        if (this.#rest.length === 0 && this.length === undefined) return this.#rest;
      } catch (error) {
        const broughtSomething = this.#brought;
        this.#hangUp();
        throwIfAborted(signal);
        if (!(error instanceof Broken)) throw error;
        if (attempt === 1 && broughtSomething) continue;
        if (attempt >= attempts) {
          throw new SoundspotError(
            "ERR_NETWORK",
            `${this.name} cannot be read on from byte ${this.position}: ${error.message}. It was tried ${attempt} times; check the network and resume later.`,
            { cause: error },
          );
        }
        await sleep(retryDelay * 2 ** (attempt - 1), undefined, signal ? { signal } : {}).catch(
          () => undefined,
        );
      }
    }
    const piece = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(piece.length);
    this.position += piece.length;
    return piece;
  }

  async skip(count: number): Promise<void> {
    const near = Math.min(count, this.#rest.length);
    this.#rest = this.#rest.subarray(near);
    this.position += near;
    const left = count - near;
    if (this.#ranges && (this.#body === undefined || left >= WORTH_A_REQUEST)) {
      this.#hangUp();
      this.position += left;
    } else {
      await skipByReading(this, left);
    }
  }

  async close(): Promise<void> {
    this.#hangUp();
  }

  #hangUp(): void {
    this.#request?.abort();
    this.#request = undefined;
    this.#body = undefined;
    this.#brought = false;
    this.#rest = new Uint8Array(0);
  }

  /** Some more bytes; none at the end. */
  async #receive(): Promise<Uint8Array> {
    this.#body ??= await this.#open();
    if (this.#rest.length > 0) return this.#rest;
    const { value, done } = await this.#inTime(this.#body.read());
    if (!done) {
      this.#brought = true;
      return value;
    }
    if (this.length !== undefined && this.position < this.length) {
      throw new Broken(`the connection closed ${this.length - this.position} bytes before the end`);
    }
    return new Uint8Array(0);
  }

  async #open(): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const { headers, signal } = this.#options;
    this.#request = new AbortController();
    const from = this.position;
    const response = await this.#inTime(
      fetchThroughProxy(this.name, {
        headers: {
          ...headers,
          // Packed on the way, positions would not be those of the archive.
          "accept-encoding": "identity",
          ...(from > 0 ? { range: `bytes=${from}-` } : {}),
          ...(from > 0 && this.#version?.startsWith('"') ? { "if-range": this.#version } : {}),
        },
        signal: signal ? eitherSignal(signal, this.#request.signal) : this.#request.signal,
      }),
    );
    const { status, body } = response;
    if (status === 416 && from > 0) {
      throw damaged(this.name, `it ends before byte ${from}`);
    }
    if (status === 408 || status === 425 || status === 429 || status >= 500) {
      throw new Broken(`the server answered ${status} ${response.statusText}`.trim());
    }
    if (status === 404 || status === 410) {
      throw new SoundspotError(
        "ERR_FILE_NOT_FOUND",
        `${this.name} does not exist (${status}). Check the address.`,
      );
    }
    if ((status !== 200 && status !== 206) || !body) {
      throw new SoundspotError(
        "ERR_NETWORK",
        `${this.name} is rejected by the server: ${status} ${response.statusText}. Check the address and the access to it.`,
      );
    }
    this.#compare(response);
    const reader = body.getReader();
    if (from > 0 && status === 200) {
      // A server that knows no ranges sends all of it again.
      this.#ranges = false;
      await this.#drop(reader, from);
    }
    return reader;
  }

  /** Notes length and version of the file, which later answers must share. */
  #compare({ status, headers }: Response): void {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    if (status === 206 && Number(range?.[1]) !== this.position) {
      throw new SoundspotError(
        "ERR_NETWORK",
        `${this.name}: the server sent other bytes than those requested, from ${this.position} on. Read it from another server, or copy it.`,
      );
    }
    const stated = status === 206 ? range?.[2] : headers.get("content-length");
    const length = stated === undefined || stated === null || stated === "*" ? undefined : Number(stated);
    const version = headers.get("etag") ?? headers.get("last-modified") ?? undefined;
    const changed =
      (this.length !== undefined && length !== undefined && length !== this.length) ||
      (this.#version !== undefined && version !== undefined && version !== this.#version);
    if (changed) throw damaged(this.name, "it changed on the server while it was read");
    this.length ??= length;
    this.#version ??= version;
  }

  async #drop(reader: ReadableStreamDefaultReader<Uint8Array>, count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const { value, done } = await this.#inTime(reader.read());
      if (done) throw new Broken("the connection closed early");
      if (value.length > left) this.#rest = value.subarray(left);
      left -= value.length;
    }
  }

  /** @throws {Broken} when it fails or takes longer than a connection may be idle. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    const { idle = 60_000 } = this.#options;
    const timer = new AbortController();
    const late = sleep(idle, undefined, { signal: timer.signal }).then(
      () => {
        throw new Broken(`nothing arrived for ${idle / 1000} s`);
      },
      () => new Promise<never>(() => undefined),
    );
    try {
      return await Promise.race([work, late]);
    } catch (error) {
      if (error instanceof Broken) throw error;
      const { cause, message } = Object(error) as { cause?: { message?: string }; message?: string };
      throw new Broken(cause?.message || message || String(error), { cause: error });
    } finally {
      timer.abort();
    }
  }
}
