/** The models of a service by their names. */
import { hasSlots, sharpeningOf, targetsOf } from "../config/methods.js";
import { check, isObject } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { isDemoModel } from "../model/demo.js";
import { aModel } from "../model/loaded.js";
import type { Model } from "../model/model.js";
import { HttpError } from "./http-error.js";

/** Name of a model that was given none. */
export const DEFAULT_NAME = "default";

/** Letters and digits, after the first also points, hyphens and underscores; at most 64. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export interface ModelsOptions {
  readonly model: Model;
  readonly modelName?: string;
  readonly models?: Readonly<Record<string, Model>>;
}

/** A served model. */
export interface NamedModel {
  readonly name: string;
  readonly model: Model;
}

/** Whether a text may name a model. */
export function isModelName(text: unknown): text is string {
  return typeof text === "string" && NAME.test(text);
}

export class Models implements Iterable<NamedModel> {
  /** Used where a request names none. */
  readonly first: NamedModel;
  readonly #byName = new Map<string, NamedModel>();

  /** @throws {SoundspotError} ERR_INPUT for a wrong or repeated name, ERR_DISPOSED for a model that is disposed. */
  constructor({ model, modelName = DEFAULT_NAME, models = {} }: ModelsOptions) {
    check(models, [isObject, "an object with models by their names"], "models");
    for (const [name, each] of [[modelName, model] as const, ...Object.entries(models)]) {
      if (!isModelName(name)) {
        throw new SoundspotError(
          "ERR_INPUT",
          `A model's name must have 1 to 64 letters, digits, points, hyphens and underscores, and begin with a letter or digit; it was ${JSON.stringify(name)}.`,
        );
      }
      if (this.#byName.has(name)) {
        throw new SoundspotError(
          "ERR_INPUT",
          `Two models have the name ${name}. Give each its own; modelName is that of the first.`,
        );
      }
      check(each, aModel, name === modelName ? "model" : `models.${name}`);
      void each.handle; // a disposed model is rejected before the server listens
      this.#byName.set(name, { name, model: each });
    }
    this.first = this.#byName.get(modelName) as NamedModel;
  }

  get size(): number {
    return this.#byName.size;
  }

  get names(): string[] {
    return [...this.#byName.keys()];
  }

  /** @throws {HttpError} 404 with the names that there are. */
  get(name: string | undefined): NamedModel {
    const found = name === undefined ? this.first : this.#byName.get(name);
    if (found) return found;
    throw new HttpError(
      404,
      "ERR_NOT_FOUND",
      `There is no model ${JSON.stringify(name?.slice(0, 64))}. This service has ${this.names.join(", ")}.`,
    );
  }

  [Symbol.iterator](): Iterator<NamedModel> {
    return this.#byName.values();
  }
}

/** What clients need to know of a model. */
export function describedModel(model: Model) {
  const { config } = model;
  return {
    imageSize: config.imageSize,
    seconds: config.audio.seconds,
    sampleRate: config.audio.sampleRate,
    method: config.method.name,
    targetSlots: targetsOf(config),
    ...(hasSlots(config) ? { offTargetSlots: config.method.offTargetSlots } : {}),
    sharpening: sharpeningOf(config),
    ...(isDemoModel(model) ? { demo: true } : {}),
  };
}
