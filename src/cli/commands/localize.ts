/** `soundspot localize`: an image and audio, or a video, to an overlay; with `--demo` the demo model's own scene. */

import { basename, dirname, extname, resolve } from "node:path";
import { type Command, Option } from "commander";
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../../config/defaults.js";
import { SoundspotError } from "../../core/errors.js";
import { writeOutput } from "../../files/atomic-writes.js";
import { checkOutputs } from "../../files/outputs.js";
import type { Device, Precision } from "../../model/compute.js";
import { demoPackage } from "../../model/demo.js";
import type { LocalizeInput } from "../../model/inputs.js";
import { Objectness } from "../../model/objectness.js";
import type { Spot } from "../../model/spot.js";
import type { Refinement } from "../../native.js";
import { renderVideo } from "../../video/render-video.js";
import { checkpointInputs, loadCheckpoint, withConfigOption } from "../checkpoints.js";
import {
  deviceOption,
  imagePath,
  isVideoPath,
  numberFrom,
  overlayPath,
  precisions,
  wholeFrom,
} from "../options.js";
import { Progress } from "../progress.js";
import { stoppable } from "../signals.js";

interface Flags {
  model?: string;
  demo?: true;
  config?: string;
  output?: string;
  panels?: string;
  spectrogram?: string;
  allSlots?: true;
  grids?: string;
  above?: string[];
  at?: number;
  track?: string;
  from?: number;
  to?: number;
  every?: number;
  smoothing?: number;
  minConfidence?: number;
  includeSilent?: true;
  audioTrack?: number;
  refine: Refinement;
  objectness?: string;
  alpha?: number;
  threshold?: number;
  sharpening?: number;
  device: Device;
  precision: Precision;
  json?: true;
}

export function register(program: Command): void {
  const command = program
    .command("localize")
    .description("find the sound source in an image")
    .argument("[image-or-video]", "an image, with audio as second argument, or a video")
    .argument("[audio]", "the audio that belongs to the image")
    .option("--model <file>", "checkpoint (.safetensors or .pth)")
    .option(
      "--demo",
      "the demo model, which knows drawn scenes only; without an image it takes its own scene",
    );
  withConfigOption(command)
    .option(
      "--output <file>",
      "overlay: .png or .jpg, or .mp4, .mov, .mkv, .webm for all of a video",
      overlayPath,
    )
    .option("--track <file>", "boxes and confidence of every frame of a video, as lines of JSON")
    .option("--from <seconds>", "start of the part of a video", numberFrom(0))
    .option("--to <seconds>", "its end", numberFrom(0))
    .option("--every <n>", "the model looks at every nth frame; default about five per second", wholeFrom(1))
    .option("--smoothing <seconds>", "of the map over time; default 0.2", numberFrom(0, 10))
    .option("--min-confidence <x>", "below it, no source is in view, -1 to 1; default 0.5", numberFrom(-1, 1))
    .option("--include-silent", "look for a source in frames whose audio is silent as well")
    .option("--audio-track <n>", "of a video, from 0; default the track marked as default", wholeFrom(0))
    .option("--panels <file>", "attention of every slot, .png or .jpg", imagePath)
    .option("--spectrogram <file>", "spectrogram with the audio attention, .png or .jpg", imagePath)
    .option("--all-slots", "with --spectrogram: the attention of every slot, the target first")
    .option("--grids <file>", "raw attention map beside the enlarged map, .png or .jpg", imagePath)
    .option("--above <checkpoints...>", "with --grids: the same by other checkpoints, in rows above")
    .option(
      "--at <seconds>",
      "frame of the video, with the audio around it; default the middle",
      numberFrom(0),
    )
    .addOption(
      new Option("--refine <how>", "refinement of the map")
        .choices(["none", "iqr", "ogl", "combined"])
        .default("none"),
    )
    .option("--objectness <file>", "ImageNet ResNet-18 (.pth), for ogl and combined")
    .option(
      "--alpha <x>",
      `the audio map's weight in the refinement, 0 to 1; default ${AUDIO_WEIGHT}`,
      numberFrom(0, 1),
    )
    .option("--threshold <x>", `of the mask, 0 to 1; default ${MASK_THRESHOLD}`, numberFrom(0, 1))
    .option(
      "--sharpening <x>",
      "factor on the attention logits; default the checkpoint's",
      numberFrom(1e-6, 1e6),
    )
    .addOption(deviceOption())
    .addOption(
      new Option(
        "--precision <type>",
        "of the encoders; auto is int8 for a quantized checkpoint, else bfloat16 where the processor multiplies it",
      )
        .choices(precisions)
        .default("auto"),
    )
    .option("--json", "print boxes and confidence as JSON")
    .action(run);
}

