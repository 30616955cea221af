/** Where tokens are in an image, in every map that is made of them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withoutAdded } from "../../../src/config/earlier.js";
import { parseModelConfig, placesOf } from "../../../src/config/model.js";
import { evaluate, Model, presets, protocols } from "../../../src/index.js";
import { type MapResize, native } from "../../../src/native.js";
import { bar, bars } from "../../support/scored.js";
import { slots, tiny } from "../../support/tiny.js";

const sizes = { size: 32, stride: 8 };
const side = sizes.size / sizes.stride;
const render = async (grid: Float32Array, resize: MapResize, length: number, at?: typeof sizes) => {
  const { audio } = await native().renderMaps({
    audio: { data: grid, shape: [1, side, side] },
    height: length,
    width: length,
    resize,
    objectnessResize: resize,
    alpha: 1,
    range: [0, 1],
    ...(at ? { places: at } : {}),
  });
  return audio.data;
};
const grids = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), {
  minLength: side * side,
  maxLength: side * side,
});

describe("tokens at their receptive fields", () => {
  it.each(["bicubic", "bilinear"] as const)("have their value at pixel stride · t: %s", async (resize) => {
    await fc.assert(
      fc.asyncProperty(grids, async (values) => {
        const grid = Float32Array.from(values);
        const map = await render(grid, resize, sizes.size, sizes);
        for (const [i, value] of grid.entries()) {
          const pixel = sizes.stride * (Math.floor(i / side) * sizes.size + (i % side));
          expect(map[pixel]).toBeCloseTo(value, 5);
        }
      }),
      { numRuns: 30, seed: 4 },
    );
  });

  it("are half a token less half a pixel further left and up than equal parts", async () => {
    await fc.assert(
      fc.asyncProperty(grids, async (values) => {
        // Twice the model's size: the difference is stride − 1 whole pixels.
        const [length, shift] = [2 * sizes.size, sizes.stride - 1];
        const grid = Float32Array.from(values);
        const tiles = await render(grid, "bicubic", length);
        const fields = await render(grid, "bicubic", length, sizes);
        for (let y = 0; y + shift < length; y++) {
          for (let x = 0; x + shift < length; x++) {
            expect(fields[y * length + x]).toBeCloseTo(tiles[(y + shift) * length + x + shift] as number, 5);
          }
        }
      }),
      { numRuns: 10, seed: 4 },
    );
  });

  it("leave aligned corners as another test script has them", async () => {
    const grid = Float32Array.from({ length: side * side }, (_, i) => Math.sin(i));
    expect(await render(grid, "bicubic-corners", 50, sizes)).toEqual(
      await render(grid, "bicubic-corners", 50),
    );
  });
});

describe("mapAlignment", () => {
  it("is a model's, and the same in its maps, the maps of its slots and the scores", async () => {
    const options = { ...tiny, ...slots({ targetSlots: 2 }) };
    const [tiles, fields] = await Promise.all(
      (["tiles", "receptive-fields"] as const).map((mapAlignment) =>
        Model.create({ ...options, mapAlignment }, { seed: 3, precision: "float32" }),
      ),
    );
    const sample = bar(1);
    const one = await (tiles as Model).localize(sample, { refine: "iqr" });
    const other = await (fields as Model).localize(sample, { refine: "iqr" });
    expect(other.targets.audio).toEqual(one.targets.audio);
    expect(other.heatmap).not.toEqual(one.heatmap);
    const places = placesOf((fields as Model).config);
    expect(places).toEqual({ places: { size: 32, stride: 8 } });
    const { maps } = await native().slotMaps({
      audio: other.targets.audio,
      height: other.height,
      width: other.width,
      ...places,
    });
    const pixels = other.width * other.height;
    const highest = other.audioMap.map((_, i) =>
      Math.max(maps.data[i] as number, maps.data[pixels + i] as number),
    );
    for (const [i, value] of other.audioMap.entries()) expect(value).toBeCloseTo(highest[i] as number, 5);

    const [of, ofOther] = await Promise.all(
      [tiles, fields].map((model) =>
        evaluate({
          model: model as Model,
          data: bars(3),
          protocol: [{ ...protocols.jsa, name: "small", grid: 20 }],
        }),
      ),
    );
    expect(ofOther?.audio?.meanIou).not.toBe(of?.audio?.meanIou);
    expect(ofOther?.protocols).not.toEqual(of?.protocols);
    for (const model of [tiles, fields]) model?.dispose();
  });

  it("is that of equal parts in published models and in earlier checkpoints", () => {
    expect(parseModelConfig({}).mapAlignment).toBe("tiles");
    expect(parseModelConfig(presets.paper.model).mapAlignment).toBe("tiles");
    expect(parseModelConfig(presets.scratch.model).mapAlignment).toBe("receptive-fields");
    expect(withoutAdded(parseModelConfig({}))).not.toHaveProperty("mapAlignment");
    expect(withoutAdded(parseModelConfig({ mapAlignment: "receptive-fields" }))).toHaveProperty(
      "mapAlignment",
    );
  });
});
