/** Shared by the routes: the models, limits, and the life cycle of a request. */
import { availableParallelism } from "node:os";
import type { FastifyReply, FastifyRequest } from "fastify";
import { throwIfAborted } from "../core/errors.js";
import { Semaphore } from "../core/semaphore.js";
import type { Precision } from "../model/compute.js";
import { type Client, Clients, LOCAL } from "./clients.js";
import { Gate } from "./gate.js";
import { HttpError } from "./http-error.js";
import { Metrics } from "./metrics.js";
import { Models } from "./models.js";
import { type Limits, limitsOf, type ServerOptions } from "./options.js";
import { Shares } from "./shares.js";
import { TemporaryFolder } from "./temporary-folder.js";
import { Turns } from "./turns.js";

/** Pixels at the model at a time, in units of 2²⁰: a unit takes some 16 MB with its maps. */
const AREA_UNITS = 64;
const UNIT_PIXELS = 2 ** 20;

/** Bytes of all uploads at a time; a single form may have more. */
const UPLOADED_BYTES = 2 ** 30;

/** `Retry-After` in seconds when the service shuts down: time for another to start. */
const RESTART_SECONDS = 5;

/** An accepted request. */
export interface Accepted {
  readonly client: Client;
  /** Fires when the client disconnects, the time is over or the service shuts down. */
  readonly signal: AbortSignal;
  /** Waits for the request's turn, and starts its timeout. */
  turn(): Promise<void>;
}

interface Active {
  readonly controller: AbortController;
  /** When the work is done, with success or failure. */
  readonly settled: Promise<void>;
  /** When the answer is sent, or the connection is closed. */
  readonly sent: Promise<void>;
}

function onceSent({ raw }: FastifyReply, then: () => void): void {
  if (raw.writableFinished || raw.destroyed) then();
  else raw.once("finish", then).once("close", then);
}

export class Service {
  readonly models: Models;
  readonly clients: Clients;
  readonly precision: Precision;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly metrics: Metrics;
  readonly folder = new TemporaryFolder();
  /** Requests decoded at a time. */
  readonly decoders = new Semaphore(2 * availableParallelism());
  /** Videos decoded at a time, separately from the others: one may take its whole timeout. */
  readonly videoDecoders = new Semaphore(availableParallelism());
  readonly turns = new Turns(this.decoders);
  /** Searches at a time, so that clients take turns. */
  readonly searches = new Semaphore(2 * availableParallelism());
  readonly #area = new Semaphore(AREA_UNITS);
  /** Serializes requests that take several units: no other takes units in between. */
  readonly #takingArea = new Semaphore(1);
  readonly #active = new Set<Active>();
  /** Bytes of uploads. */
  readonly #uploaded: Shares;
  /** Units of answers that clients have not taken. */
  readonly #untaken: Shares;
  #closing = false;

  constructor(options: ServerOptions) {
    this.limits = limitsOf(options);
    this.models = new Models(options);
    this.clients = new Clients(options.trustProxy);
    this.precision = options.precision ?? "auto";
    this.gate = new Gate(this.limits);
    const share = Math.min(1, this.limits.perClient / (this.limits.concurrency + this.limits.queue));
    this.#uploaded = new Shares(UPLOADED_BYTES, share * UPLOADED_BYTES);
    this.#untaken = new Shares(AREA_UNITS, share * AREA_UNITS);
    this.metrics = new Metrics(this.gate);
  }

  get closing(): boolean {
    return this.#closing;
  }

