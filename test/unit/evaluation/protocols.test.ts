/** Protocols against plain implementations of test/support/plain-protocols.ts, on many random maps. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { uniform } from "../../../src/core/random.js";
import type { TensorData } from "../../../src/core/types.js";
import { ProtocolScorer, type ProtocolSource } from "../../../src/evaluation/protocol-scorer.js";
import { chosenProtocols, protocolNames } from "../../../src/evaluation/protocols.js";
import { mapNames } from "../../../src/evaluation/scorer.js";
import {
  type CutScores,
  Evaluator,
  type Protocol,
  protocols,
  type Sample,
  SoundspotError,
} from "../../../src/index.js";
import { type MapResize, native } from "../../../src/native.js";
import {
  type Grid,
  type PlainRaw,
  plainMaps,
  plainScore,
  plainSummary,
  resized,
  scaled,
} from "../../support/plain-protocols.js";

const modes: readonly MapResize[] = ["bicubic", "bicubic-corners", "bilinear", "bilinear-corners"];
const settings = { threshold: 0.6, alpha: 0.4 };
const all = protocolNames.map((name) => protocols[name] as Protocol);
/** More of them, so that every field takes every value. */
const own: readonly Protocol[] = [
  { ...protocols.area, name: "a", resize: "bilinear", objectnessResize: "bicubic", grid: 37 },
  { ...protocols.area, name: "b", threshold: { by: "area", share: 0.2, comparison: ">" }, grid: "benchmark" },
  { ...protocols.kaist, name: "c", success: ">", confidence: 0.1, alpha: 0.7 },
  {
    ...protocols["slavc-extended"],
    name: "d",
    ranges: { objectness: [-1, 3] },
    objectnessResize: "bilinear",
  },
];

const tensor = (grids: readonly Grid[]): TensorData => ({
  data: Float32Array.from(grids.flat(2)),
  shape: [grids.length, grids[0]?.length ?? 0, grids[0]?.[0]?.length ?? 0],
});
const flat = (grid: Grid): TensorData => ({
  data: Float32Array.from(grid.flat()),
  shape: [grid.length, grid.length],
});

/** What a sample may be made of, in float32, from a seed. */
function draws(seed: number) {
  const next = uniform(seed);
  const whole = (below: number) => Math.floor(next() * below);
  /** Few values where `levels` is given. */
  const grid = (side: number, [low, high]: readonly [number, number], levels?: number): Grid =>
    Array.from({ length: side }, () =>
      Array.from({ length: side }, () => {
        const share = levels === undefined ? next() : whole(levels) / levels;
        return Math.fround(low + (high - low) * share);
      }),
    );
  return { next, whole, grid };
}

describe("enlargement", () => {
  it.each(modes)("is that of the definition: %s", async (resize) => {
    for (let seed = 0; seed < 40; seed++) {
      const { whole, grid } = draws(seed);
      const [side, targets, height, width] = [1 + whole(14), 1 + whole(3), 1 + whole(60), 1 + whole(60)];
      const audio = Array.from({ length: targets }, () => grid(side, [-1, 1]));
      const range = seed % 2 ? ([-1, 1] as const) : undefined;
      const { audio: map } = await native().renderMaps({
        audio: tensor(audio),
        height,
        width,
        resize,
        objectnessResize: "bicubic",
        alpha: 0.4,
        ...(range ? { range } : {}),
      });
      const maps = audio.map((each) => scaled(resized(each, height, width, resize).flat(), range));
      expect(map.shape).toEqual([height, width]);
      for (const [i, value] of map.data.entries()) {
        expect(value).toBeCloseTo(Math.max(...maps.map((each) => each[i] as number)), 4);
      }
    }
  });

  it("holds by hand", async () => {
    const render = async (resize: MapResize) =>
      Array.from(
        (
          await native().renderMaps({
            audio: { data: Float32Array.of(0, 1, 0, 1), shape: [1, 2, 2] },
            height: 1,
            width: 5,
            resize,
            objectnessResize: resize,
            alpha: 1,
            range: [0, 1],
          })
        ).audio.data,
        (value) => Number(value.toFixed(5)),
      );
    expect(await render("bilinear")).toEqual([0, 0.1, 0.5, 0.9, 1]);
    expect(await render("bilinear-corners")).toEqual([0, 0.25, 0.5, 0.75, 1]);
    // A quarter of the way: near(0.75) + far(1.75) = 0.26171875 − 0.03515625.
    expect(await render("bicubic-corners")).toEqual([0, 0.22656, 0.5, 0.77344, 1]);
  });

  it("rejects another name", async () => {
    const audio = { data: Float32Array.of(0), shape: [1, 1, 1] };
    const resize = "nearest" as MapResize;
    const options = { audio, height: 2, width: 2, resize, objectnessResize: resize, alpha: 1 };
    await expect(native().renderMaps(options)).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringMatching(/bilinear-corners, not by nearest/),
    });
  });
});

