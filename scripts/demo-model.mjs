#!/usr/bin/env node
/**
 * Makes the package `@soundspot/demo-model` in a folder: trains the model of `soundspot demo`, scores it on held-out
 * scenes, and rejects it below the floors of demo-floors.mjs. Rounding differs between processors, and with it the
 * result of a training: a rejected model is trained again with the next seed. Runs on dist/ and the addon.
 *
 *   node scripts/demo-model.mjs [--output demo-model] [--runs runs/demo-model] [--seed 0] [--attempts 3] [--stand-in]
 *
 *   --runs       folder of the trainings; a stopped one continues
 *   --stand-in   random weights and no scores, in seconds, to try the packages; `npm run packages -- --complete`
 *                rejects it
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FLOORS, NAMES, percent, shortfalls } from "./demo-floors.mjs";
import { bytesIn, MOST_BYTES, writeDemoModel, writeScene } from "./demo-package.mjs";

const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** As in `soundspot demo`. */
const COUNTS = { train: 4000, heldOut: 1000, twoObjects: 200 };
/** Pixels a side of the package's scene. */
const SCENE_SIZE = 448;
const SCENES_TRIED = 20;
/** Of the scene's mask and the model's, and the least confidence: a first look should be of a clear case. */
const LEAST_OVERLAP = 0.5;
const LEAST_CONFIDENCE = 0.5;

/** The smallest model that has every part. */
const STAND_IN = {
  imageSize: 32,
  imageStages: 2,
  imageStride: 8,
  imageWidth: 4,
  audioStages: 2,
  audioWidth: 4,
  dim: 16,
  audio: { seconds: 1 },
};

async function train(api, { folder, seed, epochs, log }) {
  const { imageSize: size, audio } = api.presets.scratch.model;
  const data = api.datasets.scenes({ size, seconds: audio.seconds, length: COUNTS.train, seed });
  try {
    const run = await api.train({
      preset: "scratch",
      device: "cpu",
      data,
      seed,
      output: folder,
      resume: existsSync(join(folder, "last.safetensors")),
      checkpointSteps: 100,
      handleSignals: true,
      onEpoch: ({ epoch, meanLoss }) => log(`epoch ${epoch + 1} of ${epochs}: loss ${meanLoss.toFixed(4)}`),
    });
    if (run.stoppedBy) throw new Error(`Stopped by ${run.stoppedBy}: the same command continues.`);
    return run.model;
  } finally {
    await data.close();
  }
}

/** The figures of demo-floors.mjs. */
async function score(api, model, log) {
  const { imageSize: size, audio } = model.config;
  const scene = { size, seconds: audio.seconds, split: "test" };
  const held = api.datasets.scenes({ ...scene, length: COUNTS.heldOut });
  const pairs = api.datasets.scenes({ ...scene, sources: 2, length: COUNTS.twoObjects });
  try {
    const common = { model, batchSize: 32, bootstrap: false };
    log("scoring held-out scenes");
    const scores = await api.evaluate({ ...common, data: held });
    const mismatched = await api.evaluate({ ...common, data: held, audioShift: 1 });
    const two = await api.evaluate({ ...common, data: pairs });
    return {
      audio: scores.audio.ciou,
      iqr: scores.iqr.ciou,
      auc: scores.iqr.auc,
      audioToImage: scores.retrieval.audioToImage[0],
      imageToAudio: scores.retrieval.imageToAudio[0],
      soundingOverSilent: two.soundingOverSilent,
      mismatched: mismatched.audio.ciou,
    };
  } finally {
    await held.close();
    await pairs.close();
  }
}

/** Intersection over union of two masks. */
function overlap({ data }, mask) {
  let [both, either] = [0, 0];
  data.forEach((value, i) => {
    if (value && mask[i]) both++;
    if (value || mask[i]) either++;
  });
  return either === 0 ? 0 : both / either;
}

