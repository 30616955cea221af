/** The demo model's floors are README.md's figures, and no weak model, stand-in or incomplete package is published. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FigureName, FLOORS, NAMES, shortfalls } from "../../../scripts/demo-floors.mjs";
import {
  bytesIn,
  copyDemoModel,
  DEMO_KEY,
  DEMO_MODEL,
  demoManifest,
  MOST_BYTES,
  writeDemoModel,
  writeScene,
} from "../../../scripts/demo-package.mjs";
import { renderScene } from "../../../src/datasets/drawn/scenes.js";
import { Model, readMask } from "../../../src/index.js";
import { encodeWav, parseWav } from "../../../src/media/wav.js";
import { tiny } from "../../support/tiny.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  name: string;
  version: string;
  license: string;
};
const folder = mkdtempSync(join(tmpdir(), "soundspot-demo-package-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const names = Object.keys(FLOORS) as FigureName[];

describe("the floors", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const shares = (text: string) => [...text.matchAll(/(\d+\.\d) %/g)].map(([, number]) => Number(number));
  const lowest = (...numbers: number[]) => Math.round(10 * Math.min(...numbers)) / 1000;

  it("are what README.md promises, and the lowest figures that it names for a trained model", () => {
    const rows = [...readme.matchAll(/^\| seed \d, .*$/gm)].map(([row]) => shares(row));
    expect(rows).toHaveLength(6);
    const [iqr, auc, back] = [2, 3, 5].map((column) => lowest(...rows.map((row) => row[column] as number)));
    const promised = shares(
      /an audio map of at least [\d.]+ % and an R@1 from audio to images of at least [\d.]+ %/.exec(
        readme,
      )?.[0] ?? "",
    );
    const [audio, forth] = promised.map((share) => lowest(share));
    expect(FLOORS).toMatchObject({ audio, iqr, auc, audioToImage: forth, imageToAudio: back });
    const trained = shares(/^\| trained {2,}.*$/m.exec(readme)?.[0] ?? "");
    expect(trained).toEqual(rows[0]?.filter((_, column) => column !== 1));
    const [sounding] = shares(/hotter on the sounding one in [\d.]+ %/.exec(readme)?.[0] ?? "");
    expect(FLOORS.soundingOverSilent).toBeCloseTo(lowest(sounding as number) - 2 / 200, 6);
  });

  it("reject every figure below them by a tenth of a percent, and name it", () => {
    const tenths = fc.record(
      Object.fromEntries(names.map((name) => [name, fc.integer({ min: -40, max: 40 })])) as Record<
        FigureName,
        fc.Arbitrary<number>
      >,
    );
    fc.assert(
      fc.property(tenths, (above) => {
        const figures = Object.fromEntries(names.map((name) => [name, FLOORS[name] + above[name] / 1000]));
        const short = shortfalls(figures);
        const expected = names.filter((name) => above[name] < 0);
        expect(short.map((line) => line.split(": ")[0])).toEqual(expected.map((name) => NAMES[name]));
      }),
    );
  });

  it("reject figures that are missing or no numbers", () => {
    expect(shortfalls({})).toHaveLength(names.length);
    for (const name of names) {
      expect(shortfalls({ ...FLOORS, [name]: Number.NaN })).toEqual([
        expect.stringMatching(`^${NAMES[name]}: none, at least `),
      ]);
    }
    expect(shortfalls(FLOORS)).toEqual([]);
  });
});

const settings = { size: 64, seconds: 1, sampleRate: 16_000, sources: 2, props: 1, offscreen: 0 } as const;
const scene = renderScene(settings, { seed: 0, split: "test", epoch: 0, index: 0 });

/** The package of a model with random weights, which says that it reaches these figures. */
async function packageWith(name: string, figures?: Readonly<Record<string, number>>): Promise<string> {
  const to = join(folder, name);
  await writeScene(to, scene, encodeWav);
  using model = await Model.create(tiny);
  const training = { preset: "scratch", seed: 3, scenes: 28_000, heldOut: 1000, twoObjects: 200 };
  await writeDemoModel({
    folder: to,
    model,
    scene: { index: 4, label: scene.label, ...(figures ? { iou: 0.6, confidence: 0.7 } : {}) },
    ...(figures ? { training, figures } : {}),
  });
  return to;
}

