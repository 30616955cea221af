import { parentPort, workerData } from "node:worker_threads";
import { Model } from "soundspot";

const { checkpoint, pairs } = workerData;
const model = await Model.load(checkpoint);

for (const { image, audio } of pairs) {
  const { heatmap, width, confidence } = await model.localize({ image, audio });
  // Work of your own on the map belongs here: it would hold up the main thread.
  const at = heatmap.reduce((best, value, i) => (value > heatmap[best] ? i : best), 0);
  const hottest = { x: at % width, y: Math.floor(at / width) };
  parentPort.postMessage({ image, hottest, confidence });
}
model.dispose();
