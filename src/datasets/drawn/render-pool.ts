/** Threads that draw samples, for the datasets that draw them. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parentPort, Worker } from "node:worker_threads";
import { shown } from "../../core/arguments.js";
import { SoundspotError } from "../../core/errors.js";
import type { Scene, SceneKey } from "./drawing.js";

/** What a thread is sent. */
interface RenderRequest<Settings> {
  readonly id: number;
  readonly settings: Settings;
  readonly key: SceneKey;
}

/** What comes back: the scene, or why there is none. */
type RenderReply =
  | { readonly id: number; readonly scene: Scene }
  | { readonly id: number; readonly error: string };

/** The thread's side: answers every request with what `render` draws. The scene's memory goes over, uncopied. */
export function answerRequests<Settings>(render: (settings: Settings, key: SceneKey) => Scene): void {
  parentPort?.on("message", ({ id, settings, key }: RenderRequest<Settings>) => {
    try {
      const scene = render(settings, key);
      const buffers = [scene.image, scene.mask, ...scene.silentMasks].map(({ data }) => data.buffer);
      parentPort?.postMessage({ id, scene } satisfies RenderReply, [
        ...(buffers as ArrayBuffer[]),
        scene.audio.samples.buffer as ArrayBuffer,
      ]);
    } catch (error) {
      parentPort?.postMessage({ id, error: String(error) } satisfies RenderReply);
    }
  });
}

interface Waiting {
  readonly resolve: (scene: Scene) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** Threads of one dataset. Each starts with the first scene that it is given. */
export class RenderPool<Settings> {
  readonly #threads: Thread[] = [];
  readonly #name: string;
  readonly #size: number;
  readonly #data: unknown;
  #nextId = 0;
  #closed = false;

  /** `name` is the dataset's: its worker file is `name.worker.js`. `data` goes to every thread as its `workerData`. */
  constructor(name: string, size: number, data?: unknown) {
    this.#name = name;
    this.#size = size;
    this.#data = data;
  }

  async render(settings: Settings, key: SceneKey): Promise<Scene> {
    if (this.#closed) throw this.#closedError();
    const thread = this.#leastBusy();
    return new Promise<Scene>((resolve, reject) => {
      const id = this.#nextId++;
      thread.waiting.set(id, { resolve, reject });
      // The process must stay while somebody waits, and only then.
      thread.worker.ref();
      thread.worker.postMessage({ id, settings, key } satisfies RenderRequest<Settings>);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #closedError(): SoundspotError {
    return new SoundspotError("ERR_DISPOSED", `${this.#name}: the dataset is closed`);
  }

  #leastBusy(): Thread {
    const idle = this.#threads.find(({ waiting }) => waiting.size === 0);
    if (idle) return idle;
    if (this.#threads.length < this.#size) return this.#start();
    return this.#threads.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));
  }

  #start(): Thread {
    // Next.js compiles every file that a `new Worker` may name, and fails at the types beside them.
    const worker = Reflect.construct(Worker, [workerFile(this.#name), { workerData: this.#data }]) as Worker;
    const thread: Thread = { worker, waiting: new Map() };
    worker.unref();
    worker.on("message", (reply: RenderReply) => {
      const waiting = thread.waiting.get(reply.id);
      thread.waiting.delete(reply.id);
      // While it closes, somebody waits for its end.
      if (thread.waiting.size === 0 && !this.#closed) worker.unref();
      if ("scene" in reply) waiting?.resolve(reply.scene);
      else waiting?.reject(new SoundspotError("ERR_INTERNAL", `${this.#name}: ${reply.error}`));
    });
    const fail = (error: Error): void => {
      const at = this.#threads.indexOf(thread);
      if (at >= 0) this.#threads.splice(at, 1);
      for (const { reject } of thread.waiting.values()) reject(error);
      thread.waiting.clear();
    };
    worker.on("error", fail);
    worker.on("exit", () => fail(this.#closedError()));
    this.#threads.push(thread);
    return thread;
  }
}

/** The built worker: beside this file in `dist`, or in `dist` when this file runs from source. */
function workerFile(name: string): string {
  const places = [`./${name}.worker.js`, `../${name}.worker.js`, `../../../dist/${name}.worker.js`];
  const paths = places.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (!found) {
    throw new SoundspotError(
      "ERR_INTERNAL",
      `${name}: no worker file at ${paths[0]}; run "npm run build:ts" first`,
    );
  }
  return found;
}

/** @throws {SoundspotError} ERR_CONFIG naming dataset and option. */
export function inRange(
  dataset: string,
  name: string,
  value: number,
  low: number,
  high: number,
  whole = false,
): number {
  if (typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value)))
    return value;
  const kind = whole ? "a whole number" : "a number";
  throw new SoundspotError(
    "ERR_CONFIG",
    `${dataset}: ${name} must be ${kind} from ${low} to ${high}, got ${shown(value)}`,
  );
}
