/** Checking a whole dataset: what is listed, what an interrupted check leaves, and the command. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { permutation } from "../../../src/core/random.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { checkDataset, type Dataset, datasets, SoundspotError, train } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { bar, bars } from "../../support/scored.js";
import { encodedPair, writeShards } from "../../support/shards.js";
import { tiny } from "../../support/tiny.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-check-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const newFolder = () => mkdtempSync(join(root, "case-"));
const main = new URL("../../../dist/cli/main.js", import.meta.url).pathname;
const built = existsSync(main);
if (!built)
  console.warn(
    "test/integration/preparation/check-dataset.test.ts leaves the command out: there is no dist.",
  );

const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Bars with damage, and what was asked for. */
function holed(length: number, damaged: ReadonlySet<number>, read: number[] = []): Dataset {
  return {
    ...bars(length),
    idOf: (index) => `bar-${index}`,
    load: async (index) => {
      await sleep(index % 3); // samples end out of order
      read.push(index);
      if (damaged.has(index)) throw new SoundspotError("ERR_MEDIA_DECODE", `bar-${index}.png is truncated`);
      return bar(index);
    },
  };
}

const entry = (index: number) => ({
  index,
  id: `bar-${index}`,
  code: "ERR_MEDIA_DECODE",
  reason: `bar-${index}.png is truncated`,
});

describe("a check", () => {
  it("lists what a run would skip, in order, and nothing where all is well", async () => {
    const output = join(newFolder(), "lists", "damaged.jsonl");
    const data = holed(20, new Set([3, 11]));
    const missing = [{ id: "gone", files: ["gone.jpg"] }];
    const result = await checkDataset({ ...data, missing }, { output });
    expect(result).toEqual({
      dataset: "bars",
      samples: 20,
      before: 0,
      damaged: [entry(3), entry(11)],
      missing,
      files: [],
      output,
    });
    expect(linesOf(output)).toEqual([entry(3), entry(11), ...missing]);
    const { skipped } = await train({ data, model: tiny, epochs: 1, batchSize: 20, maxDamaged: 1 });
    const own = skipped.map(({ index, id, code, reason }) => ({ index, id, code, reason }));
    expect(own.toSorted((a, b) => a.index - b.index)).toEqual(result.damaged);
    const well = await checkDataset(bars(5), { output });
    expect(well).toMatchObject({ samples: 5, damaged: [], missing: [], files: [] });
    expect(readFileSync(output, "utf8")).toBe("");
    expect(readdirSync(join(output, ".."))).toEqual(["damaged.jsonl"]);
  });

  it("that is stopped anywhere goes on there and ends with the same list", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 700 }),
        fc.uniqueArray(fc.nat(699), { maxLength: 20 }),
        fc.array(fc.integer({ min: 0, max: 699 }), { maxLength: 3 }),
        async (length, indices, stops) => {
          const damaged = new Set(indices);
          const output = join(newFolder(), "damaged.jsonl");
          const expected = indices.filter((index) => index < length).toSorted((a, b) => a - b);
          let before = 0;
          for (const stop of stops) {
            const control = new AbortController();
            const read: number[] = [];
            let reached = before;
            const stopped = await checkDataset(holed(length, damaged, read), {
              output,
              concurrency: 4,
              signal: control.signal,
              onProgress: (done, total) => {
                expect(total).toBe(length);
                reached = done;
                if (done >= stop) control.abort();
              },
            }).then(
              () => false,
              (error: SoundspotError) => {
                expect(error.code).toBe("ERR_ABORTED");
                return true;
              },
            );
            expect(Math.min(length, ...read)).toBeGreaterThanOrEqual(before);
            expect(existsSync(`${output}.partial`)).toBe(stopped);
            before = stopped ? reached : 0; // after a whole check the next one begins anew
          }
          const read: number[] = [];
          const reported: number[] = [];
          const result = await checkDataset(holed(length, damaged, read), {
            output,
            onDamaged: ({ index }) => reported.push(index),
          });
          expect(result.before).toBe(before);
          expect(read.toSorted((a, b) => a - b)).toEqual(
            Array.from({ length: length - before }, (_, i) => before + i),
          );
          expect(result.damaged).toEqual(expected.map(entry));
          expect(reported).toEqual(expected);
          expect(linesOf(output)).toEqual(expected.map(entry));
          expect(readdirSync(join(output, ".."))).toEqual(["damaged.jsonl"]);
        },
      ),
      // the second: a list that is whole, and a check of the same data that is stopped before its first sample
      {
        numRuns: 8,
        examples: [
          [5, [2], [3]],
          [1, [], [2, 0]],
        ],
      },
    );
  });

  it("begins anew where the data is another or the note is torn", async () => {
    const output = join(newFolder(), "damaged.jsonl");
    const stopAt = async (data: Dataset, at: number) => {
      const control = new AbortController();
      const onProgress = (done: number) => done === at && control.abort();
      const check = checkDataset(data, { output, concurrency: 2, signal: control.signal, onProgress });
      await expect(check).rejects.toMatchObject({ code: "ERR_ABORTED" });
    };
    await stopAt(holed(30, new Set([1])), 12);
    const renamed = { ...holed(30, new Set([1])), idOf: (index: number) => `other-${index}` };
    expect(await checkDataset(renamed, { output })).toMatchObject({ before: 0, damaged: [{ index: 1 }] });
    await stopAt(holed(30, new Set([1, 5])), 12);
    const partial = `${output}.partial`;
    const text = readFileSync(partial, "utf8");
    writeFileSync(partial, text.slice(0, -4)); // a kill while it was written
    const torn = await checkDataset(holed(30, new Set([1, 5])), { output });
    expect(torn.damaged).toEqual([entry(1), entry(5)]);
    writeFileSync(partial, "no JSON\n");
    expect((await checkDataset(holed(30, new Set([5])), { output })).damaged).toEqual([entry(5)]);
  });

  it("ends with what is no damage, and with wrong options", async () => {
    const broken: Dataset = {
      ...bars(4),
      load: () => Promise.reject(new SoundspotError("ERR_NETWORK", "gone")),
    };
    await expect(checkDataset(broken)).rejects.toMatchObject({ code: "ERR_NETWORK" });
    await expect(checkDataset(bars(4), { concurrency: 0 })).rejects.toMatchObject({
      code: "ERR_INPUT",
      message: expect.stringContaining("concurrency"),
    });
    await expect(checkDataset(bars(4), { output: root })).rejects.toMatchObject({ code: "ERR_FILE_WRITE" });
  });

  it("reads every sample of shards once, forwards, and names the damaged ones", async () => {
    const folder = newFolder();
    const cut = async (index: number) => {
      const { jpeg, wav } = await encodedPair(index);
      return { jpeg: index === 7 ? jpeg.subarray(0, 300) : jpeg, wav };
    };
    await writeShards(folder, 3, 5, cut);
    const open = () => datasets.shards({ urls: join(folder, "train-{000000..000002}.tar"), buffer: 4 });
    const output = join(folder, "damaged.jsonl");
    const whole = await checkDataset(await open(), { output });
    expect(whole).toMatchObject({ samples: 15, damaged: [{ index: 7, code: "ERR_DATASET" }], files: [] });
    expect(whole.damaged[0]?.reason).toMatch(/train-000001\.tar, sample 000007: .*truncated/);
    const control = new AbortController();
    const onProgress = (done: number) => done === 6 && control.abort();
    const stopped = checkDataset(await open(), {
      output,
      concurrency: 1,
      signal: control.signal,
      onProgress,
    });
    await expect(stopped).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const rest = await checkDataset(await open(), { output });
    expect(rest).toMatchObject({ before: 6, damaged: whole.damaged });
  });
});

