/** `soundspot localize`: a picture and a sound, or a video, to an overlay. */
import { writeFile } from "node:fs/promises";
import { extname } from "node:path";
import { type Command, Option } from "commander";
import { SoundspotError } from "../../errors.js";
import { Model } from "../../model.js";
import type { Refinement } from "../../native.js";
import { Objectness } from "../../objectness.js";
import type { LocalizeInput } from "../../prepare.js";
import { numberFrom, picturePath } from "../options.js";

interface Flags {
  model: string;
  output?: string;
  panels?: string;
  spectrogram?: string;
  at?: number;
  refine: Refinement;
  objectness?: string;
  threshold?: number;
  sharpening?: number;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("localize")
    .description("find what sounds in a picture")
    .argument("<picture-or-video>", "a picture, with a sound as second argument, or a video")
    .argument("[sound]", "the sound that belongs to the picture")
    .requiredOption("--model <file>", "checkpoint (.safetensors or .pth)")
    .option("--output <file>", "overlay, .png or .jpg", picturePath)
    .option("--panels <file>", "attention of every slot, .png or .jpg", picturePath)
    .option("--spectrogram <file>", "spectrogram with the audio attention, .png or .jpg", picturePath)
    .option(
      "--at <seconds>",
      "frame of the video, heard with the sound around it; default the middle",
      numberFrom(0),
    )
    .addOption(
      new Option("--refine <how>", "refinement of the map")
        .choices(["none", "iqr", "ogl", "combined"])
        .default("none"),
    )
    .option("--objectness <file>", "ImageNet ResNet-18 (.pth), for ogl and combined")
    .option("--threshold <x>", "of the mask, 0 to 1; default 0.6", numberFrom(0, 1))
    .option(
      "--sharpening <x>",
      "factor on the attention logits; default the checkpoint's",
      numberFrom(1e-6, 1e6),
    )
    .option("--json", "print boxes and confidence as JSON")
    .action(run);
}

function formatOf(path: string): "png" | "jpeg" {
  return extname(path).toLowerCase() === ".png" ? "png" : "jpeg";
}

async function write(path: string, content: Buffer): Promise<void> {
  await writeFile(path, content).catch((cause: Error) => {
    throw new SoundspotError("ERR_FILE_WRITE", `${path} cannot be written: ${cause.message}.`, { cause });
  });
}

/** @throws {SoundspotError} ERR_CONFIG, before any file is read. */
function checkUsage(picture: string, sound: string | undefined, { at, refine, objectness }: Flags): void {
  const wrong = (message: string) => new SoundspotError("ERR_CONFIG", message);
  if (sound === undefined && /\.(png|jpe?g|webp|gif|avif|tiff?|bmp|svg)$/i.test(picture)) {
    throw wrong(`${picture} is a picture. Give its sound as second argument.`);
  }
  if (sound !== undefined && at !== undefined) {
    throw wrong("--at is a moment of a video. Leave it out beside a picture and its sound.");
  }
  if ((refine === "ogl" || refine === "combined") && objectness === undefined) {
    throw wrong(`--refine ${refine} needs --objectness resnet18.pth.`);
  }
}

async function run(picture: string, sound: string | undefined, flags: Flags): Promise<void> {
  checkUsage(picture, sound, flags);
  const input: LocalizeInput =
    sound === undefined
      ? { video: picture, ...(flags.at === undefined ? {} : { at: flags.at }) }
      : { image: picture, audio: sound };
  using model = await Model.load(flags.model);
  using objectness = flags.objectness === undefined ? undefined : await Objectness.load(flags.objectness);
  const spot = await model.localize(input, {
    refine: flags.refine,
    ...(objectness ? { objectness } : {}),
    ...(flags.threshold === undefined ? {} : { threshold: flags.threshold }),
    ...(flags.sharpening === undefined ? {} : { sharpening: flags.sharpening }),
  });
  if (flags.output) await write(flags.output, await spot.overlay({ format: formatOf(flags.output) }));
  if (flags.panels) await write(flags.panels, await spot.panels({ format: formatOf(flags.panels) }));
  if (flags.spectrogram) {
    await write(flags.spectrogram, await spot.spectrogram({ format: formatOf(flags.spectrogram) }));
  }
  const { width, height, boxes, confidence } = spot;
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ width, height, confidence, boxes })}\n`);
    return;
  }
  process.stdout.write(`${width} × ${height}, confidence ${confidence.toFixed(3)}\n`);
  for (const box of boxes) {
    process.stdout.write(
      `  ${box.width} × ${box.height} at ${box.x}, ${box.y}  score ${box.score.toFixed(3)}\n`,
    );
  }
}
