/** Localization: from inputs to heatmaps, masks, boxes and overlays at the picture's own size. */

import type { ModelConfig } from "../config/model.js";
import { aModel, anObjectness, aSignal, check, checkFields, shown } from "../core/arguments.js";
import { Batcher } from "../core/batcher.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { Box, RawImage, TensorData } from "../core/types.js";
import { renderOverlay } from "../drawing/overlay.js";
import { renderPanels, renderSpectrogram } from "../drawing/panels.js";
import { encodeImage } from "../media/image.js";
import { type NativeSpot, native, type OfAttention, type Refinement, type SampleHandle } from "../native.js";
import { computedPrecision, type Precision } from "./compute.js";
import { type LocalizeInput, type PreparedSample, prepareInput } from "./inputs.js";
import type { Model } from "./model.js";
import type { Objectness } from "./objectness.js";

/** How a map is refined, cut and computed. */
export interface LocalizeOptions {
  /**
   * What the audio map is blended with: "iqr" the image map, "ogl" objectness, "combined" half of each; "none" leaves
   * it alone. Default "none".
   */
  readonly refine?: Refinement;
  /** An ImageNet ResNet-18, for "ogl" and "combined". */
  readonly objectness?: Objectness;
  /** α, the audio map's share of the refinement, in [0, 1]. Default 0.4. */
  readonly alpha?: number;
  /** The mask is where the heatmap reaches it, in [0, 1]. Default 0.6. */
  readonly threshold?: number;
  /** Factor on the logits of the output attention. Default the checkpoint's. */
  readonly sharpening?: number;
  /** Of the encoders. Default: what the model was loaded with. bfloat16 is float32 where the processor lacks it. */
  readonly precision?: Precision;
  readonly signal?: AbortSignal;
}

/** A connected region of the mask in pixels, with the mean of the heatmap inside it. */
export interface SpotBox extends Box {
  readonly score: number;
}

/** How the map is drawn over the picture. */
export interface OverlayOptions {
  readonly format?: "png" | "jpeg";
  /** 0 shows the picture alone, 1 the map alone where it is hot. Default 0.55. */
  readonly opacity?: number;
  /** Draw the boxes. Default true. */
  readonly boxes?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** How a figure of the attention is encoded. */
export interface FigureOptions {
  readonly format?: "png" | "jpeg";
  readonly signal?: AbortSignal | undefined;
}

/** Of every slot, by whose queries and on what: on the image [slots, h, w], on the sound [slots, t]. */
export interface SpotAttention {
  readonly audioOnImage: TensorData;
  readonly imageOnImage: TensorData;
  readonly audioOnAudio: TensorData;
  readonly imageOnAudio: TensorData;
}

/** Tokens of the picture on its grid. */
function onGrid({ audioOnImage, imageOnImage, audioOnAudio, imageOnAudio }: OfAttention): SpotAttention {
  const grid = ({ data, shape: [slots = 0, tokens = 0] }: TensorData): TensorData => {
    const side = Math.round(Math.sqrt(tokens));
    return { data, shape: [slots, side, side] };
  };
  return { audioOnImage: grid(audioOnImage), imageOnImage: grid(imageOnImage), audioOnAudio, imageOnAudio };
}

/** Where the sound comes from in one picture. */
export class Spot {
  readonly width: number;
  readonly height: number;
  /** [height, width] in [0, 1], row-major. */
  readonly heatmap: Float32Array;
  /** The audio queries' map and the image queries' map, before refinement, like `heatmap`. */
  readonly audioMap: Float32Array;
  readonly imageMap: Float32Array;
  /** Refined maps that were asked for, by name; `heatmap` is one of them, or the audio map. */
  readonly refined: Readonly<Partial<Record<Exclude<Refinement, "none">, Float32Array>>>;
  /** 1 where the heatmap reaches the threshold. */
  readonly mask: Uint8Array;
  /** Largest first. */
  readonly boxes: readonly SpotBox[];
  /** Cosine of the two target slots, in [−1, 1]. */
  readonly confidence: number;
  /** Of a video: presentation time of the frame, in seconds from the start of the file. */
  readonly time?: number;
  /**
   * Whether the audio window is silent: no sample reaches −60 dBFS. Heatmap and boxes then mean nothing. False for a
   * spectrogram.
   */
  readonly silent: boolean;
  /** Normalised over tokens: on the image [slots, h, w], on the sound [slots, t]. */
  readonly attention: SpotAttention;
  /**
   * What the attention is made of, in the same shapes: q · k / √D. Times the sharpening, softmax over slots, divided by
   * the sum over tokens it is the attention, at any sharpening. Absent where the model localizes without slots.
   */
  readonly logits?: SpotAttention;
  /** Slots [slots, D] of both modalities. */
  readonly slots: { readonly image: TensorData; readonly audio: TensorData };
  readonly #sample: PreparedSample;
  readonly #config: ModelConfig;

