/** A model of every front end from training to use: sizes of the encoders, checkpoints, augmentation, figures. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { frameCount, rowCount } from "../../../src/config/model.js";
import {
  evaluate,
  Model,
  type ModelOptions,
  preprocess,
  type TrainOptions,
  train,
} from "../../../src/index.js";
import { small } from "../../support/comparison.js";
import { bar, bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-front-ends-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const audios: readonly NonNullable<ModelOptions["audio"]>[] = [
  { frontEnd: "scipy", seconds: 0.4, placement: "start", rate: "file" },
  { frontEnd: "scipy", seconds: 0.4, placement: 0.35, hop: 159, channels: "first" },
  { frontEnd: "mel", seconds: 0.6, melBands: 64, placement: 0.1 },
  { frontEnd: "stft", seconds: 0.4, window: 401 },
];
const augment: TrainOptions["augment"] = {
  crop: "resized",
  blurKind: "pillow",
  translate: 0.2,
  frequencyMask: 35,
  timeMask: 180,
  maskProbability: 0.8,
  maskValue: "floor",
  audioRange: [0, 0.9],
};
const recipe: TrainOptions = { epochs: 1, batchSize: 4, falseNegatives: { k: 0 }, augment, seed: 2 };

describe.each([
  ["joint slot attention", tiny],
  ["ez-vsl", small("ez-vsl")],
] as const)("%s", (name, base) => {
  it.each(audios)("trains, is stored and localizes with the audio %o", async (audio) => {
    const options: ModelOptions = { ...base, audio };
    const run = async (output?: string) =>
      train({ ...recipe, model: options, data: bars(8), evaluation: bars(4), ...(output ? { output } : {}) });
    const output = join(root, `${name}-${audios.indexOf(audio)}`);
    const [first, again] = [await run(output), await run()];
    const weights = async (model: Model) =>
      (await model.parameters()).map(({ name: each, data }) => [each, [...data]]);
    expect(await weights(again.model)).toEqual(await weights(first.model));

    using loaded = await Model.load(join(output, "last.safetensors"));
    expect(loaded.config).toEqual(first.model.config);
    expect(loaded.config.audio).toMatchObject(audio);
    const sample = bar(1);
    const input = { image: sample.image, audio: sample.audio };
    const spot = await loaded.localize(input);
    expect(spot.heatmap).toEqual((await first.model.localize(input)).heatmap);

    // The spectrogram given by itself leads to the same.
    const { data, shape } = await preprocess.audio(sample.audio, loaded.config);
    expect(shape).toEqual([1, rowCount(loaded.config), frameCount(loaded.config)]);
    const given = { image: sample.image, audio: { spectrogram: data, shape } };
    expect((await loaded.localize(given)).heatmap).toEqual(spot.heatmap);
    await expect(
      loaded.localize({ ...given, audio: { spectrogram: data, shape: [1, shape[1] as number, 3] } }),
    ).rejects.toMatchObject({ code: "ERR_SHAPE", message: expect.stringContaining(`[${shape.join(", ")}]`) });
    expect((await evaluate({ model: loaded, data: bars(4) })).audio).toEqual(first.evaluation?.audio);
    if (base === tiny) expect((await spot.spectrogram()).length).toBeGreaterThan(1000);
  });
});

it("a range of audio that is shorter than the window ends a run by its name", async () => {
  const work = train({
    ...recipe,
    model: tiny,
    data: bars(8),
    augment: { audioRange: [0, 0.4] },
    maxDamaged: 1,
  });
  await expect(work).rejects.toMatchObject({
    code: "ERR_CONFIG",
    message: expect.stringContaining("train.augment.audioRange must be at least as long as the audio window"),
  });
});
