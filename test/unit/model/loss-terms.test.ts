/** Losses on features from outside: the published functions' values, and gradients against finite differences. */
import { describe, expect, it } from "vitest";
import { type LossFeature, lossTerms } from "../../../src/index.js";
import { native } from "../../../src/native.js";

const [batch, width] = [3, 4];
/** [B, C, 2, 2] and [B, C], each vector over C divided by its length. */
function unit(values: Float64Array, tokens: number): Float64Array {
  const result = values.slice();
  for (let b = 0; b < batch; b++) {
    for (let p = 0; p < tokens; p++) {
      const at = (c: number) => (b * width + c) * tokens + p;
      const length = Math.hypot(...[0, 1, 2, 3].map((c) => values[at(c)] as number));
      for (let c = 0; c < width; c++) result[at(c)] = (values[at(c)] as number) / length;
    }
  }
  return result;
}
const series = (length: number, of: (i: number) => number) => Float64Array.from({ length }, (_, i) => of(i));
const shifted = (values: Float64Array, by: number, tokens: number) =>
  unit(
    values.map((value) => value + by),
    tokens,
  );
const image = unit(
  series(48, (k) => Math.sin(1 + 0.37 * k)),
  4,
);
const audio = unit(
  series(12, (a) => Math.cos(0.5 + 0.91 * a)),
  1,
);
const imageWhere = unit(
  series(48, (k) => Math.cos(0.2 + 0.53 * k)),
  4,
);
const audioWhere = unit(
  series(12, (a) => Math.sin(0.3 + 0.77 * a)),
  1,
);
const values: Record<string, Float64Array> = {
  ...{ image, audio, imageWhere, audioWhere },
  ...{ imageTarget: shifted(image, 0.1, 4), imageWhereTarget: shifted(imageWhere, -0.1, 4) },
  ...{ audioTarget: shifted(audio, 0.1, 1), audioWhereTarget: shifted(audioWhere, -0.1, 1) },
};
const feature = (name: string, data: Float32Array | Float64Array): LossFeature => ({
  data,
  shape: name.startsWith("image") ? [batch, width, 2, 2] : [batch, width],
});
const two = ["image", "audio"];
/** What the published functions give, with PyTorch. */
const published: readonly (readonly [string, number, readonly string[], number])[] = [
  ["triMap", 0.07, two, 285.84652472411045],
  ["maxSimilarity", 0.03, two, 26.28135745774642],
  ["audioSuppression", 0.03, two, 0.4444619788391501],
  ["foregroundSeparation", 0.03, two, 0.42716630824280005],
  ["imageSuppression", 0.03, two, 0.45961420667202824],
  ["twoHeads", 0.03, Object.keys(values), 42.84384859617241],
];

