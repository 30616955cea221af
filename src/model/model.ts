/** The model as a user holds it: created, loaded, saved, run, freed. */

import { resolve } from "node:path";
import { sharpeningOf } from "../config/methods.js";
import { type ModelConfig, type ModelOptions, parseModelConfig } from "../config/model.js";
import type { PresetName } from "../config/presets.js";
import {
  aList,
  anInteger,
  anObject,
  aPath,
  aSignal,
  aText,
  check,
  checkFields,
  inRange,
} from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { ownTensor } from "../core/tensors.js";
import { makeFolderOf } from "../files/atomic-writes.js";
import {
  type BindingReport,
  type ModelHandle,
  type NamedTensor,
  type NativeEncoding,
  native,
  type TrainerHandle,
} from "../native.js";
import {
  aDevice,
  aPrecision,
  type Compute,
  computeOf,
  type Device,
  type Precision,
  placeOf,
} from "./compute.js";
import { CONFIG_KEY, configOf, type FoundConfig } from "./configuration.js";
import { checkDemoInputs, demoPackage } from "./demo.js";
import { type EmbedOptions, embedBatch } from "./embed.js";
import { type EmbedInput, type LocalizeInput, prepareInput, releaseSamples } from "./inputs.js";
import { aModel } from "./loaded.js";
import { type LocalizeOptions, localizeBatch } from "./localize.js";
import type { Spot } from "./spot.js";
import { type LocalizeVideoOptions, type VideoSpot, videoLocalizer } from "./video.js";

/** Features, slots, queries and attentions of a batch; every shape starts with the batch. */
export type Encoding = NativeEncoding;

/** How a checkpoint is loaded. */
export interface LoadOptions {
  /**
   * For files that do not carry their configuration, such as `.pth`: options, the name of a preset, or the path of a JSON
   * file with options or with the training arguments of the method's authors (`configs.json`). It takes precedence over
   * what the file carries. Default the file's own, else `configs.json` or `config.json` beside it, else that of the
   * preset whose published files have such tensors, else the paper's.
   */
  readonly config?: ModelOptions | string;
  /** Where the model is and computes. Default "auto". */
  readonly device?: Device;
  /** Precision of the encoders, where `localize` names no other. Default "auto". */
  readonly precision?: Precision;
  readonly signal?: AbortSignal | undefined;
}

/** How a model with fresh weights begins. */
export interface CreateOptions {
  /** Seed of the random weights. Default 0. */
  readonly seed?: number;
  /** Where the model is and computes. Default "auto". */
  readonly device?: Device;
  /** Precision of the encoders, where `localize` names no other. Default "auto". */
  readonly precision?: Precision;
}

/** What was taken from a file of weights and what was not. */
export interface WeightsReport {
  /** Parameters that were filled. */
  readonly loaded: readonly string[];
  /** Tensors of the file that were not taken. */
  readonly ignored: readonly string[];
  /** Parameters that were to be filled and keep their values. */
  readonly missing: readonly string[];
  /** Where in the file the weights lie, such as "model_state_dict"; absent where they lie at its top. */
  readonly key?: string;
  /** Keys of other weights in the file, which were skipped; absent where there are none. */
  readonly otherKeys?: readonly string[];
  /** The JSON file that the configuration was read from; absent where none was read. */
  readonly config?: string;
  /** Fields of that file that are not known, and were ignored. */
  readonly ignoredConfig?: readonly string[];
  /** The preset that the configuration was taken from because its files have such tensors; else absent. */
  readonly preset?: PresetName;
  /** Further presets whose files have the same tensors; absent without any. */
  readonly otherPresets?: readonly PresetName[];
}

/** A model and its weights. Free it with `dispose()`, or by `using`. */
export class Model implements Disposable {
  readonly config: ModelConfig;
  /** What it is computed on and in. */
  readonly compute: Compute;
  #handle: ModelHandle;
  #disposed = false;
  /** Metadata of the file that the model was loaded from. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What was taken from that file and what was not; undefined where the model was made. */
  readonly loaded: WeightsReport | undefined;

