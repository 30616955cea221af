/** Evaluation against straightforward computations from the maps themselves, and its handling of bad data. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Dataset,
  datasets,
  evaluate,
  falseNegatives,
  type GroundTruthMap,
  Model,
  metrics,
  Objectness,
  retrieve,
  type Sample,
  SoundspotError,
  train,
} from "../../../src/index.js";
import { writeSafetensors } from "../../support/safetensors.js";
import { bar, bars } from "../../support/scored.js";
import { ofSlots, slots, tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-evaluate-"));
const checkpoint = join(folder, "tiny.safetensors");
let model: Model;

beforeAll(async () => {
  model = await Model.create(tiny, { seed: 3 });
  await model.save(checkpoint);
});
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const groundTruth = (cells: (x: number, y: number) => number): GroundTruthMap => ({
  data: Float32Array.from({ length: 224 * 224 }, (_, i) => cells(i % 224, Math.floor(i / 224))),
  width: 224,
  height: 224,
});

/** A ResNet-18 with torchvision's names, classifier included, and weights of no meaning. */
async function resnetFile(factor = 1): Promise<string> {
  const file = join(folder, "resnet18.safetensors");
  using donor = await Model.create({ audioStages: 1, audioWidth: 4, dim: 8, audio: { seconds: 0.1 } });
  const own = (await donor.parameters()).filter(({ name }) => /^imgnet\.(?!proj)/.test(name));
  const fc = { name: "fc.weight", shape: [1000, 512], data: new Float32Array(512_000) };
  writeSafetensors(file, [
    ...own.map((each) => ({
      ...each,
      name: each.name.slice("imgnet.".length),
      data: each.data.map((value) => factor * value),
    })),
    fc,
  ]);
  return file;
}

