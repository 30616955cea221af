/** Ablations, the files that `soundspot ablate` keeps between invocations, and messages about missing files. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Ablation, ablations, keptLosses, recipeOf } from "../../../src/ablation/ablations.js";
import { register as registerAblate } from "../../../src/cli/commands/ablate.js";
import { register as registerRetrieve } from "../../../src/cli/commands/retrieve.js";
import { register as registerTrain } from "../../../src/cli/commands/train.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import {
  datasets,
  Model,
  parseTrainConfig,
  presets,
  type TrainConfig,
  type TrainOptions,
} from "../../../src/index.js";
import { encodeWav } from "../../../src/media/wav.js";
import { publishedAblations } from "../../../src/report/published-ablations.js";
import { bar } from "../../support/scored.js";
import { tiny } from "../../support/tiny.js";

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

interface Row {
  variant: string;
  minutes: number | null;
  scores: { audio: { auc: number } };
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

  it("exclude false negatives with the recipe's k, else the paper's, or none", () => {
    const k = (recipe: TrainConfig) => recipes("exclusion", recipe).map((each) => each.falseNegatives);
    expect(k(paper)).toEqual([
      { k: 20, from: 0 },
      { k: 0, from: 0 },
    ]);
    expect(k(scratch).map((each) => each.k)).toEqual([20, 0]);
    expect(k(parseTrainConfig({ falseNegatives: { k: 5, from: 2 } }))[0]).toEqual({ k: 5, from: 2 });
  });

  it("try both strides with and without matching", () => {
    expect(ablation("stride").variants.map(({ model }) => model?.imageStride)).toEqual([32, 32, 16, 16]);
    expect(recipes("stride", paper).map((each) => weights(each).matching)).toEqual([100, 0, 100, 0]);
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
