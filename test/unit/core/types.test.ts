/** The types of the public API, as a caller's compiler sees them. `tsc --noEmit` does the checking. */
import { describe, expectTypeOf, it } from "vitest";
import {
  type AugmentConfig,
  type Box,
  CollapseMonitor,
  type CollapseWarning,
  type Dataset,
  datasets,
  type Encoding,
  type ErrorCode,
  type Evaluation,
  evaluate,
  falseNegatives,
  type IterableDataset,
  type LocalizeInput,
  type LocalizeOptions,
  type LossSchedule,
  localize,
  type Mask,
  type MethodName,
  Model,
  type ModelConfig,
  type ModelOptions,
  metrics,
  type NamedTensor,
  type PresetName,
  parseModelConfig,
  parseTrainConfig,
  preprocess,
  presets,
  type RawAudio,
  type RawImage,
  type Sample,
  SoundspotError,
  type Spot,
  type SpotBox,
  type StepResult,
  type TensorData,
  type TrainConfig,
  Trainer,
  type TrainOptions,
  type TrainRun,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";

describe("localize", () => {
  it("takes an image and audio, or a video", () => {
    expectTypeOf<{ image: string; audio: string }>().toExtend<LocalizeInput>();
    expectTypeOf<{ image: Buffer; audio: Buffer }>().toExtend<LocalizeInput>();
    expectTypeOf<{ image: RawImage; audio: RawAudio }>().toExtend<LocalizeInput>();
    expectTypeOf<{ video: string }>().toExtend<LocalizeInput>();
    expectTypeOf<{ video: string; at: number }>().toExtend<LocalizeInput>();
    expectTypeOf<{
      image: { tensor: Float32Array; shape: number[] };
      audio: { spectrogram: Float32Array; shape: number[] };
    }>().toExtend<LocalizeInput>();
  });

  it("rejects half a pair, samples that are not Float32Array, and unknown refinements", () => {
    expectTypeOf<{ image: string }>().not.toExtend<LocalizeInput>();
    expectTypeOf<{ audio: string }>().not.toExtend<LocalizeInput>();
    expectTypeOf<{
      image: string;
      audio: { samples: number[]; sampleRate: number };
    }>().not.toExtend<LocalizeInput>();
    expectTypeOf<LocalizeOptions["refine"]>().toEqualTypeOf<
      "none" | "iqr" | "ogl" | "combined" | undefined
    >();
  });

  it("gives one spot for one input and a list for a list", () => {
    type One = (model: Model, input: LocalizeInput) => Promise<Spot>;
    type Many = (model: Model, inputs: LocalizeInput[]) => Promise<Spot[]>;
    const one = (model: Model, input: LocalizeInput) => model.localize(input);
    const many = (model: Model, inputs: LocalizeInput[]) => model.localize(inputs, { refine: "iqr" });
    expectTypeOf(one).toEqualTypeOf<One>();
    expectTypeOf(many).toEqualTypeOf<Many>();
  });

  it("needs a model when it is called as a function", () => {
    expectTypeOf(localize).parameter(1).toExtend<{ readonly model: Model }>();
    expectTypeOf<LocalizeOptions>().not.toExtend<Parameters<typeof localize>[1]>();
    expectTypeOf(localize).returns.resolves.toEqualTypeOf<Spot>();
  });
});

describe("Spot", () => {
  it("has typed arrays, boxes with a score, and attentions with their shape", () => {
    expectTypeOf<Spot["heatmap"]>().toEqualTypeOf<Float32Array>();
    expectTypeOf<Spot["mask"]>().toEqualTypeOf<Uint8Array>();
    expectTypeOf<Spot["confidence"]>().toEqualTypeOf<number>();
    expectTypeOf<Spot["boxes"]>().toEqualTypeOf<readonly SpotBox[]>();
    expectTypeOf<SpotBox>().toExtend<Box & { readonly score: number }>();
    expectTypeOf<NonNullable<Spot["attention"]>>().toHaveProperty("audioOnImage").toEqualTypeOf<TensorData>();
    expectTypeOf<keyof NonNullable<Spot["attention"]>>().toEqualTypeOf<
      "audioOnImage" | "imageOnImage" | "audioOnAudio" | "imageOnAudio"
    >();
  });

  it("draws encoded images", () => {
    expectTypeOf<Spot["overlay"]>().returns.resolves.toEqualTypeOf<Buffer>();
    expectTypeOf<Spot["panels"]>().returns.resolves.toEqualTypeOf<Buffer>();
    expectTypeOf<Spot["spectrogram"]>().returns.resolves.toEqualTypeOf<Buffer>();
    expectTypeOf<NonNullable<Parameters<Spot["overlay"]>[0]>["format"]>().toEqualTypeOf<
      "png" | "jpeg" | undefined
    >();
  });
});

describe("Model", () => {
  it("is made or loaded, never constructed", () => {
    expectTypeOf<typeof Model>().not.toExtend<abstract new (...values: never) => unknown>();
    expectTypeOf(Model.create).returns.resolves.toEqualTypeOf<Model>();
    expectTypeOf(Model.create).toBeCallableWith();
    expectTypeOf(Model.create).toBeCallableWith({ imageSize: 112, audio: { seconds: 2 } }, { seed: 1 });
    expectTypeOf(Model.load).toBeCallableWith("a.pth", { config: { dim: 256 } });
  });

  it("frees itself at the end of a `using` block", () => {
    expectTypeOf<Model>().toExtend<Disposable>();
  });

  it("gives its tensors by name, and takes them back", () => {
    expectTypeOf<Model["parameters"]>().returns.resolves.items.toExtend<
      NamedTensor & { trainable: boolean }
    >();
    expectTypeOf<Model["setParameters"]>().parameter(0).toEqualTypeOf<readonly NamedTensor[]>();
    expectTypeOf<Model["encode"]>().returns.resolves.toEqualTypeOf<Encoding>();
    expectTypeOf<Encoding["imageFeatures"]>().toEqualTypeOf<TensorData>();
  });
});

describe("configuration", () => {
  it("is optional going in and complete coming out", () => {
    expectTypeOf<Record<never, never>>().toExtend<ModelOptions>();
    expectTypeOf<Record<never, never>>().toExtend<TrainOptions>();
    expectTypeOf(parseModelConfig).returns.toEqualTypeOf<ModelConfig>();
    expectTypeOf(parseTrainConfig).returns.toEqualTypeOf<TrainConfig>();
    expectTypeOf<ModelConfig["method"]["name"]>().toExtend<MethodName>();
    expectTypeOf<ModelConfig["imageStride"]>().toEqualTypeOf<4 | 8 | 16 | 32>();
    expectTypeOf<ModelConfig["audio"]["seconds"]>().toEqualTypeOf<number>();
    expectTypeOf<TrainConfig["augment"]>().toEqualTypeOf<false | AugmentConfig>();
    expectTypeOf<TrainConfig["losses"]>().toEqualTypeOf<Record<string, LossSchedule>>();
    expectTypeOf<TrainConfig["precision"]>().toEqualTypeOf<"float32" | "tf32" | "bfloat16" | "auto">();
  });

  it("distinguishes schedules by their type", () => {
    expectTypeOf<TrainConfig["schedule"]["type"]>().toEqualTypeOf<"constant" | "one-cycle">();
    expectTypeOf<Extract<TrainConfig["schedule"], { type: "one-cycle" }>["warmup"]>().toBeNumber();
    expectTypeOf<{ schedule: { type: "linear" } }>().not.toExtend<TrainOptions>();
  });

  it("knows the presets by name", () => {
    expectTypeOf<PresetName>().toEqualTypeOf<keyof typeof presets>();
    expectTypeOf(presets.paper.train).toExtend<TrainOptions>();
    expectTypeOf(presets.scratch.model).toExtend<ModelOptions>();
    expectTypeOf(presets.scratch.train).toExtend<TrainOptions>();
  });
});

describe("training", () => {
  it("needs nothing but data", () => {
    expectTypeOf<{ data: Dataset }>().toExtend<TrainRunOptions>();
    expectTypeOf<{ epochs: number }>().not.toExtend<TrainRunOptions>();
    expectTypeOf<TrainRunOptions["model"]>().toEqualTypeOf<ModelOptions | Model | undefined>();
    expectTypeOf(train).returns.resolves.toEqualTypeOf<TrainRun>();
    expectTypeOf<TrainRun["evaluation"]>().toEqualTypeOf<Evaluation | undefined>();
    expectTypeOf<TrainRun["last"]>().toEqualTypeOf<string | undefined>();
  });

  it("takes single steps", () => {
    expectTypeOf(Trainer).toBeConstructibleWith({} as Model);
    expectTypeOf(Trainer).toBeConstructibleWith({} as Model, { learningRate: 1e-4 });
    expectTypeOf<Trainer["step"]>().parameter(0).toEqualTypeOf<readonly LocalizeInput[]>();
    expectTypeOf<Trainer["step"]>().returns.resolves.toEqualTypeOf<StepResult>();
    expectTypeOf<StepResult["losses"]>().toEqualTypeOf<Readonly<Record<string, number>>>();
    expectTypeOf<StepResult["gradients"]>().toEqualTypeOf<readonly NamedTensor[]>();
  });

  it("watches for collapse", () => {
    expectTypeOf(CollapseMonitor).toBeConstructibleWith(64);
    expectTypeOf<CollapseMonitor["observe"]>().returns.toEqualTypeOf<CollapseWarning[]>();
    expectTypeOf<CollapseWarning["kind"]>().toEqualTypeOf<
      "uniform-image-attention" | "uniform-audio-attention" | "contrastive-at-chance"
    >();
  });
});

describe("datasets and metrics", () => {
  it("lets a caller write a dataset", () => {
    const own = { name: "own", length: 1, load: async () => ({}) as Sample };
    expectTypeOf(own).toExtend<Dataset>();
    expectTypeOf<Sample["mask"]>().toEqualTypeOf<Mask | undefined>();
    expectTypeOf(datasets.manifest).returns.resolves.toEqualTypeOf<IterableDataset>();
    expectTypeOf(datasets.scenes).returns.toEqualTypeOf<IterableDataset>();
    expectTypeOf<IterableDataset>().toExtend<Dataset>();
    expectTypeOf<IterableDataset>().toExtend<AsyncIterable<Sample>>();
    expectTypeOf(datasets.scenes).toBeCallableWith({ split: "test", sources: 2 });
  });

  it("evaluates a model on a dataset", () => {
    expectTypeOf(evaluate).toBeCallableWith({ model: {} as Model, data: {} as Dataset, limit: 10 });
    expectTypeOf(evaluate).returns.resolves.toEqualTypeOf<Evaluation>();
    expectTypeOf<Evaluation["audio"]["ciou"]>().toBeNumber();
    expectTypeOf<NonNullable<Evaluation["iqr"]>["ciou"]>().toBeNumber();
    expectTypeOf<NonNullable<Evaluation["retrieval"]>["audioToImage"]>().toEqualTypeOf<readonly number[]>();
  });

  it("has the metrics and the preprocessing as separate functions", () => {
    expectTypeOf(metrics.ciou).toBeCallableWith(new Uint8Array(1), new Float32Array(1));
    expectTypeOf(metrics.auc).returns.toBeNumber();
    expectTypeOf(metrics.recallAt).returns.resolves.toEqualTypeOf<number[]>();
    expectTypeOf(preprocess.image).returns.resolves.toEqualTypeOf<TensorData>();
    expectTypeOf(preprocess.audio).parameter(1).toEqualTypeOf<ModelConfig>();
    expectTypeOf(falseNegatives).returns.resolves.toEqualTypeOf<[number, number][]>();
  });
});

describe("errors", () => {
  it("have codes that a switch can exhaust", () => {
    expectTypeOf<SoundspotError["code"]>().toEqualTypeOf<ErrorCode>();
    expectTypeOf<SoundspotError>().toExtend<Error>();
    expectTypeOf<"ERR_ABORTED" | "ERR_CONFIG" | "ERR_MEDIA_DECODE">().toExtend<ErrorCode>();
    expectTypeOf<string>().not.toExtend<ErrorCode>();
    expectTypeOf(SoundspotError).toBeConstructibleWith("ERR_INPUT", "message", { cause: null });
  });
});
