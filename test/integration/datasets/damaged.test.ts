/** Runs on data with damaged samples: what takes their places, what is listed, and when a run stops. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { hash, permutation } from "../../../src/core/random.js";
import { isDamage } from "../../../src/datasets/damage.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  type Dataset,
  datasets,
  evaluate,
  Model,
  retrieve,
  type SkippedInRun,
  SoundspotError,
  type StepEvent,
  type TrainOptions,
  type TrainRunOptions,
  train,
} from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { bar, bars } from "../../support/scored.js";
import { encodedPair, sampleEntries } from "../../support/shards.js";
import { tiny } from "../../support/tiny.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-damaged-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = () => {
  const folder = join(root, String(folders++));
  return folder;
};

const recipe: TrainOptions = {
  epochs: 2,
  batchSize: 4,
  learningRate: 2e-3,
  schedule: { type: "one-cycle" },
  falseNegatives: { k: 2 },
  seed: 3,
};
const LENGTH = 14; // 3 batches of 4

/** Bars of which some cannot be read; `log` has the indices in the order in which they were asked for. */
function holed(damaged: ReadonlySet<number>, length = LENGTH): Dataset {
  return {
    ...bars(length),
    idOf: (index) => `bar-${index}`,
    load: async (index) => {
      if (damaged.has(index)) throw new SoundspotError("ERR_MEDIA_DECODE", `bar-${index}.png is truncated`);
      return bar(index);
    },
  };
}

const run = (options: Partial<TrainRunOptions> & Pick<TrainRunOptions, "data">) =>
  train({ model: tiny, ...recipe, maxDamaged: 1, ...options });

async function failureOf(work: Promise<unknown>): Promise<SoundspotError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, "it was expected to fail").toBeInstanceOf(SoundspotError);
  return error as SoundspotError;
}

const bytesOf = async (model: Model) =>
  Buffer.concat(
    (await model.parameters()).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  );

async function lastOf(folder: string): Promise<Buffer> {
  using model = await Model.load(join(folder, "last.safetensors"));
  return bytesOf(model);
}

