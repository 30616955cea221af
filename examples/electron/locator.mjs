// The main process imports this ordinary module. It runs in Node.js as well.
import { fork } from "node:child_process";
import { once } from "node:events";

/**
 * Starts a process that holds the model. `node` is the path of Node.js: Electron's own does not let an addon hand over
 * memory. A failure in that process leaves the windows alive.
 */
export async function createLocator({ checkpoint, node }) {
  const service = fork(new URL("./service.mjs", import.meta.url), [checkpoint], {
    execPath: node,
    serialization: "advanced", // bytes pass as they are
  });
  const waiting = new Map();
  const ended = new Promise((_, reject) => {
    service.once("error", reject);
    service.once("exit", (code) => reject(new Error(`The process that holds the model ended with ${code}.`)));
  });
  ended.catch((error) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  await Promise.race([once(service, "message"), ended]); // loaded
  service.on("message", ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(Object.assign(new Error(error.message), { code: error.code }));
    else resolve?.(result);
  });
  let last = 0;
  return {
    /** Encoded files as bytes in; boxes, confidence and the map over the image, a PNG, out. */
    localize({ image, audio }) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        if (!service.connected) return reject(new Error("The process that holds the model has ended."));
        waiting.set(id, { resolve, reject });
        service.send({ id, image: new Uint8Array(image), audio: new Uint8Array(audio) });
      });
    },
    close: () => service.connected && service.disconnect(),
  };
}