/** Writes the first held-out scene of two objects that the model clearly localizes; of a stand-in the first. */
async function chooseScene(api, model, folder, standIn) {
  const { seconds } = model.config.audio;
  const options = { size: SCENE_SIZE, seconds, split: "test", sources: 2, length: SCENES_TRIED };
  const data = api.datasets.scenes(options);
  try {
    for (let index = 0; index < SCENES_TRIED; index++) {
      const sample = await data.load(index);
      const spot = await model.localize(await writeScene(folder, sample, api.encodeWav));
      const iou = overlap(sample.mask, spot.mask);
      if (standIn) return { index, label: sample.label };
      const { confidence } = spot;
      if (iou >= LEAST_OVERLAP && confidence >= LEAST_CONFIDENCE) {
        return { index, label: sample.label, iou, confidence };
      }
    }
  } finally {
    await data.close();
  }
  throw new Error(`The model clearly localizes none of ${SCENES_TRIED} scenes with two objects.`);
}

/**
 * Makes the package.
 *
 * @param {object} options
 * @param {object} options.api What `import("soundspot")` gives.
 * @param {string} options.output Folder of the package; it is written anew, and only when the model is good enough.
 * @param {string} [options.runs]
 * @param {number} [options.seed] The first one.
 * @param {number} [options.attempts]
 * @param {boolean} [options.standIn]
 * @param {(line: string) => void} [options.log]
 * @throws {Error} that names every figure below its floor.
 */
export async function makeDemoModel({
  api,
  output,
  runs,
  seed: first = 0,
  attempts = 3,
  standIn = false,
  log = () => undefined,
}) {
  const write = async (model, training, figures) => {
    const folder = `${output}.partial`;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    try {
      const scene = await chooseScene(api, model, folder, standIn);
      await writeDemoModel({ folder, model, scene, training, figures });
      const bytes = bytesIn(folder);
      if (bytes > MOST_BYTES)
        throw new Error(`The package has ${bytes} bytes; at most ${MOST_BYTES} are allowed.`);
      rmSync(output, { recursive: true, force: true });
      renameSync(folder, output);
      log(`${output}: ${(bytes / 1e6).toFixed(2)} MB`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
      model.dispose();
    }
  };
  if (standIn) return write(await api.Model.create(STAND_IN, { device: "cpu" }));

  let short = [];
  for (let seed = first; seed < first + attempts; seed++) {
    log(`training with seed ${seed}`);
    const { epochs } = api.presets.scratch.train;
    const model = await train(api, { folder: join(runs, `seed-${seed}`), seed, epochs, log });
    const figures = await score(api, model, log);
    for (const [name, value] of Object.entries(figures)) {
      const floor = FLOORS[name] === undefined ? "" : `, at least ${percent(FLOORS[name])} is needed`;
      log(`${NAMES[name]}: ${percent(value)}${floor}`);
    }
    short = shortfalls(figures);
    if (short.length > 0) {
      log(`rejected: ${short.join("; ")}`);
      model.dispose();
      continue;
    }
    const { heldOut, twoObjects } = COUNTS;
    return write(
      model,
      { preset: "scratch", seed, scenes: COUNTS.train * epochs, heldOut, twoObjects },
      figures,
    );
  }
  throw new Error(`No model was good enough. The last one: ${short.join("; ")}.`);
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    const { values } = parseArgs({
      options: {
        output: { type: "string", default: join(PACKAGE, "demo-model") },
        runs: { type: "string", default: join(PACKAGE, "runs", "demo-model") },
        seed: { type: "string", default: "0" },
        attempts: { type: "string", default: "3" },
        "stand-in": { type: "boolean", default: false },
      },
    });
    const numbers = { seed: Number(values.seed), attempts: Number(values.attempts) };
    for (const [name, value] of Object.entries(numbers)) {
      if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} must be a whole number.`);
    }
    const api = await import("../dist/index.js");
    const paths = { output: resolve(values.output), runs: resolve(values.runs) };
    await makeDemoModel({ api, ...paths, ...numbers, standIn: values["stand-in"], log: console.log });
  } catch (error) {
    console.error(error.message);
    process.exitCode = error.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1;
  }
}