  /** @internal */
  constructor(spot: NativeSpot, sample: PreparedSample, config: ModelConfig, width: number, height: number) {
    this.width = width;
    this.height = height;
    this.heatmap = spot.heatmap.data;
    this.audioMap = spot.audioMap.data;
    this.imageMap = spot.imageMap.data;
    this.refined = {
      ...(spot.iqrMap ? { iqr: spot.iqrMap.data } : {}),
      ...(spot.oglMap ? { ogl: spot.oglMap.data } : {}),
      ...(spot.combinedMap ? { combined: spot.combinedMap.data } : {}),
    };
    this.mask = spot.mask;
    this.boxes = spot.boxes;
    this.confidence = spot.confidence;
    this.silent = sample.silent ?? false;
    if (sample.time !== undefined) this.time = sample.time;
    this.slots = { image: spot.imageSlots, audio: spot.audioSlots };
    this.attention = onGrid(spot);
    if (spot.logits) this.logits = onGrid(spot.logits);
    this.#sample = sample;
    this.#config = config;
  }

  /**
   * The heatmap over the picture.
   * @throws {SoundspotError} ERR_INPUT when the input was a tensor, which has no picture; ERR_ABORTED.
   */
  async overlay(options: OverlayOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal });
    const { boxes = true, opacity, signal } = options;
    const heat = { data: this.heatmap, width: this.width, height: this.height };
    const drawn = { opacity, boxes: boxes ? this.boxes : [], signal };
    return encoded(await renderOverlay(this.#picture(), heat, drawn), options);
  }

  /**
   * The attention of every slot over the picture, audio queries above image queries. PNG or JPEG.
   * @throws {SoundspotError} ERR_INPUT when the input was a tensor, which has no picture; ERR_ABORTED.
   */
  async panels(options: FigureOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal });
    const maps = [
      { title: "audio queries", ...this.attention.audioOnImage },
      { title: "image queries", ...this.attention.imageOnImage },
    ];
    const { targetSlots: targets } = this.#config;
    return encoded(await renderPanels(this.#picture(), maps, { targets, signal: options.signal }), options);
  }

  /**
   * The log spectrogram with the attention over time under it, of several target slots the maximum. PNG or JPEG.
   * @throws {SoundspotError} ERR_ABORTED
   */
  async spectrogram(options: FigureOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal });
    const { targetSlots, audio } = this.#config;
    const rendered = await renderSpectrogram(
      native().tensors(this.#sample.handle).spectrogram,
      highest(this.attention.audioOnAudio, targetSlots),
      { seconds: audio.seconds, maxHertz: audio.sampleRate / 2, signal: options.signal },
    );
    return encoded(rendered, options);
  }

  #picture(): RawImage {
    if (this.#sample.image) return this.#sample.image;
    throw new SoundspotError(
      "ERR_INPUT",
      "The input was a tensor, which has no picture to draw on. Give a picture.",
    );
  }
}

async function encoded(image: RawImage, { format = "png", signal }: FigureOptions): Promise<Buffer> {
  const file = await encodeImage(image, { format });
  throwIfAborted(signal);
  return file;
}

/** [slots, tokens] → [tokens]: of each token the highest of the first `rows`. */
function highest({ data, shape }: TensorData, rows: number): Float32Array {
  const [slots = 0, tokens = 0] = shape;
  const result = data.slice(0, tokens);
  for (let row = 1; row < Math.min(rows, slots); row++) {
    for (let token = 0; token < tokens; token++) {
      result[token] = Math.max(result[token] as number, data[row * tokens + token] as number);
    }
  }
  return result;
}

/** @internal @throws {SoundspotError} ERR_INPUT when an option is no number from `low` to `high`. */
export function inRange(value: number, low: number, high: number, name: string): number {
  if (typeof value === "number" && value >= low && value <= high) return value;
  throw new SoundspotError(
    "ERR_INPUT",
    `${name} must be a number from ${low} to ${high}; it was ${shown(value)}.`,
  );
}

