/** Protocols from a model's maps to tables and files: one pass, several protocols, against plain implementations. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MapName } from "../../../src/config/methods.js";
import type { TensorData } from "../../../src/core/types.js";
import {
  datasets,
  type Evaluation,
  Evaluator,
  evaluate,
  Model,
  metrics,
  type Objectness,
  type Protocol,
  protocols,
  type Sample,
  type Spot,
} from "../../../src/index.js";
import { type Grid, plainMaps, plainScore } from "../../support/plain-protocols.js";
import { bars } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-protocols-"));
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

const names = ["jsa", "area", "adaptive", "kaist", "slavc-extended", "slavc-extended-relative"] as const;

/** In place of a ResNet-18: its maps are drawn from the image. */
const objectness = {
  maps: async (images: readonly { readonly data: ArrayLike<number> }[]): Promise<TensorData> => ({
    data: Float32Array.from(
      images.flatMap(({ data }) => Array.from({ length: 49 }, (_, i) => (data[i * 91] as number) / 100)),
    ),
    shape: [images.length, 7, 7],
  }),
} as unknown as Objectness;

const gridsOf = ({ data, shape }: TensorData): Grid[] => {
  const [height = 0, width = 0] = shape.slice(-2);
  const rows = Array.from({ length: data.length / width }, (_, y) => [
    ...data.subarray(y * width, (y + 1) * width),
  ]);
  return Array.from({ length: rows.length / height }, (_, i) => rows.slice(i * height, (i + 1) * height));
};

describe("evaluate under protocols", () => {
  const data = bars(8, (i) => ({
    imageId: String(i >> 1),
    sources: 2,
    ...(i === 5 ? { sounding: false } : {}),
  }));

  it("scores the raw maps of one pass as the definitions say, with another threshold and α for jsa", async () => {
    const seen: [Sample, Spot][] = [];
    const scores = await evaluate({
      model,
      data,
      objectness,
      threshold: 0.5,
      alpha: 0.7,
      protocol: names,
      bootstrap: false,
      onSample: (sample, spot) => {
        seen.push([sample, spot]);
      },
    });
    const chosen = scores.settings.protocols ?? [];
    expect(chosen.map(({ name }) => name)).toEqual(names);
    expect(chosen[0]).toMatchObject({ alpha: 0.7, threshold: { by: "value", at: 0.5 } });
    expect(chosen.slice(1)).toEqual(names.slice(1).map((name) => protocols[name]));
    let compared = 0;
    for (const [i, [{ sounding, image, boxes = [] }, { targets }]] of seen.entries()) {
      const raw = {
        audio: gridsOf(targets.audio),
        image: gridsOf(targets.image as TensorData),
        objectness: gridsOf(targets.objectness as TensorData)[0] as Grid,
      };
      const [box] = boxes;
      for (const protocol of chosen) {
        const side = protocol.grid === "benchmark" ? image.width : protocol.grid;
        const object = Array.from({ length: side * side }, (_, at) => {
          const x = Math.floor((((at % side) + 0.5) * image.width) / side);
          return box && x >= box.x && x < box.x + box.width ? 1 : 0;
        });
        const maps = plainMaps(raw, protocol, side, side);
        for (const [map, values] of Object.entries(maps)) {
          const own = scores.perSample[i]?.protocols?.[protocol.name]?.[map as MapName];
          const wanted = plainScore(values, object, protocol);
          if (protocol.confidence !== undefined) expect(own?.confidence).toBeCloseTo(wanted.confidence, 4);
          if (sounding === false) {
            expect(own?.ciou).toBeUndefined();
            continue;
          }
          expect(own?.ciou, `${protocol.name} ${map}`).toBeCloseTo(wanted.ciou, 1.7);
          compared++;
        }
      }
    }
    expect(compared).toBe(7 * 6 * 5);
  });

  it("gives jsa the scores at the top, and leaves those as they are without protocols", async () => {
    const plain = await evaluate({ model, data, objectness });
    const {
      protocols: own,
      perSample,
      settings,
      ...rest
    } = await evaluate({
      model,
      data,
      objectness,
      protocol: names,
    });
    expect(plain).toEqual({
      ...rest,
      perSample: perSample.map(({ protocols: _, ...sample }) => sample),
      settings: plain.settings,
    });
    expect(Object.keys(settings)).toEqual([...Object.keys(plain.settings), "protocols"]);
    for (const map of ["audio", "image", "iqr", "ogl", "combined"] as const) {
      const { ciou, auc, curve, meanIou } = plain[map] as Evaluation["audio"];
      expect(own?.jsa?.[map]).toMatchObject({ ciou, auc, curve, meanIou });
      expect(own?.jsa?.[map]?.intervals).toMatchObject({ ciou: plain[map]?.intervals?.ciou });
      expect(own?.jsa?.[map]?.iiou).toBe(plain.interactive?.[map]?.iiou);
      expect(own?.jsa?.[map]?.incomplete).toBe(1);
    }
    for (const name of names) {
      const alone = await evaluate({ model, data, objectness, protocol: name });
      expect(alone.protocols?.[name]).toEqual(own?.[name]);
    }
  });

  it("takes descriptions, in evaluate and in an Evaluator", async () => {
    const half: Protocol = { ...protocols.area, name: "half", grid: 20, alpha: 1 };
    const wanted = await evaluate({ model, data, protocol: [half, "area"], bootstrap: false });
    await using evaluator = new Evaluator({ model, protocol: half, bootstrap: false });
    for (let i = 0; i < data.length; i++) await evaluator.add(await data.load(i));
    const { protocols: own } = await evaluator.result();
    expect(own).toEqual({ half: wanted.protocols?.half });
    // α = 1: the refinement is the audio map.
    expect(own?.half?.iqr).toEqual(own?.half?.audio);
    expect(wanted.protocols?.area?.iqr).not.toEqual(wanted.protocols?.area?.audio);
    await expect(evaluate({ model, data, protocol: "none" as "area" })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(/Use jsa, area, adaptive, kaist, slavc-extended/),
    });
  });
});

