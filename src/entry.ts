/**
 * What the package's name leads to. It loads all else by a call that bundlers do not follow: they would fail at the
 * binaries of dependencies, at build time or inside of one. A bundle is rejected here, in one sentence.
 */
import { createRequire } from "node:module";
import { assertNotBundled } from "./core/bundle.js";

declare const __webpack_require__: unknown;

assertNotBundled({ url: import.meta.url, webpack: typeof __webpack_require__ === "function" });

// Written so that webpack, which follows createRequire, leaves it out, and tools that collect files for a server see it.
const api = (
  typeof __webpack_require__ === "function" ? undefined : createRequire(import.meta.url)("./api.cjs")
) as typeof import("./index.js");

export const {
  CollapseMonitor,
  checkDataset,
  createServer,
  datasets,
  demoScene,
  Evaluator,
  evaluate,
  falseNegatives,
  findNeighbours,
  localize,
  localizeVideo,
  lossTerms,
  Media,
  Model,
  metrics,
  Objectness,
  openMedia,
  ProcessGroup,
  parseModelConfig,
  parseTrainConfig,
  prepareVideos,
  preprocess,
  presets,
  protocols,
  readMask,
  readNeighbours,
  renderVideo,
  retrieve,
  SearchIndex,
  SoundspotError,
  samplesOf,
  serve,
  Trainer,
  train,
  writeNeighbours,
} = api;
