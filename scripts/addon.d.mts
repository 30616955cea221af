import type { ProcessorInfo } from "../src/native.js";

/** Of the addon's functions, those that tests written in TypeScript call without the package. */
export const addon: { info(): { cpu: ProcessorInfo } };