function formatOf(path: string): "png" | "jpeg" {
  return extname(path).toLowerCase() === ".png" ? "png" : "jpeg";
}

const wrong = (message: string) => new SoundspotError("ERR_CONFIG", message);

/** The flags of a run, with the checkpoint's path. */
type Chosen = Flags & { readonly model: string };

/**
 * The model and the input that the command is to run on.
 * @throws {SoundspotError} ERR_CONFIG when one is missing or given twice; ERR_DEMO_MODEL_MISSING.
 */
function chosen(image: string | undefined, audio: string | undefined, flags: Flags) {
  const { model, demo, config } = flags;
  if (demo && model !== undefined) throw wrong("--demo is a model. Leave --model out, or --demo.");
  if (demo && config !== undefined) throw wrong("--config is for a checkpoint of --model. Leave it out.");
  if (!demo) {
    if (image === undefined) throw wrong("Give an image and its audio, a video, or --demo.");
    if (model === undefined) throw wrong("Give a checkpoint: --model FILE, or --demo to try it.");
    return { image, audio, flags: { ...flags, model } };
  }
  const own = demoPackage();
  const { image: shown, audio: heard } = image === undefined ? own : { image, audio };
  return { image: shown, audio: heard, flags: { ...flags, model: own.model } };
}

/** @throws {SoundspotError} ERR_CONFIG, before any file is read. */
function checkUsage(image: string, audio: string | undefined, flags: Flags): void {
  const { at, refine, objectness, output, track } = flags;
  if (audio === undefined && /\.(png|jpe?g|webp|gif|avif|tiff?|bmp|svg)$/i.test(image)) {
    throw wrong(`${image} is an image. Give its audio as second argument.`);
  }
  if (overVideo(flags)) {
    if (audio !== undefined)
      throw wrong(`--output ${output ?? track} is for a video. Leave the audio argument out.`);
    if (refine === "ogl" || refine === "combined") throw wrong("--refine is none or iqr for all of a video.");
    for (const name of forMoments) {
      if (flags[name] !== undefined)
        throw wrong(`${flagName(name)} is for one moment. Leave it out for all of a video.`);
    }
    if (output !== undefined && !isVideoPath(output)) {
      throw wrong(`--track is of all of a video, and --output ${output} of one moment. Give one of them.`);
    }
  } else {
    for (const name of forVideos) {
      if (flags[name] === undefined) continue;
      throw wrong(
        `${flagName(name)} is for all of a video. Give --output clip.mp4 or --track, or leave it out.`,
      );
    }
  }
  for (const [name, of] of [
    ["allSlots", "spectrogram"],
    ["above", "grids"],
  ] as const) {
    if (flags[name] !== undefined && flags[of] === undefined) {
      throw wrong(
        `${flagName(name)} is for ${flagName(of)}. Give ${flagName(of)} FILE too, or leave it out.`,
      );
    }
  }
  if (audio !== undefined && at !== undefined) {
    throw wrong("--at is a moment of a video. Leave it out with an image and its audio.");
  }
  if (audio !== undefined && flags.audioTrack !== undefined) {
    throw wrong("--audio-track is of a video. Leave it out with an image and its audio.");
  }
  if ((refine === "ogl" || refine === "combined") && objectness === undefined) {
    throw wrong(`--refine ${refine} needs --objectness resnet18.pth.`);
  }
}

/** @throws {SoundspotError} ERR_OUTPUT_IS_INPUT, ERR_CONFIG for two outputs that are one file. */
function checkFiles(image: string, audio: string | undefined, flags: Chosen): Promise<void> {
  return checkOutputs({
    inputs: [
      { name: audio === undefined ? "the video" : "the image", path: image },
      { name: "the audio", path: audio },
      ...checkpointInputs("--model", flags.model, flags.config),
      ...(flags.above ?? []).flatMap((path) => checkpointInputs("--above", path, flags.config)),
      { name: "--objectness", path: flags.objectness },
    ],
    outputs: (["output", "panels", "spectrogram", "grids", "track"] as const).map((name) => ({
      name: flagName(name),
      path: flags[name],
    })),
  });
}

/** Whether the output covers all of a video, not one moment of it. */
function overVideo({ output, track }: Flags): boolean {
  return track !== undefined || (output !== undefined && isVideoPath(output));
}

/** Options for all of a video only. */
const forVideos = ["from", "to", "every", "smoothing", "minConfidence", "includeSilent"] as const;
/** Options for one moment only. */
const forMoments = ["at", "panels", "spectrogram", "allSlots", "grids", "above"] as const;

function flagName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