  private constructor(
    handle: ModelHandle,
    config: ModelConfig,
    compute: Compute,
    metadata: Record<string, string> = {},
    loaded?: WeightsReport,
  ) {
    this.#handle = handle;
    this.config = config;
    this.compute = compute;
    this.metadata = metadata;
    this.loaded = loaded;
  }

  /**
   * A model with fresh weights; without options the paper's.
   * @throws {SoundspotError} ERR_CONFIG with the path of the field; ERR_DEVICE when there is no such device.
   */
  static async create(options: ModelOptions = {}, start: CreateOptions = {}): Promise<Model> {
    const config = parseModelConfig(options);
    checkFields(start, { seed: anInteger, device: aDevice, precision: aPrecision });
    const { seed = 0, device = "auto", precision = "auto" } = start;
    const place = placeOf(device, native().info().devices, process.env);
    const handle = await native().createModel(config, seed, place);
    return new Model(handle, config, computeOf(handle, precision));
  }

  /**
   * Loads a checkpoint: safetensors with its configuration, or a `.pth` with the published names. Prefixes that other
   * programs put before names (`module.`, `_orig_mod.`, `model.`) do not count, and tensors of no part of the model are
   * skipped: `loaded` lists them.
   * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_CHECKPOINT_CORRUPT (also when weights are not
   *   finite), ERR_CHECKPOINT_MISMATCH when a parameter is missing or of another shape, or one of the model's parts holds
   *   tensors that the configuration has no place for; ERR_CONFIG when the configuration is not valid; ERR_DEVICE when
   *   there is no such device; for precision "int8" ERR_INPUT when the file is not of a quantized model.
   * @example
   * const model = await Model.load("published.pth", { config: "configs.json" });
   * console.log(model.loaded?.ignored);
   */
  static async load(path: string, options: LoadOptions = {}): Promise<Model> {
    check(path, aPath, "The checkpoint");
    checkFields(options, { signal: aSignal, device: aDevice, precision: aPrecision });
    throwIfAborted(options.signal);
    const file = resolve(path);
    const { handle: checkpoint, metadata, tensors } = await native().readCheckpoint(file);
    throwIfAborted(options.signal);
    const names = tensors.map(({ name }) => name);
    const found = await configOf(file, metadata, options.config, names, options.signal);
    const { handle, report } = await native().loadModel(
      found.config,
      checkpoint,
      file,
      placeOf(options.device ?? "auto", native().info().devices, process.env),
    );
    native().releaseCheckpoint(checkpoint); // what the model needs next is then made in its memory
    const loaded = weightsReport(report, found);
    try {
      const compute = computeOf(handle, options.precision ?? "auto");
      return new Model(handle, found.config, compute, metadata, loaded);
    } catch (error) {
      native().release(handle);
      throw error;
    }
  }

  /** @internal The model of a handle that nothing else frees. */
  static of(handle: ModelHandle, config: ModelConfig): Model {
    return new Model(handle, config, computeOf(handle, "auto"));
  }

  /**
   * Loads the demo model of the package `@soundspot/demo-model`, to try everything without training. It knows drawn
   * scenes only; `demoScene()` is one. On other files `localize` warns of that, once in a process.
   * @throws {SoundspotError} ERR_DEMO_MODEL_MISSING when the package is not installed, with the command that installs it;
   *   and those of `load`.
   * @example
   * using model = await Model.demo();
   * const spot = await model.localize(demoScene());
   */
  static async demo(options: Omit<LoadOptions, "config"> = {}): Promise<Model> {
    checkFields(options, {});
    return Model.load(demoPackage().model, options);
  }

  /** @internal The addon's object. @throws {SoundspotError} ERR_DISPOSED. */
  get handle(): ModelHandle {
    if (this.#disposed) {
      throw new SoundspotError("ERR_DISPOSED", "The model was disposed. Load or create it again.");
    }
    return this.#handle;
  }

