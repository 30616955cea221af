/** The measures of the field, pure functions. */
export * from "./localization.js";
export * from "./retrieval.js";
