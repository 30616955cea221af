/** No output is written over a file that is read, by whatever path or link, and no two outputs are one file. */
import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { register as ablate } from "../../../src/cli/commands/ablate.js";
import { register as checkCommand } from "../../../src/cli/commands/check.js";
import { register as evaluate } from "../../../src/cli/commands/evaluate.js";
import { register as index } from "../../../src/cli/commands/index.js";
import { register as indexShards } from "../../../src/cli/commands/index-shards.js";
import { register as localize } from "../../../src/cli/commands/localize.js";
import { register as prepare } from "../../../src/cli/commands/prepare.js";
import { register as retrieve } from "../../../src/cli/commands/retrieve.js";
import { register as trainCommand } from "../../../src/cli/commands/train.js";
import { checkOutputs, oneOfNames } from "../../../src/files/outputs.js";
import { Model, prepareVideos, renderVideo, train } from "../../../src/index.js";
import { bars } from "../../support/scored.js";
import { encodedPair, sampleEntries } from "../../support/shards.js";
import { tiny } from "../../support/tiny.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-outputs-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
function newFolder(): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  return folder;
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: { code?: string }) => error.code ?? String(error),
  );

describe("checkOutputs", () => {
  /** Files, folders and links of every kind, some of them to nothing. */
  function layOut(): string {
    const folder = newFolder();
    for (const name of ["a", "b", "b/c"]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, "f.png"), "f");
    for (const name of ["", "a", "b", "b/c"]) {
      const at = (file: string) => join(folder, name, file);
      if (name !== "") writeFileSync(at("f.png"), name);
      linkSync(join(folder, "f.png"), at("hard.png"));
      symlinkSync(relative(join(folder, name), join(folder, "f.png")), at("soft.png"));
      symlinkSync(at("soft.png"), at("softer.png"));
      symlinkSync(join(folder, "new.png"), at("dangling.png"));
      symlinkSync("loop", at("loop"));
      symlinkSync(folder, at("up"));
      symlinkSync(join(folder, "b", "c"), at("down"));
    }
    return folder;
  }
  const parts = ["a", "b", "c", "up", "down", "..", ".", "down/.."];
  const names = [
    "f.png",
    "hard.png",
    "soft.png",
    "softer.png",
    "dangling.png",
    "new.png",
    "other.png",
    "loop",
  ];
  const paths = fc
    .tuple(fc.array(fc.constantFrom(...parts), { maxLength: 4 }), fc.constantFrom(...names))
    // Joined by hand: a ".." after a link leads elsewhere than where it is written.
    .map(([before, name]) => [...before, name].join("/"));
  const isThere = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  const inodeOf = (path: string) => statSync(path, { bigint: true }).ino;
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      return undefined;
    }
  };

  it("says that an output is an input where the system says so, and nowhere else", async () => {
    const folder = layOut();
    const met = { same: 0, other: 0 };
    await fc.assert(
      fc.asyncProperty(paths, paths, fc.boolean(), async (from, to, fromHere) => {
        const [input, output] = [`${folder}/${from}`, `${folder}/${to}`];
        const shown = fromHere ? relative(process.cwd(), folder) + output.slice(folder.length) : output;
        if (attempt(() => statSync(dirname(output))) === undefined) return;
        const both = attempt(() => isThere(input) && isThere(output));
        const same = (both && inodeOf(input) === inodeOf(output)) ?? false;
        met[same ? "same" : "other"]++;
        const code = await codeOf(
          checkOutputs({
            inputs: [{ name: "the image", path: input }],
            outputs: [{ name: "--output", path: shown }],
          }),
        );
        expect(code, `${input} → ${shown}`).toBe(same ? "ERR_OUTPUT_IS_INPUT" : "none");
      }),
      { numRuns: 1500 },
    );
    expect(met.same).toBeGreaterThan(50);
    expect(met.other).toBeGreaterThan(50);
  });

  it("says that two outputs are one file where writing one would write the other", async () => {
    const folder = layOut();
    const met = { same: 0, other: 0 };
    await fc.assert(
      fc.asyncProperty(paths, paths, async (left, right) => {
        const [one, other] = [`${folder}/${left}`, `${folder}/${right}`];
        // The system is asked by making the first and looking for it at the second.
        const there = attempt(() => isThere(one)) ?? false;
        const made = !there && attempt(() => writeFileSync(one, "made") ?? true) === true;
        if (!(there || made) || attempt(() => statSync(dirname(other))) === undefined) return;
        const same = (attempt(() => isThere(other)) && inodeOf(one) === inodeOf(other)) ?? false;
        if (made) rmSync(realpathSync.native(one)); // the other kind takes ".." as written
        met[same ? "same" : "other"]++;
        const code = await codeOf(
          checkOutputs({
            inputs: [],
            outputs: [
              { name: "--output", path: one },
              { name: "--panels", path: other },
            ],
          }),
        );
        expect(code, `${one}, ${other}`).toBe(same ? "ERR_CONFIG" : "none");
      }),
      { numRuns: 1500 },
    );
    expect(met.same).toBeGreaterThan(50);
    expect(met.other).toBeGreaterThan(50);
  });

  it("sees through folders that are not there yet", async () => {
    const folder = layOut();
    const outputs = (one: string, other: string) =>
      codeOf(
        checkOutputs({
          inputs: [],
          outputs: [
            { name: "--output", path: join(folder, one) },
            { name: "--track", path: join(folder, other) },
          ],
        }),
      );
    expect(await outputs("b/c/x/y.mp4", "down/x/y.mp4")).toBe("ERR_CONFIG");
    expect(await outputs("b/c/x/y.mp4", "down/x/z.mp4")).toBe("none");
    // One is a file, and cannot be the other's folder.
    expect(await outputs("b/c/x", "down/x/y.mp4")).toBe("ERR_CONFIG");
    expect(await outputs("b/c/x/y", "down/x")).toBe("ERR_CONFIG");
    expect(await outputs("b/c/xy/z", "down/x")).toBe("none");
    // The folder that is made leads back to where it lies.
    const [input, output] = [join(folder, "f.png"), `${folder}/made/../f.png`];
    const back = checkOutputs({
      inputs: [{ name: "the image", path: input }],
      outputs: [{ name: "--output", path: output }],
    });
    expect(await codeOf(back)).toBe("ERR_OUTPUT_IS_INPUT");
  });

  it("finds what a folder's files would replace, by path, by link and by hard link", async () => {
    const folder = newFolder();
    mkdirSync(join(folder, "out", "frames"), { recursive: true });
    writeFileSync(join(folder, "in.csv"), "");
    writeFileSync(join(folder, "out", "own.csv"), "");
    writeFileSync(join(folder, "out", "frames", "1.jpg"), "");
    linkSync(join(folder, "in.csv"), join(folder, "out", "samples.csv"));
    symlinkSync("out", join(folder, "linked"));
    const code = (input: string, writes: (file: string) => boolean, path = "out") =>
      codeOf(
        checkOutputs({
          inputs: [{ name: "--data", path: join(folder, input) }],
          folders: [{ name: "--output", path: join(folder, path), writes }],
        }),
      );
    for (const path of ["out", "linked", "linked/frames/.."]) {
      expect(await code("in.csv", oneOfNames(["samples.csv"]), path)).toBe("ERR_OUTPUT_IS_INPUT");
      expect(await code("linked/samples.csv", oneOfNames(["samples.csv"]), path)).toBe("ERR_OUTPUT_IS_INPUT");
      expect(await code("out/frames/1.jpg", (file) => /^frames\/.*jpg$/.test(file), path)).toBe(
        "ERR_OUTPUT_IS_INPUT",
      );
      expect(await code("out/own.csv", oneOfNames(["samples.csv"]), path)).toBe("none");
      expect(await code("in.csv", oneOfNames(["other.csv"]), path)).toBe("none");
    }
    expect(await code("in.csv", () => true, "not-there")).toBe("none");
  });

  it("names both files and what to do", async () => {
    const folder = layOut();
    const [path, other] = [join(folder, "f.png"), join(folder, "b", "hard.png")];
    const work = checkOutputs({
      inputs: [{ name: "the image", path }],
      outputs: [{ name: "--output", path: other }],
    });
    await expect(work).rejects.toThrow(
      `--output ${other} is the file that is read as the image ${path}: writing it would destroy it. Give another path for --output.`,
    );
  });
});