describe("lossTerms", () => {
  for (const [name, temperature, needs, value] of published) {
    const loss = { name, temperature };
    const given = (round: (data: Float64Array) => Float32Array | Float64Array) =>
      Object.fromEntries(needs.map((each) => [each, feature(each, round(values[each] as Float64Array))]));

    it(`${name} has the published value in float64 and float32`, async () => {
      const exact = await lossTerms(
        loss,
        given((data) => data),
      );
      expect(Math.abs((exact.terms[name] as number) / value - 1)).toBeLessThan(1e-9);
      const single = await lossTerms(
        loss,
        given((data) => Float32Array.from(data)),
      );
      expect(Math.abs((single.terms[name] as number) / value - 1)).toBeLessThan(1e-4);
    });

    it(`${name} has the gradients of finite differences`, async () => {
      const features = given((data) => data);
      const { gradients } = await lossTerms(loss, features, { gradients: true });
      expect(Object.keys(gradients ?? {}).sort()).toEqual([...needs].sort());
      for (const each of needs) {
        const own = gradients?.[each] as Float64Array;
        const scale = Math.max(...own.map(Math.abs));
        expect(scale, each).toBeGreaterThan(1e-6);
        for (let i = 0; i < own.length; i += 5) {
          const at = async (by: number) => {
            const data = (values[each] as Float64Array).slice();
            data[i] = (data[i] as number) + by;
            return (await lossTerms(loss, { ...features, [each]: feature(each, data) })).terms[
              name
            ] as number;
          };
          const slope = ((await at(1e-6)) - (await at(-1e-6))) / 2e-6;
          expect(Math.abs(slope - (own[i] as number)) / scale, `${each}[${i}]`).toBeLessThan(1e-5);
        }
      }
    });
  }

  const sides = (name: string, more: number) =>
    series(3 * (name.includes("ectors") ? 4 : more), (i) => Math.sin(name.length + 1.7 * i * i + i));
  it.each([
    ["viewLocalization", ["image", "imageNeighbour", "imageAugmented", "audio", "audioAugmented"]],
    [
      "viewAlignment",
      [
        "imageVectors",
        "imageVectorsNeighbour",
        "imageVectorsAugmented",
        "audioVectors",
        "audioVectorsAugmented",
      ],
    ],
    ["triMapTransformed", ["imageTransformed", "audioAgain"]],
    ["equivariance", ["mapOfTransformed", "transformedMap"]],
  ])("%s has the gradients of finite differences", async (name, needs) => {
    const loss = { name, temperature: 0.2 };
    const shape = (each: string) =>
      each.startsWith("image") && !each.includes("ectors") ? [3, 5, 4] : [3, 4];
    const features = Object.fromEntries(
      needs.map((each) => [
        each,
        { data: sides(each, shape(each).length === 3 ? 20 : 4), shape: shape(each) },
      ]),
    );
    const { gradients } = await lossTerms(loss, features, { gradients: true });
    for (const each of needs) {
      const own = gradients?.[each] as Float64Array;
      const scale = Math.max(...own.map(Math.abs));
      expect(scale, each).toBeGreaterThan(1e-6);
      for (let i = 0; i < own.length; i += 3) {
        const at = async (by: number) => {
          const data = (features[each] as { data: Float64Array }).data.slice();
          data[i] = (data[i] as number) + by;
          return (await lossTerms(loss, { ...features, [each]: { data, shape: shape(each) } })).terms[
            name
          ] as number;
        };
        const slope = ((await at(1e-6)) - (await at(-1e-6))) / 2e-6;
        expect(Math.abs(slope - (own[i] as number)) / scale, `${each}[${i}]`).toBeLessThan(1e-5);
      }
    }
  });

  it("computes every loss of the addon on features of slots too", async () => {
    const random = (length: number, seed: number) =>
      series(length, (i) => Math.sin(seed + 12.9898 * i * i + i));
    const shapes: Record<string, number[]> = {
      ...{ image: [3, 6, 4], audio: [3, 2, 4], imageSlots: [3, 2, 4], audioSlots: [3, 2, 4] },
      ...{ imageQueries: [3, 2, 4], audioQueries: [3, 2, 4], imageKeys: [3, 6, 4], audioKeys: [3, 2, 4] },
      ...{
        imageOnImage: [3, 2, 6],
        audioOnImage: [3, 2, 6],
        audioOnAudio: [3, 2, 2],
        imageOnAudio: [3, 2, 2],
      },
      ...{ imageReconstruction: [3, 6, 4], audioReconstruction: [3, 2, 4] },
      ...{ imageWhere: [3, 6, 4], audioWhere: [3, 2, 4], imageTarget: [3, 6, 4], audioTarget: [3, 2, 4] },
      ...{ imageWhereTarget: [3, 6, 4], audioWhereTarget: [3, 2, 4] },
      ...{ imageNeighbour: [3, 6, 4], imageAugmented: [3, 6, 4], audioAugmented: [3, 2, 4] },
      ...{ imageVectors: [3, 4], imageVectorsNeighbour: [3, 4], imageVectorsAugmented: [3, 4] },
      ...{ audioVectors: [3, 4], audioVectorsAugmented: [3, 4] },
      ...{ imageTransformed: [3, 5, 4], audioAgain: [3, 2, 4] },
      ...{ mapOfTransformed: [3, 5], transformedMap: [3, 5] },
    };
    const names = (need: string) =>
      need.replace("_tokens", "").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    for (const [name, needs] of Object.entries(native().losses())) {
      const features = Object.fromEntries(
        needs.map(names).map((each, i) => {
          const shape = shapes[each] as number[];
          return [
            each,
            {
              data: random(
                shape.reduce((a, b) => a * b),
                i,
              ),
              shape,
            },
          ];
        }),
      );
      const { terms } = await lossTerms({ name }, features);
      expect(terms[name], name).toEqual(expect.any(Number));
      expect(Number.isFinite(terms[name]), name).toBe(true);
    }
  });

  const good = { image: feature("image", image), audio: feature("audio", audio) };
  for (const [what, loss, features, code, message] of [
    ["an unknown loss", { name: "hinge" }, good, "ERR_CONFIG", /no loss "hinge". Known losses: .*triMap/],
    ["a feature too few", { name: "triMap" }, { image: good.image }, "ERR_INPUT", /needs audio/],
    [
      "a feature of another loss",
      { name: "triMap" },
      { ...good, imageSlots: good.image },
      "ERR_INPUT",
      /takes no imageSlots/,
    ],
    [
      "two types",
      { name: "triMap" },
      { ...good, audio: feature("audio", Float32Array.from(audio)) },
      "ERR_INPUT",
      /another type/,
    ],
    [
      "a shape of another length",
      { name: "triMap" },
      { ...good, audio: { data: audio, shape: [3, 5] } },
      "ERR_SHAPE",
      /audio has 12 values/,
    ],
    [
      "a shape of one dimension",
      { name: "triMap" },
      { ...good, audio: { data: audio, shape: [12] } },
      "ERR_SHAPE",
      /Give \[B, N, D\]/,
    ],
    [
      "data of another kind",
      { name: "triMap" },
      { ...good, audio: { data: [1], shape: [1] } },
      "ERR_INPUT",
      /must be a Float32Array or Float64Array/,
    ],
    ["a temperature of 0", { name: "triMap", temperature: 0 }, good, "ERR_INPUT", /temperature/],
    [
      "widths that differ",
      { name: "triMap" },
      { ...good, audio: { data: audio.slice(0, 9), shape: [3, 3] } },
      "ERR_SHAPE",
      /shapes of the features do not fit the loss triMap/,
    ],
  ] as const) {
    it(`rejects ${what}`, async () => {
      const call = lossTerms(loss, features as unknown as Record<string, LossFeature>);
      await expect(call).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    });
  }
});
