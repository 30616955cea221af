/** From files to vectors of images and of audio, embedded separately. */
import { join } from "node:path";
import { isSoundspotError, SoundspotError, throwIfAborted } from "../core/errors.js";
import { type InPlace, lookAhead } from "../core/look-ahead.js";
import type { TensorData } from "../core/types.js";
import { hashOf } from "../files/hash.js";
import type { AudioSource } from "../media/audio.js";
import type { ImageSource } from "../media/image.js";
import { asWindow, middleOfVideo } from "../model/audio-window.js";
import { isDemoModel, warnOfDemoModel } from "../model/demo.js";
import type { Model } from "../model/model.js";
import { preprocess } from "../model/preprocess.js";
import { type MediaFile, type SkippedFile, skippedFile, stateOf } from "./media-files.js";

/** The encoders' input from one file. */
interface DecodedFile {
  readonly file: MediaFile;
  readonly hash: string;
  /** Of a video: the time of its frame, in seconds. */
  readonly at?: number;
  readonly image?: TensorData;
  readonly audio?: TensorData;
}

/** The vectors of one file. */
export interface EncodedFile extends Omit<DecodedFile, "image" | "audio"> {
  readonly image?: Float32Array;
  readonly audio?: Float32Array;
}

/** Files decoded ahead of those that are encoded. */
const FILES_AT_A_TIME = 32;

/** Errors that are not about a file end the work. */
const fatal = new Set<string>([
  "ERR_ABORTED",
  "ERR_ADDON_MISSING",
  "ERR_DISPOSED",
  "ERR_FFMPEG_MISSING",
  "ERR_INTERNAL",
  "ERR_LIBTORCH_MISSING",
  "ERR_OUT_OF_MEMORY",
]);

/** Vectors of images and of audio, in float32 as retrieval is scored. */
export async function encodeEach(
  model: Model,
  imageTensors: readonly TensorData[],
  spectrograms: readonly TensorData[],
  signal?: AbortSignal | undefined,
): Promise<{ readonly images: Float32Array[]; readonly audios: Float32Array[] }> {
  if (isDemoModel(model)) warnOfDemoModel();
  const options = { precision: "float32", signal } as const;
  const images = imageTensors.map(({ data: tensor, shape }) => ({ image: { tensor, shape } }));
  const audios = spectrograms.map(({ data: spectrogram, shape }) => ({ audio: { spectrogram, shape } }));
  return { images: await model.embed(images, options), audios: await model.embed(audios, options) };
}

/** Runs decoding work when resources are free. */
export type Decoding = <T>(work: () => Promise<T>) => Promise<T>;

/** The vector of one image. */
export async function encodeImage(
  model: Model,
  source: ImageSource,
  decoding: Decoding,
  signal?: AbortSignal | undefined,
): Promise<Float32Array> {
  const image = await decoding(() => preprocess.image(source, model.config, { signal }));
  return (await encodeEach(model, [image], [], signal)).images[0] as Float32Array;
}

/** The vector of one audio clip, and the spectrogram of its audio window. */
export async function encodeAudio(
  model: Model,
  source: AudioSource,
  decoding: Decoding,
  signal?: AbortSignal | undefined,
): Promise<{ readonly vector: Float32Array; readonly spectrogram: TensorData }> {
  const spectrogram = await decoding(() => preprocess.audio(source, model.config, { signal }));
  return {
    vector: (await encodeEach(model, [], [spectrogram], signal)).audios[0] as Float32Array,
    spectrogram,
  };
}

/**
 * Encodes files below a folder, and decodes the next of them meanwhile. A file that cannot be read is returned with
 * the reason.
 * @throws {SoundspotError} ERR_ABORTED, and errors that are not about a file: ERR_FFMPEG_MISSING, ERR_DISPOSED.
 */
export async function* encodeFiles(
  model: Model,
  folder: string,
  files: readonly MediaFile[],
  signal?: AbortSignal | undefined,
): AsyncGenerator<(EncodedFile | SkippedFile)[]> {
  const parts = function* () {
    for (let from = 0; from < files.length; from += FILES_AT_A_TIME) {
      yield files.slice(from, from + FILES_AT_A_TIME);
    }
  };
  const decode = (some: readonly MediaFile[], inPlace: InPlace) =>
    Promise.all(some.map((file) => inPlace(() => tryFile(model, folder, file, signal))));

  for await (const all of lookAhead(parts(), decode, { items: 2, signal })) {
    const decoded = all.filter((each) => "hash" in each);
    const tensors = decoded.flatMap(({ image }) => image ?? []);
    const spectrograms = decoded.flatMap(({ audio }) => audio ?? []);
    const { images, audios } = await encodeEach(model, tensors, spectrograms, signal);
    yield all.map((each) => {
      if (!("hash" in each)) return each;
      const { image: tensor, audio: spectrogram, ...file } = each;
      const image = tensor && images.shift();
      const audio = spectrogram && audios.shift();
      return { ...file, ...(image ? { image } : {}), ...(audio ? { audio } : {}) };
    });
  }
}

async function tryFile(
  model: Model,
  folder: string,
  file: MediaFile,
  signal: AbortSignal | undefined,
): Promise<DecodedFile | SkippedFile> {
  try {
    return await decodeFile(model, folder, file, signal);
  } catch (error) {
    throwIfAborted(signal);
    if (!isSoundspotError(error) || fatal.has(error.code)) throw error;
    return skippedFile(file.path, error);
  }
}

async function decodeFile(
  { config }: Model,
  folder: string,
  file: MediaFile,
  signal: AbortSignal | undefined,
): Promise<DecodedFile> {
  const path = join(folder, file.path);
  const hash = await hashOf(path, signal);
  const media = await decodeMedia();
  const now = await stateOf(path);
  if (now.bytes !== file.bytes || now.modified !== file.modified) {
    throw new SoundspotError("ERR_BUSY", `${path} was changed while it was read. Update the index again.`);
  }
  return { file, hash, ...media };

  async function decodeMedia() {
    if (file.type === "image") return { image: await preprocess.image(path, config, { signal }) };
    if (file.type === "audio") return { audio: await preprocess.audio(path, config, { signal }) };
    const { at, image: frame, audio: window } = await middleOfVideo(path, config, signal);
    const image = await preprocess.image(frame, config, { signal });
    return {
      at,
      image,
      ...(window ? { audio: await preprocess.audio(window, asWindow(config), { signal }) } : {}),
    };
  }
}