describe("AVSBench's clips and silent frames", () => {
  it("gives F as a mean over clips, and IoU by AVSBench's rule", async () => {
    const side = 40;
    const empty = { data: new Float32Array(side * side), width: side, height: side };
    const data = bars(12, (i) => ({
      clip: String(i >> 2),
      ...(i % 3 === 0 || i >= 8 ? { groundTruth: empty } : {}),
    }));
    const maps: Float32Array[] = [];
    const { audio, perSample } = await evaluate({
      model,
      data,
      onSample: (_, spot) => {
        maps.push(spot.audioMap);
      },
    });
    const samples = await Promise.all(maps.map((_, i) => data.load(i)));
    const groundTruths = samples.map(({ groundTruth, boxes = [] }) => {
      if (groundTruth) return groundTruth.data;
      const [box] = boxes;
      return Float32Array.from({ length: side * side }, (_, at) =>
        box && at % side >= box.x && at % side < box.x + box.width ? 1 : 0,
      );
    });
    // The last clip has empty masks alone.
    const clipFs = [0, 1].map((clip) => {
      const curve = new metrics.FCurve();
      for (let i = 4 * clip; i < 4 * clip + 4; i++) {
        curve.add(maps[i] as Float32Array, groundTruths[i] as Float32Array);
      }
      return curve.max();
    });
    expect(audio.clipF).toBeCloseTo(((clipFs[0] as number) + (clipFs[1] as number)) / 2, 12);
    const ious = maps.map((map, i) => {
      const prediction = map.map((value) => (value >= 0.6 ? 1 : 0));
      return metrics.iou(prediction, groundTruths[i] as Float32Array, "background");
    });
    expect(audio.backgroundIou).toBeCloseTo(ious.reduce((a, b) => a + b) / 12, 12);
    expect(audio.backgroundIou).toBeGreaterThan(audio.meanIou);
    for (const [i, { audio: own }] of perSample.entries()) {
      if (groundTruths[i]?.some((value) => value > 0)) expect(own).not.toHaveProperty("backgroundIou");
      else expect(own?.backgroundIou).toBeCloseTo(ious[i] as number, 12);
    }
    const { clipF, backgroundIou } = audio.intervals ?? {};
    expect(clipF?.[0]).toBeCloseTo(Math.min(...clipFs), 12);
    expect(clipF?.[1]).toBeCloseTo(Math.max(...clipFs), 12);
    expect(backgroundIou?.[0]).toBeLessThan(audio.backgroundIou as number);
    const without = (await evaluate({ model, data: bars(3) })).audio;
    expect([without.clipF, without.backgroundIou]).toEqual([undefined, undefined]);
  });
});

