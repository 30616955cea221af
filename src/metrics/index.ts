/** The metrics of the field, as pure functions. */
export * from "./bootstrap.js";
export * from "./extended.js";
export * from "./grouping.js";
export * from "./interactive.js";
export * from "./localization.js";
export * from "./retrieval.js";
export * from "./segmentation.js";
export * from "./sparse-extended.js";
export {
  type Comparison,
  type Cut,
  cutOf,
  meanOfHighest,
  nthSmallest,
  type Threshold,
} from "./threshold.js";