const linesOf = <T>(folder: string, name: string): T[] =>
  existsSync(join(folder, name))
    ? readFileSync(join(folder, name), "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as T)
    : [];
const skippedIn = (folder: string) => linesOf<SkippedInRun>(folder, "skipped.jsonl");

/** Runs, and aborts when step `at` is done. */
async function aborted(
  at: number,
  options: Partial<TrainRunOptions> & Pick<TrainRunOptions, "data">,
): Promise<void> {
  const control = new AbortController();
  const onStep = ({ step }: StepEvent) => step === at && control.abort();
  const error = await failureOf(run({ ...options, signal: control.signal, onStep }));
  expect(error.code).toBe("ERR_ABORTED");
}

/** The samples of the batches of an epoch with their replacements, by the rule as it is documented. */
function expected(damaged: ReadonlySet<number>, epoch: number, length = LENGTH): number[] {
  const { seed = 0, batchSize = 4 } = recipe;
  const order = [...permutation(length, seed, epoch)].slice(0, Math.floor(length / batchSize) * batchSize);
  return order.map((index) => {
    let found = index;
    for (let attempt = 0; damaged.has(found); attempt++) {
      found = Number(hash(seed, epoch, index, attempt) % BigInt(length));
    }
    return found;
  });
}

describe("a run on damaged samples", () => {
  it("takes for each the next draw of its own sequence, the same in every run and after every resume", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(LENGTH - 1), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5 }),
        async (indices, stop) => {
          const damaged = new Set(indices);
          // A dataset whose damaged places hold what the rule puts there gives the same run.
          const read: number[][] = [[], []];
          const spied: Dataset = {
            ...holed(damaged),
            load: async (index, { epoch = 0 } = {}) => {
              const sample = await holed(damaged).load(index);
              read[epoch]?.push(index);
              return sample;
            },
          };
          const [whole, parts] = [newFolder(), newFolder()];
          const first = await run({ data: spied, output: whole });
          const after = await bytesOf(first.model);
          first.model.dispose();
          for (const epoch of [0, 1]) {
            expect(read[epoch]?.toSorted()).toEqual(expected(damaged, epoch).toSorted());
          }
          await aborted(stop, { data: holed(damaged), output: parts });
          const second = await run({ data: holed(damaged), output: parts, resume: true });
          expect(second.steps).toBe(6);
          expect((await bytesOf(second.model)).equals(after)).toBe(true);
          second.model.dispose();
          for (const name of ["metrics.jsonl", "skipped.jsonl"]) {
            expect(linesOf(parts, name), name).toEqual(linesOf(whole, name));
          }
          const met = new Set(skippedIn(whole).map(({ index }) => index));
          expect(skippedIn(whole).length).toBe(met.size);
          const drawn = [0, 1].flatMap((epoch) => [...permutation(LENGTH, 3, epoch)].slice(0, 12));
          for (const index of indices) if (drawn.includes(index)) expect(met).toContain(index);
          for (const index of met) expect(damaged).toContain(index);
          expect(first.skipped).toEqual(skippedIn(whole));
          expect(second.skipped).toEqual(skippedIn(whole));
        },
      ),
      { numRuns: 6 },
    );
  });

  it("lists each once, with its name, reason and place, and tells of it once", async () => {
    const output = newFolder();
    const reported: SkippedInRun[] = [];
    await run({ data: holed(new Set([5])), output, onSkip: (sample) => reported.push(sample) });
    const place = [...permutation(LENGTH, 3, 0)].indexOf(5);
    const epoch = place < 12 ? 0 : 1;
    const step =
      3 * epoch + Math.floor((epoch === 0 ? place : [...permutation(LENGTH, 3, 1)].indexOf(5)) / 4) + 1;
    expect(reported).toEqual([
      {
        index: 5,
        id: "bar-5",
        code: "ERR_MEDIA_DECODE",
        reason: "bar-5.png is truncated",
        epoch,
        step,
        samples: LENGTH,
      },
    ]);
    expect(skippedIn(output)).toEqual(reported);
    // A fresh run in the same folder begins a list of its own; without damage there is no file.
    await run({ data: bars(LENGTH), output });
    expect(existsSync(join(output, "skipped.jsonl"))).toBe(false);
  });

  it("stops before the step when there are more than maxDamaged, and goes on as if nothing had been", async () => {
    const [whole, output] = [newFolder(), newFolder()];
    await run({ data: bars(LENGTH), output: whole });
    const damaged = new Set([1, 4, 9]);
    const most = 2.5 / LENGTH; // two may be
    const error = await failureOf(run({ data: holed(damaged), output, maxDamaged: most }));
    expect(error.code).toBe("ERR_DATASET");
    expect(error.message).toContain(`3 of the ${LENGTH} samples of bars`);
    expect(error.message).toContain(join(output, "skipped.jsonl"));
    for (const index of damaged) expect(error.message).toContain(`bar-${index}`);
    expect(
      skippedIn(output)
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual([1, 4, 9]);
    // Allowed more, it goes on; what it meets again is not listed twice.
    const copy = newFolder();
    cpSync(output, copy, { recursive: true });
    const { steps } = await run({ data: holed(damaged), output: copy, resume: true, maxDamaged: 3 / LENGTH });
    expect(steps).toBe(6);
    expect(
      skippedIn(copy)
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual([1, 4, 9]);
    // With one repaired the other two are few enough, although the list had three.
    const repaired = await run({ data: holed(new Set([1, 4])), output, resume: true, maxDamaged: most });
    expect(repaired.steps).toBe(6);
    // At the default share one of fourteen is too many, and nothing was trained on a replacement.
    const single = newFolder();
    const few = await failureOf(train({ model: tiny, ...recipe, data: holed(new Set([7])), output: single }));
    expect(few.message).toMatch(/1 of the 14 samples .*maxDamaged.* = 0\.01/);
    await train({ model: tiny, ...recipe, data: bars(LENGTH), output: single, resume: true });
    expect((await lastOf(single)).equals(await lastOf(whole))).toBe(true);
    expect(linesOf(single, "metrics.jsonl")).toEqual(linesOf(whole, "metrics.jsonl"));
    expect(skippedIn(single)).toEqual([]);
  });

  it("counts a sample that was repaired no longer, once the count matters", async () => {
    // All of the list's first part is repaired while the run is stopped; then others break.
    const output = newFolder();
    await aborted(3, { data: holed(new Set([0, 1, 2])), output });
    const before = skippedIn(output).length;
    expect(before).toBeGreaterThan(0);
    const data = holed(new Set([10, 11, 12]));
    const { skipped } = await run({ data, output, resume: true, maxDamaged: 3 / LENGTH });
    expect(skipped.length).toBeGreaterThan(3);
    expect(
      skippedIn(output)
        .slice(0, before)
        .every(({ index }) => index < 3),
    ).toBe(true);
  });

  it("ends at once when it is strict, with the sample's own error", async () => {
    const error = await failureOf(run({ data: holed(new Set([5])), strict: true }));
    expect(error).toMatchObject({ code: "ERR_MEDIA_DECODE", message: "bar-5.png is truncated" });
  });

  it("gives up on a place whose replacements are damaged too", async () => {
    const all = new Set(Array.from({ length: LENGTH }, (_, i) => i));
    const error = await failureOf(run({ data: holed(all), output: newFolder() }));
    expect(error.code).toBe("ERR_DATASET");
    expect(error.message).toMatch(/Neither a sample nor the 20 drawn in its place/);
  });

  it("is ended by what is no damage: the network, a missing program, a bug", async () => {
    const thrown = [
      new SoundspotError("ERR_NETWORK", "out of reach"),
      new SoundspotError("ERR_FFMPEG_MISSING", "no ffmpeg"),
      new SoundspotError("ERR_DATASET", "row 1: no space", {
        cause: new SoundspotError("ERR_FILE_WRITE", "no space"),
      }),
      new SoundspotError("ERR_FILE_NOT_FOUND", "cannot be opened", {
        cause: Object.assign(new Error("too many open files"), { code: "EMFILE" }),
      }),
      new TypeError("a bug"),
    ];
    for (const error of thrown) {
      expect(isDamage(error), error.message).toBe(false);
      const data: Dataset = { ...bars(LENGTH), load: () => Promise.reject(error) };
      await expect(run({ data }), error.message).rejects.toBe(error);
    }
  });

  it("goes on without damaged samples of its evaluation, and lists them too", async () => {
    const output = newFolder();
    const { evaluation, skipped } = await run({
      data: bars(LENGTH),
      evaluation: holed(new Set([2]), 6),
      output,
    });
    expect(evaluation?.samples).toBe(5);
    const listed = {
      index: 2,
      id: "bar-2",
      code: "ERR_MEDIA_DECODE",
      epoch: 0,
      step: 3,
      samples: 6,
      evaluation: true,
    };
    expect(skipped).toMatchObject([listed]);
    expect(skippedIn(output)).toEqual(skipped);
    const most = { maxDamaged: 0.1, output: newFolder() };
    const error = await failureOf(run({ data: bars(LENGTH), evaluation: holed(new Set([2]), 6), ...most }));
    expect(error.message).toMatch(/1 of the 6 samples/);
    const strict = await failureOf(
      run({ data: bars(LENGTH), evaluation: holed(new Set([2]), 6), strict: true }),
    );
    expect(strict.message).toBe("bar-2.png is truncated");
  });

  it("checks its options", async () => {
    const data = bars(LENGTH);
    const wrong: Record<string, unknown>[] = [
      { maxDamaged: 1.5 },
      { maxDamaged: "1%" },
      { strict: 1 },
      { allowChangedData: "yes" },
    ];
    for (const options of wrong) {
      const [name] = Object.keys(options) as [string];
      const error = await failureOf(run({ data, ...options }));
      expect(error).toMatchObject({ code: "ERR_INPUT", message: expect.stringContaining(name) });
    }
  });
});

