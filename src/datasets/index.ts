/** The datasets by name. */
export { manifest } from "./manifest.js";
export { scenes } from "./scenes.js";
