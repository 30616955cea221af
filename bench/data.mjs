// Waiting for data in training: an epoch of the demo's recipe on 4,000 pairs, drawn on demand or decoded from JPEG and
// WAV files.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasets, presets, train } from "../dist/index.js";
import { wav } from "./lib/inputs.mjs";

const { scenes, manifest } = datasets;
const { imageSize, audio } = presets.scratch.model;
const PAIRS = 4000;
const title = `an epoch of ${PAIRS} pairs, preset scratch`;
const columns = ["pairs", "s", "waiting, s", "share"];

/** Scenes as files with a manifest; the images four times as large, since photographs are larger than the model's input. */
async function files(folder, pairs, progress) {
  const { default: sharp } = await import("sharp");
  const from = scenes({ size: imageSize, seconds: audio.seconds, length: pairs });
  const rows = [];
  for (let i = 0; i < pairs; i++) {
    const sample = await from.load(i, {});
    const name = String(i).padStart(5, "0");
    const { data, width, height } = sample.image;
    const image = sharp(Buffer.from(data), { raw: { width, height, channels: 3 } });
    await image
      .resize(4 * imageSize)
      .jpeg({ quality: 90 })
      .toFile(join(folder, `${name}.jpg`));
    writeFileSync(join(folder, `${name}.wav`), wav(sample.audio.samples, sample.audio.sampleRate));
    rows.push(JSON.stringify({ id: name, image: `${name}.jpg`, audio: `${name}.wav` }));
    progress?.(i + 1, pairs);
  }
  const path = join(folder, "manifest.jsonl");
  writeFileSync(path, `${rows.join("\n")}\n`);
  return manifest({ path });
}

const drawn = (length) => scenes({ size: imageSize, seconds: audio.seconds, length });

/** An epoch over a dataset. @returns the argument of onEpoch */
async function epochOf(data, progress) {
  const epochs = [];
  const run = await train({
    preset: "scratch",
    epochs: 1,
    data,
    onEpoch: (epoch) => epochs.push(epoch),
    onStep: ({ step, totalSteps }) => progress?.(step, totalSteps),
  });
  run.model.dispose();
  return epochs[0];
}

/** Seconds of everything, by a part of each work. */
async function expectedSeconds(folder) {
  const [pairs, written] = [4 * presets.scratch.train.batchSize, 40];
  const { seconds } = await epochOf(drawn(pairs));
  const started = performance.now();
  await files(folder, written);
  return PAIRS * ((2 * seconds) / pairs + (performance.now() - started) / 1000 / written);
}

export async function data({ report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const rows = [];
  try {
    const sources = [
      ["scenes, drawn on the way", () => drawn(PAIRS)],
      ["files, JPEG and WAV", () => files(folder, PAIRS, report.step("writing files", PAIRS))],
    ];
    report.expect(await expectedSeconds(folder), sources.length);
    report.table(title, columns, [24]);
    for (const [name, open] of sources) {
      const source = await open();
      const { seconds, waited } = await epochOf(source, report.step(name));
      rows.push([name, seconds.toFixed(1), waited.toFixed(2), `${((100 * waited) / seconds).toFixed(2)} %`]);
      report.row(rows.at(-1));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