/** A localization with these raw maps, and its own maps at a size, made as the model makes them. */
async function sourceOf(raw: PlainRaw, height: number, width: number): Promise<ProtocolSource> {
  const targets = {
    audio: tensor(raw.audio),
    ...(raw.image ? { image: tensor(raw.image) } : {}),
    ...(raw.objectness ? { objectness: flat(raw.objectness) } : {}),
    ...(raw.range ? { range: raw.range } : {}),
  };
  const { range, ...grids } = targets;
  const { audio, image, ...refined } = await native().renderMaps({
    ...grids,
    height,
    width,
    resize: "bicubic",
    objectnessResize: "bicubic",
    alpha: settings.alpha,
  });
  return {
    audioMap: audio.data,
    ...(image ? { imageMap: image.data } : {}),
    refined: Object.fromEntries(Object.entries(refined).map(([name, { data }]) => [name, data])),
    confidence: 0,
    targets,
    width,
    height,
  };
}

describe("a sample", () => {
  const chosen = [...all, ...own];
  const scorer = new ProtocolScorer(chosen, mapNames, settings.alpha);

  it("has the maps and scores of the definition under every protocol", async () => {
    let compared = 0;
    for (let seed = 0; seed < 40; seed++) {
      const { whole, grid } = draws(1000 + seed);
      const raw: PlainRaw = {
        audio: Array.from({ length: 1 + (seed % 2) }, () => grid(7, [-0.3, 0.8])),
        ...(seed % 3 ? { image: [grid(7, [0, 0.1]), grid(7, [0, 0.1])] } : {}),
        ...(seed % 4 ? { objectness: grid(5 + (seed % 4), [0, 2.5]) } : {}),
        ...(seed % 5 ? { range: [-1, 1] as const } : {}),
      };
      const side = 41;
      const [left, top] = [whole(20), whole(20)];
      const mask = Uint8Array.from({ length: side * side }, (_, i) => {
        const [x, y] = [i % side, Math.floor(i / side)];
        return x >= left && x < left + 16 && y >= top && y < top + 16 && seed % 9 > 0 ? 1 : 0;
      });
      const groundTruth = { data: mask, width: side, height: side };
      const small = chosen.map((each) => (each.grid === 224 ? { ...each, grid: 56 } : each));
      const own = new ProtocolScorer(small, mapNames, settings.alpha);
      const scores = await own.scores(groundTruth, groundTruth, await sourceOf(raw, side, side));
      for (const protocol of small) {
        const size = protocol.grid === "benchmark" ? side : protocol.grid;
        const object = Array.from({ length: size * size }, (_, i) => {
          const at = (place: number) => Math.floor(((place + 0.5) * side) / size);
          return mask[at(Math.floor(i / size)) * side + at(i % size)] as number;
        });
        const maps = plainMaps(raw, protocol, size, size);
        expect(Object.keys(scores?.[protocol.name] ?? {}).sort()).toEqual(Object.keys(maps).sort());
        for (const [name, map] of Object.entries(maps)) {
          const score = scores?.[protocol.name]?.[name as "audio"];
          const wanted = plainScore(map, object, protocol);
          // A pixel at the cut may fall on the other side in float32.
          expect(score?.ciou).toBeCloseTo(wanted.ciou, 1.7);
          expect(score?.iou).toBeCloseTo(wanted.iou, 1.7);
          if (protocol.confidence !== undefined) expect(score?.confidence).toBeCloseTo(wanted.confidence, 4);
          else expect(score).not.toHaveProperty("confidence");
          if (protocol.adaptive) {
            expect(score?.adaptive?.ciou).toBeCloseTo(plainScore(map, object, protocol, true).ciou, 1.7);
          }
          compared++;
        }
      }
    }
    expect(compared).toBeGreaterThan(1000);
  });

  it("with the same maps has exactly the same cuts: 200 maps with ties and empty masks", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const { next, whole } = draws(2000 + seed);
      const [height, width, levels] = [1 + whole(30), 1 + whole(30), 1 + whole(8)];
      const map = Float32Array.from({ length: height * width }, () => whole(levels + 1) / levels);
      const share = seed % 4 === 0 ? 0 : next();
      const data = Float32Array.from(map, () => (next() < share ? (1 + whole(2)) / 2 : 0));
      const groundTruth = { data, width, height };
      const scores = await scorer.scores(groundTruth, groundTruth, {
        audioMap: map,
        refined: {},
        confidence: 0,
      });
      for (const protocol of chosen) {
        const score = scores?.[protocol.name]?.audio;
        const wanted = plainScore(map, [...data], protocol);
        expect(score?.ciou, `${protocol.name}, ${seed}`).toBe(wanted.ciou);
        expect(score?.iou).toBeCloseTo(wanted.iou, 14);
        if (protocol.confidence !== undefined) expect(score?.confidence).toBeCloseTo(wanted.confidence, 10);
        if (!protocol.adaptive) continue;
        const { ciou, iou } = plainScore(map, [...data], protocol, true);
        expect(score?.adaptive?.ciou).toBe(ciou);
        expect(score?.adaptive?.iou).toBeCloseTo(iou, 14);
      }
    }
  });

  it("without a sound source has confidences alone", async () => {
    const raw = { audio: [draws(1).grid(7, [-1, 1])], range: [-1, 1] as const };
    const image = { width: 20, height: 30 };
    const scores = await scorer.scores(undefined, image, await sourceOf(raw, 30, 20));
    for (const protocol of chosen) {
      const score = scores?.[protocol.name];
      if (protocol.confidence === undefined) {
        expect(score).toEqual({});
        continue;
      }
      const [height, width] = protocol.grid === "benchmark" ? [30, 20] : [protocol.grid, protocol.grid];
      const { confidence } = plainScore(
        plainMaps(raw, protocol, height, width).audio as number[],
        [],
        protocol,
      );
      expect(Object.keys(score?.audio ?? {})).toEqual(["confidence"]);
      expect(score?.audio?.confidence).toBeCloseTo(confidence, 4);
    }
  });

  it("keeps the model's own maps where a protocol makes them in the same way", async () => {
    const raw = { audio: [draws(3).grid(7, [0, 1])] };
    const groundTruth = { data: new Uint8Array(900).fill(1, 0, 300), width: 30, height: 30 };
    const source = await sourceOf(raw, 30, 30);
    const marked = { ...source, audioMap: new Float32Array(900).fill(1, 0, 300) };
    const scores = await scorer.scores(groundTruth, groundTruth, marked);
    expect(scores?.jsa?.audio?.ciou).toBe(1);
    expect(scores?.area?.audio?.ciou).toBeLessThan(1);
  });
});

