/** Vectors of one modality alone: what retrieval, search and lists of false negatives compare. */

import { aList, aSignal, check, checkFields } from "../core/arguments.js";
import { throwIfAborted } from "../core/errors.js";
import { native, type SampleHandle } from "../native.js";
import { aPrecision, type Precision, precisionOf } from "./compute.js";
import { checkDemoInputs } from "./demo.js";
import { type EmbedInput, prepareSide, releaseSamples } from "./inputs.js";
import type { LoadedModel } from "./loaded.js";

/** How a side is embedded. */
export interface EmbedOptions {
  /** Precision of the encoder. Default: what the model was loaded with. */
  readonly precision?: Precision | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Inputs in one pass of an encoder. */
const BATCH = 16;

/** @internal `Model.embed` of several inputs, in their order. */
export async function embedBatch(
  model: LoadedModel,
  inputs: readonly EmbedInput[],
  options: EmbedOptions = {},
): Promise<Float32Array[]> {
  check(inputs, aList, "The inputs");
  checkFields(options, { signal: aSignal, precision: aPrecision });
  void model.handle; // a disposed model is rejected before anything is decoded
  await checkDemoInputs(model, inputs);
  const vectors: Float32Array[] = [];
  for (let from = 0; from < inputs.length; from += BATCH) {
    const some = Array.from(inputs).slice(from, from + BATCH);
    const handles = await Promise.all(some.map((input) => prepareSide(input, model.config, options)));
    try {
      for (const modality of ["image", "audio"] as const) {
        const of = some.flatMap((input, i) => (input[modality] === undefined ? [] : [i]));
        const rows = await embedPrepared(
          model,
          of.map((i) => handles[i] as SampleHandle),
          modality,
          options,
        );
        for (const [n, i] of of.entries()) vectors[from + i] = rows[n] as Float32Array;
      }
    } finally {
      releaseSamples(handles);
    }
    throwIfAborted(options.signal);
  }
  return vectors;
}

/** @internal The same of prepared samples, which may have both sides. */
export async function embedPrepared(
  model: LoadedModel,
  handles: readonly SampleHandle[],
  modality: "image" | "audio",
  { precision }: EmbedOptions = {},
): Promise<Float32Array[]> {
  if (handles.length === 0) return [];
  const computed = precisionOf(model, precision);
  const { data, shape } = await native().embed(model.handle, handles, { modality, precision: computed });
  const [count = 0, length = 0] = shape;
  return Array.from({ length: count }, (_, i) => data.slice(i * length, (i + 1) * length));
}
