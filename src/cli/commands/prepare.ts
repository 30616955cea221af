/** `soundspot prepare`: videos to frames, audio clips and a manifest. */
import { join } from "node:path";
import { type Command, Option } from "commander";
import { type PreparedVideos, prepareVideos } from "../../preparation/prepare-videos.js";
import { numberFrom, wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { stoppable } from "../signals.js";

interface Flags {
  output: string;
  workers?: number;
  shards?: true;
  shardSize?: number;
  frameAt?: number;
  sampleRate?: number;
  maxSeconds?: number;
  mono?: true;
  audioTrack?: number;
  jpegQuality?: number;
  maxBytes?: number;
  labels?: string;
  labelByFolder?: true;
  ffmpeg?: string;
  strict?: true;
  json?: true;
}

/** Failed videos printed; the log has all. */
const SHOWN = 10;

export function register(program: Command): void {
  program
    .command("prepare")
    .description("extract the middle frame and the audio of videos, for training")
    .argument("<input...>", "folders, videos, tar archives of videos, lists of them (.txt)")
    .requiredOption(
      "--output <folder>",
      "frames, audio clips, manifest.jsonl and logs; a run resumes from there",
    )
    .option("--workers <n>", "videos at a time; default one per processor", wholeFrom(1))
    .option("--shards", "write tar archives in WebDataset format, not loose files")
    .option("--shard-size <n>", "samples in a shard; default 1000", wholeFrom(1))
    .option("--frame-at <seconds>", "moment of the frame; default the middle", numberFrom(0))
    .option("--sample-rate <hertz>", "of the audio; default 16000", wholeFrom(1000))
    .option(
      "--max-seconds <s>",
      "cut longer audio to this, around the frame; default all of it",
      numberFrom(0),
    )
    .option("--mono", "average the channels of the audio; default up to two are kept")
    .option("--audio-track <n>", "of each video, from 0; default the track marked as default", wholeFrom(0))
    .option("--jpeg-quality <n>", "1 to 100; default 95", wholeFrom(1))
    .option("--max-bytes <n>", "larger videos fail; default 2147483648", wholeFrom(1))
    .option("--labels <file>", "CSV of ids and labels, or vggsound.csv")
    .addOption(
      new Option("--label-by-folder", "label each video with the name of its folder").conflicts("labels"),
    )
    .option("--ffmpeg <file>", "path of ffmpeg; found automatically by default")
    .option("--strict", "exit code 1 when any video failed, not only without any sample")
    .option("--json", "print the result as JSON")
    .action(run);
}

async function run(input: string[], flags: Flags): Promise<void> {
  const { labels: csv, labelByFolder, strict, json, ...options } = flags;
  const labels = csv === undefined ? (labelByFolder ? ("folder" as const) : undefined) : { csv };
  const progress = new Progress({ enabled: !json });
  let already: number | undefined;
  progress.start("preparing");
  try {
    const result = await stoppable(
      (signal) =>
        prepareVideos({
          ...options,
          input,
          labels,
          signal,
          onProgress: (done, total, failed) => {
            already ??= done;
            progress.update(done - already, total - already, failed > 0 ? `${failed} failed` : "");
          },
        }),
      (name) =>
        `Stopped by ${name}; ${join(flags.output, "manifest.jsonl")} lists the samples done so far. Run the same command again to resume.`,
    );
    progress.clear();
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : summary(result, flags.output));
    const { prepared, skipped, failed } = result;
    if (prepared + skipped === 0 || (strict && failed.length > 0)) process.exitCode = 1;
  } finally {
    progress.end();
  }
}

function summary({ prepared, skipped, failed, clipped, manifest }: PreparedVideos, output: string): string {
  const lines = [`${prepared} prepared, ${skipped} already done, ${failed.length} failed`];
  if (clipped > 0) lines.push(`${clipped} audio samples were clipped`);
  for (const { file, code, message } of failed.slice(0, SHOWN)) {
    // Most messages begin with the file.
    lines.push(message.includes(file) ? `  ${message} [${code}]` : `  ${file}: ${message} [${code}]`);
  }
  if (failed.length > SHOWN) lines.push(`  … and ${failed.length - SHOWN} more`);
  if (failed.length > 0) lines.push(`all failures: ${join(output, "failed.jsonl")}`);
  return `${[...lines, manifest].join("\n")}\n`;
}