describe("an evaluation", () => {
  const side = 24;
  const count = 200;
  const samples = Array.from({ length: count }, (_, i) => {
    const { next, whole } = draws(3000 + i);
    const levels = 1 + whole(12);
    const size = i % 7 === 0 ? 0 : 2 + whole(side - 2);
    const data = Float32Array.from({ length: side * side }, (_, at) =>
      at % side < size && Math.floor(at / side) < size ? 1 : 0,
    );
    // Mostly near the object.
    const map = Float32Array.from(data, (inside) =>
      Math.fround(Math.round((0.6 * inside + 0.4 * next()) * levels) / levels),
    );
    const sounding = i % 5 !== 3;
    const sample: Sample = {
      id: String(i),
      image: { data: new Uint8Array(side * side * 3), width: side, height: side },
      audio: { samples: new Float32Array(1), sampleRate: 1 },
      ...(sounding ? { groundTruth: { data, width: side, height: side } } : { sounding: false }),
      ...(i < 90 ? { imageId: `image ${Math.floor(i / 3)}`, sources: i < 6 ? 4 : 3 } : {}),
    };
    return { sample, map, data };
  });
  const evaluated = async (
    protocol: readonly Protocol[],
    bootstrap: false | { resamples: number } = false,
  ) => {
    await using evaluator = new Evaluator({ protocol, bootstrap });
    for (const { sample, map } of samples) await evaluator.add(sample, { map });
    return await evaluator.result();
  };

  it("has the summaries of the definition", async () => {
    const chosen = [...all, ...own];
    const { protocols: scores, settings: own_, samples: scored } = await evaluated(chosen);
    expect(scored).toBe(count);
    expect(own_.protocols).toEqual(chosen);
    expect(Object.keys(scores ?? {})).toEqual(chosen.map(({ name }) => name));
    for (const protocol of chosen) {
      const own = scores?.[protocol.name]?.audio;
      for (const adaptive of protocol.adaptive ? [false, true] : [false]) {
        const rows = samples
          .filter(({ sample }) => sample.sounding !== false)
          .map(({ sample, map, data }) => ({
            ...sample,
            ...plainScore(map, [...data], protocol, adaptive),
          }));
        const group = (id: string | undefined) => rows.filter(({ imageId }) => imageId === id);
        const whole = rows.map(({ imageId, sources, ...row }) =>
          imageId !== undefined && group(imageId).length === sources ? { ...row, imageId } : row,
        );
        const wanted = plainSummary(whole, protocol);
        const { curve, incomplete, ...figures } = (adaptive ? own?.adaptive : own) ?? ({} as CutScores);
        for (const [name, value] of Object.entries(wanted)) {
          expect(figures[name as "ciou"], `${protocol.name} ${name}`).toBeCloseTo(value, 10);
        }
        expect(curve?.[10]).toBeCloseTo(rows.filter(({ ciou }) => ciou >= 0.5).length / rows.length, 10);
        expect(incomplete).toBe(new Set(rows.flatMap(({ imageId }) => imageId ?? [])).size - wholes(whole));
      }
      if (protocol.confidence === undefined) {
        expect(own).not.toHaveProperty("ap");
        continue;
      }
      const sizes = own?.sizes ?? [];
      expect(sizes.map(({ size, success }) => `${size} ${success}`)).toEqual(
        [0.5, 0.75].flatMap((at) =>
          ["all", "visible", "small", "medium", "large", "huge"].map((size) => `${size} ${at}`),
        ),
      );
      const of = (name: string) => sizes.find(({ size, success }) => size === name && success === 0.5);
      expect(of("all")?.samples).toBe(count);
      const visible = samples.filter(({ sample }) => sample.sounding !== false);
      expect(of("visible")?.samples).toBe(visible.length);
      const pixels = visible.map(({ data }) => (data.reduce((a, b) => a + b, 0) * 224 ** 2) / side ** 2);
      expect(of("small")?.samples).toBe(pixels.filter((size) => size < 1024).length);
      expect(of("medium")?.samples).toBe(pixels.filter((size) => size >= 1024 && size < 9216).length);
      expect(of("large")?.samples).toBe(pixels.filter((size) => size >= 9216 && size < 20736).length);
      expect(of("huge")?.samples).toBe(pixels.filter((size) => size >= 20736).length);
      const right = visible.filter(({ map, data }) => plainScore(map, [...data], protocol).ciou > 0.5);
      expect(own?.precision).toBeCloseTo(right.length / visible.length, 10);
      expect([own?.ap, own?.maxF1]).toEqual([of("all")?.ap, of("all")?.maxF1]);
      expect(own?.ap).toBeGreaterThan(0);
    }
  });

  const wholes = (rows: readonly object[]) =>
    new Set(rows.flatMap((row) => ("imageId" in row ? [row.imageId] : []))).size;

  it("under several protocols at once has the scores of one by one, and those of jsa at its top", async () => {
    const together = await evaluated(all, { resamples: 20 });
    for (const protocol of all) {
      const alone = await evaluated([protocol], { resamples: 20 });
      expect(alone.protocols?.[protocol.name]).toEqual(together.protocols?.[protocol.name]);
      expect({ ...alone, protocols: 0, perSample: 0, settings: 0 }).toEqual({
        ...together,
        protocols: 0,
        perSample: 0,
        settings: 0,
      });
    }
    const jsa = together.protocols?.jsa?.audio;
    const { ciou, auc, curve, meanIou, intervals } = together.audio;
    expect([jsa?.ciou, jsa?.auc, jsa?.curve, jsa?.meanIou]).toEqual([ciou, auc, curve, meanIou]);
    expect(jsa?.iiou).toBe(together.interactive?.audio?.iiou);
    expect(jsa?.iauc).toBe(together.interactive?.audio?.auc);
    expect(jsa?.intervals).toMatchObject({
      ciou: intervals?.ciou,
      auc: intervals?.auc,
      meanIou: intervals?.meanIou,
      iiou: together.interactive?.audio?.intervals?.iiou,
      iauc: together.interactive?.audio?.intervals?.auc,
    });
  });

  it("has intervals around its figures", async () => {
    const { protocols: scores } = await evaluated(all, { resamples: 200 });
    const around = (value: number | undefined, ends: readonly [number, number] | undefined) => {
      expect(ends?.[0]).toBeLessThanOrEqual(value as number);
      expect(ends?.[1]).toBeGreaterThanOrEqual(value as number);
      expect(ends?.[0]).toBeLessThan(ends?.[1] as number);
    };
    const { kaist, "slavc-extended": extended } = scores ?? {};
    around(kaist?.audio?.ciou, kaist?.audio?.intervals?.ciou);
    around(kaist?.audio?.adaptive?.auc, kaist?.audio?.adaptive?.intervals?.auc);
    around(kaist?.audio?.iauc, kaist?.audio?.intervals?.iauc);
    around(extended?.audio?.maxF1, extended?.audio?.detectionIntervals?.maxF1);
    around(extended?.audio?.precision, extended?.audio?.detectionIntervals?.precision);
    const ap = extended?.audio?.detectionIntervals?.ap;
    expect(ap?.[0]).toBeLessThan(ap?.[1] as number);
  });

  it("rejects a map without a confidence, and continues after it", async () => {
    const [first, silent] = [samples[0], samples[3]];
    if (!first || !silent) throw new Error("There are 200.");
    await using evaluator = new Evaluator({ protocol: "slavc-extended", bootstrap: false });
    for (const [{ sample }, map] of [
      [silent, new Float32Array(0)],
      [silent, Float32Array.of(0, Number.NaN)],
      [first, first.map.with(7, Number.NaN)],
      [first, first.map.with(7, Number.POSITIVE_INFINITY)],
    ] as const) {
      await expect(evaluator.add(sample, { map })).rejects.toMatchObject({
        code: "ERR_INPUT",
        message: expect.stringContaining(`sample ${sample.id} is empty or has values that are not finite`),
      });
    }
    for (const { sample, map } of [first, silent]) await evaluator.add(sample, { map });
    expect((await evaluator.result()).samples).toBe(2);
  });

  it("without a protocol has none", async () => {
    const scores = await evaluated([]);
    expect(scores).not.toHaveProperty("protocols");
    expect(scores.settings).not.toHaveProperty("protocols");
    expect(scores.perSample.some((sample) => "protocols" in sample)).toBe(false);
  });
});