const refinements: readonly Refinement[] = ["none", "iqr", "ogl", "combined"];

/** Objectness of each picture, where it is asked for. */
async function objectnessOf(
  samples: readonly PreparedSample[],
  { refine = "none", objectness }: LocalizeOptions,
): Promise<TensorData | undefined> {
  if (!refinements.includes(refine)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `refine must be one of ${refinements.join(", ")}; it was ${shown(refine)}.`,
    );
  }
  if (!objectness) {
    if (refine === "none" || refine === "iqr") return undefined;
    throw new SoundspotError(
      "ERR_INPUT",
      `refine "${refine}" needs an ImageNet ResNet-18: give objectness, from Objectness.load("resnet18.pth").`,
    );
  }
  return objectness.maps(
    samples.map(({ image }) => {
      if (image) return image;
      throw new SoundspotError("ERR_INPUT", "Objectness needs pictures; an input was a tensor.");
    }),
  );
}

/** @internal What evaluation asks for beside a caller's options. */
export interface PreparedOptions extends LocalizeOptions {
  /** Height and width of each map. Default those of the pictures, or the model's. */
  readonly sizes?: readonly (readonly [number, number])[];
  /** Every map that can be made. */
  readonly allMaps?: boolean;
}

type Size = readonly [height: number, width: number];
type Settings = Omit<Parameters<ReturnType<typeof native>["localize"]>[2], "sizes">;

interface Item {
  readonly handle: SampleHandle;
  readonly size: Size;
}

function run(model: Model, items: readonly Item[], settings: Settings): Promise<NativeSpot[]> {
  return native().localize(
    model.handle,
    items.map(({ handle }) => handle),
    { ...settings, sizes: items.map(({ size }) => size) },
  );
}

/** @internal Concurrent callers of one model share batches of up to this many pairs. */
export const MOST_TOGETHER = 32;

const batchers = new WeakMap<Model, Batcher<Item, Settings, NativeSpot>>();

function batcherOf(model: Model): Batcher<Item, Settings, NativeSpot> {
  let batcher = batchers.get(model);
  if (!batcher) {
    const own = new WeakRef(model);
    batcher = new Batcher(
      async (items, settings) => run(own.deref() as Model, items, settings),
      MOST_TOGETHER,
    );
    batchers.set(model, batcher);
  }
  return batcher;
}

/** @internal Localizes already prepared samples. */
export async function localizePrepared(
  model: Model,
  samples: readonly PreparedSample[],
  options: PreparedOptions,
): Promise<Spot[]> {
  const size = model.config.imageSize;
  const sizes =
    options.sizes ?? samples.map(({ image }) => [image?.height ?? size, image?.width ?? size] as const);
  const alpha = inRange(options.alpha ?? 0.4, 0, 1, "alpha");
  const objectness = await objectnessOf(samples, options);
  const settings: Settings = {
    sharpening: inRange(options.sharpening ?? model.config.inferenceSharpening, 1e-6, 1e6, "sharpening"),
    threshold: inRange(options.threshold ?? 0.6, 0, 1, "threshold"),
    alpha,
    refine: options.refine ?? "none",
    allMaps: options.allMaps ?? false,
    bfloat16: computedPrecision(options.precision ?? model.compute.requested) === "bfloat16",
  };
  const items = samples.map(({ handle }, i) => ({ handle, size: sizes[i] as Size }));
  void model.handle;
  const spots = objectness
    ? await run(model, items, { ...settings, objectness })
    : await batcherOf(model).submit(items, settings, JSON.stringify(settings), options.signal);
  return spots.map((spot, i) => {
    const [height, width] = sizes[i] as readonly [number, number];
    return new Spot(spot, samples[i] as PreparedSample, model.config, width, height);
  });
}

/** @internal `Model.localize` for a batch. */
export async function localizeBatch(
  model: Model,
  inputs: readonly LocalizeInput[],
  options: LocalizeOptions,
): Promise<Spot[]> {
  checkFields(options, { signal: aSignal, objectness: anObjectness });
  if (inputs.length === 0) return [];
  void model.handle; // a disposed model is refused before anything is decoded
  const samples = await Promise.all(
    Array.from(inputs, (input) => prepareInput(input, model.config, options)),
  );
  throwIfAborted(options.signal);
  const spots = await localizePrepared(model, samples, options);
  throwIfAborted(options.signal);
  return spots;
}

/**
 * Finds what sounds with a model that is at hand.
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
