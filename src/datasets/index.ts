/** The datasets by name. */
export {
  type AvsbenchOptions,
  type AvsbenchSplit,
  type AvsbenchSubset,
  avsbench,
} from "./benchmarks/avsbench.js";
export { type FlickrSoundNetOptions, flickrSoundNet } from "./benchmarks/flickr-soundnet.js";
export { type Is3Options, is3 } from "./benchmarks/is3.js";
export { type KaistListOptions, kaistList } from "./benchmarks/kaist-lists.js";
export type { IdList } from "./benchmarks/lists.js";
export { type VggClassesOptions, type VggSoundOptions, vggClasses, vggSound } from "./benchmarks/vggsound.js";
export { type VggssOptions, vggss } from "./benchmarks/vggss.js";
export { type ScenesOptions, scenes } from "./drawn/scenes.js";
export { type StampsOptions, stamps } from "./drawn/stamps.js";
export { type ManifestOptions, manifest } from "./manifest.js";
export { datasetNames, openDataset } from "./registry.js";
export { type ShardsOptions, shards } from "./shards/dataset.js";
