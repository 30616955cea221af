/** The script that makes the demo model trains again when a model is too weak, and writes a package of a good one alone. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { type FigureName, FLOORS } from "../../../scripts/demo-floors.mjs";
import { makeDemoModel } from "../../../scripts/demo-model.mjs";
import { renderScene } from "../../../src/datasets/drawn/scenes.js";
import { encodeWav, Model, presets } from "../../../src/index.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-demo-script-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Asked {
  readonly seed: number;
  readonly resume: boolean;
  readonly output: string;
}

type Figures = Readonly<Record<FigureName, number>>;

/**
 * A package whose trainings reach the given figures, one after the other. Its models localize scene `clear` as drawn
 * with a high confidence, and the scenes before it with a low one.
 */
function packageOf(reached: readonly Figures[], clear: number, stoppedBy?: string) {
  const trained: Asked[] = [];
  const lengths: Record<string, number>[] = [];
  let shown: ReturnType<typeof renderScene>;
  let index = -1;
  const settings = { size: 64, seconds: 1, sampleRate: 16_000, sources: 2, props: 1, offscreen: 0 } as const;
  const api = {
    presets,
    encodeWav,
    datasets: {
      scenes: ({ seed = 0, ...options }: Record<string, number>) => {
        lengths.push(options);
        return {
          sources: options.sources,
          load: async (at: number) => {
            index = at;
            shown = renderScene(settings, { seed, split: "test", epoch: 0, index: at });
            return shown;
          },
          close: async () => undefined,
        };
      },
    },
    train: async (asked: Asked & { onEpoch(event: object): void }) => {
      trained.push(asked);
      asked.onEpoch({ epoch: 0, meanLoss: 1 });
      const model = await Model.create(tiny, { seed: asked.seed });
      model.localize = (async () => ({
        mask: shown.mask.data,
        confidence: index < clear ? 0.3 : 0.9,
      })) as unknown as Model["localize"];
      return { model, stoppedBy };
    },
    evaluate: async ({ data, audioShift = 0 }: { data: { sources?: number }; audioShift?: number }) => {
      const figures = reached[trained.length - 1] as Figures;
      return {
        audio: { ciou: audioShift === 0 ? figures.audio : 0.15 },
        iqr: { ciou: figures.iqr, auc: figures.auc },
        retrieval: { audioToImage: [figures.audioToImage], imageToAudio: [figures.imageToAudio] },
        soundingOverSilent: data.sources === 2 ? figures.soundingOverSilent : Number.NaN,
      };
    },
  };
  return { api, trained, lengths };
}

it("takes the first seed that is good enough, and a scene that is clear", async () => {
  const weak = { ...FLOORS, auc: FLOORS.auc - 0.01 };
  const { api, trained, lengths } = packageOf([weak, { ...FLOORS, audio: 0.95 }], 2);
  const [output, runs] = [join(folder, "good"), join(folder, "runs")];
  const lines: string[] = [];
  await makeDemoModel({ api, output, runs, seed: 4, log: (line) => lines.push(line) });
  expect(trained.map(({ seed, output: at, resume }) => [seed, at, resume])).toEqual([
    [4, join(runs, "seed-4"), false],
    [5, join(runs, "seed-5"), false],
  ]);
  expect(lines).toContain("rejected: AUC, IQR: 57.9 %, at least 58.9 % is needed");
  expect(JSON.parse(readFileSync(join(output, "figures.json"), "utf8"))).toMatchObject({
    standIn: false,
    training: { preset: "scratch", seed: 5, scenes: 36_000, heldOut: 1000, twoObjects: 200 },
    figures: { ...FLOORS, audio: 0.95, mismatched: 0.15 },
    scene: { index: 2, iou: 1, confidence: 0.9 },
  });
  using model = await Model.load(join(output, "model.safetensors"));
  using same = await Model.create(tiny, { seed: 5 });
  expect(await model.parameters()).toEqual(await same.parameters());
  // Trained on as many scenes as the figures say, and scored on others.
  expect(lengths[0]).toMatchObject({ length: 4000, size: 112, seconds: 2 });
  expect(lengths[1]).toMatchObject({ length: 1000, split: "test" });
});

it("ends with the figures when none is good enough, and keeps the package that was there", async () => {
  const weak = { ...FLOORS, audio: 0.1 };
  const { api, trained } = packageOf([weak, weak], 0);
  const output = join(folder, "kept");
  mkdirSync(output);
  writeFileSync(join(output, "model.safetensors"), "earlier");
  await expect(makeDemoModel({ api, output, runs: join(folder, "runs-2"), attempts: 2 })).rejects.toThrow(
    "The last one: cIoU@0.5, audio map: 10.0 %, at least 84.0 % is needed.",
  );
  expect(trained.map(({ seed }) => seed)).toEqual([0, 1]);
  expect(readdirSync(output)).toEqual(["model.safetensors"]);
  expect(existsSync(`${output}.partial`)).toBe(false);
});

it("writes no package without a clear scene", async () => {
  const { api } = packageOf([FLOORS], 99);
  const output = join(folder, "unclear");
  await expect(makeDemoModel({ api, output, runs: join(folder, "runs-3") })).rejects.toThrow(
    "The model clearly localizes none of 20 scenes",
  );
  expect([existsSync(output), existsSync(`${output}.partial`)]).toEqual([false, false]);
});

it("continues a training that was stopped", async () => {
  const runs = join(folder, "runs-4");
  mkdirSync(join(runs, "seed-0"), { recursive: true });
  writeFileSync(join(runs, "seed-0", "last.safetensors"), "");
  const { api, trained } = packageOf([FLOORS], 0, "SIGTERM");
  const output = join(folder, "stopped");
  await expect(makeDemoModel({ api, output, runs })).rejects.toThrow(
    "Stopped by SIGTERM: the same command continues.",
  );
  expect(trained.map(({ resume }) => resume)).toEqual([true]);
  expect(existsSync(output)).toBe(false);
});