  /** @throws {HttpError} 503 while the service shuts down. */
  checkOpen(): void {
    if (this.#closing) throw closingError();
  }

  /**
   * Waits for memory for the maps of an image; an image larger than the total takes all of it.
   * @returns releases the memory; calling it again has no effect.
   * @throws {SoundspotError} ERR_ABORTED
   */
  takeArea(pixels: number, signal: AbortSignal, client: Client = LOCAL): Promise<() => void> {
    const units = Math.min(AREA_UNITS, Math.ceil(pixels / UNIT_PIXELS));
    return this.#takingArea.run(
      async () => {
        const held: (() => void)[] = [];
        const giveBack = () => {
          for (const each of held) each();
        };
        try {
          while (held.length < units) held.push(await this.#area.take(signal));
        } catch (error) {
          giveBack();
          throw error;
        }
        return giveBack;
      },
      signal,
      client.key,
    );
  }

  /**
   * Counts bytes of an upload.
   * @throws {HttpError} 429 when other uploads leave no memory for `bytes` more of a request that already has `held`.
   */
  takeUpload(bytes: number, held: number, client: Client = LOCAL): void {
    const uploaded = this.#uploaded;
    if (uploaded.used > held && uploaded.used + bytes > UPLOADED_BYTES) {
      throw this.#fullError("Other uploads take all memory for uploads.");
    }
    if (uploaded.heldBy(client) > held && uploaded.pastShare(client, bytes)) {
      throw this.#fullError("Other uploads of your address take its share of the memory for uploads.");
    }
    uploaded.take(client, bytes);
  }

  /** Gives back bytes that `takeUpload` counted. */
  giveUploadBack(bytes: number, client: Client = LOCAL): void {
    this.#uploaded.giveBack(client, bytes);
  }

  /**
   * Holds memory for an answer with maps of an image until the client has taken it.
   * @throws {HttpError} 429 when answers that clients have not taken leave no memory.
   */
  holdAnswer(pixels: number, reply: FastifyReply, client: Client = LOCAL): void {
    const units = Math.min(AREA_UNITS, Math.ceil(pixels / UNIT_PIXELS));
    const untaken = this.#untaken;
    const shortage = untaken.used > 0 ? untaken.shortage(client, units) : undefined;
    if (shortage !== undefined) {
      const whose = shortage === "full" ? "other clients have" : "your address has";
      throw this.#fullError(
        `Answers that ${whose} not taken fill the memory for large answers. Leave the maps out.`,
      );
    }
    untaken.take(client, units);
    let held = true;
    onceSent(reply, () => {
      if (held) untaken.giveBack(client, units);
      held = false;
    });
  }

  #fullError(message: string): HttpError {
    const { retryAfter } = this.gate;
    return new HttpError(429, "ERR_OVERLOADED", `${message} Try again after ${retryAfter} s.`, {
      retryAfter,
    });
  }

  /**
   * Handles a request if a place is free for its client.
   * @throws {HttpError} 429 without a free place, 503 when it takes too long or the service shuts down; the errors
   * of the work.
   */
  async accept<T>(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (accepted: Accepted) => Promise<T>,
  ): Promise<T> {
    this.checkOpen();
    const client = this.clients.of(request.raw);
    const ticket = this.gate.admit(client);
    const controller = new AbortController();
    const { signal } = controller;
    const { timeout } = this.limits;
    const onClose = () => {
      if (!reply.raw.writableFinished) controller.abort(goneError());
    };
    reply.raw.once("close", onClose);
    if (request.raw.destroyed && !request.raw.readableEnded) onClose();
    let timer: NodeJS.Timeout | undefined;
    let answered = false;
    const turn = async () => {
      timer = setTimeout(() => controller.abort(this.#slowError()), 1000 * timeout);
      await ticket.turn(signal);
      throwIfAborted(signal);
    };
    const working = (async () => {
      try {
        const result = await work({ client, signal, turn });
        answered = true;
        return result;
      } finally {
        clearTimeout(timer);
        ticket.leave(answered);
      }
    })();
    const settled = working.then(
      () => undefined,
      () => undefined,
    );
    const active: Active = { controller, settled, sent: new Promise((resolve) => onceSent(reply, resolve)) };
    this.#active.add(active);
    void Promise.all([settled, active.sent]).then(() => this.#active.delete(active));
    return working;
  }

  /** Accepts no more requests, and lets the accepted ones end within `grace` seconds; then it aborts them. */
  async drain(grace: number): Promise<void> {
    this.#closing = true;
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, 1000 * grace);
    });
    const answers = [...this.#active].flatMap(({ settled, sent }) => [settled, sent]);
    await Promise.race([Promise.all(answers), over]);
    clearTimeout(timer);
    for (const { controller } of this.#active) controller.abort(closingError());
    await Promise.all([...this.#active].map(({ settled }) => settled));
  }

  #slowError(): HttpError {
    const { timeout } = this.limits;
    const { retryAfter } = this.gate;
    return new HttpError(
      503,
      "ERR_TIMEOUT",
      `There was no answer within ${timeout} s. Try again after ${retryAfter} s, or send a shorter video.`,
      { retryAfter },
    );
  }
}

function closingError(): HttpError {
  return new HttpError(503, "ERR_CLOSING", "The service is shutting down. Try again when it is back.", {
    retryAfter: RESTART_SECONDS,
  });
}

function goneError(): HttpError {
  return new HttpError(499, "ERR_CLIENT_GONE", "The client disconnected before the answer.");
}