/** Runs a command in this process. Only the paths of its inputs are valid. */
async function command(register: (program: Command) => void, ...args: string[]): Promise<string> {
  const program = new Command("soundspot").exitOverride().configureOutput({ writeErr: () => undefined });
  register(program);
  for (const each of program.commands) each.exitOverride().copyInheritedSettings(program);
  const quiet = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, "write").mockImplementation(() => true),
  );
  try {
    return await codeOf(program.parseAsync(["node", "soundspot", ...args]));
  } finally {
    for (const spy of quiet) spy.mockRestore();
  }
}

/** All files below a folder with their contents. */
function contentsOf(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return Object.fromEntries(
    files.map((each) => {
      const path = join(each.parentPath, each.name);
      return [relative(folder, path), readFileSync(path, "latin1")];
    }),
  );
}

/** Runs a command in a folder, which it must leave as it was, and gives its error's code. */
async function untouched(folder: string, register: (program: Command) => void, ...args: string[]) {
  const before = contentsOf(folder);
  const code = await command(register, ...args);
  expect(contentsOf(folder), args.join(" ")).toEqual(before);
  return code;
}

const rows = Array.from({ length: 4 }, (_, i) => ({ image: `${i}.png`, audio: `${i}.wav` }));
const jsonl = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const csv = `image,audio\n${rows.map(({ image, audio }) => `${image},${audio}\n`).join("")}`;