describe("the package", () => {
  let good: string;
  let standIn: string;
  beforeAll(async () => {
    good = await packageWith("good", { ...FLOORS, mismatched: 0.15 });
    standIn = await packageWith("stand-in");
  });
  const copy = (from: string, complete: boolean, version = manifest.version) => {
    const to = join(folder, "copy");
    const addresses = { homepage: "https://github.com/a/b#readme" };
    copyDemoModel(from, to, { manifest: { ...manifest, version }, addresses, complete });
    return to;
  };

  it("has the scene as it was drawn, and a checkpoint that knows its files", async () => {
    const mask = await readMask(join(good, "scene/mask.png"));
    expect([...mask.data]).toEqual([...scene.mask.data]);
    const { samples, sampleRate } = await parseWav(readFileSync(join(good, "scene/audio.wav")));
    expect(sampleRate).toBe(scene.audio.sampleRate);
    expect(samples.length).toBe(scene.audio.samples.length);
    const far = samples.filter((each, i) => Math.abs(each - (scene.audio.samples[i] as number)) > 1 / 32768);
    expect(far.length).toBe(0);
    using model = await Model.load(join(good, "model.safetensors"));
    expect(JSON.parse(model.metadata[DEMO_KEY] as string)).toMatchObject({
      data: "scenes",
      scene: {
        image: expect.stringMatching(/^[\da-f]{64}$/),
        audio: expect.stringMatching(/^[\da-f]{64}$/),
      },
    });
  });

  it("has the version and licence of the package that it belongs to, and data alone", () => {
    const own = JSON.parse(readFileSync(join(copy(good, true), "package.json"), "utf8"));
    expect(own).toEqual({
      ...demoManifest(manifest),
      name: DEMO_MODEL,
      version: manifest.version,
      license: manifest.license,
      homepage: "https://github.com/a/b#readme",
    });
    for (const field of ["scripts", "dependencies", "main", "bin"]) expect(own).not.toHaveProperty(field);
    for (const file of Object.values(own.demo as Record<string, string>)) {
      expect(existsSync(join(good, file)), file).toBe(true);
    }
    expect(bytesIn(good)).toBeLessThan(MOST_BYTES);
  });

  it("has a card with the figures, or one that says that it is a stand-in", () => {
    const card = readFileSync(join(good, "MODEL_CARD.md"), "utf8");
    expect(card).toContain("| cIoU@0.5, audio map | 84.0 % |");
    expect(card).toContain("with mismatched audio | 15.0 % |");
    expect(card).toContain("seed 3, 28,000 drawn scenes");
    expect(card).toContain(`number 4 of the held-out scenes with two objects in view; the ${scene.label}`);
    expect(readFileSync(join(standIn, "MODEL_CARD.md"), "utf8")).toContain("stand-in with random weights");
    expect(readFileSync(join(standIn, "README.md"), "utf8")).toContain("not for publication");
    expect(readFileSync(join(good, "README.md"), "utf8")).not.toContain("stand-in");
  });

  it("is published only when it is trained, good enough, complete, small and of this version", async () => {
    expect(() => copy(standIn, true)).toThrow("is a stand-in with random weights: run `npm run demo-model`");
    expect(existsSync(join(copy(standIn, false), "model.safetensors"))).toBe(true);
    const weak = await packageWith("weak", { ...FLOORS, iqr: FLOORS.iqr - 0.001 });
    expect(() => copy(weak, true)).toThrow("too weak: cIoU@0.5, IQR: 83.2 %, at least 83.3 % is needed.");
    expect(() => copy(good, true, "9.9.9")).toThrow(`is of version ${manifest.version}, and this of 9.9.9`);
    for (const file of ["model.safetensors", "scene/mask.png", "LICENSE", "figures.json"]) {
      const damaged = join(folder, "damaged");
      rmSync(damaged, { recursive: true, force: true });
      cpSync(good, damaged, { recursive: true });
      rmSync(join(damaged, file));
      expect(() => copy(damaged, true)).toThrow(`lacks ${file}`);
    }
    const large = join(folder, "large");
    cpSync(good, large, { recursive: true });
    writeFileSync(join(large, "more.bin"), new Uint8Array(MOST_BYTES));
    expect(() => copy(large, true)).toThrow(`at most ${MOST_BYTES} are published`);
  });
});
