/** Files that the reader gives, by what they are. */
import { loadPicture } from "./pictures.js";
import { decodeSound, type Sound } from "./sound.js";

/** A picture with its sound. */
export interface Pair {
  readonly picture: HTMLCanvasElement;
  readonly sound: Sound;
  readonly name: string;
}

export interface Given {
  readonly video?: File;
  readonly picture?: File;
  readonly sound?: File;
}

const ENDINGS: readonly (readonly [keyof Given, RegExp])[] = [
  ["video", /\.(mp4|m4v|webm|mkv|mov|ogv)$/i],
  ["picture", /\.(png|jpe?g|webp|gif|avif|bmp)$/i],
  ["sound", /\.(wav|mp3|ogg|oga|opus|flac|m4a|aac|weba)$/i],
];
const TYPES: Readonly<Record<string, keyof Given>> = { video: "video", image: "picture", audio: "sound" };

function kindOf(file: File): keyof Given | undefined {
  return TYPES[file.type.split("/")[0] ?? ""] ?? ENDINGS.find(([, ending]) => ending.test(file.name))?.[0];
}

/**
 * The first video, picture and sound of a list.
 * @throws {Error} in words when there is none of them, or a file is too large.
 */
export function sorted(files: Iterable<File>): Given {
  const given: { -readonly [kind in keyof Given]: File } = {};
  const others: string[] = [];
  for (const file of files) {
    const kind = kindOf(file);
    if (kind === undefined) others.push(file.name);
    else given[kind] ??= file;
  }
  if (!given.video && !given.picture && !given.sound) {
    throw new Error(
      others.length > 0
        ? `${others[0]} is no video, picture or sound. Give a video, or a picture and a sound.`
        : "No file was given. Give a video, or a picture and a sound.",
    );
  }
  return given;
}

/** The parts of a pair that are given, read. */
export async function readParts(
  { picture, sound }: Given,
  sampleRate: number,
): Promise<{ picture?: HTMLCanvasElement; sound?: Sound }> {
  const [readPicture, readSound] = await Promise.all([
    picture && loadPicture(picture, picture.name),
    sound && decodeSound(sound, sampleRate, sound.name),
  ]);
  return { ...(readPicture && { picture: readPicture }), ...(readSound && { sound: readSound }) };
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
