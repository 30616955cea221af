/** Worker thread of `scenes.ts`: draws the scenes it is asked for. */
import { parentPort } from "node:worker_threads";
import { renderScene, type Scene, type SceneKey, type SceneSettings } from "./scene-renderer.js";

/** What `scenes.ts` sends. */
export interface SceneRequest {
  readonly id: number;
  readonly settings: SceneSettings;
  readonly key: SceneKey;
}

/** What comes back: the scene, or why there is none. */
export type SceneReply =
  | { readonly id: number; readonly scene: Scene }
  | { readonly id: number; readonly error: string };

parentPort?.on("message", ({ id, settings, key }: SceneRequest) => {
  try {
    const scene = renderScene(settings, key);
    const buffers = [scene.image, scene.mask, ...scene.silentMasks].map(({ data }) => data.buffer);
    parentPort?.postMessage({ id, scene } satisfies SceneReply, [
      ...(buffers as ArrayBuffer[]),
      scene.audio.samples.buffer as ArrayBuffer,
    ]);
  } catch (error) {
    parentPort?.postMessage({ id, error: String(error) } satisfies SceneReply);
  }
});
