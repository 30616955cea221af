/** Target slots of the samples that were scored, and what is computed from all of them together. */
import type { ModelConfig } from "../config/model.js";
import type { TensorData } from "../core/types.js";
import type { Sample } from "../datasets/dataset.js";

/** One sample's target slots, each of length 1, one after the other: their dot products are mean cosines over slots. */
export interface Embedding {
  readonly id: string;
  readonly label: string;
  readonly image: Float32Array;
  readonly audio: Float32Array;
  /** What is drawn together in the bootstrap. */
  readonly group: string;
}

/** Target slots of [slots, D], each of length 1, one after the other. */
export function targetVector({ data }: TensorData, { targetSlots, dim }: ModelConfig): Float32Array {
  const targets = data.slice(0, targetSlots * dim);
  for (let from = 0; from < targets.length; from += dim) {
    const slot = targets.subarray(from, from + dim);
    const length = Math.sqrt(slot.reduce((sum, value) => sum + value * value, 0)) || 1;
    for (let d = 0; d < dim; d++) slot[d] = (slot[d] as number) / length;
  }
  return targets;
}

/** @internal Collects embeddings of labelled samples; after one without a label it holds none, and takes no memory. */
export class Embeddings {
  readonly #config: ModelConfig;
  #rows: Embedding[] | undefined = [];

  constructor(config: ModelConfig) {
    this.#config = config;
  }

  add(sample: Sample, slots: { readonly image: TensorData; readonly audio: TensorData }): void {
    const { id, label, clip, picture } = sample;
    if (label === undefined) this.#rows = undefined;
    this.#rows?.push({
      id,
      label: label as string,
      image: targetVector(slots.image, this.#config),
      audio: targetVector(slots.audio, this.#config),
      group: clip ?? picture ?? id,
    });
  }

  /** Rows of the samples after these, undefined when one had no label. */
  addRows(rows: readonly Embedding[] | undefined): void {
    if (rows === undefined) this.#rows = undefined;
    else for (const row of rows) this.#rows?.push(row);
  }

  /** All that were added; undefined when a sample had no label. */
  get all(): readonly Embedding[] | undefined {
    return this.#rows;
  }

  /** Undefined when there are none, or when a sample had no label. */
  get rows(): readonly Embedding[] | undefined {
    return this.#rows?.length ? this.#rows : undefined;
  }
}