describe("commands", () => {
  it("localize writes over none of its inputs, by none of its options", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    for (const name of ["image.png", "sound.wav", "model.pth", "objects.pth", "clip.mp4"])
      writeFileSync(at(name), name);
    const still = [
      at("image.png"),
      at("sound.wav"),
      "--model",
      at("model.pth"),
      "--objectness",
      at("objects.pth"),
    ];
    for (const input of ["image.png", "sound.wav", "model.pth", "objects.pth"]) {
      for (const link of [linkSync, symlinkSync]) {
        const [png, lines] = [at("link.png"), at("link.jsonl")];
        link(at(input), png);
        link(at(input), lines);
        for (const option of ["--output", "--panels", "--spectrogram", "--grids"]) {
          expect(await untouched(folder, localize, "localize", ...still, option, png)).toBe(
            "ERR_OUTPUT_IS_INPUT",
          );
        }
        const video = [at("clip.mp4"), "--model", at("model.pth")];
        const track = await untouched(folder, localize, "localize", ...video, "--track", lines);
        expect(track).toBe(input === "model.pth" ? "ERR_OUTPUT_IS_INPUT" : "ERR_CHECKPOINT_CORRUPT");
        rmSync(png);
        rmSync(lines);
      }
    }
    const video = ["localize", at("clip.mp4"), "--model", at("model.pth")];
    expect(await untouched(folder, localize, ...video, "--output", at("clip.mp4"))).toBe(
      "ERR_OUTPUT_IS_INPUT",
    );
    expect(await untouched(folder, localize, ...video, "--track", `${folder}/./clip.mp4`)).toBe(
      "ERR_OUTPUT_IS_INPUT",
    );
    const twice = ["--output", at("new.mp4"), "--track", `${folder}/../${folder.split("/").at(-1)}/new.mp4`];
    expect(await untouched(folder, localize, ...video, ...twice)).toBe("ERR_CONFIG");
    const panels = ["--output", at("new.png"), "--panels", at("new.png")];
    expect(await untouched(folder, localize, "localize", ...still, ...panels)).toBe("ERR_CONFIG");
  });

  it("train replaces neither weights nor lists", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    const output = at("run");
    mkdirSync(output);
    writeFileSync(at("data.jsonl"), jsonl);
    for (const name of ["metrics", "skipped"]) writeFileSync(join(output, `${name}.jsonl`), jsonl);
    for (const name of ["last", "best", "epoch-0003", "mine"])
      writeFileSync(join(output, `${name}.safetensors`), name);
    writeFileSync(at("config.yaml"), "preset: scratch\n");
    linkSync(at("config.yaml"), join(output, "train.lock.yaml"));
    const plain = ["train", "--output", output, "--batch-size", "2"];
    const data = ["--data", at("data.jsonl")];
    const same = "ERR_OUTPUT_IS_INPUT";
    for (const option of ["--weights", "--image-weights"]) {
      for (const name of ["last", "best", "epoch-0003"]) {
        const file = join(output, `${name}.safetensors`);
        for (const more of [[], ["--resume"]])
          expect(await untouched(folder, trainCommand, ...plain, ...data, option, file, ...more)).toBe(same);
      }
    }
    for (const name of ["metrics", "skipped"]) {
      const listed = join(output, `${name}.jsonl`);
      expect(await untouched(folder, trainCommand, ...plain, "--data", listed)).toBe(same);
      expect(await untouched(folder, trainCommand, ...plain, ...data, "--evaluation", listed)).toBe(same);
    }
    expect(await untouched(folder, trainCommand, ...plain, ...data, "--config", at("config.yaml"))).toBe(
      same,
    );
    // A file of the folder that no run writes may be read.
    const mine = ["--weights", join(output, "mine.safetensors"), "--preset", "scratch"];
    expect(await command(trainCommand, ...plain, ...data, ...mine)).toBe("ERR_CHECKPOINT_CORRUPT");
    expect(readFileSync(join(output, "mine.safetensors"), "utf8")).toBe("mine");
  });

  it("evaluate and retrieve replace neither lists nor checkpoints", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    const output = at("scores");
    mkdirSync(output);
    for (const name of ["samples.csv", "b.pth.samples.csv", "listed.csv"])
      writeFileSync(join(output, name), csv);
    for (const name of ["a.pth", "b.pth"]) writeFileSync(at(name), name);
    linkSync(at("a.pth"), join(output, "report.html"));
    linkSync(join(output, "listed.csv"), join(output, "retrieval.json"));
    const data = (name: string) => ["--data", join(output, name), "--output", output];
    const [one, two] = [
      ["evaluate", at("b.pth")],
      ["evaluate", at("b.pth"), "--compare", join(output, "listed.csv")],
    ];
    const same = "ERR_OUTPUT_IS_INPUT";
    expect(await untouched(folder, evaluate, ...one, ...data("samples.csv"))).toBe(same);
    expect(await untouched(folder, evaluate, ...two, ...data("b.pth.samples.csv"))).toBe(same);
    expect(await untouched(folder, evaluate, "evaluate", at("a.pth"), ...data("listed.csv"))).toBe(same);
    const objects = ["--objectness", at("a.pth")];
    expect(await untouched(folder, evaluate, ...one, ...data("listed.csv"), ...objects)).toBe(same);
    expect(await untouched(folder, evaluate, ...one, ...data("b.pth.samples.csv"))).toBe(
      "ERR_CHECKPOINT_CORRUPT",
    );
    expect(await untouched(folder, evaluate, ...one, ...data("listed.csv"))).toBe("ERR_CHECKPOINT_CORRUPT");
    expect(await untouched(folder, retrieve, "retrieve", at("b.pth"), ...data("listed.csv"))).toBe(same);
    expect(await untouched(folder, retrieve, "retrieve", at("b.pth"), ...data("samples.csv"))).toBe(
      "ERR_CHECKPOINT_CORRUPT",
    );
  });

  it("ablate replaces neither weights nor lists, of no variant", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    const variant = at("ablation/3-iterations");
    mkdirSync(variant, { recursive: true });
    writeFileSync(at("data.jsonl"), jsonl);
    writeFileSync(at("config.yaml"), "train: { batchSize: 2 }\n");
    linkSync(at("config.yaml"), at("ablation/report.html"));
    writeFileSync(join(variant, "best.safetensors"), "best");
    writeFileSync(join(variant, "metrics.jsonl"), jsonl);
    const ablation = ["ablate", "iterations", "--output", at("ablation")];
    const data = ["--data", at("data.jsonl")];
    const evaluation = ["--evaluation", at("data.jsonl")];
    const weights = ["--image-weights", join(variant, "best.safetensors")];
    const metrics = join(variant, "metrics.jsonl");
    const same = "ERR_OUTPUT_IS_INPUT";
    expect(await untouched(folder, ablate, ...ablation, ...data, ...evaluation, ...weights)).toBe(same);
    expect(await untouched(folder, ablate, ...ablation, ...data, "--evaluation", metrics)).toBe(same);
    expect(await untouched(folder, ablate, ...ablation, "--data", metrics, ...evaluation)).toBe(same);
    const config = ["--config", at("config.yaml")];
    expect(await untouched(folder, ablate, ...ablation, ...data, ...evaluation, ...config)).toBe(same);
  });

  it("index replaces neither the model nor the labels", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    mkdirSync(at("pets.index"));
    for (const name of ["pets.index/index.json", "model.pth", "labels.csv"]) writeFileSync(at(name), name);
    symlinkSync("pets.index/index.json", at("linked.csv"));
    const plain = ["index", folder, "--output", at("pets.index")];
    const same = "ERR_OUTPUT_IS_INPUT";
    expect(await untouched(folder, index, ...plain, "--model", at("pets.index/index.json"))).toBe(same);
    const labels = (name: string) => ["--model", at("model.pth"), "--labels", at(name)];
    expect(await untouched(folder, index, ...plain, ...labels("linked.csv"))).toBe(same);
    expect(await untouched(folder, index, ...plain, ...labels("labels.csv"))).toBe("ERR_CHECKPOINT_CORRUPT");
  });

  it("check replaces no list that it reads, by either of its files", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    for (const name of ["data.jsonl", "done.jsonl.partial"]) writeFileSync(at(name), jsonl);
    for (const link of [linkSync, symlinkSync]) {
      const list = at("link.jsonl");
      link(at("data.jsonl"), list);
      for (const output of [at("data.jsonl"), list]) {
        expect(await untouched(folder, checkCommand, "check", at("data.jsonl"), "--output", output)).toBe(
          "ERR_OUTPUT_IS_INPUT",
        );
      }
      rmSync(list);
    }
    linkSync(at("done.jsonl.partial"), at("partial.jsonl"));
    const partial = ["check", at("partial.jsonl"), "--output", at("done.jsonl")];
    expect(await untouched(folder, checkCommand, ...partial)).toBe("ERR_OUTPUT_IS_INPUT");
  });

  it("index-shards replaces no shard", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    writeFileSync(at("a.tar"), sampleEntries("1", await encodedPair(1)));
    linkSync(at("a.tar"), at("index.json"));
    expect(
      await untouched(folder, indexShards, "index-shards", at("*.tar"), "--output", at("index.json")),
    ).toBe("ERR_OUTPUT_IS_INPUT");
    expect(
      await command(indexShards, "index-shards", at("a.tar"), "--output", at("new/below/index.json")),
    ).toBe("none");
    const written = JSON.parse(readFileSync(at("new/below/index.json"), "utf8")) as { shardlist: unknown[] };
    expect(written.shardlist).toMatchObject([{ url: "../../a.tar", nsamples: 1 }]);
  });

  it("prepare replaces neither labels nor videos", async () => {
    const folder = newFolder();
    const at = (name: string) => join(folder, name);
    mkdirSync(at("data/.partial"), { recursive: true });
    mkdirSync(at("data/frames"));
    for (const name of ["clip.mp4", "data/.partial/clip.mp4", "data/frames/clip.jpg", "data/frames/clip.mp4"])
      writeFileSync(at(name), name);
    writeFileSync(at("data/failed.jsonl"), "clip,dog\n");
    const into = ["--output", at("data")];
    const same = "ERR_OUTPUT_IS_INPUT";
    for (const input of ["data/.partial", "data/.partial/clip.mp4", "data/frames/clip.jpg"])
      expect(await untouched(folder, prepare, "prepare", at(input), ...into)).toBe(same);
    const labels = ["--labels", at("data/failed.jsonl")];
    expect(await untouched(folder, prepare, "prepare", at("clip.mp4"), ...labels, ...into)).toBe(same);
    // Videos may lie in the folder: none of its own files is one.
    const { failed } = await prepareVideos({ input: at("data"), output: at("data") });
    expect(failed.map(({ id }) => id)).toEqual(["clip"]);
    expect(readFileSync(at("data/frames/clip.mp4"), "utf8")).toBe("data/frames/clip.mp4");
  });
});

