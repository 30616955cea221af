// node main.mjs model.safetensors pairs.jsonl: each thread has a model of its own and takes every nth pair.
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

const [checkpoint, list] = process.argv.slice(2);
const pairs = (await readFile(list, "utf8"))
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line)); // {"image": "a.jpg", "audio": "a.wav"} a line
const threads = Math.min(pairs.length, availableParallelism());

const runs = Array.from({ length: threads }, (_, thread) => {
  const own = pairs.filter((_, i) => i % threads === thread);
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), {
    workerData: { checkpoint, pairs: own },
  });
  worker.on("message", ({ image, hottest, confidence }) => {
    console.log(`${image}: hottest at ${hottest.x}, ${hottest.y}; confidence ${confidence.toFixed(3)}`);
  });
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`A thread ended with ${code}.`)),
    );
  });
});
await Promise.all(runs);