describe.skipIf(!built)("the commands", () => {
  async function manifest(count: number): Promise<string> {
    const folder = newFolder();
    const rows: string[] = [];
    for (let i = 0; i < count; i++) {
      writeFileSync(join(folder, `${i}.png`), await encodeImage(bar(i).image, { format: "png" }));
      writeFileSync(join(folder, `${i}.wav`), encodeWav(bar(i).audio));
      rows.push(JSON.stringify({ image: `${i}.png`, audio: `${i}.wav` }));
    }
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    return folder;
  }

  it("check exits with 0 when all is well and 1 when not, and writes the list", async () => {
    const folder = await manifest(6);
    const run = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [main, "check", "pairs.jsonl", ...args],
        {
          cwd: folder,
          encoding: "utf8",
        },
      );
      return { code: status, text: stdout + stderr };
    };
    expect(run()).toEqual({ code: 0, text: "6 samples read: no damage; damaged.jsonl\n" });
    rmSync(join(folder, "4.wav"));
    const { code, text } = run("--output", "bad.jsonl");
    expect(code).toBe(1);
    expect(text).toMatch(/6 samples read: 1 damaged or missing; bad\.jsonl/);
    expect(text).toMatch(/unreadable 1: .*4\.wav does not exist.*Relative paths start at/);
    expect(linesOf(join(folder, "bad.jsonl"))).toMatchObject([
      { index: 4, id: "4.png", code: "ERR_DATASET" },
    ]);
    const json = run("--json");
    expect(json.code).toBe(1);
    expect(JSON.parse(json.text)).toMatchObject({ samples: 6, damaged: [{ index: 4 }] });
    expect(run("--concurrency", "0").code).toBe(2);
  });

  it("train and score with damage as configured, and say how much was skipped", async () => {
    const folder = await manifest(9);
    const rows = Array.from({ length: 9 }, (_, i) =>
      JSON.stringify({ image: `${i}.png`, audio: `${i}.wav`, label: String(i % 4), boxes: [[0, 0, 8, 40]] }),
    );
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    const train = { epochs: 1, batchSize: 8, augment: false };
    writeFileSync(join(folder, "tiny.yaml"), JSON.stringify({ preset: "scratch", model: tiny, train }));
    writeFileSync(join(folder, "0.png"), readFileSync(join(folder, "0.png")).subarray(0, 200));
    const run = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
        cwd: folder,
        encoding: "utf8",
      });
      return { code: status, text: stdout + stderr };
    };
    const common = [
      "train",
      "--data",
      "pairs.jsonl",
      "--config",
      "tiny.yaml",
      "--output",
      "run",
      "--seed",
      "2",
    ];
    expect([...permutation(9, 2, 0)].indexOf(0)).toBeLessThan(8);
    const strict = run(...common, "--strict");
    expect(strict).toMatchObject({ code: 1, text: expect.stringMatching(/0\.png.*truncated.*ERR_DATASET/) });
    const most = run(...common);
    expect(most.code).toBe(1);
    expect(most.text).toMatch(
      /1 of the 9 samples of pairs .*--max-damaged.* = 0\.01 allows: 0\.png.*skipped\.jsonl/,
    );
    const skipping = run(...common, "--max-damaged", "0.2");
    expect(skipping.code).toBe(0);
    expect(skipping.text).toMatch(/training data: unreadable 1: .*0\.png/);
    expect(skipping.text).toContain(`1 damaged sample skipped; ${join("run", "skipped.jsonl")}`);
    expect(linesOf(join(folder, "run", "skipped.jsonl"))).toMatchObject([{ index: 0, id: "0.png", step: 1 }]);
    writeFileSync(join(folder, "pairs.jsonl"), rows.slice(1).join("\n"));
    const rejected = run(...common, "--resume");
    expect(rejected).toMatchObject({ code: 2, text: expect.stringContaining("--allow-changed-data") });
    const changed = run(...common, "--resume", "--allow-changed-data");
    expect(changed.code).toBe(0);
    expect(changed.text).toContain("on 8 samples where there were 9");
    expect(run(...common, "--max-damaged", "2").code).toBe(2);
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    const checkpoint = join("run", "last.safetensors");
    for (const command of ["evaluate", "retrieve"]) {
      const scoring = [command, checkpoint, "--data", "pairs.jsonl", "--resamples", "0"];
      expect(run(...scoring)).toMatchObject({ code: 1, text: expect.stringContaining("truncated") });
      const scores = run(...scoring, "--skip-unreadable");
      expect(scores.text).toMatch(/pairs: 8 samples, 1 unreadable and skipped, /);
      expect(scores.code).toBe(0);
    }
  });

  it.skipIf(process.platform === "win32")("check goes on after SIGINT where it was", async () => {
    const folder = await manifest(4);
    const rows = Array.from({ length: 4000 }, (_, i) =>
      JSON.stringify({
        id: `row-${i}`,
        image: `${i % 4}.png`,
        audio: i === 17 ? "absent.wav" : `${i % 4}.wav`,
      }),
    );
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    const child = spawn(process.execPath, [main, "check", "pairs.jsonl", "--json"], { cwd: folder });
    const partial = join(folder, "damaged.jsonl.partial");
    const ended = new Promise<number | null>((done) => child.on("exit", done));
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    while (!existsSync(partial) || !readFileSync(partial, "utf8").includes("row-17")) await sleep(5);
    child.kill("SIGINT");
    expect(await ended).toBe(1);
    expect(errors).toMatch(/Stopped by SIGINT.*damaged\.jsonl\.partial.*ERR_ABORTED/);
    const rest = spawn(process.execPath, [main, "check", "pairs.jsonl", "--json"], { cwd: folder });
    let output = "";
    rest.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    expect(await new Promise((done) => rest.on("close", done))).toBe(1);
    const result = JSON.parse(output) as { before: number; samples: number; damaged: unknown[] };
    expect(result.before).toBeGreaterThanOrEqual(18);
    expect(result.before).toBeLessThan(4000);
    expect(result.damaged).toMatchObject([{ id: "row-17", index: 17 }]);
    expect(existsSync(partial)).toBe(false);
  });
});
