// train-worker.mjs in a process of its own, as a competitor for turns.mjs.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** @param work `{ weights, device?, train, batch, shapes?, views?, step? }`, see train-worker.mjs */
export async function trainProcess(name, work) {
  const path = fileURLToPath(new URL("train-worker.mjs", import.meta.url));
  const child = fork(path, [JSON.stringify(work)]);
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`The process of ${name} ended: ${code ?? signal}.`);
  });
  ended.catch(() => undefined); // closed
  const answer = async () => (await Promise.race([once(child, "message"), ended]))[0];
  await answer();
  const entry = {
    name,
    run: async (times) => {
      child.send({ times });
      const { ms, peak } = await answer();
      entry.peak = peak;
      return ms;
    },
    close: () => child.kill(),
  };
  return entry;
}