describe("files that break", () => {
  async function manifest(count: number): Promise<string> {
    const folder = mkdtempSync(join(root, "files-"));
    const rows: string[] = [];
    for (let i = 0; i < count; i++) {
      writeFileSync(join(folder, `${i}.jpg`), await encodeImage(bar(i).image, { format: "jpeg" }));
      writeFileSync(join(folder, `${i}.wav`), encodeWav(bar(i).audio));
      rows.push(JSON.stringify({ image: `${i}.jpg`, audio: `${i}.wav`, label: String(i % 4) }));
    }
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    return folder;
  }

  it("of a manifest are named with their place and why, and the folder that paths start at", async () => {
    const folder = await manifest(12);
    const cut = (name: string, bytes: number) =>
      writeFileSync(join(folder, name), readFileSync(join(folder, name)).subarray(0, bytes));
    cut("1.jpg", 500);
    cut("2.wav", 0);
    cut("3.wav", 30);
    rmSync(join(folder, "4.jpg"));
    const data = await datasets.manifest({ path: join(folder, "pairs.jsonl") });
    const output = newFolder();
    const { skipped } = await run({ data, output });
    const reasons = new Map(skipped.map(({ id, reason }) => [id, reason]));
    expect([...reasons.keys()].toSorted()).toEqual(["1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
    expect(reasons.get("1.jpg")).toMatch(/line 2, field "image".*1\.jpg cannot be decoded: it is truncated/);
    expect(reasons.get("2.jpg")).toMatch(/line 3, field "audio".*2\.wav is empty/);
    expect(reasons.get("3.jpg")).toMatch(/line 4, field "audio".*3\.wav .*truncated/);
    expect(reasons.get("4.jpg")).toContain(
      `4.jpg does not exist. Check the path. Relative paths start at ${folder}.`,
    );
    expect(reasons.get("4.jpg")).not.toContain(process.cwd());
    // Scoring leaves the same four out.
    using model = await Model.create(tiny);
    const found = await retrieve({ model, data, unreadable: "skip", bootstrap: false });
    expect(found.samples).toBe(8);
    expect(found.skipped.map(({ id }) => id)).toEqual(["1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
  });

  it("of shards are skipped and listed like those of a manifest", async () => {
    const entries: Buffer[] = [];
    for (let i = 0; i < 12; i++) {
      const { jpeg, wav } = await encodedPair(i);
      const broken = i === 5 ? jpeg.subarray(0, 400) : jpeg;
      entries.push(sampleEntries(`clip-${String(i).padStart(2, "0")}`, { jpeg: broken, wav }));
    }
    const path = join(root, "clips.tar");
    writeFileSync(path, Buffer.concat([...entries, Buffer.alloc(1024)]));
    const open = () => datasets.shards({ urls: path, readers: 2, buffer: 4 });
    const [whole, parts] = [newFolder(), newFolder()];
    const { skipped } = await run({ data: await open(), output: whole });
    expect(skipped).toMatchObject([
      { index: 5, code: "ERR_DATASET", reason: expect.stringMatching(/clip-05.*truncated/) },
    ]);
    await aborted(4, { data: await open(), output: parts });
    await run({ data: await open(), output: parts, resume: true });
    expect((await lastOf(parts)).equals(await lastOf(whole))).toBe(true);
    expect(skippedIn(parts)).toEqual(skippedIn(whole));
    const strict = await failureOf(run({ data: await open(), strict: true }));
    expect(strict).toMatchObject({ code: "ERR_DATASET", message: expect.stringContaining("clip-05") });
    using model = await Model.create(tiny);
    const settings = { model, data: await open(), bootstrap: false } as const;
    await expect(retrieve(settings)).rejects.toMatchObject({ code: "ERR_DATASET" });
  });
});

describe("a list that changed", () => {
  const shorter = (length: number): Dataset => ({ ...bars(length), idOf: (index) => `bar-${index}` });

  it("is resumed on only where that is allowed, and the message says how", async () => {
    const output = newFolder();
    await aborted(2, { data: bars(LENGTH), output });
    const error = await failureOf(run({ data: bars(13), output, resume: true }));
    expect(error.code).toBe("ERR_CONFIG");
    expect(error.message).toMatch(/number of samples .* it was 14, now 13\. .*--allow-changed-data/);
    const reported: unknown[] = [];
    const { steps } = await run({
      data: bars(13),
      output,
      resume: true,
      allowChangedData: true,
      onResume: (event) => reported.push(event),
    });
    expect(steps).toBe(6);
    expect(reported).toMatchObject([{ step: 2, epoch: 0, samples: 13, samplesBefore: 14 }]);
    // It is a run on 13 now.
    expect((await failureOf(run({ data: bars(14), output, resume: true }))).message).toContain(
      "it was 13, now 14",
    );
  });

  it("goes on at the same share of the epoch, with the schedule of that place", async () => {
    // 14 samples are 3 batches; 26 are 6, 9 are 2.
    for (const [length, stop, batch, left] of [
      [26, 1, 2, 10],
      [9, 4, 1, 1],
      [26, 3, 0, 6],
    ] as const) {
      const output = newFolder();
      await aborted(stop, { data: bars(LENGTH), output });
      const rates: number[] = [];
      let total = 0;
      const { steps } = await run({
        data: bars(length),
        output,
        resume: true,
        allowChangedData: true,
        onStep: ({ learningRate, totalSteps }) => {
          rates.push(learningRate);
          total = totalSteps;
        },
      });
      expect(rates.length, `${length} after ${stop}`).toBe(left);
      expect(steps).toBe(stop + left);
      expect(total).toBe(steps);
      // The same place of an undisturbed run on the new list has the same rates.
      const undisturbed: number[] = [];
      await run({ data: bars(length), onStep: ({ learningRate }) => undisturbed.push(learningRate) });
      const epoch = Math.floor(stop / 3);
      const batches = Math.floor(length / 4);
      expect(rates).toEqual(undisturbed.slice(epoch * batches + batch));
    }
  });

  it("keeps the list of damaged samples, without holding old indices against new samples", async () => {
    const output = newFolder();
    await aborted(3, { data: holed(new Set([0, 1, 2, 3])), output });
    const before = skippedIn(output);
    const { skipped } = await run({
      data: shorter(12),
      output,
      resume: true,
      allowChangedData: true,
      maxDamaged: 0,
    });
    expect(skipped).toEqual(before);
    expect(skippedIn(output)).toEqual(before);
  });
});

describe("evaluate and retrieve", () => {
  it("skip the same errors, name the samples, and count them", async () => {
    using model = await Model.create(tiny);
    const data = holed(new Set([1, 3]), 6);
    const scores = await evaluate({ model, data, unreadable: "skip", bootstrap: false });
    const listed = [1, 3].map((index) => ({
      index,
      id: `bar-${index}`,
      code: "ERR_MEDIA_DECODE",
      reason: `bar-${index}.png is truncated`,
    }));
    expect(scores.samples).toBe(4);
    expect(scores.skipped).toEqual(listed);
    const found = await retrieve({ model, data, unreadable: "skip", bootstrap: false });
    expect(found).toMatchObject({ samples: 4, skipped: listed });
    const cut: Dataset = {
      ...bars(6),
      load: () => Promise.reject(new SoundspotError("ERR_NETWORK", "gone")),
    };
    await expect(evaluate({ model, data: cut, unreadable: "skip" })).rejects.toMatchObject({
      code: "ERR_NETWORK",
    });
  });
});