async function runOverVideo(video: string, flags: Chosen): Promise<void> {
  using model = await loadCheckpoint(flags.model, flags);
  const progress = new Progress({ enabled: !flags.json });
  const { output, track, from, to, every, smoothing, minConfidence, alpha, threshold, sharpening } = flags;
  progress.start(video);
  const { includeSilent, audioTrack } = flags;
  try {
    const { frames, framesWithSource, duration, seconds } = await stoppable((signal) =>
      renderVideo(model, video, {
        ...{ output, track, from, to, every, smoothing, minConfidence, includeSilent, audioTrack, signal },
        refine: flags.refine === "iqr" ? "iqr" : "none",
        ...(alpha === undefined ? {} : { alpha }),
        ...(threshold === undefined ? {} : { threshold }),
        ...(sharpening === undefined ? {} : { sharpening }),
        onFrame: (_, done, total) => progress.update(done, total),
      }),
    );
    progress.clear();
    const memory = process.resourceUsage().maxRSS / 1024;
    if (flags.json) {
      const peakMiB = Math.round(memory);
      process.stdout.write(`${JSON.stringify({ frames, framesWithSource, duration, seconds, peakMiB })}\n`);
      return;
    }
    process.stdout.write(
      `${frames} frames, a source in view in ${framesWithSource}; ${duration.toFixed(1)} s in ${seconds.toFixed(1)} s, ${(seconds / duration).toFixed(2)} × real time, ${memory.toFixed(0)} MiB\n`,
    );
    for (const file of [output, track]) if (file !== undefined) process.stdout.write(`${file}\n`);
  } finally {
    progress.end();
  }
}

/** A checkpoint's folder and file, as a title. */
const titleOf = (path: string) =>
  `${basename(dirname(resolve(path)))}/${basename(path, extname(path))}`.replace(/^\//, "");

/** The raw and the enlarged map, below those of the checkpoints of `--above`. */
async function gridsOf(spot: Spot, input: LocalizeInput, flags: Chosen): Promise<Buffer> {
  const above: { title: string; spot: Spot }[] = [];
  for (const path of flags.above ?? []) {
    using other = await loadCheckpoint(path, flags);
    const { sharpening } = flags;
    const found = await other.localize(input, sharpening === undefined ? {} : { sharpening });
    above.push({ title: titleOf(path), spot: found });
  }
  return spot.grids({ format: formatOf(flags.grids as string), title: titleOf(flags.model), above });
}

async function run(
  givenImage: string | undefined,
  givenAudio: string | undefined,
  given: Flags,
): Promise<void> {
  const { image, audio, flags } = chosen(givenImage, givenAudio, given);
  checkUsage(image, audio, flags);
  await checkFiles(image, audio, flags);
  if (overVideo(flags)) return runOverVideo(image, flags);
  const input: LocalizeInput =
    audio === undefined
      ? {
          video: image,
          ...(flags.at === undefined ? {} : { at: flags.at }),
          ...(flags.audioTrack === undefined ? {} : { audioTrack: flags.audioTrack }),
        }
      : { image, audio };
  using model = await loadCheckpoint(flags.model, flags);
  using objectness = flags.objectness === undefined ? undefined : await Objectness.load(flags.objectness);
  const spot = await model.localize(input, {
    refine: flags.refine,
    ...(objectness ? { objectness } : {}),
    ...(flags.alpha === undefined ? {} : { alpha: flags.alpha }),
    ...(flags.threshold === undefined ? {} : { threshold: flags.threshold }),
    ...(flags.sharpening === undefined ? {} : { sharpening: flags.sharpening }),
  });
  if (flags.output) await writeOutput(flags.output, await spot.overlay({ format: formatOf(flags.output) }));
  if (flags.panels) await writeOutput(flags.panels, await spot.panels({ format: formatOf(flags.panels) }));
  if (flags.spectrogram) {
    const figure = { format: formatOf(flags.spectrogram), slots: flags.allSlots ? "all" : "target" } as const;
    await writeOutput(flags.spectrogram, await spot.spectrogram(figure));
  }
  if (flags.grids) await writeOutput(flags.grids, await gridsOf(spot, input, flags));
  const { width, height, boxes, confidence, silent, time } = spot;
  if (flags.json) {
    const found = { width, height, confidence, silent, ...(time === undefined ? {} : { time }), boxes };
    process.stdout.write(`${JSON.stringify(found)}\n`);
    return;
  }
  process.stdout.write(`${width} × ${height}, confidence ${confidence.toFixed(3)}\n`);
  if (silent)
    process.stdout.write(
      "the audio is silent there (below −60 dBFS): boxes and confidence are meaningless\n",
    );
  for (const box of boxes) {
    process.stdout.write(
      `  ${box.width} × ${box.height} at ${box.x}, ${box.y}  score ${box.score.toFixed(3)}\n`,
    );
  }
}
