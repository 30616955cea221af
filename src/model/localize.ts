/** Localization: from inputs to spots at the image's own size; concurrent callers share batches. */

import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import { sharpeningOf } from "../config/methods.js";
import { placesOf } from "../config/model.js";
import { aSignal, checkFields, inRange, shown } from "../core/arguments.js";
import { Batcher } from "../core/batcher.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import type { TensorData } from "../core/types.js";
import { type NativeSpot, native, type Refinement, type SampleHandle } from "../native.js";
import { type Precision, precisionOf } from "./compute.js";
import { checkDemoInputs } from "./demo.js";
import { type LocalizeInput, type PreparedSample, prepareInput } from "./inputs.js";
import type { LoadedModel } from "./loaded.js";
import { anObjectness, type Objectness } from "./objectness.js";
import { Spot } from "./spot.js";

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
  /** Precision of the encoders, default the model's. Without bfloat16 in the processor it is float32. */
  readonly precision?: Precision;
  readonly signal?: AbortSignal;
}

const refinements: readonly Refinement[] = ["none", "iqr", "ogl", "combined"];

/** Objectness of each image, where it is requested. */
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
      throw new SoundspotError("ERR_INPUT", "Objectness needs images; an input was a tensor.");
    }),
  );
}

/** Map i of [B, h, w]. */
function mapOf({ data, shape: [, height = 0, width = 0] }: TensorData, i: number): TensorData {
  const size = height * width;
  return { data: data.slice(i * size, (i + 1) * size), shape: [height, width] };
}

/** @internal What evaluation asks for beside a caller's options. */
export interface PreparedOptions extends LocalizeOptions {
  /** Height and width of each map. Default those of the images, or the model's. */
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

function run(model: LoadedModel, items: readonly Item[], settings: Settings): Promise<NativeSpot[]> {
  return native().localize(
    model.handle,
    items.map(({ handle }) => handle),
    { ...settings, sizes: items.map(({ size }) => size) },
  );
}

/** @internal Concurrent callers of one model share batches of up to this many pairs. */
export const MOST_TOGETHER = 32;

const batchers = new WeakMap<LoadedModel, Batcher<Item, Settings, NativeSpot>>();

function batcherOf(model: LoadedModel): Batcher<Item, Settings, NativeSpot> {
  let batcher = batchers.get(model);
  if (!batcher) {
    const own = new WeakRef(model);
    batcher = new Batcher(
      async (items, settings) => run(own.deref() as LoadedModel, items, settings),
      MOST_TOGETHER,
    );
    batchers.set(model, batcher);
  }
  return batcher;
}

/** @internal Localizes already prepared samples. */
export async function localizePrepared(
  model: LoadedModel,
  samples: readonly PreparedSample[],
  options: PreparedOptions,
): Promise<Spot[]> {
  const size = model.config.imageSize;
  const sizes =
    options.sizes ?? samples.map(({ image }) => [image?.height ?? size, image?.width ?? size] as const);
  const alpha = inRange(options.alpha ?? AUDIO_WEIGHT, 0, 1, "alpha");
  const objectness = await objectnessOf(samples, options);
  const settings: Settings = {
    sharpening: inRange(options.sharpening ?? sharpeningOf(model.config), 1e-6, 1e6, "sharpening"),
    threshold: inRange(options.threshold ?? MASK_THRESHOLD, 0, 1, "threshold"),
    alpha,
    refine: options.refine ?? "none",
    allMaps: options.allMaps ?? false,
    precision: precisionOf(model, options.precision),
    ...placesOf(model.config),
  };
  const items = samples.map(({ handle }, i) => ({ handle, size: sizes[i] as Size }));
  void model.handle;
  const spots = objectness
    ? await run(model, items, { ...settings, objectness })
    : await batcherOf(model).submit(items, settings, JSON.stringify(settings), options.signal);
  return spots.map((spot, i) => {
    const [height, width] = sizes[i] as readonly [number, number];
    const sample = samples[i] as PreparedSample;
    return new Spot(spot, sample, model.config, width, height, objectness && mapOf(objectness, i));
  });
}

/** @internal `Model.localize` for a batch. */
export async function localizeBatch(
  model: LoadedModel,
  inputs: readonly LocalizeInput[],
  options: LocalizeOptions,
): Promise<Spot[]> {
  checkFields(options, { signal: aSignal, objectness: anObjectness });
  if (inputs.length === 0) return [];
  void model.handle; // a disposed model is rejected before anything is decoded
  const samples = await Promise.all(
    Array.from(inputs, (input) => prepareInput(input, model.config, options)),
  );
  await checkDemoInputs(model, inputs);
  throwIfAborted(options.signal);
  const spots = await localizePrepared(model, samples, options);
  throwIfAborted(options.signal);
  return spots;
}
