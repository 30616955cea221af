/** The public API. */

export type {
  JointSlotAttentionConfig,
  MethodConfig,
  MethodName,
  MethodOptions,
} from "./config/methods.js";
export type { ModelConfig, ModelOptions } from "./config/model.js";
export { parseModelConfig } from "./config/model.js";
export { type Preset, type PresetName, presets } from "./config/presets.js";
export type { AugmentConfig, LossSchedule, TrainConfig, TrainOptions } from "./config/train.js";
export { parseTrainConfig } from "./config/train.js";
export { type ErrorCode, SoundspotError } from "./core/errors.js";
export type { Box, GroundTruthMap, Mask, RawAudio, RawImage, TensorData } from "./core/types.js";
export type { SkippedSample } from "./datasets/damage.js";
export type {
  DamagedFile,
  Dataset,
  LoadableSample,
  LoadOptions as SampleLoadOptions,
  MissingSample,
  Sample,
  Sequence,
  SequenceRequest,
} from "./datasets/dataset.js";
export * as datasets from "./datasets/index.js";
export { type IterableDataset, type SamplesOptions, samplesOf } from "./datasets/samples.js";
export type { SkippedInRun } from "./datasets/skipped-list.js";
export { ProcessGroup, type ProcessGroupOptions } from "./distributed/process-group.js";
export {
  type AreaScores,
  type ClassScores,
  type ConfidenceInterval,
  type CutScore,
  type CutScores,
  type EvaluateOptions,
  type Evaluation,
  type ExtendedScores,
  evaluate,
  type GroupScores,
  type MapName,
  type MapScore,
  type MapScores,
  type Protocol,
  type ProtocolChoice,
  type ProtocolName,
  type ProtocolSampleScore,
  type ProtocolSampleScores,
  type ProtocolScores,
  protocols,
  type SampleScore,
  type SizeName,
  type SizeScores,
  type SourcesScores,
} from "./evaluation/evaluate.js";
export { type AddOptions, Evaluator, type EvaluatorOptions } from "./evaluation/evaluator.js";
export {
  type FalseNegativeOptions,
  type FalseNegativeReport,
  falseNegatives,
} from "./evaluation/false-negatives.js";
export { type QuantizeOptions, quantize } from "./evaluation/quantize.js";
export {
  type Retrieval,
  type RetrievalRun,
  type RetrieveOptions,
  retrieve,
  type SampleRetrieval,
} from "./evaluation/retrieve.js";
export type { AudioSource } from "./media/audio.js";
export type { DecodedSamples } from "./media/decode-samples.js";
export type { DecodeImageOptions, ImageSource } from "./media/image.js";
export { type ReadMaskOptions, readMask } from "./media/mask.js";
export {
  type AudioRange,
  type FramesOptions,
  Media,
  type MediaFrame,
  type MediaFrameAt,
  type MediaStream,
  type OpenMediaOptions,
  openMedia,
} from "./media/media.js";
export { encodeWav } from "./media/wav.js";
export * as metrics from "./metrics/index.js";
export type { Compute, ComputedPrecision, Device, Precision } from "./model/compute.js";
export { type DemoScene, demoScene } from "./model/demo.js";
export type { EmbedOptions } from "./model/embed.js";
export type { EmbedInput, ImageTensor, LocalizeInput, SpectrogramTensor } from "./model/inputs.js";
export type { LocalizeOptions } from "./model/localize.js";
export { type LossChoice, type LossFeature, type LossTerms, lossTerms } from "./model/loss-terms.js";
export {
  type CreateOptions,
  type Encoding,
  type LoadOptions,
  localize,
  Model,
  type WeightsReport,
} from "./model/model.js";
export { Objectness } from "./model/objectness.js";
export { preprocess } from "./model/preprocess.js";
export type {
  FigureOptions,
  GridsFigureOptions,
  OverlayOptions,
  SpectrogramFigureOptions,
  Spot,
  SpotAttention,
  SpotBox,
} from "./model/spot.js";
export type {
  LocalizeVideoOptions,
  VideoBox,
  VideoOverlayOptions,
  VideoRange,
  VideoSpot,
} from "./model/video.js";
export type {
  MapResize,
  NamedTensor,
  ProcessorInfo,
  Refinement,
  StepResult,
  Traffic,
} from "./native.js";
export { type CheckDatasetOptions, checkDataset, type DatasetCheck } from "./preparation/check-dataset.js";
export {
  type FailedVideo,
  type PreparedVideos,
  type PrepareVideosOptions,
  prepareVideos,
} from "./preparation/prepare-videos.js";
export type { SearchLabels } from "./search/labels.js";
export type { SkippedFile } from "./search/media-files.js";
export {
  type IndexUpdate,
  SearchIndex,
  type SearchIndexOptions,
  type SearchItem,
  type SearchResult,
  type UpdateIndexOptions,
} from "./search/search-index.js";
export type { SearchKind } from "./search/tables.js";
export type { HttpErrorCode } from "./server/http-error.js";
export {
  type CloseOptions,
  createServer,
  type ListenOptions,
  type ServedRequest,
  type Server,
  type ServerOptions,
  serve,
  type TrustProxy,
} from "./server/server.js";
export { type Collapse, CollapseMonitor, type CollapseWarning } from "./training/collapse-monitor.js";
export {
  type FindNeighboursOptions,
  findNeighbours,
  type Neighbours,
  readNeighbours,
  writeNeighbours,
} from "./training/neighbours.js";
export type {
  EpochEvent,
  ResumeEvent,
  StepEvent,
  StoreEvent,
  TrainRun,
  TrainRunOptions,
} from "./training/run-options.js";
export { train } from "./training/train.js";
export { Trainer, type TrainerStepOptions } from "./training/trainer.js";
export { localizeVideo } from "./video/localize-video.js";
export { type RenderedVideo, type RenderVideoOptions, renderVideo } from "./video/render-video.js";
