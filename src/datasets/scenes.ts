/** Endless procedural scenes: things in a cluttered room, one of which is heard. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { SoundspotError, throwIfAborted } from "../errors.js";
import type { Dataset, LoadOptions, Sample } from "./dataset.js";
import { type Scene, type SceneKey, type SceneSettings, sceneClasses } from "./scene-renderer.js";
import type { SceneReply, SceneRequest } from "./scenes.worker.js";

export type { Scene, SceneKey, SceneSettings } from "./scene-renderer.js";
export { renderScene, sceneClasses } from "./scene-renderer.js";

export interface ScenesOptions extends Partial<SceneSettings> {
  /** Side of the square picture in pixels, 32 to 1024. Default 112. */
  readonly size?: number;
  /** Length of the sound in seconds, 1 to 5. Default 2. */
  readonly seconds?: number;
  /** In hertz, 12,000 to 96,000. Default 16,000. */
  readonly sampleRate?: number;
  /** Objects of sounding classes in view; one of them is heard. Default 1. */
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
export function scenes(options: ScenesOptions = {}): Dataset {
  const settings: SceneSettings = {
    size: inRange("size", options.size ?? 112, 32, 1024, true),
    seconds: inRange("seconds", options.seconds ?? 2, 1, 5),
    sampleRate: inRange("sampleRate", options.sampleRate ?? 16_000, 12_000, 96_000, true),
    sources: inRange("sources", options.sources ?? 1, 1, 2, true) as 1 | 2,
    props: inRange("props", options.props ?? 2, 1, 4, true),
    offscreen: inRange("offscreen", options.offscreen ?? 0.2, 0, 1),
  };
  const length = inRange("length", options.length ?? 4000, 1, Number.MAX_SAFE_INTEGER, true);
  const seed = inRange("seed", options.seed ?? 0, -(2 ** 31), 2 ** 31 - 1, true);
  const split = options.split ?? "train";
  const pool = new ScenePool(inRange("workers", options.workers ?? 1, 1, 64, true));

  return {
    name: "scenes",
    length,
    classes: sceneClasses,
    async load(index: number, { epoch = 0, signal }: LoadOptions = {}): Promise<Sample> {
      inRange("index", index, 0, length - 1, true);
      throwIfAborted(signal);
      const key: SceneKey = { seed, split, epoch: split === "test" ? 0 : epoch, index };
      const { image, audio, label, box, mask, silentMasks } = await pool.render(settings, key);
      throwIfAborted(signal);
      const id = `${split}-${seed}-${key.epoch}-${index}`;
      return { id, image, audio, label, boxes: [box], mask, silentMasks };
    },
    close: () => pool.close(),
  };
}

function inRange(name: string, value: number, low: number, high: number, whole = false): number {
  if (value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
  const kind = whole ? "a whole number" : "a number";
  throw new SoundspotError(
    "ERR_CONFIG",
    `scenes: ${name} must be ${kind} from ${low} to ${high}, got ${value}`,
  );
}

const closedError = (): SoundspotError => new SoundspotError("ERR_DISPOSED", "scenes: the dataset is closed");

interface Waiting {
  readonly resolve: (scene: Scene) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** Threads that draw scenes. Each starts with the first scene that it is given. */
class ScenePool {
  readonly #threads: Thread[] = [];
  readonly #size: number;
  #nextId = 0;
  #closed = false;

  constructor(size: number) {
    this.#size = size;
  }

  async render(settings: SceneSettings, key: SceneKey): Promise<Scene> {
    if (this.#closed) throw closedError();
    const thread = this.#leastBusy();
    return new Promise<Scene>((resolve, reject) => {
      const id = this.#nextId++;
      thread.waiting.set(id, { resolve, reject });
      // The process must stay while somebody waits, and only then.
      thread.worker.ref();
      thread.worker.postMessage({ id, settings, key } satisfies SceneRequest);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find(({ waiting }) => waiting.size === 0);
    if (idle) return idle;
    if (this.#threads.length < this.#size) return this.#start();
    return this.#threads.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
  }

  #start(): Thread {
    const worker = new Worker(workerFile());
    const thread: Thread = { worker, waiting: new Map() };
    worker.unref();
    worker.on("message", (reply: SceneReply) => {
      const waiting = thread.waiting.get(reply.id);
      thread.waiting.delete(reply.id);
      // While it closes, somebody waits for its end.
      if (thread.waiting.size === 0 && !this.#closed) worker.unref();
      if ("scene" in reply) waiting?.resolve(reply.scene);
      else waiting?.reject(new SoundspotError("ERR_INTERNAL", `scenes: ${reply.error}`));
    });
    const fail = (error: Error): void => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
      for (const { reject } of thread.waiting.values()) reject(error);
      thread.waiting.clear();
    };
    worker.on("error", fail);
    worker.on("exit", () => fail(closedError()));
    this.#threads.push(thread);
    return thread;
  }
}

/** The built worker: beside this file in `dist`, or in `dist` when this file runs from source. */
function workerFile(): string {
  const places = ["./scenes.worker.js", "../scenes.worker.js", "../../dist/scenes.worker.js"];
  const paths = places.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (!found) {
    throw new SoundspotError(
      "ERR_INTERNAL",
      `scenes: no worker file at ${paths[0]}; run "npm run build:ts" first`,
    );
  }
  return found;
}
