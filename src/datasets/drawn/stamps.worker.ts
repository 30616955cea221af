/** Worker thread of `stamps.ts`: composes the requested samples. */
import { workerData } from "node:worker_threads";
import { answerRequests } from "./render-pool.js";
import { renderStamps, type StampLibrary, type StampSettings } from "./stamp-renderer.js";

answerRequests((settings: StampSettings, key) => renderStamps(workerData as StampLibrary, settings, key));