describe("the API", () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.create(tiny, { seed: 1 });
  });
  afterAll(() => model.dispose());

  it("renderVideo writes over neither the video nor ffmpeg, nor both outputs into one file", async () => {
    const folder = newFolder();
    const clip = join(folder, "clip.mp4");
    writeFileSync(clip, "film");
    symlinkSync("clip.mp4", join(folder, "soft.mp4"));
    linkSync(clip, join(folder, "hard.jsonl"));
    symlinkSync(".", join(folder, "here"));
    const before = contentsOf(folder);
    const code = (options: Parameters<typeof renderVideo>[2]) => codeOf(renderVideo(model, clip, options));
    expect(await code({ output: clip })).toBe("ERR_OUTPUT_IS_INPUT");
    expect(await code({ output: join(folder, "soft.mp4") })).toBe("ERR_OUTPUT_IS_INPUT");
    expect(await code({ track: join(folder, "hard.jsonl") })).toBe("ERR_OUTPUT_IS_INPUT");
    expect(await code({ track: join(folder, "new.jsonl"), output: join(folder, "here", "clip.mp4") })).toBe(
      "ERR_OUTPUT_IS_INPUT",
    );
    expect(await code({ track: join(folder, "new.mp4"), output: join(folder, "here", "new.mp4") })).toBe(
      "ERR_CONFIG",
    );
    expect(contentsOf(folder)).toEqual(before);
  });

  it("a model may be saved over the file that it was loaded from", async () => {
    const folder = newFolder();
    const path = join(folder, "model.safetensors");
    await model.save(path);
    const before = readFileSync(path);
    using again = await Model.load(path);
    await again.save(path);
    expect(readFileSync(path)).toEqual(before);
    const deep = join(folder, "new", "below", "model.safetensors");
    await again.save(deep);
    expect(readFileSync(deep)).toEqual(before);
    expect(readdirSync(dirname(deep))).toEqual(["model.safetensors"]);
  });

  it("train names the option, and its output is left as it was", async () => {
    const folder = newFolder();
    const weights = join(folder, "best.safetensors");
    await model.save(weights);
    const before = contentsOf(folder);
    const data = bars(4);
    const run = { data, model: tiny, batchSize: 2, epochs: 1, output: folder };
    await expect(train({ ...run, weights })).rejects.toMatchObject({
      code: "ERR_OUTPUT_IS_INPUT",
      message: expect.stringContaining(`weights ${weights}`),
    });
    expect(contentsOf(folder)).toEqual(before);
  });
});

