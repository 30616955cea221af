// A clip of 1280 × 720 in which two objects of Debian's Tux Paint stamps sound in turn, through renderVideo: time over
// the clip's length and memory. SOUNDSPOT_CHECKPOINT names a checkpoint that was trained on stamps; without it the
// model of the preset scratch with random weights does the same work.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { Model, renderVideo } from "../dist/index.js";

const STAMPS = "/usr/share/tuxpaint/stamps";
const [LEFT, RIGHT] = [`${STAMPS}/vehicles/emergency/firetruck`, `${STAMPS}/animals/birds/penguin`];
const BACKGROUND = "/usr/share/backgrounds/mate/nature/Dune.jpg";
const [WIDTH, HEIGHT, RATE, TURN] = [1280, 720, 25, 10]; // pixels, frames a second, seconds of each source

const ffmpeg = (
  process.env.FFMPEG_PATH ?? (await import("@ffmpeg-installer/ffmpeg")).default.path
).toString();
const run = (...args) => promisify(execFile)(ffmpeg, ["-nostdin", "-v", "error", "-y", ...args]);

const title = `a clip of ${WIDTH} × ${HEIGHT}, ${RATE} frames a second, through renderVideo`;
const columns = ["length", "frames", "with source", "× real time", "peak MiB", "MiB after each tenth"];

/** The stamp in the left or right half of the image, half as high as it. */
async function placed(name, left) {
  const input = await sharp(`${name}.png`).resize({ width: 400, height: 400, fit: "inside" }).toBuffer();
  const { width, height } = await sharp(input).metadata();
  return { input, left: Math.round(left - width / 2), top: Math.round(HEIGHT * 0.6 - height / 2) };
}

/** @returns its path: each object sounds for ten seconds, then the other. */
export async function makeClip(folder, minutes) {
  const image = join(folder, "scene.png");
  await sharp(BACKGROUND)
    .resize(WIDTH, HEIGHT, { fit: "cover" })
    .composite([await placed(LEFT, 320), await placed(RIGHT, 960)])
    .png()
    .toFile(image);
  const recordings = [];
  for (const [i, name] of [LEFT, RIGHT].entries()) {
    const file = join(folder, `${i}.wav`);
    await run(
      "-stream_loop",
      "-1",
      "-i",
      `${name}.ogg`,
      "-t",
      String(TURN),
      "-ar",
      "44100",
      "-ac",
      "1",
      file,
    );
    recordings.push(file);
  }
  const list = join(folder, "recordings.txt");
  const turns = Array.from({ length: (minutes * 60) / TURN }, (_, i) => `file '${recordings[i % 2]}'`);
  writeFileSync(list, turns.join("\n"));
  const clip = join(folder, `clip-${minutes}.mp4`);
  await run(
    ...["-loop", "1", "-framerate", String(RATE), "-i", image, "-f", "concat", "-safe", "0", "-i", list],
    // A slow pan, so that frames differ.
    ...["-vf", `scale=${WIDTH * 1.05}:-2,crop=${WIDTH}:${HEIGHT}:x='16+16*sin(t/5)':y=8`],
    ...["-t", String(minutes * 60), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"],
    ...["-c:a", "aac", clip],
  );
  return clip;
}

/** Seconds of encoding and of localizing a minute, by ten seconds of a clip. */
async function secondsOfMinute(model, folder) {
  const minutes = TURN / 60;
  const started = performance.now();
  const clip = await makeClip(folder, minutes);
  const encoded = (performance.now() - started) / 1000;
  const { seconds } = await renderVideo(model, clip, { output: join(folder, "calibration.mp4") });
  rmSync(clip);
  return { encoding: encoded / minutes, rendering: seconds / minutes };
}

export async function video({ rounds = 1, report }) {
  const checkpoint = process.env.SOUNDSPOT_CHECKPOINT;
  const model = checkpoint
    ? await Model.load(checkpoint)
    : await Model.create({ imageSize: 112, imageStages: 2, imageStride: 8, imageWidth: 32, audioWidth: 16 });
  const folder = process.env.SOUNDSPOT_KEEP ?? mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  mkdirSync(folder, { recursive: true });
  const rows = [];
  try {
    const lengths = process.env.SOUNDSPOT_MINUTES?.split(",").map(Number) ?? [1, 10];
    const { encoding, rendering } = await secondsOfMinute(model, folder);
    const minutesInAll = lengths.reduce((a, b) => a + b, 0);
    report.expect(minutesInAll * (encoding + rounds * rendering), lengths.length * rounds);
    report.table(title, columns, [8, 8, 0, 0, 0, 50]);
    for (const minutes of lengths) {
      report.step(`encoding ${minutes} min`);
      const clip = await makeClip(folder, minutes);
      for (let round = 0; round < rounds; round++) {
        const memory = [];
        const progress = report.step(`localizing over ${minutes} min`);
        const output = join(folder, `where-${minutes}.mp4`);
        const { frames, framesWithSource, duration, seconds } = await renderVideo(model, clip, {
          output,
          track: join(folder, `where-${minutes}.jsonl`),
          onFrame: (_, done, total) => {
            progress(done, total);
            if (done % Math.ceil(total / 10) === 0) memory.push(process.memoryUsage.rss() / 2 ** 20);
          },
        });
        rows.push([
          `${minutes} min`,
          String(frames),
          String(framesWithSource),
          (seconds / duration).toFixed(2),
          (process.resourceUsage().maxRSS / 1024).toFixed(0),
          memory.map((each) => each.toFixed(0)).join(" "),
        ]);
        report.row(rows.at(-1));
      }
    }
  } finally {
    model.dispose();
    if (!process.env.SOUNDSPOT_KEEP) rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