  /**
   * Finds the sound source in one input or in a batch of them.
   * @throws {SoundspotError} ERR_DISPOSED, ERR_ABORTED, and those of decoding; ERR_INTERNAL when weights are not finite
   *   or too large to compute with.
   */
  localize(input: LocalizeInput, options?: LocalizeOptions): Promise<Spot>;
  localize(inputs: readonly LocalizeInput[], options?: LocalizeOptions): Promise<Spot[]>;
  async localize(
    input: LocalizeInput | readonly LocalizeInput[],
    options: LocalizeOptions = {},
  ): Promise<Spot | Spot[]> {
    const one = !Array.isArray(input);
    const spots = await localizeBatch(
      this,
      one ? [input as LocalizeInput] : (input as LocalizeInput[]),
      options,
    );
    return one ? (spots[0] as Spot) : spots;
  }

  /**
   * Finds the sound source over a video, frame by frame.
   * @throws {SoundspotError} as `localizeVideo`.
   * @example
   * for await (const { time, source, boxes } of model.localizeVideo("clip.mp4")) console.log(time, source, boxes);
   */
  localizeVideo(path: string, options: LocalizeVideoOptions = {}): AsyncGenerator<VideoSpot, void, void> {
    return videoLocalizer()(this, path, options);
  }

  /**
   * Features, slots, queries and attentions of a batch, the latter at `sharpening` (default the configuration's).
   * @throws {SoundspotError} as `localize`.
   */
  async encode(
    inputs: readonly LocalizeInput[],
    options: { readonly sharpening?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Encoding> {
    check(inputs, aList, "The inputs");
    checkFields(options, { signal: aSignal });
    const { sharpening = sharpeningOf(this.config) } = options;
    inRange(sharpening, 1e-6, 1e6, "sharpening");
    if (inputs.length === 0) throw new SoundspotError("ERR_INPUT", "There are no inputs. Give at least one.");
    const samples = await Promise.all(
      Array.from(inputs, (input) => prepareInput(input, this.config, options)),
    );
    const handles = samples.map(({ handle }) => handle);
    try {
      await checkDemoInputs(this, inputs);
      return await native().encode(this.handle, handles, { sharpening, precision: "float32", plain: false });
    } finally {
      releaseSamples(handles);
    }
  }

  /**
   * Vectors of one modality alone, for retrieval and search: T target vectors of length 1 in a row, [T·D], of one input
   * or of each of several. The dot product of an image's and an audio's is the sum of their cosines over targets.
   * @throws {SoundspotError} ERR_INPUT when an input has both sides or none, and as `localize`.
   * @example
   * const [dog, cat] = await model.embed([{ image: "dog.jpg" }, { image: "cat.jpg" }]);
   * const bark = await model.embed({ audio: "bark.wav" });
   */
  embed(input: EmbedInput, options?: EmbedOptions): Promise<Float32Array>;
  embed(inputs: readonly EmbedInput[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(
    input: EmbedInput | readonly EmbedInput[],
    options: EmbedOptions = {},
  ): Promise<Float32Array | Float32Array[]> {
    if (Array.isArray(input)) return embedBatch(this, input as EmbedInput[], options);
    return (await embedBatch(this, [input as EmbedInput], options))[0] as Float32Array;
  }

  /** Parameters and buffers by their published names, copies. */
  async parameters(): Promise<(NamedTensor & { trainable: boolean })[]> {
    return native().parameters(this.handle);
  }

  /**
   * Puts values into parameters and buffers; others keep theirs. All or nothing.
   * @throws {SoundspotError} ERR_CHECKPOINT_MISMATCH when a name is unknown or a shape differs; ERR_INPUT when a value
   *   is not finite.
   */
  async setParameters(tensors: readonly NamedTensor[]): Promise<void> {
    check(tensors, aList, "The parameters");
    const own = Array.from(tensors, (tensor) => {
      checkFields(tensor, { name: aText, shape: aList }, "A parameter");
      return { name: String(tensor.name), ...ownTensor(tensor) };
    });
    await native().setParameters(this.handle, own);
  }

  /**
   * Fills the image encoder from torchvision's ResNet-18 file; `fc.*` is ignored.
   * @throws {SoundspotError} ERR_CHECKPOINT_MISMATCH when shapes differ or nothing fits, and those of `load`.
   */
  async loadImageWeights(path: string): Promise<WeightsReport> {
    check(path, aPath, "The weights");
    const file = resolve(path);
    const { handle } = await native().readCheckpoint(file);
    return weightsReport(await native().loadImageWeights(this.handle, handle, file));
  }

  /**
   * Copies from another model's checkpoint every tensor that fits by name and shape, for example to go on at a finer
   * stride or with other heads.
   * @throws {SoundspotError} ERR_CHECKPOINT_MISMATCH when nothing fits, and those of `load`.
   */
  async loadWeights(path: string, options: LoadOptions = {}): Promise<WeightsReport> {
    check(path, aPath, "The weights");
    const shapes = new Map((await this.parameters()).map(({ name, shape }) => [name, String(shape)]));
    const source = await Model.load(path, options);
    const given = await source.parameters().finally(() => source.dispose());
    const fits = ({ name, shape }: NamedTensor) => shapes.get(name) === String(shape);
    const loaded = given.filter(fits);
    if (!loaded.some(({ trainable }) => trainable)) {
      throw new SoundspotError(
        "ERR_CHECKPOINT_MISMATCH",
        `${resolve(path)} has no parameter of this model's names and shapes. Check the configuration of both.`,
      );
    }
    await this.setParameters(loaded);
    const taken = new Set(loaded.map(({ name }) => name));
    return {
      ...source.loaded,
      loaded: [...taken],
      ignored: [
        ...given.filter((tensor) => !fits(tensor)).map(({ name }) => name),
        ...(source.loaded?.ignored ?? []),
      ],
      missing: [...shapes.keys()].filter((name) => !taken.has(name)),
    };
  }

  /**
   * Writes a safetensors file with the configuration in its metadata; atomic, also over the file that the model was
   * loaded from. The folder is made where it is missing.
   * @throws {SoundspotError} ERR_FILE_WRITE; ERR_INTERNAL when weights are not finite, and the file is as it was.
   */
  async save(path: string, options: { readonly metadata?: Record<string, string> } = {}): Promise<void> {
    checkFields(options, { metadata: anObject });
    await this.saveWith(undefined, path, options.metadata ?? {});
  }

  /** @internal The same with a trainer's state beside the parameters. */
  async saveWith(
    trainer: TrainerHandle | undefined,
    path: string,
    metadata: Readonly<Record<string, string>>,
  ): Promise<void> {
    check(path, aPath, "The checkpoint");
    for (const [name, value] of Object.entries(metadata)) check(value, aText, `metadata.${name}`);
    const all = { format: "pt", ...metadata, [CONFIG_KEY]: JSON.stringify(this.config) };
    const undo = await makeFolderOf(path);
    try {
      await native().saveCheckpoint(this.handle, trainer, resolve(path), all);
    } catch (error) {
      await undo();
      throw error;
    }
  }

  /** Frees the weights; further use throws ERR_DISPOSED. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    native().release(this.#handle);
  }

  /** The same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** How weights were bound and where the configuration comes from, as users see it. */
export function weightsReport(
  { loaded, ignored, missing, key, otherKeys }: BindingReport,
  { file, ignored: ignoredConfig = [], preset, otherPresets = [] }: Partial<FoundConfig> = {},
): WeightsReport {
  return {
    loaded,
    ignored,
    missing,
    ...(key === "" ? {} : { key }),
    ...(otherKeys.length > 0 ? { otherKeys } : {}),
    ...(file === undefined ? {} : { config: file }),
    ...(ignoredConfig.length > 0 ? { ignoredConfig } : {}),
    ...(preset === undefined ? {} : { preset }),
    ...(otherPresets.length > 0 ? { otherPresets } : {}),
  };
}

/** @internal */
export const isModel = (value: unknown): value is Model => aModel[0](value);

/**
 * Finds the sound source with a model that is at hand.
 * @example const spot = await localize({ video: "clip.mp4", at: 2.5 }, { model });
 */
export async function localize(
  input: LocalizeInput,
  options: LocalizeOptions & { readonly model: Model },
): Promise<Spot> {
  checkFields(options, {});
  check(options.model, aModel, "model");
  return options.model.localize(input, options);
}
