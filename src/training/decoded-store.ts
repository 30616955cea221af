/** A store of decoded samples in a folder: what augmentation starts from, decoded once and then read by position. */
import { createHash } from "node:crypto";
import { mkdir, readFile, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { methodNamed } from "../config/methods.js";
import { frameCount, type ModelConfig, rowCount } from "../config/model.js";
import { fieldsByPath } from "../config/parse.js";
import type { AugmentConfig, TrainConfig } from "../config/train.js";
import { isSoundspotError, SoundspotError } from "../core/errors.js";
import { isDamage } from "../datasets/damage.js";
import type { Dataset } from "../datasets/dataset.js";
import { hashOfIds } from "../datasets/identity.js";
import { writing } from "../files/atomic-writes.js";
import { createWhole, lockFolder } from "../files/folder-lock.js";
import { hashOf } from "../files/hash.js";
import { checkOutputs } from "../files/outputs.js";
import type { LoadedModel } from "../model/loaded.js";
import { native, type SampleHandle, type StoreHandle } from "../native.js";
import type { TrainRunOptions } from "./run-options.js";

/** Of the form of the files; another version is not read. */
const VERSION = 1;
/** Processes that may append at one time, each to a part of its own. */
const MOST_PARTS = 1024;
/** How often a description is read that is not whole, and milliseconds between. */
const READ_TRIES = 10;
const READ_PAUSE = 50;
/** Code of the warning that nothing is stored any more. */
const WARNING = "SOUNDSPOT_STORE";

/** What is kept of an image: the whole square, its short side at `side`, or all of it. */
interface Images {
  readonly images: "square" | "short" | "whole";
  readonly side: number;
}

const descriptionSchema = z.object({
  format: z.literal("soundspot-store"),
  version: z.number(),
  fields: z.record(z.string(), z.unknown()),
});

/** How the samples of a view are changed: without augmentation as in evaluation. */
export interface StoredView {
  readonly augment: AugmentConfig | false;
  readonly seeds: BigUint64Array;
}

/** A store that is open, with a part that this process appends to. */
export class DecodedStore {
  readonly #handle: StoreHandle;
  readonly #folder: string;
  readonly #config: ModelConfig;
  readonly #unlock: () => Promise<void>;
  #warned = false;

  private constructor(handle: StoreHandle, folder: string, config: ModelConfig, unlock: () => Promise<void>) {
    this.#handle = handle;
    this.#folder = folder;
    this.#config = config;
    this.#unlock = unlock;
  }

  /**
   * Opens the store of a run, and makes it where there is none.
   * @throws {SoundspotError} ERR_CONFIG when the data cannot be stored, or the store is of other data, of another
   *   preprocessing or of another version; ERR_FILE_WRITE when it cannot be written, also where the disk has no space
   *   for all samples; ERR_OUTPUT_IS_INPUT; ERR_ABORTED; those of loading that are no damage.
   */
  static async open(
    path: string,
    { data, signal, onStore }: Pick<TrainRunOptions, "data" | "signal" | "onStore">,
    { model, trainer }: { readonly model: LoadedModel; readonly trainer: { readonly config: TrainConfig } },
  ): Promise<DecodedStore> {
    const folder = resolve(path);
    const augments = augmentsOf(model.config, trainer.config);
    checkStorable(data, augments);
    await checkOutputs({
      inputs: (data.files ?? []).map((file) => ({ name: "data", path: file })),
      folders: [{ name: "store", path: folder, writes: isStoreFile }],
    });
    await writing(folder, () => mkdir(folder, { recursive: true }));
    const images = imagesOf(model.config, augments);
    await describe(folder, {
      ...(await identityOf(data, signal)),
      images: images.images,
      side: images.side,
      ...fieldsByPath(model.config.audio, "model.audio"),
    });
    const { part, unlock } = await lockPart(folder);
    let handle: StoreHandle | undefined;
    try {
      handle = await native().openStore(folder, { part, samples: data.length, ...images }, model.config);
      const store = new DecodedStore(handle, folder, model.config, unlock);
      const bytes = await store.#checkSpace(data, images, signal);
      onStore?.({ folder, samples: native().storeStatus(handle).samples, total: data.length, bytes });
      return store;
    } catch (error) {
      if (handle) native().closeStore(handle);
      await unlock();
      throw error;
    }
  }

  /** Where `prepareSample` puts sample `index`. */
  place(index: number): { readonly store: StoreHandle; readonly index: number } {
    return { store: this.#handle, index };
  }

  /** 1 for each sample that is there. The system is asked to fetch them from the disk: they are read soon. */
  async expect(indices: Uint32Array): Promise<Uint8Array> {
    return native().findStored(this.#handle, indices);
  }

  /** Samples as `prepareSample` makes them, of those that `expect` found; empty for those that are to be decoded. */
  async read(
    indices: Uint32Array,
    { augment, seeds }: StoredView,
    found: Uint8Array,
    model: LoadedModel,
  ): Promise<readonly (SampleHandle | undefined)[]> {
    if (!found.includes(1)) return [];
    const there = [...indices.keys()].filter((i) => found[i] === 1);
    const whole = there.length === indices.length;
    const samples = await native().readStored(
      this.#handle,
      whole ? indices : Uint32Array.from(there, (i) => indices[i] as number),
      this.#config,
      augment || undefined,
      whole ? seeds : BigUint64Array.from(there, (i) => seeds[i] as bigint),
      model.handle,
    );
    if (whole) return samples;
    const result = new Array<SampleHandle | undefined>(indices.length);
    for (const [k, i] of there.entries()) result[i] = samples[k];
    return result;
  }

  /** Reports once that nothing is stored any more: the run goes on from the files. */
  warnOfFailure(): void {
    if (this.#warned) return;
    const { failure, samples } = native().storeStatus(this.#handle);
    if (failure === undefined) return;
    this.#warned = true;
    process.emitWarning(
      `The store ${this.#folder} keeps the ${samples} samples that it has, and all others are decoded in every epoch: ${failure}`,
      { type: "SoundspotWarning", code: WARNING },
    );
  }

  /** Waits for a sample that is being written; nothing is written afterwards. */
  async close(): Promise<void> {
    native().closeStore(this.#handle);
    await this.#unlock();
  }

  /** @returns the bytes of all samples */
  async #checkSpace(data: Dataset, images: Images, signal: AbortSignal | undefined): Promise<number> {
    const { samples, bytes } = native().storeStatus(this.#handle);
    const each = samples > 0 ? bytes / samples : await bytesOfSample(data, images, this.#config, signal);
    const needed = Math.ceil((data.length - samples) * each);
    const { bavail, bsize } = await writing(this.#folder, () => statfs(this.#folder));
    if (needed > bavail * bsize) {
      throw new SoundspotError(
        "ERR_FILE_WRITE",
        `The store ${this.#folder} needs ${gigabytes(needed)} for the ${data.length - samples} samples of ${data.name} that it lacks, ` +
          `and its disk has ${gigabytes(bavail * bsize)} free. Give a folder on another disk, or train without a store.`,
      );
    }
    return bytes + needed;
  }
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e8 ? 3 : 1)} GB`;

/** @internal Whether a store has a file of this name. */
export function isStoreFile(name: string): boolean {
  return /^(store\.json|part-\d+\.(data|index|lock.*))$/.test(name);
}

/** How the views of a sample are changed that a method trains with. */
function augmentsOf({ method }: ModelConfig, config: TrainConfig): (AugmentConfig | false)[] {
  const views = Object.values(methodNamed(method.name).views ?? {});
  return [config.augment, ...views.map(({ augment }) => config[augment])];
}

/** @throws {SoundspotError} ERR_CONFIG when other samples are needed in every epoch, or they cannot be told apart. */
function checkStorable(data: Dataset, augments: readonly (AugmentConfig | false)[]): void {
  const reject = (why: string): never => {
    throw new SoundspotError("ERR_CONFIG", `${why} Train without a store.`);
  };
  if (data.sequence) {
    reject(
      `${data.name} is read forwards, as archives are: a store holds samples that are read at any place.`,
    );
  }
  if (data.idOf?.(0) === undefined) {
    reject(
      `${data.name} does not know the ids of its samples, as one that draws others in each epoch: what a store holds could be of other samples.`,
    );
  }
  if (augments.some((augment) => augment && augment.audioRange !== undefined)) {
    reject("audioRange of an augmentation takes another part of the audio in each epoch: a store holds one.");
  }
}

/** What is kept of images: what the crop of every view starts from. */
function imagesOf({ imageSize }: ModelConfig, augments: readonly (AugmentConfig | false)[]): Images {
  const forms = augments.map((augment): Images => {
    if (!augment || augment.crop === false) return { images: "square", side: imageSize };
    if (augment.crop === "resized") return { images: "whole", side: 0 };
    return { images: "short", side: Math.max(imageSize, Math.round(augment.resizeRatio * imageSize)) };
  });
  const [first] = forms as [Images];
  const same = forms.every(({ images, side }) => images === first.images && side === first.side);
  return same ? first : { images: "whole", side: 0 };
}

/** What tells the dataset's samples from others: its ids in their order, its lists and its options. */
async function identityOf(data: Dataset, signal: AbortSignal | undefined): Promise<Record<string, unknown>> {
  const lists = createHash("sha256");
  for (const file of data.files ?? []) lists.update(await hashOf(file, signal));
  return {
    samples: data.length,
    "the ids of samples": await hashOfIds(data, signal),
    "the content of the dataset's lists": lists.digest("hex"),
    "the dataset's folder or options": data.variant ?? null,
  };
}

/**
 * Writes what a store is of, or compares it with what is there.
 * @throws {SoundspotError} ERR_CONFIG when it is of something else.
 */
async function describe(folder: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
  const path = join(folder, "store.json");
  const own = { format: "soundspot-store", version: VERSION, fields };
  if (await createWhole(path, `${JSON.stringify(own, null, 2)}\n`)) return;
  const how = "Give another folder, or delete this one: it is then filled again.";
  const there = await readWhole(path, how);
  if (there.version !== VERSION) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `${path} is of version ${there.version} of the store, and this is version ${VERSION}. ${how}`,
    );
  }
  for (const [name, value] of Object.entries(fields)) {
    const [was, is] = [there.fields[name], value].map((each) => JSON.stringify(each ?? null));
    if (was === is) continue;
    throw new SoundspotError(
      "ERR_CONFIG",
      `The store ${folder} is of other samples: ${name} was ${was}, and is now ${is}. ${how}`,
    );
  }
}

/** Another process may be writing it: on file systems without hard links it is not there as a whole at once. */
async function readWhole(path: string, how: string): Promise<z.infer<typeof descriptionSchema>> {
  for (let tries = 1; ; tries++) {
    try {
      return await readDescription(path, how);
    } catch (error) {
      if (tries === READ_TRIES) throw error;
      await sleep(READ_PAUSE);
    }
  }
}

async function readDescription(path: string, how: string): Promise<z.infer<typeof descriptionSchema>> {
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw new SoundspotError("ERR_CONFIG", `${path} cannot be read: ${cause.message}. ${how}`, { cause });
  });
  try {
    return descriptionSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new SoundspotError("ERR_CONFIG", `${path} is not the description of a store. ${how}`, { cause });
  }
}

/** The first part that no other process appends to. */
async function lockPart(folder: string): Promise<{ part: number; unlock: () => Promise<void> }> {
  for (let part = 0; ; part++) {
    try {
      return { part, unlock: await lockFolder(folder, `part-${part}.lock`) };
    } catch (error) {
      if (!isSoundspotError(error) || error.code !== "ERR_BUSY" || part + 1 >= MOST_PARTS) throw error;
    }
  }
}

/** Of the first sample that can be read, where the size of images is not known before. */
async function bytesOfSample(
  data: Dataset,
  { images, side }: Images,
  config: ModelConfig,
  signal: AbortSignal | undefined,
): Promise<number> {
  const spectrogram = 4 * rowCount(config) * frameCount(config);
  if (images === "square") return 3 * side * side + spectrogram;
  for (let index = 0; index < data.length; index++) {
    try {
      const { width, height } = (await data.load(index, { signal })).image;
      const long = Math.floor((side * Math.max(width, height)) / Math.min(width, height));
      return 3 * (images === "short" ? side * long : width * height) + spectrogram;
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }
  return spectrogram;
}
