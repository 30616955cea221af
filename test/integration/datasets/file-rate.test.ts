/** audio.rate "file": audio of another rate is rejected with its name wherever it comes in, and ends a run. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { isDamage } from "../../../src/datasets/damage.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  datasets,
  evaluate,
  Model,
  type ModelOptions,
  preprocess,
  type RawAudio,
  type SoundspotError,
  train,
} from "../../../src/index.js";
import { findFfmpeg } from "../../../src/media/ffmpeg.js";
import { encodeWav } from "../../../src/media/wav.js";
import { bar, bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-rate-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const asFile: ModelOptions = { ...tiny, audio: { seconds: 0.5, rate: "file" } };

/** Samples of 16 kHz, but those listed of 22.05 kHz. */
async function manifest(others: readonly number[], length = 8): Promise<string> {
  const lines: string[] = [];
  for (let index = 0; index < length; index++) {
    const { image, audio } = bar(index);
    const rate = others.includes(index) ? 22_050 : 16_000;
    writeFileSync(join(root, `${index}.png`), await encodeImage(image, { format: "png" }));
    writeFileSync(join(root, `${index}-${rate}.wav`), encodeWav({ ...audio, sampleRate: rate }));
    const boxes = [[0, 0, 8, 40]];
    lines.push(
      JSON.stringify({ id: `bar-${index}`, image: `${index}.png`, audio: `${index}-${rate}.wav`, boxes }),
    );
  }
  const path = join(root, `others-${others.join("-")}.jsonl`);
  writeFileSync(path, lines.join("\n"));
  return path;
}

async function failureOf(work: Promise<unknown>): Promise<SoundspotError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it was expected to fail").toMatchObject({ name: "SoundspotError" });
  return error as SoundspotError;
}

const states = (file: string | RegExp) =>
  expect.stringMatching(
    new RegExp(
      `${typeof file === "string" ? file : file.source} has 22050 Hz; .*16000 Hz alone.*audio.sampleRate to 22050.*"resample"`,
    ),
  );

describe('audio.rate "file"', () => {
  it("rejects another rate in localize, embed and preprocess by the name of the file", async () => {
    using model = await Model.create(asFile, { seed: 1 });
    await manifest([3]);
    const { image } = bar(0);
    const other = join(root, "3-22050.wav");
    const own = join(root, "2-16000.wav");
    for (const work of [
      () => model.localize({ image, audio: other }),
      () => model.embed({ audio: other }),
      () => preprocess.audio(other, model.config),
    ]) {
      expect(await failureOf(work())).toMatchObject({ code: "ERR_INPUT", message: states("3-22050.wav") });
    }
    const raw: RawAudio = { samples: new Float32Array(9000), sampleRate: 22_050 };
    const error = await failureOf(model.localize({ image, audio: raw }));
    expect(error).toMatchObject({ code: "ERR_INPUT", message: states("^Raw audio") });
    const buffer = await failureOf(model.localize({ image, audio: encodeWav(raw) }));
    expect(buffer).toMatchObject({ code: "ERR_INPUT", message: states("^The audio buffer") });

    // Of its own rate, the result is that of a model that resamples.
    using resampling = await Model.create(tiny, { seed: 1 });
    const spots = [
      await model.localize({ image, audio: own }),
      await resampling.localize({ image, audio: own }),
    ];
    expect(spots[0]?.heatmap).toEqual(spots[1]?.heatmap);
    expect((await resampling.localize({ image, audio: other })).heatmap.length).toBe(1600);
  });

  it("ends a run on data of two rates by the name of the file; nothing takes the sample's place", async () => {
    const path = await manifest([5]);
    const data = await datasets.manifest({ path });
    const options = { epochs: 1, batchSize: 8, falseNegatives: { k: 0 }, maxDamaged: 1 };
    const error = await failureOf(train({ data, model: asFile, ...options }));
    expect(error).toMatchObject({ code: "ERR_CONFIG", message: states("5-22050.wav") });
    expect(isDamage(error)).toBe(false);
    expect((await train({ data, model: tiny, ...options })).skipped).toEqual([]);
  });

  it("rejects another rate in videos, by the name of the video", async () => {
    using model = await Model.create(asFile, { seed: 1 });
    const { path: ffmpeg } = await findFfmpeg();
    const make = (rate: number) => {
      const file = join(root, `video-${rate}.mp4`);
      const inputs = `-y -v error -f lavfi -i color=blue:s=32x32:r=10:d=1 -f lavfi -i sine=sample_rate=${rate}:duration=1`;
      execFileSync(ffmpeg, [...inputs.split(" "), "-c:v", "libx264", "-c:a", "aac", file]);
      return file;
    };
    const [own, other] = [make(16_000), make(22_050)];
    const drain = async () => {
      for await (const _ of model.localizeVideo(other)) throw new Error("a frame came");
    };
    for (const work of [
      () => model.localize({ video: other }),
      () => model.localize({ video: other, at: 0.5 }),
      drain,
    ]) {
      expect(await failureOf(work())).toMatchObject({
        code: "ERR_INPUT",
        message: states("video-22050.mp4"),
      });
    }
    expect((await model.localize({ video: own })).heatmap.length).toBe(1024);
    let frames = 0;
    for await (const { source } of model.localizeVideo(own)) frames += source === undefined ? 0 : 1;
    expect(frames).toBeGreaterThan(0);

    const path = join(root, "videos.jsonl");
    writeFileSync(path, [own, other].map((video) => JSON.stringify({ video })).join("\n"));
    const data = await datasets.manifest({ path });
    const work = train({
      data,
      model: asFile,
      epochs: 1,
      batchSize: 2,
      falseNegatives: { k: 0 },
      maxDamaged: 1,
    });
    expect(await failureOf(work)).toMatchObject({ code: "ERR_CONFIG", message: states("video-22050.mp4") });
  });

  it("ends a run whose data is decoded elsewhere by the sample's id", async () => {
    const audio: RawAudio = { samples: new Float32Array(9000).fill(0.1), sampleRate: 22_050 };
    const data = bars(8, (index) => (index === 6 ? { id: "six", audio } : {}));
    const work = train({
      data,
      model: asFile,
      epochs: 1,
      batchSize: 8,
      falseNegatives: { k: 0 },
      maxDamaged: 1,
    });
    expect(await failureOf(work)).toMatchObject({ code: "ERR_CONFIG", message: states("The audio of six") });
  });

  it("ends an evaluation that leaves out damaged samples", async () => {
    using model = await Model.create(asFile, { seed: 1 });
    const data = await datasets.manifest({ path: await manifest([1]) });
    for (const unreadable of ["skip", "throw"] as const) {
      const error = await failureOf(evaluate({ model, data, unreadable }));
      expect(error).toMatchObject({ code: "ERR_CONFIG", message: states("1-22050.wav") });
    }
    const all = await datasets.manifest({ path: await manifest([]) });
    expect((await evaluate({ model, data: all })).samples).toBe(8);
  });
});
