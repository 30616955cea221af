/** The result of localization in one image: heatmap, mask, boxes, attention, and figures of them. */

import { targetsOf } from "../config/methods.js";
import { type ModelConfig, placesOf, type TokenPlaces } from "../config/model.js";
import { aList, aSignal, aText, checkFields, isObject, oneOf } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { Box, RawImage, TensorData } from "../core/types.js";
import { encodeImage } from "../drawing/encode.js";
import { renderGrids } from "../drawing/grids.js";
import { renderOverlay } from "../drawing/overlay.js";
import { renderPanels } from "../drawing/panels.js";
import { renderSpectrogram } from "../drawing/spectrogram.js";
import { type NativeSpot, native, type OfAttention, type Refinement } from "../native.js";
import type { PreparedSample } from "./inputs.js";

/** A connected region of the mask in pixels, with the mean of the heatmap inside it. */
export interface SpotBox extends Box {
  readonly score: number;
}

/** How the map is drawn over the image. */
export interface OverlayOptions {
  readonly format?: "png" | "jpeg";
  /** 0 shows the image alone, 1 the map alone where it is hot. Default 0.55. */
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

/** Whose attention is drawn under the spectrogram. */
export interface SpectrogramFigureOptions extends FigureOptions {
  /** "target": that of the target slot, of several their maximum. "all": of every slot, targets first. Default "target". */
  readonly slots?: "target" | "all";
}

/** A figure of raw and enlarged maps. */
export interface GridsFigureOptions extends FigureOptions {
  /** Name of this spot's row. Default "map". */
  readonly title?: string;
  /** Rows above it: spots of the same input by other models, such as one that was trained without a loss. */
  readonly above?: readonly { readonly title: string; readonly spot: Spot }[];
}

/** Attention of every slot, by whose queries and on what: on the image [slots, h, w], on the audio [slots, t]. */
export interface SpotAttention {
  readonly audioOnImage: TensorData;
  readonly imageOnImage: TensorData;
  readonly audioOnAudio: TensorData;
  readonly imageOnAudio: TensorData;
}

/** Rows over the image's tokens, [rows, h·w], as maps [rows, h, w]. */
function gridOf({ data, shape: [rows = 0, tokens = 0] }: TensorData): TensorData {
  const side = Math.round(Math.sqrt(tokens));
  return { data, shape: [rows, side, side] };
}

function onGrid({ audioOnImage, imageOnImage, audioOnAudio, imageOnAudio }: OfAttention): SpotAttention {
  return {
    audioOnImage: gridOf(audioOnImage),
    imageOnImage: gridOf(imageOnImage),
    audioOnAudio,
    imageOnAudio,
  };
}

/** @internal Maps on the tokens before they are scaled to an image. */
export interface RawMaps {
  /** Target maps, [T, h, w]. */
  readonly audio: TensorData;
  readonly image?: TensorData;
  /** [h, w], where it was asked for. */
  readonly objectness?: TensorData;
  /** Lowest and highest value that `audio` can have, where the method fixes them. */
  readonly range?: readonly [low: number, high: number];
  readonly places?: TokenPlaces;
}

/** Where the sound comes from in one image. */
export class Spot {
  readonly width: number;
  readonly height: number;
  /** [height, width] in [0, 1], row-major. */
  readonly heatmap: Float32Array;
  /** Where the audio is in the image, before refinement, like `heatmap`. */
  readonly audioMap: Float32Array;
  /** The image's own map, of methods that have one. */
  readonly imageMap?: Float32Array;
  /** Refined maps that were requested, by name; `heatmap` is one of them, or the audio map. */
  readonly refined: Readonly<Partial<Record<Exclude<Refinement, "none">, Float32Array>>>;
  /** 1 where the heatmap reaches the threshold. */
  readonly mask: Uint8Array;
  /** Largest first. */
  readonly boxes: readonly SpotBox[];
  /** Cosine of the image's and the audio's target vectors, their mean over targets, in [−1, 1]. */
  readonly confidence: number;
  /** In a video, presentation time of the frame, in seconds from the start of the file. */
  readonly time?: number;
  /**
   * Whether the audio window is silent: no sample reaches −60 dBFS. Heatmap and boxes are meaningless then. False for a
   * spectrogram.
   */
  readonly silent: boolean;
  /** Where the method has slots. Normalised over tokens: on the image [slots, h, w], on the audio [slots, t]. */
  readonly attention?: SpotAttention;
  /**
   * What the attention is made of, in the same shapes: q · k / √D. Times the sharpening, softmax over slots, divided by
   * the sum over tokens it is the attention, at any sharpening. Where the method has slots.
   */
  readonly logits?: SpotAttention;
  /** Slots [slots, D] of both modalities, where the method has slots. */
  readonly slots?: { readonly image: TensorData; readonly audio: TensorData };
  /** Target vectors of both modalities, each of length 1, one after the other: [T·D]. */
  readonly embedding: { readonly image: Float32Array; readonly audio: Float32Array };
  /** @internal What the maps are made of. */
  readonly targets: RawMaps;
  readonly #sample: PreparedSample;
  readonly #config: ModelConfig;

