/**
 * What the package's name leads to. It loads all else by a call that bundlers do not follow: they would fail at the
 * binaries of dependencies, at build time or inside of one. A bundle is rejected here, in one sentence.
 */
import { createRequire } from "node:module";
import { assertNotBundled } from "./core/bundle.js";

declare const __webpack_require__: unknown;
/** Of which format this file is, in the build. */
declare const COMMONJS: boolean;

assertNotBundled({ url: import.meta.url, webpack: typeof __webpack_require__ === "function" });

// webpack follows createRequire, and leaves this out. Tools that collect files for a server, such as Next.js for its
// output "standalone", follow these two forms; in CommonJS they take package.json only when it is named.
const load = createRequire(import.meta.url);
const api = (
  typeof __webpack_require__ === "function"
    ? undefined
    : COMMONJS
      ? [require(`${__dirname}/api.cjs`), require(`${__dirname}/../package.json`)][0]
      : load("./api.cjs")
) as typeof import("./index.js");

export const {
  CollapseMonitor,
  checkDataset,
  createServer,
  datasets,
  demoScene,
  encodeWav,
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
  quantize,
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