describe("evaluate", () => {
  it("scores every map at the benchmark's grid as the formulas say", async () => {
    const consensus = groundTruth((x, y) => (x < 100 && y < 150 ? (x < 60 ? 1 : 0.5) : 0));
    const data = bars(6, () => ({ groundTruth: consensus }));
    const seen: { maps: Record<string, Float32Array>; score: unknown }[] = [];
    const scores = await evaluate({
      model,
      data,
      batchSize: 4,
      onSample: (_, spot, score) => {
        expect([spot.height, spot.width]).toEqual([224, 224]);
        seen.push({ maps: { audio: spot.audioMap, image: ofSlots(spot).imageMap, ...spot.refined }, score });
      },
    });
    expect(scores.samples).toBe(6);
    for (const name of ["audio", "image", "iqr"] as const) {
      const cious = seen.map(({ maps }) => {
        let [shared, object, outside] = [0, 0, 0];
        (maps[name] as Float32Array).forEach((value, i) => {
          const g = consensus.data[i] as number;
          const p = value >= 0.6 ? 1 : 0;
          shared += p * g;
          object += g;
          outside += g === 0 ? p : 0;
        });
        return shared / (object + outside);
      });
      expect(scores.perSample.map((each) => each[name]?.ciou)).toEqual(cious);
      const own = ofSlots(scores)[name];
      expect(own.ciou).toBe(cious.filter((value) => value >= 0.5).length / 6);
      expect(own.auc).toBeCloseTo(metrics.auc(cious), 12);
      const [low, high] = own.intervals?.meanIou ?? [1, 0];
      expect(low).toBeLessThanOrEqual(own.meanIou);
      expect(high).toBeGreaterThanOrEqual(own.meanIou);
    }
    const [first] = seen;
    const blend = Float32Array.from(
      first?.maps.audio as Float32Array,
      (value, i) => 0.4 * value + 0.6 * (first?.maps.image?.[i] as number),
    );
    const [low, high] = [blend.reduce((a, b) => Math.min(a, b)), blend.reduce((a, b) => Math.max(a, b))];
    const iqr = first?.maps.iqr as Float32Array;
    for (let i = 0; i < iqr.length; i += 997) {
      expect(iqr[i]).toBeCloseTo(((blend[i] as number) - low) / (high - low), 5);
    }
  });

  it("takes the mask, or the union of the boxes, at the image's size where no grid exists", async () => {
    const mask = { data: new Uint8Array(1600).fill(1), width: 40, height: 40 };
    const everything = await evaluate({ model, data: bars(2, () => ({ mask })), threshold: 0 });
    expect(everything.audio).toMatchObject({ ciou: 1, meanIou: 1, f: 1 });
    const boxes = await evaluate({ model, data: bars(2), threshold: 0 });
    expect(boxes.perSample.map(({ audio }) => audio?.iou)).toEqual([320 / 1600, 320 / 1600]);
  });

  it("detects audio without a source in the image by confidence", async () => {
    const data = bars(12, (i) => (i % 3 === 2 ? { sounding: false, boxes: [] } : {}));
    const scores = await evaluate({ model, data });
    const list = scores.perSample.map(({ confidence, sounding, audio }) => ({
      confidence,
      sounding,
      ciou: audio?.ciou ?? 0,
    }));
    expect(list.filter(({ sounding }) => !sounding)).toHaveLength(4);
    expect(scores.extended?.audio?.averagePrecision).toBe(metrics.averagePrecision(list));
    expect(scores.extended?.audio?.bestF1).toBe(metrics.bestF1(list).f1);
    // Cious are of the sounding samples alone.
    expect(scores.perSample.filter(({ audio }) => audio)).toHaveLength(8);
  });

  it("requires every source of an image", async () => {
    const half = { data: new Uint8Array(1600).fill(1, 0, 800), width: 40, height: 40 };
    const whole = { data: new Uint8Array(1600).fill(1), width: 40, height: 40 };
    // At threshold 0 everything is predicted: a whole mask is found, a quarter is not.
    const quarter = { ...half, data: new Uint8Array(1600).fill(1, 0, 400) };
    const data = bars(6, (i) => ({
      imageId: String(Math.floor(i / 2)),
      mask: i === 5 ? quarter : i % 2 ? half : whole,
    }));
    const scores = await evaluate({ model, data, threshold: 0 });
    expect(scores.interactive?.audio).toMatchObject({ images: 3, iiou: 2 / 3 });
    expect(scores.audio.ciou).toBe(5 / 6);
  });

  it("leaves out images with an unscored source, and counts them", async () => {
    const whole = { data: new Uint8Array(1600).fill(1), width: 40, height: 40 };
    // Image 0 has both of its sources, image 1 lost one, image 2 does not give their number.
    const data = bars(4, (i) => ({
      imageId: String(i < 2 ? 0 : i - 1),
      ...(i < 3 ? { sources: 2 } : {}),
      mask: whole,
    }));
    const { interactive } = await evaluate({ model, data, threshold: 0 });
    expect(interactive?.audio).toMatchObject({ images: 2, incomplete: 1, iiou: 1 });
    expect(interactive?.audio?.intervals?.iiou).toEqual([1, 1]);
    expect(interactive?.audio?.intervals?.auc[0]).toBeCloseTo(1, 12);
  });

  it("breaks scores down by class and by area", async () => {
    const wide = (i: number) => ({ boxes: [{ x: 0, y: 0, width: 4 + 3 * i, height: 40 }] });
    const scores = await evaluate({ model, data: bars(12, wide), threshold: 0.4, bootstrap: false });
    const { perClass = [], perArea, perSample } = scores;
    expect(perClass.map(({ label, samples }) => [label, samples])).toEqual([
      ["0", 3],
      ["1", 3],
      ["2", 3],
      ["3", 3],
    ]);
    const average = (values: readonly (number | undefined)[]) =>
      values.reduce((sum: number, value) => sum + (value ?? 0), 0) / values.length;
    const ones = perSample.filter(({ label }) => label === "1");
    expect(perClass[1]?.maps.audio?.meanIou).toBeCloseTo(average(ones.map(({ audio }) => audio?.iou)), 12);
    expect(perClass[1]?.audioToImage).toBeCloseTo(
      average(ones.map(({ retrieval }) => (retrieval?.imageRank === 1 ? 1 : 0))),
      12,
    );
    expect(perArea.map(({ from, to, samples }) => [from, to, samples])).toEqual([
      [4 / 40, 10 / 40, 3],
      [13 / 40, 19 / 40, 3],
      [22 / 40, 28 / 40, 3],
      [31 / 40, 37 / 40, 3],
    ]);
    const largest = perSample.slice(9).map(({ iqr }) => iqr?.iou);
    expect(perArea[3]?.maps.iqr?.meanIou).toBeCloseTo(average(largest), 12);
    // The wrong class that its audio retrieves first most often.
    for (const { label, confusedWith } of perClass) {
      const firsts = perSample
        .filter((sample) => sample.label === label)
        .map(({ retrieval }) => String(Number(retrieval?.images[0]) % 4))
        .filter((other) => other !== label);
      const counts = [...new Set(firsts)].map((other) => firsts.filter((each) => each === other).length);
      expect(confusedWith?.share).toBe(counts.length ? Math.max(...counts) / 3 : undefined);
      if (confusedWith) expect(firsts).toContain(confusedWith.label);
    }
  });

  it("predicts the false negatives that training would", async () => {
    const data = bars(30);
    const { exclusions } = await evaluate({
      model,
      data,
      bootstrap: false,
      falseNegatives: { k: 4, batchSize: 30 },
    });
    const inputs = await Promise.all(Array.from({ length: 30 }, (_, i) => bar(i)));
    const { imageSlots, audioSlots } = ofSlots(await model.encode(inputs));
    const targets = ({ data: all, shape }: { data: Float32Array; shape: readonly number[] }) => {
      const [count = 0, slots = 0, dim = 0] = shape;
      const rows = Array.from({ length: count }, (_, i) => [
        ...all.subarray(i * slots * dim, i * slots * dim + dim),
      ]);
      return { data: Float32Array.from(rows.flat()), shape: [count, dim] };
    };
    const pairs = (
      await falseNegatives({ image: targets(imageSlots), audio: targets(audioSlots) }, 4)
    ).filter(([i, j]) => i < j);
    expect(exclusions?.pairs).toBe(pairs.length);
    expect(exclusions?.sameClass).toBeCloseTo(
      pairs.filter(([i, j]) => i % 4 === j % 4).length / pairs.length,
      12,
    );
    const excluded = new Set(pairs.map(([i, j]) => `${i} ${j}`));
    for (const { ids } of exclusions?.groups ?? []) {
      expect(ids.length).toBeGreaterThanOrEqual(2);
      for (const a of ids) {
        for (const b of ids) if (Number(a) < Number(b)) expect(excluded).toContain(`${a} ${b}`);
      }
    }
    expect((await evaluate({ model, data, bootstrap: false })).exclusions).toBeUndefined(); // 30 are too few for 20
    await expect(evaluate({ model, data, bootstrap: false, falseNegatives: { k: 0 } })).rejects.toMatchObject(
      { code: "ERR_INPUT" },
    );
  });

  it("gives AVSBench's F an interval over whole clips", async () => {
    const data = bars(12, (i) => ({ clip: String(Math.floor(i / 4)) }));
    const { audio, extended } = await evaluate({ model, data });
    const [low, high] = audio.intervals?.maxF ?? [1, 0];
    expect(low).toBeLessThanOrEqual(audio.maxF);
    expect(high).toBeGreaterThanOrEqual(audio.maxF - 0.05);
    expect(low).toBeLessThan(high);
    expect(extended).toBeUndefined();
    expect((await evaluate({ model, data: bars(3) })).audio.intervals?.maxF).toBeUndefined();
  });

  it("blends objectness from an ImageNet ResNet-18", async () => {
    using objectness = await Objectness.load(await resnetFile());
    const scores = await evaluate({ model, data: bars(3), objectness });
    expect(Object.keys(scores)).toEqual(expect.arrayContaining(["ogl", "combined"]));
    const sample = bar(0);
    const input = { image: sample.image, audio: sample.audio };
    const [ogl, combined] = await Promise.all(
      (["ogl", "combined"] as const).map((refine) => model.localize(input, { refine, objectness })),
    );
    const maps = await objectness.maps([sample.image]);
    expect(maps.shape).toEqual([1, 7, 7]);
    expect(Math.min(...maps.data)).toBeGreaterThanOrEqual(0);
    expect(ogl?.refined.ogl).toEqual(ogl?.heatmap);
    expect(Math.max(...(combined?.heatmap ?? []))).toBe(1);
    await expect(model.localize(input, { refine: "ogl" })).rejects.toMatchObject({ code: "ERR_INPUT" });
  });

  it("reports an ImageNet ResNet-18 whose output is not finite", async () => {
    using objectness = await Objectness.load(await resnetFile(1e20));
    const error = { code: "ERR_INTERNAL", message: expect.stringMatching(/too large/) };
    await expect(objectness.maps([bar(0).image])).rejects.toMatchObject(error);
    await expect(evaluate({ model, data: bars(3), objectness })).rejects.toMatchObject(error);
  });

  it("rejects datasets that give no samples, or claim too many", async () => {
    const none = { ...bars(3), load: async () => undefined as unknown as Sample };
    await expect(evaluate({ model, data: none })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(/^Sample 0 of bars must be an object/),
    });
    const endless = { ...bars(3), length: Number.MAX_SAFE_INTEGER };
    for (const work of [evaluate({ model, data: endless }), train({ data: endless, model: tiny })]) {
      await expect(work).rejects.toMatchObject({
        code: "ERR_INPUT",
        message: expect.stringMatching(/2\^28/),
      });
    }
  });

  it("lists what is missing and what it skipped, and throws unless unreadable is skip", async () => {
    const missing = [{ id: "gone", files: ["gone.jpg"] }];
    const broken: Dataset = {
      ...bars(5),
      missing,
      load: async (index): Promise<Sample> => {
        if (index === 2) throw new SoundspotError("ERR_DATASET", "frames/2.jpg is damaged");
        return bar(index);
      },
    };
    await expect(evaluate({ model, data: broken })).rejects.toMatchObject({ code: "ERR_DATASET" });
    const scores = await evaluate({ model, data: broken, unreadable: "skip" });
    expect(scores.samples).toBe(4);
    expect(scores.missing).toEqual(missing);
    expect(scores.skipped).toEqual([{ index: 2, code: "ERR_DATASET", reason: "frames/2.jpg is damaged" }]);
    const found = await retrieve({ model, data: broken, unreadable: "skip", bootstrap: false });
    expect(found).toMatchObject({ samples: 4, missing, skipped: scores.skipped });
    expect(found.intervals).toBeUndefined();
  });

  it("stops at its signal", async () => {
    const stop = new AbortController();
    const running = evaluate({
      model,
      data: bars(64),
      batchSize: 2,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await expect(running).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });
});

describe("retrieve", () => {
  it("gives the recalls of the slots' cosines, as evaluate does", async () => {
    const data = bars(12);
    const both = await evaluate({ model, data });
    const alone = await retrieve({ model, data, batchSize: 5 });
    expect(alone.audioToImage).toEqual(both.retrieval?.audioToImage);
    const { imageSlots, audioSlots } = ofSlots(
      await model.encode(await Promise.all(Array.from({ length: 12 }, (_, i) => bar(i)))),
    );
    const rows = (slots: { data: Float32Array; shape: readonly number[] }) => {
      const [, count = 0, dim = 0] = slots.shape;
      return Array.from({ length: 12 }, (_, i) => slots.data.slice(i * count * dim, i * count * dim + dim));
    };
    const cosine = (a: Float32Array, b: Float32Array) => {
      const dot = (x: Float32Array, y: Float32Array) =>
        x.reduce((sum, value, d) => sum + value * (y[d] as number), 0);
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    };
    const [images, audios] = [rows(imageSlots), rows(audioSlots)];
    const hits = audios.map((audio, i) => {
      const ranked = images
        .map((image, j) => ({ j, score: cosine(audio, image) }))
        .sort((a, b) => b.score - a.score);
      return [1, 5, 10].map((k) => (ranked.slice(0, k).some(({ j }) => j % 4 === i % 4) ? 1 : 0) as number);
    });
    const share = (column: number) => hits.reduce((sum, row) => sum + (row[column] as number), 0) / 12;
    expect(alone.audioToImage).toEqual([share(0), share(1), share(2)]);
  });

  it("takes the mean cosine over several target slots", async () => {
    using several = await Model.create({ ...tiny, ...slots({ targetSlots: 2 }) }, { seed: 4 });
    // Slots of very different lengths: the long one must not decide alone.
    const scaled = (await several.parameters()).map((each) =>
      /slots_mu|init|slot/.test(each.name)
        ? { ...each, data: each.data.map((v, i) => v * (i % 2 ? 9 : 0.2)) }
        : each,
    );
    await several.setParameters(scaled);
    const inputs = await Promise.all(Array.from({ length: 12 }, (_, i) => bar(i)));
    const { imageSlots, audioSlots } = ofSlots(await several.encode(inputs));
    const [, count = 0, dim = 0] = imageSlots.shape;
    const cosine = (i: number, j: number, slot: number) => {
      const a = audioSlots.data.subarray((i * count + slot) * dim, (i * count + slot + 1) * dim);
      const b = imageSlots.data.subarray((j * count + slot) * dim, (j * count + slot + 1) * dim);
      const dot = (x: Float32Array, y: Float32Array) =>
        x.reduce((sum, v, d) => sum + v * (y[d] as number), 0);
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    };
    const { perSample } = await evaluate({ model: several, data: bars(12), bootstrap: false });
    for (const [i, { retrieval }] of perSample.entries()) {
      const ranked = Array.from({ length: 12 }, (_, j) => ({
        j,
        score: (cosine(i, j, 0) + cosine(i, j, 1)) / 2,
      }))
        .sort((a, b) => b.score - a.score)
        .slice(0, 10)
        .map(({ j }) => String(j));
      expect(retrieval?.images).toEqual(ranked);
    }
  });

  it("skips audio without a source in the image, whole batches of it too", async () => {
    const data = bars(12, (i) => (i < 8 ? {} : { sounding: false }));
    const found = await retrieve({ model, data, batchSize: 4, bootstrap: false });
    expect(found).toMatchObject({ samples: 8, silent: 4 });
    expect(found.audioToImage).toEqual(
      (await retrieve({ model, data: bars(8), bootstrap: false })).audioToImage,
    );
  });

  it("rejects data without labels", async () => {
    const { label, ...rest } = bar(0);
    const data: Dataset = { name: "unlabelled", length: 1, load: async () => rest };
    await expect(retrieve({ model, data })).rejects.toMatchObject({ code: "ERR_DATASET" });
  });
});

describe("localization by similarity", () => {
  it("is hottest where a token's cosine with the audio is highest", async () => {
    using similar = await Model.create({ ...tiny, method: { name: "similarity" } }, { seed: 5 });
    const input = { image: bar(1).image, audio: bar(1).audio };
    const spot = await similar.localize(input, { precision: "float32" });
    const { imageFeatures, audioFeatures } = await similar.encode([input]);
    const [, tokens = 0, dim = 0] = imageFeatures.shape;
    const row = (data: Float32Array, i: number) => data.subarray(i * dim, (i + 1) * dim);
    const times = audioFeatures.shape[1] as number;
    const audio = Float32Array.from({ length: dim }, (_, d) =>
      Math.max(...Array.from({ length: times }, (_, t) => audioFeatures.data[t * dim + d] as number)),
    );
    const norm = (v: Float32Array) => Math.hypot(...v);
    const cosines = Array.from({ length: tokens }, (_, n) => {
      const token = row(imageFeatures.data, n);
      return token.reduce((sum, v, d) => sum + v * (audio[d] as number), 0) / norm(token) / norm(audio);
    });
    const target = spot.targets.audio.data.subarray(0, tokens);
    const sum = cosines.reduce((total, value) => total + 1 + value, 0);
    for (const [n, value] of cosines.entries()) expect(target[n]).toBeCloseTo((1 + value) / sum, 5);
    expect([spot.imageMap, spot.attention, spot.slots]).toEqual([undefined, undefined, undefined]);
    await expect(similar.localize(input, { refine: "iqr" })).rejects.toMatchObject({ code: "ERR_INPUT" });
    await expect(spot.panels()).rejects.toMatchObject({ code: "ERR_INPUT" });
    const scores = await evaluate({ model: similar, data: bars(6) });
    expect(scores.defaultMap).toBe("audio");
    expect(scores.audio.ciou).toBeGreaterThanOrEqual(0);
    expect([scores.image, scores.iqr]).toEqual([undefined, undefined]);
    expect(Object.keys(scores.perSample[0] ?? {})).not.toContain("iqr");
  });
});

describe("soundspot evaluate", () => {
  const scenes = "scenes:split=test,length=6,size=40,seconds=1";
  const soundspot = (...args: string[]) =>
    promisify(execFile)(process.execPath, ["dist/cli/main.js", ...args]).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );

  it("passes and fails by --fail-under, and writes its files", async () => {
    const output = join(folder, "report");
    const pass = await soundspot(
      "evaluate",
      checkpoint,
      "--data",
      scenes,
      "--output",
      output,
      "--fail-under",
      "ciou=0",
    );
    expect(pass).toMatchObject({ code: 0 });
    expect(pass.stdout).toContain("cIoU@0.5");
    const scores = JSON.parse(readFileSync(join(output, "scores.json"), "utf8")) as { samples: number };
    expect(scores.samples).toBe(6);
    expect(readFileSync(join(output, "samples.csv"), "utf8").split("\n")).toHaveLength(8);
    expect(readFileSync(join(output, "classes.csv"), "utf8")).toMatch(/^label,samples,audio_ciou/);
    const html = readFileSync(join(output, "report.html"), "utf8");
    expect(html).toContain("data:image/png;base64");
    expect([...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title)).toEqual(
      expect.arrayContaining([
        "Success over thresholds",
        "By the area of the sounding object",
        "By class",
        "Best samples",
        "Median samples",
        "Worst samples",
        "Attention of target and off-target slots",
        "Attention over time of target and off-target slots",
        "Raw and enlarged maps",
        "Images retrieved by audio",
        "Audio retrieved by images",
      ]),
    );

    const fail = await soundspot("evaluate", checkpoint, "--data", scenes, "--fail-under", "audio.auc=99.9");
    expect(fail.code).toBe(1);
    expect(fail.stderr).toContain("at least 99.9 %");
    const absent = await soundspot("evaluate", checkpoint, "--data", scenes, "--fail-under", "ap=1");
    expect(absent).toMatchObject({ code: 1, stderr: expect.stringContaining("not available") as string });
  });

  it("compares checkpoints", async () => {
    const other = join(folder, "other.safetensors");
    using fresh = await Model.create(tiny, { seed: 9 });
    await fresh.save(other);
    const { code, stdout } = await soundspot(
      ...["evaluate", "--compare", checkpoint, other, "--data", scenes],
      ...["--select", "best-on-test", "--published", "vggss", "--json"],
    );
    expect(code).toBe(0);
    const list = JSON.parse(stdout) as { checkpoint: string; iqr: { ciou: number } }[];
    expect(list.map((each) => each.checkpoint)).toEqual(["tiny.safetensors", "other.safetensors"]);
    const table = await soundspot(
      ...[
        "evaluate",
        checkpoint,
        other,
        "--data",
        scenes,
        "--select",
        "best-on-test",
        "--published",
        "vggss",
      ],
    );
    expect(table.stdout).toMatch(/best on test/);
    expect(table.stdout).toMatch(/EZ-VSL, half the area, VGG-Sound 144k \(table 1\) +34\.4 +37\.7/);
  });

  it("exits with 2 on wrong usage", async () => {
    for (const args of [
      ["evaluate", "--data", scenes],
      ["evaluate", checkpoint, "--data", "nothing"],
      ["evaluate", checkpoint, "--data", "scenes:split=half"],
      ["evaluate", checkpoint, "--data", "scenes:colour=red"],
      ["evaluate", checkpoint, "--data", scenes, "--fail-under", "ciou"],
      ["evaluate", checkpoint, "--data", scenes, "--fail-under", "nothing=3"],
      ["evaluate", checkpoint, "--data", scenes, "--threshold", "3"],
      ["evaluate", checkpoint, "--data", scenes, "--map", "ogl"],
      ["ablate", "nothing", "--data", scenes, "--evaluation", scenes],
      ["localize", "a.png", "a.wav", "--model", checkpoint, "--output", "out.gif"],
    ]) {
      expect(await soundspot(...args), args.join(" ")).toMatchObject({ code: 2 });
    }
    expect(await soundspot("evaluate", join(folder, "gone.safetensors"), "--data", scenes)).toMatchObject({
      code: 1,
    });
  });

  it("runs an ablation, and resumes it", async () => {
    const config = join(folder, "tiny.yaml");
    writeFileSync(
      config,
      JSON.stringify({ model: tiny, train: { epochs: 1, batchSize: 4, falseNegatives: { k: 2 } } }),
    );
    const output = join(folder, "ablation");
    const args = [
      ...["ablate", "initial-slots", "--data", "scenes:length=8,size=40,seconds=1", "--evaluation", scenes],
      ...["--config", config, "--output", output],
    ];
    const first = await soundspot(...args);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining("separate") as string });
    const again = await soundspot(...args, "--json");
    const rows = JSON.parse(again.stdout) as { variant: string; scores: { iqr: { auc: number } } }[];
    expect(rows.map(({ variant }) => variant)).toEqual(["shared", "separate"]);
    const { rows: kept } = JSON.parse(readFileSync(join(output, "ablation.json"), "utf8")) as {
      rows: typeof rows;
    };
    expect(kept.map(({ scores }) => scores.iqr.auc)).toEqual(rows.map(({ scores }) => scores.iqr.auc));
  });
});

describe("openDataset", () => {
  it("opens manifests and datasets by a line of text", async () => {
    const scenes = await datasets.openDataset("scenes:length=3,sources=2,split=test");
    expect(scenes).toMatchObject({ name: "scenes", length: 3 });
    await scenes.close?.();
    await expect(datasets.openDataset("vggss:root=/nowhere")).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("annotations") as string,
    });
    await expect(datasets.openDataset("vggsound:root=a,list=b,classesOf=c")).rejects.toMatchObject({
      code: "ERR_CONFIG",
    });
    await expect(datasets.openDataset("gone.jsonl")).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
  });
});
