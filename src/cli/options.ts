/** Values of options: an invalid one is wrong usage, rejected before any work is done. */
import { extname } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { type ProtocolName, protocolNames } from "../evaluation/protocols.js";
import { videoEndings } from "../media/video-writer.js";

/** A number from `low` to `high`. */
export function numberFrom(low: number, high = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high) return value;
    throw new InvalidArgumentError(
      high === Number.POSITIVE_INFINITY
        ? `a number of at least ${low} is expected`
        : `a number from ${low} to ${high} is expected`,
    );
  };
}

/** A whole number of at least `low`. */
export function wholeFrom(low: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= low) return value;
    throw new InvalidArgumentError(`a whole number of at least ${low} is expected`);
  };
}

/** Seeds: a list such as 0,5,7, or a number of seeds from 0 on. */
export function seedList(text: string): number[] {
  const isWhole = (part: string) => /^\d{1,15}$/.test(part.trim());
  const parts = text.split(",");
  if (!parts.every(isWhole))
    throw new InvalidArgumentError("a list such as 0,1,2 or a number of seeds is expected");
  const numbers = parts.map(Number);
  if (numbers.length === 1) {
    const [count = 0] = numbers;
    if (count < 1 || count > 1000) throw new InvalidArgumentError("a number of seeds is from 1 to 1000");
    return Array.from({ length: count }, (_, i) => i);
  }
  if (new Set(numbers).size < numbers.length) throw new InvalidArgumentError("a seed is listed twice");
  return numbers;
}

/** Protocols with commas between them, after those of the same option given before. */
export function protocolsFrom(text: string, before: ProtocolName[] = []): ProtocolName[] {
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !(protocolNames as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`there is no protocol "${unknown}"; use ${protocolNames.join(", ")}`);
  }
  return [...new Set([...before, ...(names as ProtocolName[])])];
}

/** `--device`, of every command that computes. */
export const deviceOption = () =>
  new Option("--device <name>", "where the model computes: auto, cpu, cuda, or cuda:1").default("auto");

/** Values of `--precision`. */
export const precisions = ["auto", "float32", "tf32", "bfloat16", "int8"] as const;

/** `--processes`, of commands that share their work among processes: a number, or one for each GPU. */
export function processCount(text: string): number | "auto" {
  return text === "auto" ? text : wholeFrom(1)(text);
}

/** Whether an output path is a video, by its extension. */
export function isVideoPath(path: string): boolean {
  return videoEndings.includes(extname(path).toLowerCase());
}

/** The path of an overlay to write: an image or a video by its extension. */
export function overlayPath(path: string): string {
  if (isVideoPath(path)) return path;
  try {
    return imagePath(path);
  } catch {
    throw new InvalidArgumentError(
      `a path that ends in .png, .jpg, .jpeg, ${videoEndings.join(", ")} is expected`,
    );
  }
}

/** The path of an image to write: PNG or JPEG by its extension. */
export function imagePath(path: string): string {
  if (/\.(png|jpe?g)$/i.test(path)) return path;
  throw new InvalidArgumentError("a path that ends in .png, .jpg or .jpeg is expected");
}
