/** torchvision's ResNet-18 as a model whose image embeddings are its pooled features. */

import { resolve } from "node:path";
import { SoundspotError } from "../core/errors.js";
import { native } from "../native.js";
import type { Device, Precision } from "./compute.js";
import { Model } from "./model.js";

/**
 * A model of a file that has the tensors of torchvision's ResNet-18 at its top: the embedding of an image is the mean of
 * its features' directions over the last stage. Undefined for any other file.
 * @throws {SoundspotError} ERR_INPUT for audio, which it does not embed; and those of `Model.loadImageWeights`.
 */
export async function loadImageEncoder(
  path: string,
  modality: "image" | "audio",
  where: { readonly device?: Device; readonly precision?: Precision } = {},
): Promise<Model | undefined> {
  const { tensors } = await native().readCheckpoint(resolve(path));
  if (!tensors.some(({ name }) => /^(module\.)?layer4\.1\.conv2\.weight$/.test(name))) return undefined;
  if (modality === "audio") {
    throw new SoundspotError(
      "ERR_INPUT",
      `${path} is a ResNet-18 of images. Compare images, or give a checkpoint of a model with audio.`,
    );
  }
  const { device, precision } = where;
  const model = await Model.create(
    // The smallest audio side: it is never used.
    {
      method: { name: "similarity" },
      imageProjection: "none",
      audioStages: 1,
      audioWidth: 4,
      audio: { seconds: 0.1 },
    },
    { ...(device === undefined ? {} : { device }), ...(precision === undefined ? {} : { precision }) },
  );
  try {
    await model.loadImageWeights(path);
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model;
}
