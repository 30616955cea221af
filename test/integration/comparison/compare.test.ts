/** `soundspot compare` and `soundspot neighbours` from the command line: figures, resuming, errors. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { overSeeds } from "../../../src/ablation/seeds.js";
import { discMap } from "../../../src/comparison/centred-disc.js";
import { publishedTables } from "../../../src/comparison/published.js";
import { budgets, comparedMethods, recipeOf } from "../../../src/comparison/recipes.js";
import type { ComparedRun } from "../../../src/comparison/run.js";
import { figuresTable } from "../../../src/comparison/tables.js";
import { parseModelConfig } from "../../../src/config/model.js";
import { mergeTrain, presets } from "../../../src/config/presets.js";
import { parseTrainConfig } from "../../../src/config/train.js";
import { Model } from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-compare-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const main = join(process.cwd(), "dist/cli/main.js");
const built = existsSync(main);
const soundspot = async (...args: string[]) => {
  const done = await promisify(execFile)(process.execPath, [main, ...args], { cwd: folder }).catch(
    (error: { stdout: string; stderr: string; code: number }) => error,
  );
  return { stdout: done.stdout, stderr: done.stderr, code: "code" in done ? done.code : 0 };
};

const scenes = (fields: string) => `scenes:size=32,seconds=1,${fields}`;
const compare = (...more: string[]) =>
  soundspot(
    ...["compare", "--data", scenes("length=12"), "--evaluation", scenes("split=test,length=6")],
    ...["--two-sources", scenes("split=test,length=4,sources=2"), "--seeds", "2", "--batch-size", "4"],
    ...["--epochs", "1", "--methods", "joint-slot-attention,alignment,slavc", "--images", "2"],
    ...["--output", "out", ...more],
  );
const result = () =>
  JSON.parse(readFileSync(join(folder, "out/comparison.json"), "utf8")) as {
    runs: ComparedRun[];
    disc: object;
  };

describe.skipIf(!built)("soundspot compare", () => {
  it("trains and scores every method with every seed, and writes tables and maps", async () => {
    const { stdout, stderr, code } = await compare();
    expect([code, stderr.replaceAll(/^.*%.*\n|^.*\d+:\d+.*\n/gm, "")]).toEqual([0, ""]);
    const { runs } = result();
    expect(runs.map(({ method, seed }) => `${method} ${seed}`)).toEqual([
      ...["joint-slot-attention 0", "alignment 0", "slavc 0"],
      ...["joint-slot-attention 1", "alignment 1", "slavc 1"],
    ]);
    for (const {
      method,
      scores,
      parameters,
      pairs,
      epochs,
      minutes,
      milliseconds,
      twoSources,
      memory,
    } of runs) {
      expect([pairs, epochs, scores.samples]).toEqual([12, 1, 6]);
      expect(Object.keys(scores.protocols ?? {})).toEqual(["jsa", "area", "adaptive"]);
      for (const figure of [minutes, milliseconds, memory]) expect(figure).toBeGreaterThan(0);
      expect(twoSources).toBeGreaterThanOrEqual(0);
      expect(parameters.stored / parameters.trained).toBe(method === "slavc" ? 2 : 1);
    }
    const own = runs.filter(({ method }) => method === "alignment");
    const { mean, interval = [0, 0] } = overSeeds(
      own.map(({ scores }) => scores.protocols?.jsa?.audio?.auc ?? -1),
    );
    const half = 100 * ((interval[1] - interval[0]) / 2);
    const [line = ""] = stdout.match(/^Alignment.*$/m) ?? [];
    expect(line).toContain(`${(100 * mean).toFixed(1)} ± ${half.toFixed(1)}`);
    expect(stdout).toContain("after the warm-up");
    const html = readFileSync(join(folder, "out/report.html"), "utf8");
    for (const text of ["Centred disc", "Joint slot attention, IQR", "SLAVC", "The same images"]) {
      expect(html).toContain(text);
    }
    expect(html.match(/<img /g)?.length).toBeGreaterThanOrEqual(2 * 3);
  }, 300_000);

  it("keeps what is finished, and goes on where scores are missing", async () => {
    const before = result();
    const weights = join(folder, "out/slavc/seed-1/last.safetensors");
    const { mtimeMs } = statSync(weights);
    rmSync(join(folder, "out/slavc/seed-1/scores.json"));
    const { stdout, code } = await compare();
    expect(code).toBe(0);
    expect(stdout.match(/from before/g)).toHaveLength(5);
    expect(statSync(weights).mtimeMs).toBe(mtimeMs);
    const after = result();
    const figures = ({ runs }: { runs: ComparedRun[] }) =>
      runs.map(({ milliseconds, minutes, ...rest }) => rest);
    expect(figures(after)).toEqual(figures(before));
  }, 300_000);

  it("sets a benchmark's published figures beside its own", async () => {
    const { stdout, code } = await compare("--published", "vggss");
    expect(code).toBe(0);
    expect(stdout).toMatch(/VGG-SS, with published figures/);
    const rows = stdout.split("\n");
    const [own, published] = [
      rows.findIndex((row) => /^Alignment +area +scenes, 12 pairs +this comparison/.test(row)),
      rows.findIndex((row) => /^Alignment +area +VGG-Sound 144k +table 1 +39\.9 +40\.0/.test(row)),
    ];
    expect(own).toBeGreaterThan(0);
    expect(published).toBeGreaterThan(own);
    expect(readFileSync(join(folder, "out/report.html"), "utf8")).toContain("VGG-SS, with published figures");
  }, 300_000);

  it.each([
    [["--protocol", "jsa"], /other conditions: protocols/],
    [["--epochs", "2"], /other conditions: budget/],
    [["--methods", "lvs,none"], /There is no compared method "none"/],
    [["--published", "cityscapes"], /cityscapes/],
    [["--protocol", "none"], /there is no protocol "none"/],
    [["--encoders", "published", "--output", "other"], /--neighbours/],
    [["--data", "missing.jsonl", "--output", "other"], /missing\.jsonl/],
  ])("rejects %j with a sentence", async (more, message) => {
    const { stderr, code } = await compare(...more);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\bat .*\.js:\d/);
    expect(code).not.toBe(0);
  });

  it("says which file of an earlier comparison is damaged", async () => {
    const path = join(folder, "out/alignment/seed-0/scores.json");
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, 100));
    const { stderr, code } = await compare();
    writeFileSync(path, whole);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/scores\.json is damaged/)]);
  });
});

describe.skipIf(!built)("soundspot neighbours", () => {
  it("writes the neighbours of a manifest's samples beside it", async () => {
    const rows: string[] = [];
    mkdirSync(join(folder, "pairs"));
    for (let i = 0; i < 6; i++) {
      const data = Buffer.from(Array.from({ length: 32 * 32 * 3 }, (_, n) => (n * (i + 3)) % 256));
      await sharp(data, { raw: { width: 32, height: 32, channels: 3 } })
        .png()
        .toFile(join(folder, `pairs/${i}.png`));
      const samples = Float32Array.from({ length: 8000 }, (_, n) => 0.3 * Math.sin(n * (i + 1) * 0.05));
      writeFileSync(join(folder, `pairs/${i}.wav`), encodeWav({ samples, sampleRate: 16_000, channels: 1 }));
      rows.push(JSON.stringify({ id: `p${i}`, image: `pairs/${i}.png`, audio: `pairs/${i}.wav` }));
    }
    writeFileSync(join(folder, "pairs.jsonl"), rows.join("\n"));
    using model = await Model.create(tiny);
    await model.save(join(folder, "tiny.safetensors"));
    const args = ["neighbours", "--encoder", "tiny.safetensors", "--data", "pairs.jsonl", "--k", "3"];
    const { stdout, code } = await soundspot(...args);
    expect([code, stdout]).toEqual([0, expect.stringContaining("6 samples, 3 neighbours each")]);
    const { neighbours } = JSON.parse(readFileSync(join(folder, "pairs.jsonl.neighbours.json"), "utf8"));
    for (const [id, own] of Object.entries(neighbours as Record<string, string[]>)) {
      expect(new Set(own).size).toBe(3);
      expect(own).not.toContain(id);
    }
    const { stderr } = await soundspot(
      "neighbours",
      "--encoder",
      "tiny.safetensors",
      "--data",
      scenes("length=6"),
    );
    expect(stderr).toMatch(/--output/);
  });
});

describe("recipes", () => {
  it.each(comparedMethods)(
    "of %s are valid, published and shared, and begin with the same warm-up where shared",
    (method) => {
      for (const encoders of ["published", "shared"] as const) {
        const { preset, model, train } = recipeOf(method, encoders);
        const config = parseModelConfig(model);
        expect(config.method.name).toBe(method);
        const { losses } = parseTrainConfig(mergeTrain(presets[preset].train, train, method), method);
        if (encoders === "published") continue;
        const shared = presets.scratch.train.losses.pooled;
        expect(losses.pooled).toMatchObject(shared);
        const others = Object.entries(losses).filter(([name, { weight }]) => name !== "pooled" && weight > 0);
        expect(others.length).toBeGreaterThan(0);
        expect(Math.min(...others.map(([, { from }]) => from))).toBe(shared.until);
      }
      expect(budgets.small.epochs).toBeGreaterThan(presets.scratch.train.losses.pooled.until);
    },
  );
});

describe("the table of figures", () => {
  const scored = (ciou: number) => ({ protocols: { jsa: { audio: { ciou, auc: ciou / 2 } } } }) as never;
  const run = (method: string, seed: number, ciou: number) =>
    ({ method, seed, scores: scored(ciou) }) as never;

  it("marks maps that are not above the centred disc", () => {
    const runs = [run("lvs", 0, 0.1), run("lvs", 1, 0.2), run("fnac", 0, 0.3), run("fnac", 1, 0.5)];
    const { rows, note } = figuresTable(runs, scored(0.16), ["jsa"]);
    expect(rows.map(([name]) => name)).toEqual(["FNAC", "LVS *", "Centred disc"]);
    // Mean 40, t(1 degree) = 12.706, s / √2 = 10.
    expect(rows[0]?.[1]).toBe("40.0 ± 127.1");
    expect(note).toContain("did not learn");
  });

  it("has a disc of 12 % at 0.6", () => {
    const map = discMap(100, 100);
    expect(map.filter((value) => value >= 0.6).length / map.length).toBeCloseTo(0.12, 2);
    expect(Math.max(...map)).toBeGreaterThan(0.98);
  });
});

describe("the tables of published figures", () => {
  const own = (ciou: number, extra: object = {}) => ({
    protocols: { jsa: { audio: { ciou, auc: ciou }, iqr: { ciou: ciou / 2, auc: ciou } } },
    ...extra,
  });
  const runs = (method: string, scores: object) => [{ method, seed: 0, scores }] as never;

  it("have no rows without a benchmark", () => {
    expect(publishedTables(runs("lvs", own(0.4)), ["jsa"], undefined, "mine")).toEqual([]);
  });

  it("put rows of a method together, its own first, and name source, protocol and training set", () => {
    const [table, ...rest] = publishedTables(
      runs("joint-slot-attention", own(0.4)),
      ["jsa"],
      "flickr",
      "pairs, 9 pairs",
    );
    expect(rest).toEqual([]);
    expect(table?.columns).toEqual(["method and map", "protocol", "trained on", "source", "cIoU@0.5", "AUC"]);
    const jsa = (table?.rows ?? []).slice(0, 4);
    expect(jsa).toEqual([
      ["Joint slot attention", "jsa", "pairs, 9 pairs", "this comparison", "40.0", "40.0"],
      ["Joint slot attention, IQR", "jsa", "pairs, 9 pairs", "this comparison", "20.0", "40.0"],
      ["Joint slot attention, IQR", "jsa", "Flickr 10k", "table 1", "85.2", "65.3"],
      ["Joint slot attention, IQR", "jsa", "Flickr 144k", "table 1", "86.0", "65.2"],
    ]);
    const names = (table?.rows ?? []).map(([name = ""]) => name.split(",")[0]);
    const firsts = names.filter((name, i) => name !== names[i - 1]);
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it("have the paper's retrieval where this comparison has some, a row a map", () => {
    const retrieval = { audioToImage: [0.5, 0.6, 0.7], imageToAudio: [0.1, 0.2, 0.3] };
    const tables = publishedTables(runs("lvs", own(0.4, { retrieval })), ["jsa", "area"], "vggss", "mine");
    expect(tables.map(({ title }) => title)).toEqual([
      "VGG-SS, with published figures",
      "Retrieval on VGG-SS, with published figures",
    ]);
    const lvs = tables[1]?.rows.filter(([name]) => name === "LVS");
    expect(lvs?.[0]).toEqual([
      ...["LVS", "retrieval", "mine", "this comparison"],
      ...["50.0", "60.0", "70.0", "10.0", "20.0", "30.0"],
    ]);
    expect(lvs?.[1]?.slice(4)).toEqual(["3.9", "12.3", "20.7", "4.9", "14.3", "21.4"]);
  });

  it("of scores by confidence say so, once a map", () => {
    const scores = own(0.4, { extended: { audio: { averagePrecision: 0.5, bestF1: 0.25 } } });
    const [table] = publishedTables(runs("slavc", scores), ["jsa", "area"], "vggss-extended", "mine");
    expect(table?.rows.map((row) => row.slice(1, 6))).toEqual([
      ["by confidence", "mine", "this comparison", "50.0", "25.0"],
      ["by confidence", "training set not stated", "README of SLAVC", "33.0", "40.0"],
    ]);
  });

  it("of masks have the figures that no protocol decides once for all", () => {
    const scores = {
      audio: { meanIou: 0.9, maxF: 0.3 },
      protocols: { jsa: { audio: { meanIou: 0.2 } } },
    };
    const [table] = publishedTables(runs("slavc", scores), ["jsa"], "avsbench-s4", "mine");
    expect(table?.columns.slice(4)).toEqual(["mean IoU", "max F"]);
    expect(table?.rows.find(([name]) => name === "SLAVC")?.slice(4)).toEqual(["20.0", "30.0"]);
  });
});
