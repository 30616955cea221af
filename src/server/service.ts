/** What routes share: the model, limits, and the life of a request from its acceptance to its answer. */
import { availableParallelism } from "node:os";
import type { FastifyReply, FastifyRequest } from "fastify";
import { throwIfAborted } from "../core/errors.js";
import { Semaphore } from "../core/semaphore.js";
import type { Precision } from "../model/compute.js";
import type { Model } from "../model/model.js";
import { Gate } from "./gate.js";
import { HttpError } from "./http-error.js";
import { Metrics } from "./metrics.js";
import { type Limits, limitsOf, type ServerOptions } from "./options.js";
import { TemporaryFolder } from "./temporary-folder.js";
import { Turns } from "./turns.js";

/** Pixels at the model at a time, in units of 2²⁰: a unit takes some 16 MB with its maps. */
const AREA_UNITS = 64;
const UNIT_PIXELS = 2 ** 20;

/** Bytes of uploads at a time; of one form it may be more. */
const UPLOADED_BYTES = 2 ** 30;

/** Seconds that a client is told to wait when the service shuts down: for another to take its place. */
const RESTART_SECONDS = 5;

/** An accepted request. */
export interface Accepted {
  /** Fires when the client goes away, the time is over or the service gives up. */
  readonly signal: AbortSignal;
  /** Waits until the request may be worked on; its time begins to count. */
  turn(): Promise<void>;
}

interface Active {
  readonly controller: AbortController;
  /** When the work is done, well or not. */
  readonly settled: Promise<void>;
  /** When the answer has left, or cannot. */
  readonly sent: Promise<void>;
}

function onceSent({ raw }: FastifyReply, then: () => void): void {
  if (raw.writableFinished || raw.destroyed) then();
  else raw.once("finish", then).once("close", then);
}

export class Service {
  readonly model: Model;
  readonly precision: Precision;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly metrics: Metrics;
  readonly folder = new TemporaryFolder();
  /** Requests decoded at a time. */
  readonly decoders = new Semaphore(2 * availableParallelism());
  /** Videos decoded at a time: beside the others, for one may take all of its time. */
  readonly videoDecoders = new Semaphore(availableParallelism());
  readonly turns = new Turns(this.decoders);
  readonly #area = new Semaphore(AREA_UNITS);
  /** Who takes several units takes them one after the other, and nobody in between. */
  readonly #takingArea = new Semaphore(1);
  readonly #active = new Set<Active>();
  #uploaded = 0;
  #untakenUnits = 0;
  #closing = false;

  constructor(options: ServerOptions) {
    this.model = options.model;
    void this.model.handle; // a disposed model is refused before anything listens
    this.precision = options.precision ?? "auto";
    this.limits = limitsOf(options);
    this.gate = new Gate(this.limits);
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
   * Waits until there is memory for the maps of a picture; a picture of more than there ever is takes all of it.
   * @returns what gives it back; harmless when it was given back.
   * @throws {SoundspotError} ERR_ABORTED
   */
  takeArea(pixels: number, signal: AbortSignal): Promise<() => void> {
    const units = Math.min(AREA_UNITS, Math.ceil(pixels / UNIT_PIXELS));
    return this.#takingArea.run(async () => {
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
    }, signal);
  }

  /**
   * Counts bytes of an upload.
   * @throws {HttpError} 429 when those of others leave no room for `bytes` more, of a request that has `held`.
   */
  takeUpload(bytes: number, held: number): void {
    if (this.#uploaded > held && this.#uploaded + bytes > UPLOADED_BYTES) {
      throw this.#fullError("Uploads of others have the memory for them.");
    }
    this.#uploaded += bytes;
  }

  /** Gives back what `takeUpload` counted. */
  giveUploadBack(bytes: number): void {
    this.#uploaded -= bytes;
  }

  /**
   * Holds memory for an answer with maps of a picture until the client has taken it.
   * @throws {HttpError} 429 when answers that others have not taken leave no room.
   */
  holdAnswer(pixels: number, reply: FastifyReply): void {
    const units = Math.min(AREA_UNITS, Math.ceil(pixels / UNIT_PIXELS));
    if (this.#untakenUnits > 0 && this.#untakenUnits + units > AREA_UNITS) {
      throw this.#fullError(
        "Answers that others have not taken have the memory for large ones. Ask for no maps.",
      );
    }
    this.#untakenUnits += units;
    let held = true;
    onceSent(reply, () => {
      if (held) this.#untakenUnits -= units;
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
   * Works on a request that there is a place for.
   * @throws {HttpError} 429 when there is none, 503 when it takes too long or the service shuts down; what the work
   * throws.
   */
  async accept<T>(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (accepted: Accepted) => Promise<T>,
  ): Promise<T> {
    this.checkOpen();
    const ticket = this.gate.admit();
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
        const result = await work({ signal, turn });
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

  /** Takes nothing more, and lets what was accepted end: for `grace` seconds, then it is given up. */
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
  return new HttpError(499, "ERR_CLIENT_GONE", "The client went away before the answer.");
}
