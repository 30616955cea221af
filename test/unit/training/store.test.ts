/** A store of decoded samples: what is read from it is what the files give, whatever happened to its files. */
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { parseTrainConfig } from "../../../src/config/train.js";
import {
  type Dataset,
  datasets,
  Model,
  type ModelOptions,
  type Sample,
  SoundspotError,
  type StoreEvent,
  type TrainOptions,
  train,
} from "../../../src/index.js";
import { native } from "../../../src/native.js";
import { trainingBatches } from "../../../src/training/batches.js";
import { DecodedStore } from "../../../src/training/decoded-store.js";
import { small } from "../../support/comparison.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

const made: string[] = [];
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-store-"));
  made.push(folder);
  return folder;
}
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

/** Noise of a size, a length, a rate and channels that depend on the index. */
function noise(index: number, most: number): Sample {
  const draw = (n: number, of: number) => ((index + 1) * 7919 * (n + 1)) % of;
  const [width, height] = [8 + draw(1, most), 8 + draw(2, most)];
  const channels = 1 + draw(3, 2);
  const frames = 200 + draw(4, 12_000);
  const data = new Uint8Array(width * height * 3).map((_, i) => (i * (index + 3) * 31 + (i >> 4)) % 256);
  const samples = Float32Array.from(
    { length: channels * frames },
    (_, i) => Math.sin(i * 0.013 * (index + 1)) * 0.7 + 0.2 * Math.cos(i * i * 0.001),
  );
  const sampleRate = [8000, 16_000, 22_050, 44_100][draw(5, 4)] as number;
  return { id: `noise ${index}`, image: { data, width, height }, audio: { samples, sampleRate, channels } };
}

interface Counted extends Dataset {
  /** Samples that were loaded, in their order. */
  readonly loaded: number[];
}

function counted(length: number, load: (index: number) => Sample, of: Partial<Dataset> = {}): Counted {
  const loaded: number[] = [];
  return {
    name: "counted",
    length,
    loaded,
    idOf: (index) => `sample ${index}`,
    load: async (index) => {
      loaded.push(index);
      return load(index);
    },
    ...of,
  };
}

type Place = { readonly model: Model; readonly config: ReturnType<typeof parseTrainConfig> };

/** The tensors of every sample of an epoch, and of its views. */
async function epochOf(
  { model, config }: Place,
  data: Dataset,
  epoch: number,
  of: { readonly store?: DecodedStore; readonly neighbours?: number[][] } = {},
): Promise<Float32Array[]> {
  const place = { data, epoch, fromBatch: 0, rank: 0, size: 1, strict: false, signal: undefined, ...of };
  const all: Float32Array[] = [];
  for await (const batch of trainingBatches({ model, config }, place)) {
    for (const handle of [...batch.samples(), ...Object.values(batch.views()).flat()]) {
      const { image, spectrogram } = native().tensors(handle);
      all.push(image?.data as Float32Array, spectrogram?.data as Float32Array);
    }
  }
  return all;
}

const bytesOf = (tensors: readonly Float32Array[]) =>
  Buffer.concat(
    tensors.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)),
  );

/** Throws where two epochs differ in a bit. */
function expectSame(one: readonly Float32Array[], other: readonly Float32Array[]): void {
  expect(other.length).toBe(one.length);
  for (const [i, tensor] of one.entries()) {
    if (bytesOf([tensor]).equals(bytesOf([other[i] as Float32Array]))) continue;
    expect(other[i], `tensor ${i}`).toEqual(tensor);
    throw new Error(`tensor ${i} differs in a bit`);
  }
}

const open = (folder: string, data: Dataset, place: Place, onStore?: (event: StoreEvent) => void) =>
  DecodedStore.open(
    folder,
    { data, ...(onStore ? { onStore } : {}) },
    { model: place.model, trainer: place },
  );

const anAugmentation = fc.oneof(
  fc.constant(false as const),
  fc.record({
    crop: fc.constantFrom(true, false, "resized" as const),
    resizeRatio: fc.constantFrom(1, 1.1, 246 / 224, 1.7),
    translate: fc.constantFrom(0, 0.3),
    maskValue: fc.constantFrom("zero" as const, "floor" as const),
  }),
);

const audio = fc.record({
  seconds: fc.constantFrom(0.3, 0.5),
  frontEnd: fc.constantFrom("stft" as const, "scipy" as const, "mel" as const),
  placement: fc.constantFrom("middle" as const, "start" as const, 0.1),
});

