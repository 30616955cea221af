/**
 * Nothing assumes the CPU: a device whose memory nobody may touch computes what the CPU computes, by LibTorch's operators
 * and by the kernels for GPUs.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { evaluate, Model, type ModelOptions, Trainer, type TrainOptions, train } from "../../../src/index.js";
import { native } from "../../../src/native.js";
import { comparisonMethods, small } from "../../support/comparison.js";
import { bar, bars } from "../../support/scored.js";
import { everyLoss, slots, tiny } from "../../support/tiny.js";

const addon = vi.hoisted(() => {
  const build = process.env.SOUNDSPOT_VARIANT === "cuda" ? "build/cuda" : "build";
  process.env.SOUNDSPOT_PREBUILD = `${process.cwd()}/${build}/test`;
  return `${process.env.SOUNDSPOT_PREBUILD}/build/Release/soundspot_test.node`;
});
const built = existsSync(addon) && process.platform !== "win32";
if (!built) console.warn(`test/integration/inference/devices.test.ts is skipped: there is no ${addon}.`);

const folder = mkdtempSync(join(tmpdir(), "soundspot-device-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The softmax over slots cancels the bias of queries: its gradient is rounding alone, and moves nothing here. */
const recipe = { precision: "float32", learningRate: 1e-2, epsilon: 1e-3 } as const;
const places = ["cpu", "testdevice:0"] as const;
/** Batch norm of two samples enlarges rounding until other tokens are the greatest: joint slot attention takes them. */
const calm: TrainOptions = { learningRate: 1e-4, batchNorm: "frozen" };
const methods: Record<string, { model: ModelOptions; train: TrainOptions }> = {
  "joint slot attention": {
    model: { ...tiny, ...slots({ targetSlots: 2, maskProbability: 0.3 }) },
    train: { losses: everyLoss, falseNegatives: { k: 2 } },
  },
  "shared slots": { model: { ...tiny, ...slots({ sharedSlots: true }) }, train: {} },
  similarity: { model: { ...tiny, method: { name: "similarity" } }, train: {} },
  ...Object.fromEntries(
    comparisonMethods.map((name) => [name, { model: small(name, { imageDropout: 0.2 }), train: calm }]),
  ),
};
const created = (device: string, model: ModelOptions = tiny) =>
  Model.create(model, { seed: 3, device: device as "cpu", precision: "float32" });
const batch = (step: number) => [0, 1, 2, 3].map((i) => bar(4 * step + i));

const forTests = () =>
  native() as unknown as {
    takeWaits(): string[];
    provideKernels(whether: boolean): void;
    takeLaunches(): Record<string, number>;
  };
/** What the host has waited for since the last call. */
const takeWaits = () => forTests().takeWaits();
/** The kernels that ran on the device since the last call. */
const takeLaunches = () => Object.keys(forTests().takeLaunches()).sort();

/** The greatest difference of two lists, as a share of the greatest value of the first. */
function difference(ours: ArrayLike<number>, others: ArrayLike<number>): number {
  expect(others).toHaveLength(ours.length);
  let [most, scale] = [0, 1e-12];
  for (let i = 0; i < ours.length; i++) {
    most = Math.max(most, Math.abs((ours[i] as number) - (others[i] as number)));
    scale = Math.max(scale, Math.abs(ours[i] as number));
  }
  return most / scale;
}

/** Differences count as a share of the tensor's greatest value, or of a thousandth of the greatest of all tensors. */
function expectNear(
  ours: readonly { name: string; data: Float32Array }[],
  others: typeof ours,
  most: number,
) {
  expect(others.map(({ name }) => name)).toEqual(ours.map(({ name }) => name));
  const greatest = (values: Float32Array) => values.reduce((so, value) => Math.max(so, Math.abs(value)), 0);
  const least = 1e-3 * Math.max(...ours.map(({ data }) => greatest(data)));
  for (const [i, { name, data }] of ours.entries()) {
    const far = difference(data, others[i]?.data as Float32Array) * greatest(data);
    expect(far / Math.max(greatest(data), least), name).toBeLessThan(most);
  }
}

