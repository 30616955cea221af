/** The datasets by name. */
export { avsbench } from "./avsbench.js";
export { flickrSoundNet } from "./flickr-soundnet.js";
export { is3 } from "./is3.js";
export { manifest } from "./manifest.js";
export { datasetNames, openDataset } from "./registry.js";
export { scenes } from "./scenes.js";
export { shards } from "./shards.js";
export { stamps } from "./stamps.js";
export { vggClasses, vggSound } from "./vggsound.js";
export { vggss } from "./vggss.js";
