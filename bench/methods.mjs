// A training step of each comparison method on prepared batches, against PyTorch's. Before any timing both take the same
// two steps from the same weights, and their losses and gradients are compared.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addon } from "../scripts/addon.mjs";
import { agreementOf, differences } from "./lib/agreement.mjs";
import { python } from "./lib/baselines.mjs";
import { batchOf } from "./lib/inputs.mjs";
import { writeTensors } from "./lib/tensors.mjs";
import { trainProcess } from "./lib/train-process.mjs";
import { inTurns, turnsSeconds } from "./lib/turns.mjs";

const BATCH = 24;
/** Of all methods the same, so that figures can be compared: 3 s, 200 frames. */
const AUDIO = { seconds: 3, hop: 241 };
const SHAPES = { image: [3, 224, 224], audio: [1, 257, 200] };
/** Past every warm-up of a recipe. */
const STEP = { at: { step: 0, total: 1, epoch: 10 } };

const CHECKED_BATCH = 8;
/**
 * Greatest relative differences. Gradients in float32 are 1 % off those in float64 on either side, in single
 * parameters of the first stages, and Adam's first step hands this on to the losses after it.
 */
const TOLERANCE = { losses: 1e-3, gradients: 0.1, "losses after a step": 1e-2 };

/**
 * Names of recipes. `passes` are those of the image encoder, forward and backward, for the expected duration; 1 where
 * none are given. `views` are those of a pair beside the first. `checked` replaces options of the model in the
 * comparison: without dropout, and with copies that one step moves visibly. `timed` does so in the timing: SSL-TIE's
 * transformed images keep their size, because half of its steps have smaller ones and a median would be of either kind.
 */
const METHODS = {
  lvs: {},
  "ez-vsl": {},
  slavc: { passes: 4 / 3, checked: { imageDropout: 0, method: { momentum: 0.5 } } },
  fnac: { checked: { imageDropout: 0 } },
  alignment: { passes: 3, views: ["neighbour", "augmented"] },
  "ssl-tie": { passes: 2, timed: { method: { smallScale: 1 } } },
};

/** The recipe's model with the audio of this bench, and options over it. */
function modelOf({ model }, { method, ...options } = {}) {
  return { ...model, audio: AUDIO, ...options, method: { ...model.method, ...method } };
}

/** What baselines/methods.py makes of a model's configuration. */
function baselineOptions({ imageDropout, method }) {
  switch (method.name) {
    case "slavc":
      return { image_dropout: imageDropout, momentum: method.momentum };
    case "ez-vsl":
    case "fnac":
      return { image_dropout: imageDropout };
    case "ssl-tie":
      return { max_angle: method.maxAngle, small_scale: method.smallScale };
    default:
      return {};
  }
}

/** The batch in a file for the baseline: images and spectrograms, those of a view behind its name. */
function writeBatch(path, { pairs, ...views }) {
  const stacked = (parts) => {
    const shape = [parts.length, ...parts[0].shape];
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (const [i, part] of parts.entries()) data.set(part.data, i * part.data.length);
    return { data, shape };
  };
  const tensors = {};
  for (const [prefix, view] of [
    ["", pairs],
    ...Object.entries(views).map(([name, view]) => [`${name}.`, view]),
  ]) {
    const of = (side, field) => view.map((pair) => ({ data: pair[side][field], shape: pair[side].shape }));
    tensors[`${prefix}images`] = stacked(of("image", "tensor"));
    tensors[`${prefix}spectrograms`] = stacked(of("audio", "spectrogram"));
  }
  writeTensors(path, tensors);
}

const TRANSFORM = 4; // the place of its draws in native/core/draws.h

/** How SSL-TIE moves the batch of a step: an angle for each sample, a scale and a flip, as native/methods/ssl_tie.cc. */
async function transformOf({ maxAngle, smallScale }, seed, step, count) {
  const draw = async (count, each) =>
    (await addon.draws({ seed, step, place: TRANSFORM, first: 0, count, each })).data;
  const [scale, flip] = await draw(1, 2);
  const drawn = await draw(count, 3);
  const angles = Array.from({ length: count }, (_, i) =>
    Math.floor(drawn[3 * i + 2] * (2 * maxAngle + 1) - maxAngle),
  );
  return [angles, scale < 0.5 ? 1 : smallScale, flip < 0.5];
}

/** The first seed whose first step makes images smaller and flips them, and the transforms of two steps. */
async function transformsOf(method, count) {
  for (let seed = 0; ; seed++) {
    const transforms = [];
    for (const step of [0, 1]) transforms.push(await transformOf(method, seed, step, count));
    const [[, scale, flip]] = transforms;
    if (scale !== 1 && flip) return { seed, transforms };
  }
}

/**
 * Takes two steps on both sides, and compares the losses of both and the first one's gradients.
 * @returns a line for the output
 * @throws Error when they differ
 */
