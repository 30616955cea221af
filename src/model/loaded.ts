/** A model as the code of this folder takes it: handle, configuration and compute, without the class around them. */

import type { ModelConfig } from "../config/model.js";
import { having } from "../core/arguments.js";
import type { ModelHandle } from "../native.js";
import type { Compute } from "./compute.js";

/** @internal What localization needs of a model. */
export interface LoadedModel {
  readonly config: ModelConfig;
  readonly compute: Compute;
  /** Of the file that it was loaded from. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The addon's object. @throws {SoundspotError} ERR_DISPOSED. */
  readonly handle: ModelHandle;
}

/** @internal By what it can do, not by its class: an import and a require of the package have one each. */
export const aModel = having("a Model", "localize", "parameters", "saveWith");
