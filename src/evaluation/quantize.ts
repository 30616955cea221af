/** Post-training quantization: calibrates a model's encoders with pairs of a dataset, for inference in int8 on a CPU. */

import { aCount, aFunction, aSignal, check, checkFields, oneOf } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { SkippedSample } from "../datasets/damage.js";
import { aDataset, type Dataset } from "../datasets/dataset.js";
import { releaseSamples } from "../model/inputs.js";
import { aModel } from "../model/loaded.js";
import { Model } from "../model/model.js";
import { native } from "../native.js";
import { loadBatches } from "./batches.js";

/** What a model is calibrated with. */
export interface QuantizeOptions {
  /** On the CPU. It stays as it is. */
  readonly model: Model;
  /** Pairs as the model will meet them; annotations are not used. */
  readonly data: Dataset;
  /** Pairs that are taken, evenly spread over the data. Default 128, or all where there are fewer. */
  readonly pairs?: number;
  /** Pairs in one pass. Default 16. */
  readonly batchSize?: number;
  /** "skip" leaves out samples that cannot be read. Default "throw". */
  readonly unreadable?: "throw" | "skip";
  readonly signal?: AbortSignal | undefined;
  /** Pairs done and their total. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** @internal */
export const CALIBRATION_PAIRS = 128;

/** `count` samples of the data, from its start to its end. */
function spread(data: Dataset, count: number): Dataset {
  const place = (index: number) => Math.floor((index * data.length) / count);
  return {
    name: data.name,
    length: count,
    load: (index, options) => data.load(place(index), options),
    ...(data.idOf ? { idOf: (index: number) => data.idOf?.(place(index)) } : {}),
  };
}

/**
 * A quantized copy of a model. The 3 × 3 convolutions and the shortcuts of both encoders' residual blocks get int8
 * weights, symmetric with a scale for each output channel; their inputs are uint8 with the step that minimizes the mean
 * square error over the given pairs. First convolutions, projections and everything behind the encoders stay float32.
 * The copy computes in int8 by default, and `save` writes its weights as int8. In another precision it computes with the
 * same rounded weights. Training goes on from them in floating point, after which the model is no longer quantized; so
 * do `setParameters` and `loadImageWeights`.
 * @returns a model to dispose, independent of the given one
 * @throws {SoundspotError} ERR_DEVICE when the model is not on the CPU or LibTorch has no int8 convolutions for this
 *   processor; ERR_INPUT when no pair could be read, or the model's weights changed meanwhile; those of the dataset, ERR_ABORTED, ERR_DISPOSED.
 * @example
 * using model = await Model.load("model.safetensors", { device: "cpu" });
 * using int8 = await quantize({ model, data: datasets.scenes({ length: 128 }) });
 * await int8.save("model.int8.safetensors");
 */
export async function quantize(options: QuantizeOptions): Promise<Model> {
  checkFields(options, {
    pairs: aCount,
    batchSize: aCount,
    unreadable: oneOf("throw", "skip"),
    signal: aSignal,
    onProgress: aFunction,
  });
  check(options.model, aModel, "model");
  check(options.data, aDataset, "data");
  const { model, data, batchSize = 16, unreadable = "throw", signal, onProgress } = options;
  const total = Math.min(options.pairs ?? CALIBRATION_PAIRS, data.length);
  const skipped: SkippedSample[] = [];
  const calibration = await native().startCalibration(model.handle);
  const batches = loadBatches(
    { data: spread(data, total), config: model.config, total, batchSize, unreadable, signal },
    skipped,
  );
  let done = 0;
  for await (const batch of batches) {
    const handles = batch.map(({ prepared }) => prepared.handle);
    try {
      await native().calibrate(calibration, handles);
    } finally {
      releaseSamples(handles);
    }
    done += batch.length;
    onProgress?.(done + skipped.length, total);
  }
  if (done === 0) {
    throw new SoundspotError(
      "ERR_INPUT",
      `No pair of ${data.name} could be read to calibrate with. Give data that can be read.`,
    );
  }
  return Model.of(await native().quantize(calibration), model.config);
}