async function agreement(name, { preset, views, checked }, torch, folder) {
  const { Model, Trainer } = await import("../dist/index.js");
  const file = (kind) => join(folder, `checked-${kind}.safetensors`);
  const model = await Model.create(modelOf(preset, checked));
  await model.save(file("model"));
  const { pairs, ...others } = batchOf(CHECKED_BATCH, SHAPES, views);
  writeBatch(file("batch"), { pairs, ...others });
  const { method } = model.config;
  const { seed, ...given } = name === "ssl-tie" ? await transformsOf(method, CHECKED_BATCH) : { seed: 0 };
  const trainer = new Trainer(model, { ...preset.train, precision: "float32", seed });
  const options = { ...baselineOptions(model.config), ...given };
  const files = { weights: file("model"), inputs: file("batch") };
  await torch.ask({ make: name, kind: "method", method: name, type: "float32", options, ...files });
  const first = await trainer.step(pairs, { ...STEP, views: others, gradients: true });
  const second = await trainer.step(pairs, { ...STEP, views: others });
  writeTensors(file("gradients"), Object.fromEntries(first.gradients.map((each) => [each.name, each])));
  trainer.dispose();
  model.dispose();
  const baseline = await torch.ask({ terms: name, gradients: file("gradients") });
  const { losses: after } = await torch.ask({ terms: name });
  await torch.ask({ drop: name });
  const text = agreementOf(
    {
      losses: differences(first.losses, baseline.losses),
      gradients: baseline.differences,
      "losses after a step": differences(second.losses, after),
    },
    TOLERANCE,
  );
  return `${name} equals PyTorch's, greatest relative differences: ${text}`;
}

/** The competitors of one method: ours, then PyTorch's, by type. */
async function competitorsOf(name, { preset, views, timed }, { types, threads, folder, installed }) {
  const { Model } = await import("../dist/index.js");
  const files = { weights: join(folder, "model.safetensors"), inputs: join(folder, "batch.safetensors") };
  const model = await Model.create(modelOf(preset, timed));
  const options = baselineOptions(model.config);
  await model.save(files.weights);
  model.dispose();
  writeBatch(files.inputs, batchOf(BATCH, SHAPES, views));
  const competitors = [];
  try {
    for (const precision of types) {
      const train = { ...preset.train, precision };
      const work = { weights: files.weights, train, batch: BATCH, shapes: SHAPES, views, step: STEP };
      competitors.push(await trainProcess(`soundspot ${precision}`, work));
    }
    for (const type of installed ? types : []) {
      const torch = await python(threads);
      const close = () => torch.close();
      const request = { kind: "method", method: name, type, options, ...files };
      competitors.push({ close });
      const entry = await torch.competitor(`PyTorch channels-last, fused Adam, ${type}`, request);
      competitors[competitors.length - 1] = Object.assign(entry, { close });
    }
  } catch (error) {
    for (const { close } of competitors) close();
    throw error;
  }
  return competitors;
}

/** @throws Error when there is no such method */
function chosen(names) {
  const unknown = names.find((name) => !Object.hasOwn(METHODS, name));
  if (unknown !== undefined)
    throw new Error(`No method "${unknown}". --methods takes ${Object.keys(METHODS).join(", ")}.`);
  return names;
}

export async function methods({ rounds = 3, threads = 2, methods: given = Object.keys(METHODS), report }) {
  const names = chosen(given);
  const { presets } = await import("../dist/index.js");
  const infoOf = (name) => ({ passes: 1, views: [], ...METHODS[name], preset: presets[name] });
  const types = addon.info().cpu.bfloat16 ? ["float32", "bfloat16"] : ["float32"];
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const [results, notes] = [[], []];
  const note = (text) => {
    notes.push(text);
    report.note(text);
  };
  try {
    const torch = await python(threads);
    if (torch) {
      const checked = report.step("comparing with PyTorch", names.length);
      for (const [i, name] of names.entries()) {
        note(await agreement(name, infoOf(name), torch, folder));
        checked(i + 1);
      }
      torch.close();
    } else {
      note("There is no Python with torch: nothing was compared.");
    }
    const times = 2;
    const columns = { ours: types.map((type) => `soundspot ${type}`), memory: true };
    const title = `training step of the comparison methods, batch ${BATCH}, ms a pair`;
    for (const name of names) {
      const competitors = await competitorsOf(name, infoOf(name), {
        ...{ types, threads, folder },
        installed: torch !== undefined,
      });
      try {
        if (name === names[0]) {
          const [, ms] = await competitors[0].run(2);
          const passes = names.reduce((sum, each) => sum + infoOf(each).passes, 0) / infoOf(name).passes;
          const seconds = turnsSeconds(ms * passes, { rounds, times, competitors: competitors.length });
          report.expect(seconds, competitors.length * names.length);
          report.compare(title, columns, [10, 41]);
        }
        await inTurns(competitors, {
          rounds,
          times,
          onRound: report.step(name),
          onMeasured: (who, { median }) => {
            const { peak } = competitors.find((each) => each.name === who);
            results.push({ work: name, name: who, ms: median / BATCH, peak });
            report.result(results.at(-1));
          },
        });
      } finally {
        for (const { close } of competitors) close();
      }
    }
    return { title, results, columns, notes };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
