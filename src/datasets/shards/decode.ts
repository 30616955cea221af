/** The files of one sample, decoded. */
import * as z from "zod";
import { SoundspotError } from "../../core/errors.js";
import { checked, parseJson } from "../../files/text.js";
import { decodeAudio } from "../../media/audio.js";
import { decodeImage } from "../../media/image.js";
import { boxSchema, checkBoxes, maskOf } from "../benchmarks/annotation.js";
import type { Sample } from "../dataset.js";
import { naming } from "../source.js";
import { audioEndings, imageEndings, type Members } from "./shard.js";

/** Fields of a sample's JSON; others are ignored. */
const schema = z.object({
  label: z.string().optional(),
  boxes: z.array(boxSchema).optional(),
});

/**
 * Decodes the image, the audio and what is known: label and boxes in `json` as a manifest has them, or the label as
 * text in `cls`, and a mask in `mask.png`.
 * @param place what messages call the sample.
 * @throws {SoundspotError} ERR_DATASET that names the sample; `cause` has the reason's own code. ERR_ABORTED.
 */
export async function decodeMembers(
  members: Members,
  {
    id,
    place,
    ffmpeg,
    allowEmpty,
    signal,
  }: {
    readonly id: string;
    readonly place: string;
    readonly ffmpeg?: string | undefined;
    readonly allowEmpty?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<Sample> {
  const of = (endings: readonly string[]) => {
    const ending = endings.find((each) => members.has(each));
    return ending === undefined ? undefined : members.get(ending);
  };
  return naming(place, async () => {
    const [encodedImage, encodedAudio] = [of(imageEndings), of(audioEndings)];
    if (!encodedImage || !encodedAudio) {
      throw new SoundspotError("ERR_DATASET", "it has no image or no audio");
    }
    const { label, boxes } = known(members);
    const [image, audio] = await Promise.all([
      decodeImage(encodedImage, { signal }),
      decodeAudio(encodedAudio, { ffmpeg, signal }),
    ]);
    const encodedMask = members.get("mask.png");
    const mask =
      encodedMask && (await maskOf(encodedMask, image, { name: "its mask.png", allowEmpty, signal }));
    checkBoxes(boxes ?? [], image);
    return {
      id,
      image,
      audio,
      ...(label === undefined ? {} : { label }),
      ...(boxes === undefined ? {} : { boxes }),
      ...(mask === undefined ? {} : { mask }),
    };
  });
}

function known(members: Members): z.output<typeof schema> {
  const json = textOf(members, "json");
  const label = textOf(members, "cls") ?? textOf(members, "cls.txt");
  const named = label === undefined ? {} : { label: label.trim() };
  if (json === undefined) return named;
  return { ...named, ...checked(schema, parseJson(json, "its .json"), "its .json") };
}

function textOf(members: Members, ending: string): string | undefined {
  const bytes = members.get(ending);
  return bytes && new TextDecoder().decode(bytes);
}
