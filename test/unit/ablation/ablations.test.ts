/** Ablations, the files that `soundspot ablate` keeps between invocations, and messages about missing files. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type Ablation,
  ablations,
  keptLosses,
  recipeOf,
  variantsOf,
} from "../../../src/ablation/ablations.js";
import { register as registerAblate } from "../../../src/cli/commands/ablate.js";
import { register as registerRetrieve } from "../../../src/cli/commands/retrieve.js";
import { register as registerTrain } from "../../../src/cli/commands/train.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  datasets,
  Model,
  metrics,
  parseTrainConfig,
  presets,
  type TrainConfig,
  type TrainOptions,
} from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { publishedAblations } from "../../../src/report/published-ablations.js";
import { enlarge } from "../../support/bicubic.js";
import { bar } from "../../support/scored.js";
import { ofSlots, tiny } from "../../support/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-ablations-"));
const at = (...names: string[]) => join(folder, ...names);
const data = `vggsound:root=${folder},list=${at("train.csv")}`;
const sameData = `vggsound:root=${folder},list=${at("train-copy.csv")}`;
const whole = `vggss:root=${folder},annotations=${at("vggss.json")}`;
const part = `${whole},list=${at("vggss_heard_test.csv")}`;
const evaluation = whole;
const tinyTraining: TrainOptions = { epochs: 1, batchSize: 4, falseNegatives: { k: 2 } };

/** Eight pairs; the lists name one more, whose files are missing. */
beforeAll(async () => {
  for (const name of ["frames", "audio"]) mkdirSync(at(name));
  const ids = Array.from({ length: 8 }, (_, i) => `clip_00000${i}`);
  for (const [i, id] of ids.entries()) {
    const { image, audio } = bar(i);
    writeFileSync(at("frames", `${id}.jpg`), await encodeImage(image, { format: "jpeg" }));
    writeFileSync(at("audio", `${id}.wav`), encodeWav(audio));
  }
  for (const name of ["train.csv", "train-copy.csv"]) {
    writeFileSync(at(name), [...ids, "gone_000000"].join("\n"));
  }
  const clips = [...ids.slice(0, 6), "absent_000000"].map((file, i) => {
    const left = (i % 4) / 4;
    return { file, class: String(i % 4), bbox: [[left, 0, left + 0.2, 1]] };
  });
  writeFileSync(at("vggss.json"), JSON.stringify(clips));
  writeFileSync(at("vggss_test.csv"), clips.map(({ file }) => file).join("\n"));
  writeFileSync(at("vggss_heard_test.csv"), ids.slice(0, 4).join("\n"));
  writeFileSync(at("tiny.yaml"), JSON.stringify({ model: tiny, train: tinyTraining }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command in this process, without a build. */
async function soundspot(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const program = new Command().exitOverride();
  for (const register of [registerAblate, registerTrain, registerRetrieve]) register(program);
  const written = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    await program.parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return written;
}

const ablate = (ablation: string, output: string, ...args: string[]) =>
  soundspot(
    "ablate",
    ablation,
    "--evaluation",
    evaluation,
    "--config",
    at("tiny.yaml"),
    "--output",
    output,
    ...args,
  );

interface Scores {
  ciou: number;
  meanIou: number;
  maxF: number;
}
interface Row {
  variant: string;
  seed?: number;
  minutes: number | null;
  scores: { audio: Scores & { auc: number }; iqr: Scores & { auc: number } };
  targets?: { audio: Scores[]; iqr: Scores[] };
}
const rowsOf = (output: string) =>
  (JSON.parse(readFileSync(join(output, "ablation.json"), "utf8")) as { rows: Row[] }).rows;

const ablation = (name: string) => ablations[name] as Ablation;
const weights = ({ losses }: Pick<TrainConfig, "losses">) =>
  Object.fromEntries(Object.entries(losses).map(([name, { weight }]) => [name, weight]));
const paper = parseTrainConfig();
const scratch = parseTrainConfig(presets.scratch.train);
const recipes = (name: string, recipe: TrainConfig) =>
  ablation(name).variants.map((variant) => parseTrainConfig(recipeOf(variant, recipe)));

describe("ablations", () => {
  it("switch every subset of the losses off and keep the others unchanged", () => {
    const off = recipes("losses", paper).map((recipe) => {
      const all = weights(recipe);
      expect(all).toMatchObject({ contrastive: 1 });
      return Object.keys(all).filter((name) => all[name] === 0);
    });
    expect(new Set(off.map((names) => names.sort().join())).size).toBe(8);
    expect(ablation("losses").variants.map(({ name }) => name)).toContain(
      "contrastive, matching, reconstruction",
    );
    expect(off[0]?.sort()).toEqual(["divergence", "matching", "reconstruction"]);
    expect(off.at(-1)).toEqual([]);
    const [alone] = recipes("losses", scratch);
    expect(weights(alone as TrainConfig)).toMatchObject({ pooled: 1, crossAttention: 1, matching: 0 });
  });

  it("list the losses of a recipe that no variant changes", () => {
    expect(keptLosses(ablation("losses"), scratch)).toEqual(["pooled", "crossAttention"]);
    expect(keptLosses(ablation("losses"), paper)).toEqual([]);
    expect(keptLosses(ablation("iterations"), scratch)).toEqual([]);
  });

  it("leave out one loss of the recipe at a time, and have no variant of a loss that it has not", () => {
    const weighted = (recipe: TrainConfig) =>
      variantsOf(ablation("leave-one-out"), recipe).map((variant) => {
        const { losses = {} } = recipeOf(variant, recipe);
        const kept = Object.keys(losses).filter((name) => (losses[name]?.weight ?? 0) > 0);
        return [variant.name, kept];
      });
    for (const recipe of [paper, scratch]) {
      const all = Object.keys(recipe.losses).filter((name) => (recipe.losses[name]?.weight ?? 0) > 0);
      const [first, ...rest] = weighted(recipe);
      expect(first).toEqual(["all losses", all]);
      expect(rest.sort()).toEqual(
        all.map((loss) => [`without ${loss}`, all.filter((name) => name !== loss)]).sort(),
      );
    }
    expect(variantsOf(ablation("losses"), paper)).toEqual(ablation("losses").variants);
  });

  it("exclude false negatives with the recipe's k, else the paper's, or none", () => {
    const k = (recipe: TrainConfig) => recipes("exclusion", recipe).map((each) => each.falseNegatives);
    expect(k(paper)).toEqual([
      { k: 20, from: 0 },
      { k: 0, from: 0 },
    ]);
    expect(k(scratch).map((each) => each.k)).toEqual([20, 0]);
    expect(k(parseTrainConfig({ falseNegatives: { k: 5, from: 2 } }))[0]).toEqual({ k: 5, from: 2 });
  });

  it("cross every subset of the losses with and without exclusion", () => {
    const { variants } = ablation("losses-exclusion");
    expect(new Set(variants.map(({ name }) => name)).size).toBe(16);
    const seen = new Set<string>();
    for (const [i, recipe] of recipes("losses-exclusion", paper).entries()) {
      const { contrastive, ...optional } = weights(recipe);
      const on = Object.keys(optional).filter((name) => (optional[name] ?? 0) > 0);
      const { k } = recipe.falseNegatives;
      const name = variants[i]?.name ?? "";
      expect(contrastive).toBe(1);
      expect(k, name).toBe(name.endsWith("without exclusion") ? 0 : 20);
      for (const loss of ["matching", "divergence", "reconstruction"]) {
        const named = name.includes(loss) || name.startsWith("all losses");
        expect(on.includes(loss), `${loss} of ${name}`).toBe(named);
      }
      seen.add(`${on.sort()} ${k}`);
    }
    expect(seen.size).toBe(16);
    expect(recipes("losses-exclusion", scratch).map(({ falseNegatives }) => falseNegatives.k)).toEqual(
      Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 0 : 20)),
    );
  });

  it("have one, two and three target slots beside one off-target slot", () => {
    expect(ablation("target-slots")).toMatchObject({ byTarget: true });
    expect(ablation("target-slots").variants.map(({ name, model }) => [name, model?.method])).toEqual(
      [1, 2, 3].map((targetSlots) => [
        `${targetSlots} target, 1 off-target`,
        { name: "joint-slot-attention", targetSlots, offTargetSlots: 1 },
      ]),
    );
  });

  it("try both strides with and without matching", () => {
    expect(ablation("stride").variants.map(({ model }) => model?.imageStride)).toEqual([32, 32, 16, 16]);
    expect(recipes("stride", paper).map((each) => weights(each).matching)).toEqual([100, 0, 100, 0]);
  });

  it("losses-exclusion has the rows of table 5", () => {
    expect(publishedAblations["losses-exclusion"]?.rows).toEqual(publishedAblations.losses?.rows);
    expect(publishedAblations.losses?.rows).toHaveLength(8);
  });

  it.each(["iterations", "neighbours", "masking", "slots"])("%s has the published rows", (name) => {
    expect(publishedAblations[name]?.rows.map(({ method }) => method)).toEqual(
      ablation(name).variants.map((variant) => variant.name),
    );
  });
});

describe("soundspot ablate", () => {
  it("keeps the rows of other variants, in the ablation's order", async () => {
    const output = at("merged");
    await ablate("initial-slots", output, "--data", data, "--only", "separate");
    const [separate] = rowsOf(output);
    const { stdout } = await ablate("initial-slots", output, "--data", data, "--only", "shared");
    const rows = rowsOf(output);
    expect(rows.map(({ variant }) => variant)).toEqual(["shared", "separate"]);
    expect(rows[1]).toEqual(separate);
    expect(stdout).toMatch(
      /cIoU audio map +cIoU IQR +AUC +mean IoU +R@1 a→i +R@1 i→a +minutes\nshared .*\nseparate /,
    );
    const html = readFileSync(join(output, "report.html"), "utf8");
    for (const title of ["cIoU@0.5 audio map", "R@5 audio → image", "R@10 image → audio", "AUC IQR"]) {
      expect(html).toContain(`>${title}</th>`);
    }
    expect(html).toContain("separate, Flickr-SoundNet, after Flickr 144k");
  });

  it("combines no rows of different conditions", async () => {
    const output = at("conditions");
    await ablate("initial-slots", output, "--data", data, "--only", "shared");
    const other = ["--data", data, "--evaluation", part];
    await expect(ablate("initial-slots", output, ...other, "--only", "separate")).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(
        /evaluation was ".*vggss\.json", now ".*heard_test\.csv".*without --only/,
      ),
    });
    expect(existsSync(join(output, "separate"))).toBe(false);
    await ablate("initial-slots", output, ...other);
    expect(rowsOf(output).map(({ variant }) => variant)).toEqual(["shared", "separate"]);
  });

  it("rejects a damaged table, and one of another ablation", async () => {
    const output = at("foreign");
    mkdirSync(output);
    const table = join(output, "ablation.json");
    const rejected = (message: RegExp) =>
      expect(ablate("initial-slots", output, "--data", data)).rejects.toMatchObject({
        code: "ERR_CONFIG",
        message: expect.stringMatching(message),
      });
    writeFileSync(table, '{"ablation": "initial-slots", "rows": [');
    await rejected(/ablation\.json is damaged, .*another --output/);
    writeFileSync(table, '{"ablation": "initial-slots", "rows": [{"variant": "shared"}]}');
    await rejected(/ablation\.json is damaged/);
    writeFileSync(table, '{"ablation": "masking", "rows": []}');
    await rejected(/of the ablation masking, not of initial-slots/);
    writeFileSync(table, '{"study": "masking", "rows": []}');
    await rejected(/of the ablation masking, not of initial-slots/);
  });

  it("reads a table of an earlier version, whose key is `study`", async () => {
    const output = at("earlier");
    await ablate("initial-slots", output, "--data", data, "--only", "separate");
    const [separate] = rowsOf(output);
    const table = join(output, "ablation.json");
    const { ablation: name, ...rest } = JSON.parse(readFileSync(table, "utf8")) as { ablation: string };
    writeFileSync(table, JSON.stringify({ study: name, ...rest }));
    await ablate("initial-slots", output, "--data", data, "--only", "shared");
    expect(JSON.parse(readFileSync(table, "utf8"))).toMatchObject({ ablation: "initial-slots" });
    expect(rowsOf(output).map(({ variant }) => variant)).toEqual(["shared", "separate"]);
    expect(rowsOf(output)[1]).toEqual(separate);
  });

  it("reuses no checkpoint of other data or image weights", async () => {
    const output = at("source");
    const only = ["--only", "shared"];
    await ablate("initial-slots", output, "--data", data, ...only);
    await expect(ablate("initial-slots", output, "--data", sameData)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/trained on .*train\.csv .*not on .*train-copy\.csv .*another --output/),
    });
    const file = at("resnet.pth");
    writeFileSync(file, "weights");
    const withWeights = ["--data", data, "--image-weights", file];
    await expect(ablate("initial-slots", output, ...withWeights)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/without image weights, not on .*image weights .*resnet\.pth/),
    });
    // The same content under another name is accepted.
    const sha256 = createHash("sha256").update("weights").digest("hex");
    const record = { data, imageWeights: { file: "elsewhere.pth", sha256 }, minutes: 1 };
    writeFileSync(join(output, "shared", "ablation-run.json"), JSON.stringify(record));
    rmSync(join(output, "ablation.json"));
    await ablate("initial-slots", output, ...withWeights, ...only);
    expect(rowsOf(output)).toHaveLength(1);
  });

  it("counts the minutes of all invocations, and none where they are unknown", async () => {
    const output = at("minutes");
    const record = join(output, "shared", "ablation-run.json");
    const args = ["--data", data, "--only", "shared"];
    await ablate("initial-slots", output, ...args);
    const first = JSON.parse(readFileSync(record, "utf8")) as { data: string; minutes: number };
    expect(first.data).toBe(data);
    expect(first.minutes).toBeGreaterThan(0);
    writeFileSync(record, JSON.stringify({ ...first, minutes: 7 }));
    const begun = performance.now();
    await ablate("initial-slots", output, ...args);
    const again = JSON.parse(readFileSync(record, "utf8")) as { minutes: number };
    expect(again.minutes).toBeGreaterThan(7);
    expect(again.minutes).toBeLessThanOrEqual(7 + (performance.now() - begun) / 60_000);
    expect(rowsOf(output)[0]?.minutes).toBeCloseTo(again.minutes, 2);
    rmSync(record);
    const { stdout } = await ablate("initial-slots", output, ...args);
    expect(rowsOf(output)[0]?.minutes).toBeNull();
    expect(stdout).toMatch(/^shared .* –$/m);
    expect(existsSync(record)).toBe(false);
  });

  it("trains the paper's recipe with the losses that a variant keeps", async () => {
    const output = at("losses");
    const { stderr } = await ablate("losses", output, "--data", data, "--only", "contrastive alone");
    const [line = ""] = readFileSync(join(output, "contrastive-alone", "metrics.jsonl"), "utf8").split("\n");
    expect(JSON.parse(line)).toMatchObject({ losses: { contrastive: expect.any(Number) as number } });
    expect(line).not.toMatch(/matching|divergence|reconstruction/);
    expect(stderr).not.toContain("every variant keeps");
  });

  it("reports the losses that every variant keeps, and missing samples", async () => {
    const output = at("kept");
    const args = ["--data", data, "--preset", "scratch", "--only", "contrastive alone"];
    const { stderr } = await ablate("losses", output, ...args);
    expect(stderr.match(/every variant keeps the recipe's pooled and crossAttention/g)).toHaveLength(1);
    expect(stderr).toContain("training data: missing 1: gone_000000");
    expect(stderr).toContain("evaluation data: missing 1: absent_000000");
    const html = readFileSync(join(output, "report.html"), "utf8");
    expect(html).toContain("Every variant keeps the recipe&#39;s pooled and crossAttention.");
    expect(html).toContain("Training data: missing 1: gone_000000.");
  });

  it("rejects an invalid variant before it trains any", async () => {
    await expect(ablate("stride", at("stride"), "--data", data)).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/^stride 32: .*model\.imageStride/),
    });
    expect(existsSync(at("stride"))).toBe(false);
    // An invalid variant does not prevent the others.
    writeFileSync(
      at("deeper.yaml"),
      JSON.stringify({ model: { ...tiny, imageStages: 3 }, train: tinyTraining }),
    );
    const only = ["--config", at("deeper.yaml"), "--only", "stride 16"];
    await ablate("stride", at("stride"), "--data", data, ...only);
    expect(rowsOf(at("stride"))).toHaveLength(1);
  });

  it("trains each variant once per seed, and shows means and intervals over the seeds", async () => {
    const output = at("seeds");
    const args = ["--data", data, "--only", "shared"];
    const { stdout } = await ablate("initial-slots", output, ...args, "--seeds", "2");
    const rows = rowsOf(output);
    expect(rows.map(({ variant, seed }) => [variant, seed])).toEqual([
      ["shared", 0],
      ["shared", 1],
    ]);
    const aucs = rows.map(({ scores }) => scores.iqr.auc ?? 0) as [number, number];
    expect(aucs[0]).not.toBe(aucs[1]);
    // Two values: t is 12.706, s / √2 half their distance.
    const [mean, half] = [50 * (aucs[0] + aucs[1]), 12.7062 * 50 * Math.abs(aucs[0] - aucs[1])];
    const shown = `${mean.toFixed(1)} [${(mean - half).toFixed(1)}, ${(mean + half).toFixed(1)}]`;
    expect(stdout).toContain(shown);
    expect(stdout).toMatch(/^shared, seed 1: cIoU/m);
    expect(stdout).toMatch(/seeds +minutes\nshared .* 2 +\d/);
    const html = readFileSync(join(output, "report.html"), "utf8");
    expect(html).toContain("Means over seeds");
    expect(html).toContain("shared, seed 1");
    expect(html).toContain(shown);

    // The seed is that of a plain run.
    await ablate("initial-slots", at("one-seed"), ...args, "--seed", "1");
    expect(rowsOf(at("one-seed"))[0]?.scores).toEqual(rows[1]?.scores);
  });

  it("resumes each variant and seed, and keeps the rows of other seeds and variants", async () => {
    const output = at("more-seeds");
    const last = (seed: number) => join(output, "shared", `seed-${seed}`, "last.safetensors");
    await ablate("initial-slots", output, "--data", data, "--only", "shared", "--seeds", "4,2");
    const before = [4, 2].map((seed) => readFileSync(last(seed)));
    const { stdout } = await ablate("initial-slots", output, "--data", data, "--seeds", "2,7", "--json");
    const { rows, means } = JSON.parse(stdout) as {
      rows: Row[];
      means: { variant: string; seeds: number[]; figures: Record<string, { mean: number }> }[];
    };
    expect(rows.map(({ variant, seed }) => `${variant} ${seed}`)).toEqual([
      ...["shared 2", "shared 4", "shared 7", "separate 2", "separate 7"],
    ]);
    expect(means.map(({ variant, seeds }) => [variant, seeds])).toEqual([
      ["shared", [2, 4, 7]],
      ["separate", [2, 7]],
    ]);
    const of = rows.filter(({ variant }) => variant === "shared").map(({ scores }) => scores.audio.ciou);
    expect(means[0]?.figures["cIoU@0.5 audio map"]?.mean).toBeCloseTo(
      (100 * of.reduce((sum, value) => sum + value, 0)) / 3,
      9,
    );
    for (const [i, seed] of [4, 2].entries())
      expect(readFileSync(last(seed)).equals(before[i] as Buffer)).toBe(true);
    expect(existsSync(join(output, "separate", "seed-4"))).toBe(false);
    // Rows with and without seeds are not combined.
    const without = ablate("initial-slots", output, "--data", data, "--only", "shared");
    await expect(without).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("train.seed"),
    });
  });

  it.each(["0,1,1", "0", "a", "1,,2", "-1", "1.5", "2000"])("rejects --seeds %s", async (list) => {
    const run = ablate("initial-slots", at("no-seeds"), "--data", data, "--seeds", list);
    await expect(run).rejects.toMatchObject({ code: "commander.invalidArgument" });
    expect(existsSync(at("no-seeds"))).toBe(false);
  });

  it("rejects --seed beside --seeds", async () => {
    const run = ablate("initial-slots", at("no-seeds"), "--data", data, "--seeds", "2", "--seed", "1");
    await expect(run).rejects.toMatchObject({ code: "commander.conflictingOption" });
  });

  it("scores the map of each target slot by itself", async () => {
    const output = at("targets");
    const { stdout } = await ablate("target-slots", output, "--data", data);
    const rows = rowsOf(output);
    expect(rows.map(({ targets }) => [targets?.audio.length, targets?.iqr.length])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    const [one] = rows as [Row];
    for (const map of ["audio", "iqr"] as const) {
      const { ciou, meanIou, maxF } = one.scores[map];
      expect(one.targets?.[map][0]?.ciou).toBe(ciou);
      expect(one.targets?.[map][0]?.meanIou).toBeCloseTo(meanIou, 12);
      expect(one.targets?.[map][0]?.maxF).toBeCloseTo(maxF, 12);
    }
    // Each map by itself, as localization of that slot alone gives it.
    using model = await Model.load(join(output, "2-target-1-off-target", "last.safetensors"));
    const samples = await datasets.vggss({ root: folder, annotations: at("vggss.json") });
    const ious: [number[], number[]] = [[], []];
    for await (const sample of samples) {
      const { image, audio } = sample;
      const { attention } = await model.localize({ image, audio }, { precision: "float32" });
      const { data: tokens, shape } = ofSlots({ attention }).attention.audioOnImage;
      const side = shape[1] as number;
      for (const target of [0, 1] as const) {
        const own = tokens.subarray(target * side * side, (target + 1) * side * side);
        const map = enlarge(own, side, 224);
        const truth = sample.groundTruth as { data: ArrayLike<number> };
        ious[target].push(
          metrics.iou(
            Uint8Array.from(map, (value) => Number(value >= 0.6)),
            truth.data,
          ),
        );
      }
    }
    for (const target of [0, 1] as const) {
      const mean = ious[target].reduce((sum, value) => sum + value, 0) / ious[target].length;
      expect(rows[1]?.targets?.audio[target]?.meanIou).toBeCloseTo(mean, 3);
    }
    expect(stdout).toContain("Each target slot by itself, IQR");
    expect(stdout).toMatch(/target slot +mean IoU +max F +cIoU@0\.5\n1 target, 1 off-target +0 /);
    expect(stdout).toContain("AVSBench MS3 (table 8)");
    expect(stdout).toMatch(/SLAVC +24\.4 +25\.6/);
    expect(readFileSync(join(output, "report.html"), "utf8")).toContain("Each target slot by itself");
    // They are kept with their row.
    await ablate("target-slots", output, "--data", data, "--only", "1 target, 1 off-target");
    expect(rowsOf(output)[2]?.targets).toEqual(rows[2]?.targets);
  });

  it("gives every ablation its own folder", async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      await soundspot(
        ...["ablate", "initial-slots", "--data", data, "--evaluation", evaluation],
        ...["--config", "tiny.yaml", "--only", "shared"],
      );
    } finally {
      process.chdir(before);
    }
    expect(rowsOf(at("runs", "ablation", "initial-slots"))).toHaveLength(1);
  });
});