describe("samples from a store", () => {
  it("are those of the files, bit for bit, for any image, audio and augmentation", async () => {
    await fc.assert(
      fc.asyncProperty(
        anAugmentation,
        audio,
        fc.integer({ min: 1, max: 90 }),
        async (augment, ofAudio, most) => {
          const melBands = ofAudio.frontEnd === "mel" ? { melBands: 64 } : {};
          using model = await Model.create({ ...tiny, audio: { ...ofAudio, ...melBands } }, { seed: 1 });
          const place = { model, config: parseTrainConfig({ batchSize: 3, augment }) };
          const data = counted(7, (index) => noise(index, most));
          const folder = newFolder();
          const store = await open(folder, data, place);
          for (const epoch of [0, 1, 2]) {
            const files = await epochOf(place, data, epoch);
            data.loaded.length = 0;
            expectSame(files, await epochOf(place, data, epoch, { store }));
            if (epoch === 2) expect(data.loaded.length).toBeLessThanOrEqual(1); // two epochs of 6 of 7 samples
          }
          await store.close();
          rmSync(folder, { recursive: true });
        },
      ),
      { numRuns: 40 },
    );
  });

  it("are read by a second run beside the one that writes them, without the files", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const place = { model, config: parseTrainConfig({ batchSize: 4 }) };
    const data = counted(8, bar);
    const folder = newFolder();
    const first = await open(folder, data, place);
    const second = await open(folder, data, place); // while the first still writes
    const files = await epochOf(place, data, 0);
    expectSame(files, await epochOf(place, data, 0, { store: first }));
    data.loaded.length = 0;
    expectSame(files, await epochOf(place, data, 0, { store: second }));
    expect(data.loaded).toEqual([]);
    await first.close();
    await second.close();
    expect(readdirSync(folder).sort()).toEqual([
      "part-0.data",
      "part-0.index",
      "part-1.data",
      "part-1.index",
      "store.json",
    ]);
    expect(statSync(join(folder, "part-1.index")).size).toBe(0);
  });

  it("are rejected as those of files where a view cannot take the image", async () => {
    using model = await Model.create(small("alignment"), { seed: 1 });
    const config = parseTrainConfig(
      { batchSize: 4, augment: { crop: true }, viewAugment: false },
      "alignment",
    );
    const place = { model, config };
    // Too narrow to resize by its short side, which one of the views does.
    const narrow = { data: new Uint8Array(3 * 4000), width: 4000, height: 1 };
    const data = counted(8, (index) => ({ ...bar(index), ...(index === 2 ? { image: narrow } : {}) }));
    const neighbours = Array.from({ length: 8 }, (_, i) => [(i + 1) % 8]);
    const store = await open(newFolder(), data, place);
    for (const epoch of [0, 1, 2]) {
      const files = await epochOf(place, data, epoch, { neighbours });
      expectSame(files, await epochOf(place, data, epoch, { neighbours, store }));
    }
    await store.close();
  });

  it("serve the views of neighbours, of which some are stored and one is damaged", async () => {
    using model = await Model.create(small("alignment"), { seed: 1 });
    const place = { model, config: parseTrainConfig({ batchSize: 4 }, "alignment") };
    const read = (index: number) => {
      if (index === 5) throw new SoundspotError("ERR_MEDIA_DECODE", "sample 5 is damaged.");
      return noise(index, 30);
    };
    const neighbours = Array.from({ length: 9 }, (_, i) => [(i + 1) % 9, (i + 4) % 9]);
    const data = counted(9, read);
    const store = await open(newFolder(), data, place);
    for (const epoch of [0, 1, 2]) {
      const files = await epochOf(place, data, epoch, { neighbours });
      data.loaded.length = 0;
      expectSame(files, await epochOf(place, data, epoch, { neighbours, store }));
      if (epoch < 2) continue;
      // Sample 5 is tried whenever it is needed, and its next neighbour is decoded in its place.
      expect(data.loaded).toContain(5);
      expect(data.loaded.length).toBeLessThan(12);
    }
    await store.close();
  });
});

/** Files of a store, changed by a killed process or a disk. */
const aFault = fc.record({
  file: fc.constantFrom("part-0.data", "part-0.index"),
  kind: fc.constantFrom("cut", "change", "grow", "remove"),
  /** Share of the file where it happens. */
  place: fc.double({ min: 0, max: 0.9999, noNaN: true }),
  byte: fc.integer({ min: 1, max: 255 }),
});
type Fault = typeof aFault extends fc.Arbitrary<infer T> ? T : never;

function damaged(bytes: Buffer, { kind, place, byte }: Fault): Buffer {
  const at = Math.floor(place * bytes.length);
  if (kind === "cut") return bytes.subarray(0, at);
  if (kind === "grow") return Buffer.concat([bytes, bytes.subarray(0, 1 + (at % 97))]);
  if (bytes.length === 0) return bytes;
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] as number) ^ byte;
  return changed;
}