describe("the choice of protocols", () => {
  it("takes names, descriptions and lists, and gives jsa the evaluation's threshold and α", () => {
    const names = (choice: Parameters<typeof chosenProtocols>[0]) =>
      chosenProtocols(choice, settings).map(({ name }) => name);
    expect(names(undefined)).toEqual([]);
    expect(names("area")).toEqual(["area"]);
    expect(names(["kaist", own[0] as Protocol, protocols.adaptive])).toEqual(["kaist", "a", "adaptive"]);
    const [jsa] = chosenProtocols("jsa", { threshold: 0.3, alpha: 0.9 });
    expect(jsa).toEqual({ ...protocols.jsa, alpha: 0.9, threshold: { by: "value", at: 0.3 } });
    expect(chosenProtocols("jsa", settings)).toEqual([protocols.jsa]);
  });

  it.each([
    ["psychic", /There is no protocol "psychic"\. Use jsa, area, adaptive, kaist, slavc-extended, /],
    ["constructor", /There is no protocol "constructor"/],
    [7, /There is no protocol "7"/],
    [["area", "area"], /"area" twice/],
    [{}, /^protocol\.name: /],
    [{ ...own[0], name: "no spaces" }, /^protocol\.name: must be 1 to 64 letters/],
    [{ ...own[0], resize: "nearest" }, /^protocol\.resize: /],
    [{ ...own[0], grid: 0 }, /^protocol\.grid: /],
    [{ ...own[0], alpha: Number.NaN }, /^protocol\.alpha: /],
    [{ ...own[0], threshold: { by: "area", share: 2, comparison: ">" } }, /^protocol\.threshold\.share: /],
    [{ ...own[0], threshold: { by: "luck" } }, /^protocol\.threshold/],
    [{ ...own[0], ranges: { objectness: [2, 1] } }, /^protocol\.ranges\.objectness: must be \[low, high\]/],
    [{ ...own[0], confidence: 0 }, /^protocol\.confidence: /],
    [{ ...own[0], colour: "red" }, /colour/],
    [{ ...protocols.area, alpha: 0.5 }, /"area" is a fixed one\. Give yours another name/],
  ])("rejects %j", (choice, message) => {
    const choose = () => new Evaluator({ protocol: choice as "area" });
    expect(choose).toThrow(SoundspotError);
    expect(choose).toThrow(message);
  });

  it("throws nothing but ERR_INPUT, whatever it is given", () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withBigInt: true, withDate: true }), (value) => {
        try {
          chosenProtocols(value as "area", settings);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_INPUT" });
        }
      }),
      { numRuns: 500 },
    );
  });
});
