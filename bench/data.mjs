// Waiting for data in training: an epoch of the demo's recipe on 4,000 pairs, once drawn on the way and once decoded
// from PNG and WAV files.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasets, presets, train } from "../dist/index.js";
import { wav } from "./lib/inputs.mjs";

const { scenes, manifest } = datasets;
const { imageSize, audio } = presets.scratch.model;
const PAIRS = 4000;

/** Scenes as files with a manifest; the pictures four times as large, as photographs are larger than what is learnt. */
async function files(folder) {
  const { default: sharp } = await import("sharp");
  const from = scenes({ size: imageSize, seconds: audio.seconds, length: PAIRS });
  const rows = [];
  for (let i = 0; i < PAIRS; i++) {
    const sample = await from.load(i, {});
    const name = String(i).padStart(5, "0");
    const { data, width, height } = sample.image;
    const picture = sharp(Buffer.from(data), { raw: { width, height, channels: 3 } });
    await picture
      .resize(4 * imageSize)
      .jpeg({ quality: 90 })
      .toFile(join(folder, `${name}.jpg`));
    writeFileSync(join(folder, `${name}.wav`), wav(sample.audio.samples, sample.audio.sampleRate));
    rows.push(JSON.stringify({ id: name, image: `${name}.jpg`, audio: `${name}.wav` }));
  }
  const path = join(folder, "manifest.jsonl");
  writeFileSync(path, `${rows.join("\n")}\n`);
  return manifest({ path });
}

export async function data({ progress }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const rows = [];
  try {
    const sources = [
      ["scenes, drawn on the way", () => scenes({ size: imageSize, seconds: audio.seconds, length: PAIRS })],
      ["files, JPEG and WAV", () => files(folder)],
    ];
    for (const [i, [name, open]] of sources.entries()) {
      const source = await open();
      const epochs = [];
      const run = await train({
        preset: "scratch",
        epochs: 1,
        data: source,
        onEpoch: (epoch) => epochs.push(epoch),
        onStep: ({ step, totalSteps }) => progress?.(step, totalSteps),
      });
      run.model.dispose();
      const [{ seconds, waited }] = epochs;
      rows.push([name, seconds.toFixed(1), waited.toFixed(2), `${((100 * waited) / seconds).toFixed(2)} %`]);
      progress?.(i + 1, sources.length);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    title: `an epoch of ${PAIRS} pairs, preset scratch`,
    table: { columns: ["pairs", "s", "waiting, s", "share"], rows },
  };
}
