/** Objectness: where an ImageNet classifier sees anything at all, for object-guided localization (OGL). */

import { resolve } from "node:path";
import { type ModelConfig, parseModelConfig } from "../config/model.js";
import { aPath, check, having } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { RawImage, TensorData } from "../core/types.js";
import { type ModelHandle, native } from "../native.js";
import { prepareSample } from "./inputs.js";

/** @internal By what it can do, not by its class: an import and a require of the package have one each. */
export const anObjectness = having("an Objectness", "maps");

/** Unused audio: samples are prepared in pairs. */
const SILENCE = { samples: new Float32Array(1), sampleRate: 16_000 };

/**
 * An ImageNet ResNet-18 whose last stage shows where objects are.
 * @example
 * using objectness = await Objectness.load("resnet18.pth");
 * await model.localize({ image, audio }, { refine: "ogl", objectness });
 */
export class Objectness implements Disposable {
  readonly #handle: ModelHandle;
  readonly #config: ModelConfig;
  #disposed = false;

  private constructor(handle: ModelHandle, config: ModelConfig) {
    this.#handle = handle;
    this.#config = config;
  }

  /**
   * Loads torchvision's ResNet-18 (`.pth` or safetensors with its names).
   * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_CHECKPOINT_CORRUPT, ERR_CHECKPOINT_MISMATCH.
   */
  static async load(path: string): Promise<Objectness> {
    check(path, aPath, "The weights");
    const file = resolve(path);
    const { handle: checkpoint } = await native().readCheckpoint(file);
    // The smallest audio side that a model can have: it is never used.
    const config = parseModelConfig({ audioStages: 1, audioWidth: 4, dim: 8, audio: { seconds: 0.1 } });
    const handle = await native().createModel(config, 0, "cpu");
    try {
      await native().loadImageWeights(handle, checkpoint, file);
    } catch (error) {
      native().release(handle);
      throw error;
    }
    return new Objectness(handle, config);
  }

  /**
   * Mean absolute value of the last stage's features at 224 px, one map per image.
   * @returns [images, 7, 7], at least 0
   * @throws {SoundspotError} ERR_DISPOSED; ERR_INTERNAL when the weights are too large to compute with.
   */
  async maps(images: readonly RawImage[]): Promise<TensorData> {
    const checkDisposed = () => {
      if (!this.#disposed) return;
      throw new SoundspotError("ERR_DISPOSED", "The Objectness was disposed. Load it again.");
    };
    checkDisposed();
    const samples = await Promise.all(
      images.map((image) => prepareSample({ image, audio: SILENCE }, this.#config)),
    );
    checkDisposed();
    return native().objectness(this.#handle, samples);
  }

  /** Frees the weights; further use throws ERR_DISPOSED. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    native().release(this.#handle);
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