/** Samples of up to 20 px a side, and batches of three of them. */
const six = () => counted(6, (index) => noise(index, 20));
const inThrees = (model: Model): Place => ({ model, config: parseTrainConfig({ batchSize: 3 }) });

describe("a store whose files are damaged", () => {
  it("gives the samples of the files, and is filled again", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const [place, data] = [inThrees(model), six()];
    const whole = newFolder();
    const filling = await open(whole, data, place);
    const files = await epochOf(place, data, 0, { store: filling });
    expectSame(await epochOf(place, data, 0), files);
    await filling.close();
    let lost = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(aFault, { minLength: 1, maxLength: 4 }), async (faults) => {
        const folder = newFolder();
        for (const name of readdirSync(whole)) copyFileSync(join(whole, name), join(folder, name));
        for (const fault of faults) {
          const path = join(folder, fault.file);
          if (fault.kind === "remove") rmSync(path, { force: true });
          else if (existsSync(path)) writeFileSync(path, damaged(readFileSync(path), fault));
        }
        const store = await open(folder, data, place);
        data.loaded.length = 0;
        expectSame(files, await epochOf(place, data, 0, { store }));
        lost += data.loaded.length;
        data.loaded.length = 0;
        expectSame(files, await epochOf(place, data, 0, { store }));
        expect(data.loaded).toEqual([]);
        await store.close();
        rmSync(folder, { recursive: true });
      }),
      { numRuns: 60 },
    );
    expect(lost).toBeGreaterThan(0);
  });

  it("may change while it is open", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const [place, data] = [inThrees(model), six()];
    const folder = newFolder();
    const store = await open(folder, data, place);
    const files = await epochOf(place, data, 0, { store });
    const { size } = statSync(join(folder, "part-0.data"));
    const bytes = readFileSync(join(folder, "part-0.data"));
    for (const changed of [bytes.fill(0, size >> 1), bytes.subarray(0, size >> 2), Buffer.alloc(0)]) {
      writeFileSync(join(folder, "part-0.data"), changed);
      expectSame(files, await epochOf(place, data, 0, { store }));
    }
    await store.close();
  });

  it("has the samples of all parts, also behind one that stayed empty", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const [place, data] = [inThrees(model), six()];
    const folder = newFolder();
    const runs = [await open(folder, data, place), await open(folder, data, place)];
    const last = await open(folder, data, place);
    const files = await epochOf(place, data, 0, { store: last });
    for (const store of [...runs, last]) await store.close();
    expect(statSync(join(folder, "part-1.index")).size).toBe(0);
    data.loaded.length = 0;
    const store = await open(folder, data, place, ({ samples }) => expect(samples).toBe(6));
    expectSame(files, await epochOf(place, data, 0, { store }));
    expect(data.loaded).toEqual([]);
    await store.close();
  });

  it("takes a sample that was written again before the damaged one, in an earlier part", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const [place, data] = [inThrees(model), six()];
    const folder = newFolder();
    const first = await open(folder, data, place);
    const second = await open(folder, data, place);
    const files = await epochOf(place, data, 0, { store: second });
    await first.close();
    await second.close();
    const path = join(folder, "part-1.data");
    const bytes = readFileSync(path);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] as number) ^ 1;
    writeFileSync(path, bytes);
    const decoded: number[] = [];
    for (let run = 0; run < 3; run++) {
      data.loaded.length = 0;
      const store = await open(folder, data, place);
      for (const _ of [0, 1]) expectSame(files, await epochOf(place, data, 0, { store }));
      await store.close();
      decoded.push(data.loaded.length);
    }
    const { size } = statSync(join(folder, "part-0.data"));
    expect(size).toBeGreaterThan(0);
    expect(size).toBeLessThan(statSync(path).size / 2);
    expect(decoded).toEqual([1, 0, 0]);
  });

  it("is not written any more once it is closed", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const place = inThrees(model);
    const folder = newFolder();
    const store = await open(folder, counted(6, bar), place);
    const reading = epochOf(place, counted(6, bar), 0, { store }).catch(() => undefined);
    await store.close();
    const { size } = statSync(join(folder, "part-0.index"));
    await reading;
    expect(statSync(join(folder, "part-0.index")).size).toBe(size);
  });

  it("is rejected where its description cannot be read or is of another version", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const place = inThrees(model);
    const data = counted(6, bar);
    const folder = newFolder();
    await (await open(folder, data, place)).close();
    const path = join(folder, "store.json");
    const own = readFileSync(path, "utf8");
    for (const text of ["", own.slice(0, -5), "[]", own.replace("soundspot-store", "another")]) {
      writeFileSync(path, text);
      await expect(open(folder, data, place)).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringMatching(/store\.json is not the description of a store\. .*delete this one/),
      });
    }
    writeFileSync(path, own.replace('"version": 1', '"version": 2'));
    await expect(open(folder, data, place)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("is of version 2"),
    });
    writeFileSync(path, own);
    await (await open(folder, data, place)).close();
  });
});