describe("soundspot train", () => {
  it("reports missing samples", async () => {
    const args = ["train", "--data", data, "--evaluation", evaluation, "--config", at("tiny.yaml"), "--json"];
    const { stdout, stderr } = await soundspot(...args, "--output", at("trained"));
    expect(stderr).toContain("training data: missing 1: gone_000000");
    expect(stderr).toContain("evaluation data: missing 1: absent_000000");
    expect(JSON.parse(stdout.trim().split("\n").at(-1) as string)).toMatchObject({
      missing: { data: [{ id: "gone_000000" }], evaluation: [{ id: "absent_000000" }] },
    });
    const { stderr: silent } = await soundspot(
      ...["train", "--data", part, "--config", at("tiny.yaml"), "--output", at("complete")],
    );
    expect(silent).not.toContain("missing");
  });
});

describe("a part of VGG-SS", () => {
  const options = { root: folder, annotations: at("vggss.json") };

  it("has its own name", async () => {
    const name = async (list?: string | string[], own?: string) =>
      (await datasets.vggss({ ...options, list, name: own })).name;
    expect(await name()).toBe("vgg-ss");
    expect(await name(at("vggss_test.csv"))).toBe("vgg-ss");
    expect(await name(at("vggss_heard_test.csv"))).toBe("vgg-ss, vggss_heard_test");
    expect(await name(["clip_000000"])).toBe("vgg-ss, 1 of 7 clips");
    expect(await name(["clip_000000"], "mine")).toBe("mine");
  });

  it("is not compared with published retrieval", async () => {
    const checkpoint = at("tiny.safetensors");
    using model = await Model.create(tiny, { seed: 3 });
    await model.save(checkpoint);
    const shown = async (...args: string[]) =>
      (await soundspot("retrieve", checkpoint, "--resamples", "0", ...args)).stdout.includes("SSL-TIE");
    expect(await shown("--data", whole)).toBe(true);
    expect(await shown("--data", part)).toBe(false);
    expect(await shown("--data", whole, "--limit", "4")).toBe(false);
  });
});
