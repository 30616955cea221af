/** The datasets by name. */
export { type AvsbenchOptions, type AvsbenchSplit, type AvsbenchSubset, avsbench } from "./avsbench.js";
export { type FlickrSoundNetOptions, flickrSoundNet } from "./flickr-soundnet.js";
export { type Is3Options, is3 } from "./is3.js";
export type { IdList } from "./lists.js";
export { type ManifestOptions, manifest } from "./manifest.js";
export { datasetNames, openDataset } from "./registry.js";
export { type ScenesOptions, scenes } from "./scenes.js";
export { type ShardsOptions, shards } from "./shards.js";
export { type StampsOptions, stamps } from "./stamps.js";
export { type VggClassesOptions, type VggSoundOptions, vggClasses, vggSound } from "./vggsound.js";
export { type VggssOptions, vggss } from "./vggss.js";