for (const own of [false, true])
  describe.skipIf(!built)(
    `a device other than the CPU, ${own ? "with kernels of its own" : "by LibTorch's operators"}`,
    () => {
      beforeAll(() => forTests().provideKernels(own));
      afterAll(() => forTests().provideKernels(false));

      it("is named by the model, and is one of those that there are", async () => {
        expect(native().info().devices).toEqual(places);
        using model = await created("testdevice");
        expect(model.compute.device).toBe("testdevice:0");
        using other = await created("auto");
        expect(other.compute.device).toBe("cpu");
      });

      it("begins with the weights that the seed gives on the CPU", async () => {
        const [ours, others] = await Promise.all(
          places.map(async (place) => (await created(place)).parameters()),
        );
        expect(others).toEqual(ours);
      });

      for (const [name, { model, train: options }] of Object.entries(methods)) {
        for (const microBatchSize of [0, 2]) {
          it(`${name}: losses, gradients, statistics and steps are the CPU's, in parts of ${microBatchSize || 4}`, async () => {
            const models = await Promise.all(places.map((place) => created(place, model)));
            const trainers = models.map(
              (each) => new Trainer(each, { ...recipe, ...options, microBatchSize, clip: 1, seed: 5 }),
            );
            for (let step = 0; step < 3; step++) {
              const views = { neighbour: batch(50 + step), augmented: batch(80 + step) };
              const [ours, others] = await Promise.all(
                trainers.map((each, i) =>
                  each.step(batch(step), { gradients: true, plain: i === 0 || !own, views }),
                ),
              );
              for (const [loss, value] of Object.entries(ours?.losses ?? {})) {
                expect(Math.abs((others?.losses[loss] as number) - value), loss).toBeLessThan(
                  5e-5 * (1 + value),
                );
              }
              expect(others?.diagnostics).toEqual(
                Object.fromEntries(
                  Object.entries(ours?.diagnostics ?? {}).map(([key, value]) => [
                    key,
                    expect.closeTo(value, 4),
                  ]),
                ),
              );
              expect((others?.gradientNorm ?? 0) / (ours?.gradientNorm ?? 1)).toBeCloseTo(1, 2);
              expectNear(ours?.gradients ?? [], others?.gradients ?? [], 5e-3);
            }
            const [ours, others] = await Promise.all(models.map((each) => each.parameters()));
            expectNear(ours ?? [], others ?? [], 1e-2);
            for (const each of [...trainers, ...models]) each.dispose();
          });
        }

        for (const microBatchSize of [0, 2]) {
          for (const clip of [0, 1e-3]) {
            for (const optimizer of ["adamw", "adam"] as const) {
              if (own && clip > 0 !== (microBatchSize > 0 || optimizer === "adam")) continue; // half of them: slow
              const how = `in parts of ${microBatchSize || 4}, clip ${clip}, ${optimizer}`;
              it(`${name}: the host waits once a step, for what it reads at its end, ${how}`, async () => {
                using each = await created("testdevice", model);
                using trainer = new Trainer(each, { ...recipe, ...options, microBatchSize, clip, optimizer });
                // The fourth is a repetition where the device records.
                for (let step = 0; step < (own ? 4 : 2); step++) {
                  takeWaits();
                  const views = { neighbour: batch(50 + step), augmented: batch(80 + step) };
                  const { losses, gradientNorm } = await trainer.step(batch(step), { views });
                  expect(takeWaits()).toEqual(["read"]);
                  expect(losses.total).toBeGreaterThan(0);
                  expect(gradientNorm).toBeGreaterThan(clip);
                }
              });
            }
          }
        }

        for (const microBatchSize of own ? [0, 2] : []) {
          it(`${name}: steps that were recorded are those that are taken, in parts of ${microBatchSize || 4}`, async () => {
            const run = async (recorded: boolean) => {
              using each = await created("testdevice", model);
              using trainer = new Trainer(each, { ...recipe, ...options, microBatchSize, clip: 1, seed: 5 });
              takeLaunches();
              const results: unknown[] = [];
              for (let step = 0; step < 7; step++) {
                const views = { neighbour: batch(50 + step), augmented: batch(80 + step) };
                const at = { step, total: 7, epoch: 0 };
                // Steps whose gradients are asked for are not recorded.
                const { losses, diagnostics, gradientNorm } = await trainer.step(batch(step), {
                  ...{ views, at, gradients: !recorded },
                });
                results.push(losses, diagnostics, gradientNorm);
              }
              const replayed = forTests().takeLaunches().Replay ?? 0;
              return { results, replayed, parameters: await each.parameters() };
            };
            const [ours, others] = [await run(true), await run(false)];
            expect(ours.results).toEqual(others.results);
            expect(ours.parameters).toEqual(others.parameters);
            // Two steps are taken before the one that is recorded. Draws of SSL-TIE change sizes: it has none.
            expect([ours.replayed, others.replayed]).toEqual([name === "ssl-tie" ? 0 : 4, 0]);
          });
        }

        it(`${name}: maps, embeddings and scores are the CPU's`, async () => {
          const models = await Promise.all(places.map((place) => created(place, model)));
          takeLaunches();
          const [ours, others] = await Promise.all(
            models.map(async (each) => ({
              // Three batches of one size: a device that records passes replays the third.
              spots: [
                await each.localize([bar(0), bar(1)], { precision: "float32" }),
                await each.localize([bar(4), bar(5)], { precision: "float32" }),
                await each.localize([bar(7), bar(6)], { precision: "float32" }),
              ].flat(),
              image: await each.embed({ image: bar(2).image }),
              audio: await each.embed({ audio: bar(2).audio }),
              features: (await each.encode([bar(3)])).imageFeatures.data,
              scores: await evaluate({ model: each, data: bars(6) }),
            })),
          );
          if (!ours || !others) throw new Error("a device is missing");
          for (const [i, spot] of ours.spots.entries()) {
            expect(difference(spot.heatmap, others.spots[i]?.heatmap ?? [])).toBeLessThan(1e-3);
          }
          for (const part of ["image", "audio", "features"] as const) {
            expect(difference(ours[part], others[part]), part).toBeLessThan(1e-3);
          }
          expect(others.scores.audio.ciou).toBeCloseTo(ours.scores.audio.ciou, 6);
          expect(takeLaunches().includes("Replay")).toBe(own);
          for (const each of models) each.dispose();
        });
      }

      it(own ? "runs every kernel" : "runs none", async () => {
        takeLaunches();
        const loaded = methods["joint slot attention"] as (typeof methods)[string];
        using model = await created("testdevice", loaded.model);
        await model.localize([bar(0)]);
        const inference = ["BatchFactors", "BatchNormalize", "CooperativeSlots", "Attend", "NormRows"];
        expect(takeLaunches()).toEqual(
          own ? [...inference, "MapExtremes", "MapResult", "MapScales"].sort() : [],
        );
        using trainer = new Trainer(model, { ...recipe, ...loaded.train, clip: 1 });
        await trainer.step(batch(0));
        const step = [
          "BatchMoments",
          "JoinMoments",
          "BatchGradientSums",
          "JoinGradientSums",
          "BatchGradient",
        ];
        const attention = [
          "AttendGradient",
          "GruNormRowsGradient",
          "NormRowsGradient",
          "MatchingLoss",
          "MatchingGradient",
        ];
        const update = ["SquaredNorm", "JoinNorm", "CountSteps", "AdamUpdate"];
        expect(takeLaunches()).toEqual(own ? [...inference, ...step, ...attention, ...update].sort() : []);
      });

      it("trains on samples from a store as on those of files", async () => {
        const data = { ...bars(8), idOf: (index: number) => `bar ${index}` };
        const store = mkdtempSync(join(folder, "store-"));
        const outcome = async (options: { readonly store?: string }) => {
          using model = await created("testdevice");
          await train({ model, data, epochs: 2, batchSize: 4, ...recipe, ...options });
          return model.parameters();
        };
        const files = await outcome({});
        expect(await outcome({ store })).toEqual(files);
        expect(await outcome({ store })).toEqual(files);
      });

      it("sharpens as the CPU does", async () => {
        const models = await Promise.all(places.map((place) => created(place)));
        const [ours, others] = await Promise.all(
          models.map((each) => each.localize(bar(0), { sharpening: 3, precision: "float32" })),
        );
        expect(difference(ours?.heatmap ?? [], others?.heatmap ?? [])).toBeLessThan(1e-3);
        for (const each of models) each.dispose();
      });

      it("waits once for the maps of a batch, and once for its embeddings", async () => {
        using model = await created("testdevice");
        takeWaits();
        await model.localize([bar(0), bar(1), bar(2)]);
        expect(takeWaits()).toEqual(["read"]);
        await model.embed([{ image: bar(0).image }, { image: bar(1).image }]);
        expect(takeWaits()).toEqual(["read"]);
        await model.encode([bar(0), bar(1)]);
        expect(takeWaits()).toEqual(["read", "read"]);
      });

      it("finds the CPU's neighbours, in its order where cosines are equal", async () => {
        const finite = fc.float({ min: -4, max: 4, noNaN: true });
        // Few directions, so that many are equal; lengths of 0, and vectors that hold NaN.
        const vector = fc.oneof(
          fc.constantFrom([0, 0, 0], [1, 0, 0], [2, 0, 0], [0, -1, 0], [1, 1, 0], [Number.NaN, 1, 0]),
          fc.array(finite, { minLength: 3, maxLength: 3 }),
        );
        const list = fc.array(vector, { minLength: 1, maxLength: 40 });
        const matrix = (rows: readonly (readonly number[])[]) => ({
          data: Float32Array.from(rows.flat()),
          shape: [rows.length, 3],
        });
        await fc.assert(
          fc.asyncProperty(list, list, fc.integer({ min: 1, max: 50 }), async (queries, gallery, depth) => {
            const [ours, others] = await Promise.all(
              places.map((place) => native().nearest(matrix(queries), matrix(gallery), depth, place)),
            );
            expect(others).toEqual(ours);
          }),
          { numRuns: 60 },
        );
        takeWaits();
        const many = Float32Array.from({ length: 3 * 9000 }, (_, i) => Math.sin(i * i));
        const [ours, others] = await Promise.all(
          places.map((place) =>
            native().nearest(matrix([[1, 2, 3]]), { data: many, shape: [9000, 3] }, 20, place),
          ),
        );
        expect(others).toEqual(ours);
        expect(takeWaits()).toEqual(["read"]);
      });

      it("counts what its host waits for", async () => {
        using model = await created("testdevice");
        takeWaits();
        const parameters = await model.parameters();
        const reads = takeWaits();
        expect(reads).toEqual(reads.map(() => "read"));
        expect(reads.length).toBeGreaterThanOrEqual(parameters.length);
        await model.setParameters(parameters.slice(0, 3));
        expect(takeWaits().filter((what) => what === "upload")).toHaveLength(3);
      });

      /** Images of so many times their values. */
      const enlarged = (by: number) =>
        batch(1).map((pair, i) => ({
          ...pair,
          image: {
            tensor: Float32Array.from({ length: 3 * 32 * 32 }, (_, at) => by * Math.sin(1 + at * (i + 1))),
            shape: [3, 32, 32],
          },
        }));
      // By the kernels the variance of such values is NaN, and with it the result.
      const statistic = own
        ? /^(The loss is not|.*running_var is no longer) finite, and the step was not taken/
        : /running_var is no longer finite, and the step was not taken/;
      const failures: Record<string, { by: number; train?: TrainOptions; message: RegExp }> = {
        "a statistic": { by: 1e22, message: statistic },
        "a statistic, in parts": {
          ...{ by: 1e22, train: { microBatchSize: 2, clip: 1 } },
          message: statistic,
        },
        "the loss": { by: 3e38, message: /^The loss is not finite, and the step was not taken/ },
        "the loss alone": {
          ...{ by: 1, train: { losses: { matching: { weight: 1e300 } } } },
          message: /^The loss is not finite, and the step was not taken/,
        },
        "the gradient": {
          ...{
            by: 1,
            train: { losses: { contrastive: { weight: 9e37 } }, falseNegatives: { k: 0 }, clip: 1 },
          },
          message: /^A gradient is not finite, and the step was not taken/,
        },
      };
      for (const [what, { by, train: options, message }] of Object.entries(failures)) {
        for (const place of places) {
          it(`keeps all of its state on ${place} where ${what} is not finite`, async () => {
            using model = await created(place);
            using trainer = new Trainer(model, { ...recipe, ...options });
            using steady = new Trainer(model, recipe);
            const file = join(folder, "kept.safetensors");
            const state = async (of: Trainer) => {
              await of.save(file);
              return readFileSync(file);
            };
            // Before any step the optimizer has no state, after one it has that of every parameter.
            for (const steps of [0, 1]) {
              if (steps > 0) {
                await steady.step(batch(0));
                await steady.save(file);
                await trainer.restore(file);
              }
              const before = await state(trainer);
              await expect(trainer.step(enlarged(by))).rejects.toMatchObject({
                code: "ERR_INTERNAL",
                message: expect.stringMatching(message),
              });
              expect((await state(trainer)).equals(before)).toBe(true);
            }
            const before = await model.parameters();
            await steady.step(batch(1));
            expect(await model.parameters()).not.toEqual(before);
          });
        }
      }

      it("does not repeat a step whose first moments were forgotten", async () => {
        const parameters = async (failures: number) => {
          using model = await created("testdevice");
          using trainer = new Trainer(model, { ...recipe, clip: 1 });
          // The third step of a kind is recorded.
          for (let i = 0; i < failures; i++)
            await expect(trainer.step(enlarged(1e22))).rejects.toMatchObject({ code: "ERR_INTERNAL" });
          takeLaunches();
          await trainer.step(batch(0));
          expect(takeLaunches()).not.toContain("Replay");
          return model.parameters();
        };
        expect(await parameters(3)).toEqual(await parameters(0));
      });

      it("takes the steps of a trainer that met no failure", async () => {
        const after = async (broken: boolean) => {
          using model = await created("testdevice");
          using trainer = new Trainer(model, { ...recipe, clip: 1 });
          for (let step = 0; step < 5; step++) {
            if (broken)
              await expect(trainer.step(enlarged(1e22))).rejects.toMatchObject({ code: "ERR_INTERNAL" });
            await trainer.step(batch(step));
          }
          return model.parameters();
        };
        expect(await after(true)).toEqual(await after(false));
      });

      it("saves, loads and resumes there and on the CPU", async () => {
        const saved = join(folder, "trainer.safetensors");
        using model = await created("testdevice");
        using trainer = new Trainer(model, recipe);
        for (let step = 0; step < 3; step++) await trainer.step(batch(step));
        await trainer.save(saved);
        await trainer.step(batch(3));
        const after = await model.parameters();
        for (const [i, place] of places.entries()) {
          using again = await Model.load(saved, { device: place as "cpu" });
          using resumed = new Trainer(again, recipe);
          await resumed.restore(saved);
          await resumed.step(batch(3), { plain: i === 0 || !own });
          const parameters = await again.parameters();
          if (i === 1) expect(parameters).toEqual(after);
          else expectNear(after, parameters, 1e-2);
        }
        // What was recorded does not outlive the state that it was recorded with.
        using before = await Model.load(saved);
        await trainer.step(batch(4));
        await model.setParameters(await before.parameters());
        await trainer.restore(saved);
        await trainer.step(batch(3));
        expect(await model.parameters()).toEqual(after);
      });

      const few = { falseNegatives: { k: 1 } };
      const trainings: Record<string, { model: ModelOptions; train?: TrainOptions }> = {
        "without augmentation": { model: tiny, train: { ...few, augment: false } },
        "with augmentation": {
          model: tiny,
          train: { ...few, augment: { translate: 0.2, verticalFlipProbability: 0.5 } },
        },
        "with further views": {
          model: small("alignment"),
          train: { ...calm, augment: { blurKind: "pillow" }, viewAugment: { crop: "resized" } },
        },
      };
      const neighbours = Array.from({ length: 8 }, (_, i) => [(i + 1) % 8, (i + 3) % 8]);
      for (const [how, { model: options, train: rest }] of Object.entries(trainings)) {
        it(`runs a whole training, ${how}`, async () => {
          const run = async (device: string) => {
            const output = join(folder, `${device.replace(":", "-")}, ${how}`);
            const { model, evaluation } = await train({
              ...{ model: options, device: device as "cpu", data: bars(8), evaluation: bars(4), output },
              ...{ epochs: 2, batchSize: 4, precision: "float32", seed: 2, ...rest, neighbours },
            });
            const { device: place } = model.compute;
            model.dispose();
            const [first] = readFileSync(join(output, "metrics.jsonl"), "utf8").split("\n");
            return { place, ciou: evaluation?.audio.ciou, first: JSON.parse(first ?? "") };
          };
          const ours = await run("cpu");
          takeLaunches();
          const others = await run("testdevice:0");
          const augmenting = ["BoxBlurs", "FinishImages", "GaussianBlurs", "GreySums"];
          expect(takeLaunches().filter((kernel) => augmenting.includes(kernel))).toEqual(
            own ? augmenting : [],
          );
          expect([ours.place, others.place]).toEqual(places);
          expect(others.ciou).toBeCloseTo(ours.ciou as number, 6);
          for (const [loss, value] of Object.entries<number>(ours.first.losses))
            expect(Math.abs(others.first.losses[loss] - value), loss).toBeLessThan(5e-5 * (1 + value));
          expect(others.first.gradientNorm / ours.first.gradientNorm).toBeCloseTo(1, 2);
        });
      }
    },
  );

describe("a device that there is none of", () => {
  for (const device of ["cuda", "cuda:3", "gpu", "cpu:1", ""]) {
    it(`is rejected by its name: "${device}"`, async () => {
      const error = { code: "ERR_DEVICE", message: expect.stringContaining(`no device "${device}"`) };
      await expect(Model.create(tiny, { device: device as "cpu" })).rejects.toMatchObject(error);
    });
  }
});
