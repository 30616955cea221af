/** Embeddings of the scored samples. */
import type { Sample } from "../datasets/dataset.js";

/** One sample's target vectors, each of length 1, one after the other: dot products are sums of cosines over targets. */
export interface Embedding {
  readonly id: string;
  readonly label: string;
  readonly image: Float32Array;
  readonly audio: Float32Array;
  /** Samples of one group are drawn together in the bootstrap. */
  readonly group: string;
}

/** @internal Collects embeddings of labelled samples; after one without a label it is empty and takes no memory. */
export class Embeddings {
  #rows: Embedding[] | undefined = [];

  add(sample: Sample, own: { readonly image: Float32Array; readonly audio: Float32Array }): void {
    const { id, label, clip, imageId } = sample;
    if (label === undefined) this.#rows = undefined;
    this.#rows?.push({
      id,
      label: label as string,
      image: own.image,
      audio: own.audio,
      group: clip ?? imageId ?? id,
    });
  }

  /** Adds the rows of later samples; undefined when one of them had no label. */
  addRows(rows: readonly Embedding[] | undefined): void {
    if (rows === undefined) this.#rows = undefined;
    else for (const row of rows) this.#rows?.push(row);
  }

  /** All rows; undefined when a sample had no label. */
  get all(): readonly Embedding[] | undefined {
    return this.#rows;
  }

  /** All rows; undefined without any, or when a sample had no label. */
  get rows(): readonly Embedding[] | undefined {
    return this.#rows?.length ? this.#rows : undefined;
  }
}