  /** @internal */
  constructor(
    spot: NativeSpot,
    sample: PreparedSample,
    config: ModelConfig,
    width: number,
    height: number,
    objectness?: TensorData,
  ) {
    this.width = width;
    this.height = height;
    this.heatmap = spot.heatmap.data;
    this.audioMap = spot.audioMap.data;
    if (spot.imageMap) this.imageMap = spot.imageMap.data;
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
    this.embedding = { image: spot.imageEmbedding.data, audio: spot.audioEmbedding.data };
    this.targets = {
      audio: gridOf(spot.audioTargets),
      ...(spot.imageTargets ? { image: gridOf(spot.imageTargets) } : {}),
      ...(spot.range ? { range: spot.range } : {}),
      ...(objectness ? { objectness } : {}),
      ...placesOf(config),
    };
    if (spot.imageSlots && spot.audioSlots) this.slots = { image: spot.imageSlots, audio: spot.audioSlots };
    if (isAttention(spot)) this.attention = onGrid(spot);
    if (spot.logits) this.logits = onGrid(spot.logits);
    this.#sample = sample;
    this.#config = config;
  }

  /**
   * The heatmap over the image.
   * @throws {SoundspotError} ERR_INPUT when the input was a tensor, which has no image; ERR_ABORTED.
   */
  async overlay(options: OverlayOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal });
    const { boxes = true, opacity, signal } = options;
    const heat = { data: this.heatmap, width: this.width, height: this.height };
    const drawn = { opacity, boxes: boxes ? this.boxes : [], signal };
    return encoded(await renderOverlay(this.#rawImage(), heat, drawn), options);
  }

  /**
   * The attention of every slot over the image, audio queries above image queries. PNG or JPEG.
   * @throws {SoundspotError} ERR_INPUT when the method has no slots, or the input was a tensor, which has no image to
   *   draw on; ERR_ABORTED.
   */
  async panels(options: FigureOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal });
    const { audioOnImage, imageOnImage } = this.#slotAttention("panels");
    const maps = [
      { title: "audio queries", ...audioOnImage },
      { title: "image queries", ...imageOnImage },
    ];
    const drawn = { targets: targetsOf(this.#config), signal: options.signal };
    return encoded(await renderPanels(this.#rawImage(), maps, drawn), options);
  }

  /**
   * The log spectrogram with the attention over time under it, of several target slots the maximum, or with `slots:
   * "all"` of every slot, on one scale. PNG or JPEG.
   * @throws {SoundspotError} ERR_INPUT when the method has no slots; ERR_ABORTED
   */
  async spectrogram(options: SpectrogramFigureOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal, slots: oneOf("target", "all") });
    const { audio } = this.#config;
    const own = this.#slotAttention("spectrogram").audioOnAudio;
    const targets = targetsOf(this.#config);
    const rendered = await renderSpectrogram(
      native().tensors(this.#sample.handle).spectrogram as TensorData,
      options.slots === "all" ? rowsWithTitles(own, targets) : highest(own, targets),
      {
        seconds: audio.seconds,
        maxHertz: audio.sampleRate / 2,
        mel: audio.frontEnd === "mel",
        signal: options.signal,
      },
    );
    return encoded(rendered, options);
  }

  /**
   * The raw map of the audio on the image's tokens, of several target slots the maximum, beside the audio map that it is
   * enlarged to: how coarse the model's own answer is. PNG or JPEG.
   * @throws {SoundspotError} ERR_INPUT when the input was a tensor, which has no image to draw on; ERR_SHAPE when a spot
   *   of `above` is of another size; ERR_ABORTED.
   */
  async grids(options: GridsFigureOptions = {}): Promise<Buffer> {
    checkFields(options, { signal: aSignal, title: aText, above: aList });
    const { title = "map", above = [], signal } = options;
    for (const row of above) this.#checkRow(row);
    const rows = [...above, { title, spot: this as Spot }].map(({ title: name, spot }) => {
      const { data, shape } = spot.targets.audio;
      const [targets = 0, h = 0, w = 0] = shape;
      const tokens = { data: highest({ data, shape: [targets, h * w] }, targets), shape: [h, w] };
      return { title: name, tokens, map: spot.audioMap };
    });
    return encoded(await renderGrids(this.#rawImage(), rows, { signal }), options);
  }

  #checkRow(row: { readonly title: string; readonly spot: Spot }): void {
    checkFields(
      row,
      { title: aText, spot: [(value) => isObject(value) && #sample in value, "a spot"] },
      "above",
    );
    const { spot } = row;
    if (spot?.width === this.width && spot.height === this.height) return;
    throw new SoundspotError(
      "ERR_SHAPE",
      `The spots of above must be of the same image, ${this.width} × ${this.height}; got ${spot ? `${spot.width} × ${spot.height}` : "none"}.`,
    );
  }

  #slotAttention(figure: string): SpotAttention {
    if (this.attention) return this.attention;
    throw new SoundspotError(
      "ERR_INPUT",
      `${figure} draws the attention of slots, and the method "${this.#config.method.name}" has none.`,
    );
  }

  #rawImage(): RawImage {
    if (this.#sample.image) return this.#sample.image;
    throw new SoundspotError(
      "ERR_INPUT",
      "The input was a tensor, which has no image to draw on. Give an image.",
    );
  }
}

function isAttention(spot: Partial<OfAttention>): spot is OfAttention {
  return spot.audioOnImage !== undefined;
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

/** [slots, tokens] → the attention of each slot, with its role. */
function rowsWithTitles({ data, shape }: TensorData, targets: number) {
  const [slots = 0, tokens = 0] = shape;
  return Array.from({ length: slots }, (_, slot) => ({
    title: `attention of slot ${slot} (${slot < targets ? "target" : "off-target"})`,
    data: data.slice(slot * tokens, (slot + 1) * tokens),
  }));
}
