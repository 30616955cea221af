/** Input files by their kind. */

import { type AudioClip, decodeAudio } from "./audio.js";
import { loadImage } from "./images.js";

/** An image with its audio. */
export interface Pair {
  readonly image: HTMLCanvasElement;
  readonly audio: AudioClip;
  readonly name: string;
}

export interface Given {
  readonly video?: File;
  readonly image?: File;
  readonly audio?: File;
}

const ENDINGS: readonly (readonly [keyof Given, RegExp])[] = [
  ["video", /\.(mp4|m4v|webm|mkv|mov|ogv)$/i],
  ["image", /\.(png|jpe?g|webp|gif|avif|bmp)$/i],
  ["audio", /\.(wav|mp3|ogg|oga|opus|flac|m4a|aac|weba)$/i],
];
const TYPES: Readonly<Record<string, keyof Given>> = { video: "video", image: "image", audio: "audio" };

function kindOf(file: File): keyof Given | undefined {
  return TYPES[file.type.split("/")[0] ?? ""] ?? ENDINGS.find(([, ending]) => ending.test(file.name))?.[0];
}

/**
 * The first video, image and audio file of a list.
 * @throws {Error} with a message for users when the list has none of them.
 */
export function sorted(files: Iterable<File>): Given {
  const given: { -readonly [kind in keyof Given]: File } = {};
  const others: string[] = [];
  for (const file of files) {
    const kind = kindOf(file);
    if (kind === undefined) others.push(file.name);
    else given[kind] ??= file;
  }
  if (!given.video && !given.image && !given.audio) {
    throw new Error(
      others.length > 0
        ? `${others[0]} is no video, image or audio file. Choose a video, or an image and an audio file.`
        : "No file was chosen. Choose a video, or an image and an audio file.",
    );
  }
  return given;
}

/** Reads the parts of a pair that are given. */
export async function readParts(
  { image, audio }: Given,
  sampleRate: number,
): Promise<{ image?: HTMLCanvasElement; audio?: AudioClip }> {
  const [readImage, readAudio] = await Promise.all([
    image && loadImage(image, image.name),
    audio && decodeAudio(audio, sampleRate, audio.name),
  ]);
  return { ...(readImage && { image: readImage }), ...(readAudio && { audio: readAudio }) };
}

/** Lets files be chosen by a button and dropped on it. */
export function acceptFiles(
  button: HTMLButtonElement,
  chooser: HTMLInputElement,
  take: (files: readonly File[]) => void,
): void {
  button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const files = [...(chooser.files ?? [])];
    // The same file may be chosen again.
    chooser.value = "";
    if (files.length > 0) take(files);
  });
  button.addEventListener("dragover", () => button.classList.add("over"));
  for (const event of ["dragleave", "drop"]) {
    button.addEventListener(event, () => button.classList.remove("over"));
  }
}