describe("a store of something else", () => {
  const list = join(newFolder(), "list.jsonl");
  writeFileSync(list, "first");
  const base = () => counted(6, bar, { files: [list], variant: "seconds 5" });

  it.each<[string, () => Dataset, ModelOptions, TrainOptions, RegExp]>([
    ["other ids", () => ({ ...base(), idOf: (i) => `other ${i}` }), {}, {}, /the ids of samples was "/],
    [
      "another order",
      () => ({ ...base(), idOf: (i) => `sample ${5 - i}` }),
      {},
      {},
      /the ids of samples was "/,
    ],
    [
      "another length",
      () => counted(7, bar, { files: [list], variant: "seconds 5" }),
      {},
      {},
      /samples was 6, and is now 7/,
    ],
    [
      "other options",
      () => ({ ...base(), variant: "seconds 3" }),
      {},
      {},
      /the dataset's folder or options was "seconds 5", and is now "seconds 3"/,
    ],
    [
      "another audio window",
      base,
      { audio: { seconds: 0.4 } },
      {},
      /model\.audio\.seconds was 0\.5, and is now 0\.4/,
    ],
    [
      "another front end",
      base,
      { audio: { seconds: 0.5, hop: 100 } },
      {},
      /model\.audio\.hop was 160, and is now 100/,
    ],
    ["another image size", base, { imageSize: 64 }, {}, /side was 35, and is now 70/],
    ["another crop", base, {}, { augment: { crop: false } }, /images was "short", and is now "square"/],
  ])("is rejected: %s", async (_, data, options, recipe, message) => {
    using before = await Model.create(tiny, { seed: 1 });
    using model = await Model.create({ ...tiny, ...options }, { seed: 1 });
    const folder = newFolder();
    await (await open(folder, base(), { model: before, config: parseTrainConfig({}) })).close();
    const error = await open(folder, data(), { model, config: parseTrainConfig(recipe) }).then(
      () => undefined,
      (reason: SoundspotError) => reason,
    );
    expect(error?.code).toBe("ERR_CONFIG");
    expect(error?.message).toMatch(message);
    expect(error?.message).toContain("Give another folder, or delete this one");
  });

  it("is rejected: another content of a list", async () => {
    using model = await Model.create(tiny, { seed: 1 });
    const place = { model, config: parseTrainConfig({}) };
    const folder = newFolder();
    await (await open(folder, base(), place)).close();
    writeFileSync(list, "second");
    onTestFinished(() => writeFileSync(list, "first"));
    await expect(open(folder, base(), place)).rejects.toThrow(/the content of the dataset's lists was "/);
  });

  it("is the same for what does not shape what is stored", async () => {
    using before = await Model.create(tiny, { seed: 1 });
    using model = await Model.create({ ...tiny, dim: 32, imageWidth: 8 }, { seed: 2 });
    const folder = newFolder();
    await (await open(folder, base(), { model: before, config: parseTrainConfig({}) })).close();
    const config = parseTrainConfig({
      seed: 9,
      batchSize: 3,
      augment: { flipProbability: 1, frequencyMask: 2 },
    });
    await (await open(folder, base(), { model, config })).close();
  });
});

describe("data that cannot be stored", () => {
  it.each<[string, Dataset, TrainOptions, RegExp]>([
    ["drawn scenes", datasets.scenes({ size: 32, length: 8 }), {}, /scenes does not know the ids/],
    [
      "an order of its own",
      counted(8, bar, { sequence: { order: "own", batches: async function* () {} } }),
      {},
      /counted is read forwards/,
    ],
    ["a random audio window", counted(8, bar), { augment: { audioRange: [0, 0.5] } }, /audioRange/],
  ])("is rejected before the first step: %s", async (_, data, recipe, message) => {
    const folder = newFolder();
    const error = await train({ data, model: tiny, batchSize: 4, epochs: 1, store: folder, ...recipe }).then(
      () => undefined,
      (reason: SoundspotError) => reason,
    );
    expect(error?.code).toBe("ERR_CONFIG");
    expect(error?.message).toMatch(message);
    expect(readdirSync(folder)).toEqual([]);
    await data.close?.();
  });
});