describe("soundspot evaluate --protocol", () => {
  const scenes = "scenes:split=test,length=6,size=40,seconds=1";
  const soundspot = (...args: string[]) =>
    promisify(execFile)(process.execPath, ["dist/cli/main.js", "evaluate", ...args]).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );

  it("prints, writes and checks the scores of evaluate", async () => {
    const output = join(folder, "report");
    const { code, stdout, stderr } = await soundspot(
      ...[checkpoint, "--data", scenes, "--output", output, "--protocol", "area,adaptive"],
      ...["--protocol", "kaist", "--protocol", "slavc-extended", "--fail-under", "area.audio.ciou=0"],
      ...["--fail-under", "kaist.auc-adap=0", "--fail-under", "slavc-extended.audio.ap=100"],
    );
    const { protocols: wanted } = await evaluate({
      model,
      data: await datasets.openDataset(scenes),
      protocol: ["area", "adaptive", "kaist", "slavc-extended"],
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^tiny\.safetensors: ap of map audio under slavc-extended is [\d.]+ %; at least 100 %/,
    );
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stdout.match(/^Protocol .*$/gm)).toEqual([
      "Protocol area",
      "Protocol adaptive",
      "Protocol kaist",
      "Protocol slavc-extended",
      "Protocol slavc-extended, by the size of the object: iqr",
    ]);
    const percent = (share: number | undefined) => (100 * (share ?? Number.NaN)).toFixed(1);
    expect(stdout).toContain(`AUC, adaptive`);
    const lineOf = (title: string, protocol: string) =>
      stdout
        .slice(stdout.indexOf(`Protocol ${protocol}\n`))
        .split("\n")
        .find((line) => line.startsWith(title));
    expect(lineOf("AUC ", "area")).toContain(` ${percent(wanted?.area?.iqr?.auc)} [`);
    expect(lineOf("mean IoU, adaptive", "kaist")).toContain(
      ` ${percent(wanted?.kaist?.iqr?.adaptive?.meanIou)} [`,
    );

    const scores = JSON.parse(readFileSync(join(output, "scores.json"), "utf8")) as Evaluation;
    expect(scores.protocols).toEqual(JSON.parse(JSON.stringify(wanted)));
    const csv = readFileSync(join(output, "protocols.csv"), "utf8").trim().split("\n");
    const [header = "", ...rows] = csv.map((row) => row.split(","));
    const cell = (protocol: string, map: string, column: string) =>
      Number(rows.find((row) => row[0] === protocol && row[1] === map)?.[header.indexOf(column)]);
    expect(rows).toHaveLength(4 * 3);
    expect(cell("area", "audio", "auc")).toBeCloseTo(100 * (wanted?.area?.audio?.auc as number), 10);
    expect(cell("area", "audio", "auc_low")).toBeCloseTo(
      100 * (wanted?.area?.audio?.intervals?.auc[0] as number),
      10,
    );
    expect(cell("kaist", "image", "miou_adap")).toBeCloseTo(
      100 * (wanted?.kaist?.image?.adaptive?.meanIou as number),
      10,
    );
    expect(cell("slavc-extended", "iqr", "maxf1")).toBeCloseTo(
      100 * (wanted?.["slavc-extended"]?.iqr?.maxF1 as number),
      10,
    );
    const samples = readFileSync(join(output, "samples.csv"), "utf8").trim().split("\n");
    const titles = samples[0]?.split(",") ?? [];
    for (const [i, sample] of scores.perSample.entries()) {
      const value = (title: string) => Number(samples[i + 1]?.split(",")[titles.indexOf(title)]);
      expect(value("area_audio_ciou")).toBe(sample.protocols?.area?.audio?.ciou);
      expect(value("kaist_iqr_ciou_adap")).toBe(sample.protocols?.kaist?.iqr?.adaptive?.ciou);
      expect(value("slavc-extended_audio_confidence")).toBe(
        sample.protocols?.["slavc-extended"]?.audio?.confidence,
      );
    }
    const html = readFileSync(join(output, "report.html"), "utf8");
    const headings = [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title);
    expect(headings.filter((title) => title?.startsWith("Protocol"))).toEqual([
      "Protocol area",
      "Protocol adaptive",
      "Protocol kaist",
      "Protocol slavc-extended",
      ...["audio", "image", "iqr"].map((map) => `Protocol slavc-extended, by the size of the object: ${map}`),
    ]);
    expect(html).toContain(`<td class="number">${percent(wanted?.area?.image?.auc)} [`);
  });

  it("prints JSON with the protocols of each checkpoint", async () => {
    const { stdout } = await soundspot(checkpoint, "--data", scenes, "--protocol", "jsa", "--json");
    const [own] = JSON.parse(stdout) as [Evaluation];
    expect(own.protocols?.jsa?.iqr?.auc).toBe(own.iqr?.auc);
    expect(own.settings.protocols).toEqual([protocols.jsa]);
  });

  it("exits with 2 on wrong usage, and names the known protocols", async () => {
    const cases: [string[], RegExp][] = [
      [["--protocol", "area,none"], /there is no protocol "none"; use jsa, area, adaptive, kaist, slavc-ext/],
      [["--protocol", ""], /there is no protocol ""/],
      [["--fail-under", "area.ciou=3"], /add --protocol area/],
      [["--protocol", "area", "--fail-under", "area.f=3"], /figures of protocols: ciou, auc, miou/],
      [["--protocol", "area", "--fail-under", "area.kaist.ciou=3"], /is expected/],
      [["--protocol", "area", "--fail-under", "audio.area.ciou=3"], /is expected/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await soundspot(checkpoint, "--data", scenes, ...args);
      expect(code, args.join(" ")).toBe(2);
      expect(stderr).toMatch(message);
    }
  });
});