describe("soundspot", () => {
  const soundspot = (...args: string[]) =>
    promisify(execFile)(process.execPath, ["dist/cli/main.js", ...args]).then(
      ({ stdout }) => ({ code: 0, text: stdout }),
      ({ code, stderr }: { code: number; stderr: string }) => ({ code, text: stderr }),
    );

  it("ends with 2 and leaves the video", async () => {
    const folder = newFolder();
    const clip = join(folder, "same.mp4");
    copyFileSync(process.execPath, clip);
    const before = statSync(clip, { bigint: true });
    const { code, text } = await soundspot("localize", clip, "--model", "none.safetensors", "--output", clip);
    expect(code, text).toBe(2);
    expect(text).toContain("[ERR_OUTPUT_IS_INPUT]");
    expect(text).toContain(`--output ${clip}`);
    const after = statSync(clip, { bigint: true });
    expect([after.size, after.mtimeNs, after.ino]).toEqual([before.size, before.mtimeNs, before.ino]);
    expect(existsSync(join(folder, "same.mp4"))).toBe(true);
    const [out, again] = [join(folder, "out.png"), `${folder}/./out.png`];
    const twice = await soundspot(
      "localize",
      clip,
      "--model",
      "none.pth",
      "--output",
      out,
      "--panels",
      again,
    );
    expect(twice.code, twice.text).toBe(2);
    expect(twice.text).toContain(`--output ${out} and --panels ${again} are one file`);
  });
});
