/** Endless procedural scenes: objects in a cluttered room, one of which sounds. */

import { oneOf } from "../../core/arguments.js";
import { throwIfAborted } from "../../core/errors.js";
import type { LoadOptions, Sample } from "../dataset.js";
import { type IterableDataset, iterable } from "../samples.js";
import { checkSource } from "../source.js";
import { inRange, RenderPool } from "./render-pool.js";
import { sceneClasses } from "./scene/classes/index.js";
import type { SceneKey, SceneSettings } from "./scene/scene.js";

export { sceneClasses } from "./scene/classes/index.js";
export type { Scene, SceneKey, SceneSettings } from "./scene/scene.js";
export { renderScene } from "./scene/scene.js";

/** How scenes are drawn. */
export interface ScenesOptions extends Partial<SceneSettings> {
  /** Side of the square image in pixels, 32 to 1024. Default 112. */
  readonly size?: number;
  /** Length of the audio in seconds, 1 to 5. Default 2. */
  readonly seconds?: number;
  /** In hertz, 12,000 to 96,000. Default 16,000. */
  readonly sampleRate?: number;
  /** Objects of sounding classes in view; one of them sounds. Default 1. */
  readonly sources?: 1 | 2;
  /** Most silent props in view; there is always one. 1 to 4, default 2. */
  readonly props?: number;
  /** Probability of a quieter sound of another class from off screen. Default 0.2. */
  readonly offscreen?: number;
  /** Scenes an epoch. Default 4000. */
  readonly length?: number;
  /** Another seed gives other scenes. An integer, default 0. */
  readonly seed?: number;
  /** The test split shares no scene with the training split and ignores the epoch. Default "train". */
  readonly split?: "train" | "test";
  /** Threads that draw. Default 1. */
  readonly workers?: number;
}

/**
 * Scenes of ten sounding classes with exact masks, boxes and labels. A scene depends on seed, split,
 * epoch and index only. They are drawn on worker threads, which keep the process alive only while a
 * scene is awaited.
 *
 * @example
 * const data = scenes({ split: "test", length: 1000 });
 * const { image, audio, mask, label } = await data.load(0);
 * await data.close?.();
 * @throws {SoundspotError} ERR_CONFIG when an option is out of its range.
 */
export function scenes(options: ScenesOptions = {}): IterableDataset {
  checkSource("scenes", options, {}, { split: oneOf("train", "test") });
  const settings: SceneSettings = {
    size: inRange("scenes", "size", options.size ?? 112, 32, 1024, true),
    seconds: inRange("scenes", "seconds", options.seconds ?? 2, 1, 5),
    sampleRate: inRange("scenes", "sampleRate", options.sampleRate ?? 16_000, 12_000, 96_000, true),
    sources: inRange("scenes", "sources", options.sources ?? 1, 1, 2, true) as 1 | 2,
    props: inRange("scenes", "props", options.props ?? 2, 1, 4, true),
    offscreen: inRange("scenes", "offscreen", options.offscreen ?? 0.2, 0, 1),
  };
  const length = inRange("scenes", "length", options.length ?? 4000, 1, Number.MAX_SAFE_INTEGER, true);
  const seed = inRange("scenes", "seed", options.seed ?? 0, -(2 ** 31), 2 ** 31 - 1, true);
  const split = options.split ?? "train";
  const pool = new RenderPool<SceneSettings>(
    "scenes",
    inRange("scenes", "workers", options.workers ?? 1, 1, 64, true),
  );

  return iterable({
    name: "scenes",
    length,
    classes: sceneClasses,
    async load(index: number, { epoch = 0, signal }: LoadOptions = {}): Promise<Sample> {
      inRange("scenes", "index", index, 0, length - 1, true);
      throwIfAborted(signal);
      const key: SceneKey = { seed, split, epoch: split === "test" ? 0 : epoch, index };
      const { image, audio, label, box, mask, silentMasks } = await pool.render(settings, key);
      throwIfAborted(signal);
      const id = `${split}-${seed}-${key.epoch}-${index}`;
      return { id, image, audio, label, boxes: [box], mask, silentMasks };
    },
    close: () => pool.close(),
  });
}
