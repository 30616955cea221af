/** Objectness: where an ImageNet classifier sees anything at all, for object-guided localization (section 1.7). */

import type { RawImage, TensorData } from "../core/types.js";
import { native } from "../native.js";
import { prepareSample } from "./inputs.js";
import { Model } from "./model.js";

/** A sound that nobody listens to: samples are prepared in pairs. */
const SILENCE = { samples: new Float32Array(1), sampleRate: 16_000 };

/**
 * An ImageNet ResNet-18 whose last stage tells where objects are.
 * @example
 * using objectness = await Objectness.load("resnet18.pth");
 * await model.localize({ image, audio }, { refine: "ogl", objectness });
 */
export class Objectness implements Disposable {
  readonly #model: Model;

  private constructor(model: Model) {
    this.#model = model;
  }

  /**
   * Loads torchvision's ResNet-18 (`.pth` or safetensors with its names).
   * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_CHECKPOINT_CORRUPT, ERR_CHECKPOINT_MISMATCH.
   */
  static async load(path: string): Promise<Objectness> {
    // The smallest audio side that a model can have: it is never used.
    const model = await Model.create({ audioStages: 1, audioWidth: 4, dim: 8, audio: { seconds: 0.1 } });
    try {
      await model.loadImageWeights(path);
    } catch (error) {
      model.dispose();
      throw error;
    }
    return new Objectness(model);
  }

  /**
   * Mean absolute value of the last stage's features at 224 px, a map a picture.
   * @returns [pictures, 7, 7], at least 0
   * @throws {SoundspotError} ERR_DISPOSED; ERR_INTERNAL when the weights are too large to compute with.
   */
  async maps(images: readonly RawImage[]): Promise<TensorData> {
    const { handle, config } = this.#model;
    const samples = await Promise.all(
      images.map((image) => prepareSample({ image, audio: SILENCE }, config)),
    );
    return native().objectness(handle, samples);
  }

  /** Frees the weights; further use throws ERR_DISPOSED. */
  dispose(): void {
    this.#model.dispose();
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
