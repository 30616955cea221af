/** `soundspot import`: published files become safetensors with a configuration and a card, completely or not at all. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
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
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Model, type ModelOptions, type NamedTensor, presets } from "../../../src/index.js";
import { modelCard } from "../../../src/report/model-card.js";
import { comparisonMethods, publishedFile, small, unusedOf } from "../../support/comparison.js";
import { noise } from "../../support/noise.js";
import { tiny } from "../../support/tiny.js";
import { dict, stateDict, torchFile } from "../../support/torch-file.js";
import { transpilePackage } from "../../support/transpiled.js";

const root = mkdtempSync(join(tmpdir(), "soundspot-import-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const at = (...names: string[]) => join(root, ...names);

let main: string;
beforeAll(() => {
  main = join(transpilePackage(at("package")), "cli", "main.js");
});

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

function soundspot(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, output, errors) => {
      resolve({ code: error ? Number(error.code) : 0, output, errors });
    });
  });
}

async function tensorsOf(options: ModelOptions, seed = 7): Promise<NamedTensor[]> {
  using model = await Model.create(options, { seed });
  const all = await model.parameters();
  // torch-file writes float32; counters of batch norm may be missing.
  return all.filter(({ name }) => !name.includes("num_batches_tracked") && !name.startsWith("alignment."));
}

const written = (tensors: readonly NamedTensor[]) =>
  tensors.map(({ name, shape, data }) => ({ name, shape, data: Float32Array.from(data) }));

/** A folder of its own with a file as the authors' program writes it. */
function folderWith(name: string, file: Buffer, beside: Readonly<Record<string, unknown>> = {}): string {
  mkdirSync(at(name));
  for (const [other, value] of Object.entries(beside)) writeFileSync(at(name, other), JSON.stringify(value));
  writeFileSync(at(name, "best.pth"), file);
  return at(name, "best.pth");
}

const slotsFile = (tensors: readonly NamedTensor[], more: readonly NamedTensor[] = []) =>
  torchFile(
    dict({
      epoch: 100,
      model: stateDict(
        written([...tensors, ...more]).map((each) => ({ ...each, name: `module.${each.name}` })),
      ),
    }),
  );

/** Values by name of those parameters that a file had. */
async function valuesOf(path: string, names: readonly string[]): Promise<Record<string, number[]>> {
  using model = await Model.load(path);
  const all = new Map((await model.parameters()).map(({ name, data }) => [name, [...data]]));
  return Object.fromEntries(names.map((name) => [name, all.get(name) ?? []]));
}

describe("a file of joint slot attention", () => {
  it("becomes a checkpoint that loads without its configuration, and a card", async () => {
    const tensors = await tensorsOf(tiny);
    const head = { name: "head|`x`\n.weight", shape: [2], data: new Float32Array(2) };
    const file = folderWith("slots", slotsFile(tensors, [head]), { "configs.json": tiny });
    const { code, output, errors } = await soundspot(
      ...["import", file, "--source", "https://example.org/a_b", "--license", "CC BY 4.0"],
    );
    expect([code, output]).toEqual([
      0,
      expect.stringMatching(
        /^Joint slot attention, 1[\d,]+ parameters\n[^\n]+best\.safetensors\n[^\n]+best\.md\n$/,
      ),
    ]);
    expect(errors).toContain("1 tensor skipped");

    const path = at("slots", "best.safetensors");
    rmSync(at("slots", "configs.json"));
    using model = await Model.load(path);
    using made = await Model.create(tiny);
    expect(model.config).toEqual(made.config);
    const source = {
      file: "best.pth",
      bytes: readFileSync(file).length,
      sha256: createHash("sha256").update(readFileSync(file)).digest("hex"),
      from: "https://example.org/a_b",
    };
    expect(JSON.parse(model.metadata["soundspot.source"] as string)).toEqual(source);
    expect(model.metadata.license).toBe("CC BY 4.0");
    const names = tensors.map(({ name }) => name);
    expect(await valuesOf(path, names)).toEqual(
      Object.fromEntries(tensors.map(({ name, data }) => [name, [...data]])),
    );

    const card = readFileSync(at("slots", "best.md"), "utf8");
    const total = tensors
      .filter(({ name }) => !/running_(mean|var)/.test(name))
      .reduce((sum, { data }) => sum + data.length, 0);
    for (const line of [
      "# Model card: best",
      "| Method | Joint slot attention |",
      "| Source | https://example.org/a\\_b |",
      `| File | \`best.pth\`, ${source.bytes.toLocaleString("en")} bytes |`,
      `| SHA-256 of the file | \`${source.sha256}\` |`,
      "| License | CC BY 4.0 |",
      "| Configuration | of `configs.json` |",
      "| Image | [3, 32, 32] |",
      "| Spectrogram | [1, 257, 51], of 0.5 s at 16,000 Hz |",
      "| Map before enlargement | [4, 4] |",
      `| All | ${total.toLocaleString("en")} |`,
      "- `module.head\\|'x' .weight`",
      "| `slot_attn.slots` | [1, 2, 16] |",
    ]) {
      expect(card.split("\n")).toContain(line);
    }
    expect(card).toMatch(/## What the file lacked\n\n`imgnet\.bn1\.num_batches_tracked`, /);
    expect(card).not.toContain(root);
  });

  it("of whole size needs no configuration", async () => {
    const tensors = await tensorsOf({});
    const file = folderWith("paper", torchFile(dict({ model: stateDict(written(tensors)) })));
    const { code, output } = await soundspot("import", file, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(output)).toMatchObject({
      output: at("paper", "best.safetensors"),
      card: at("paper", "best.md"),
      method: "joint-slot-attention",
      parameters: 31_818_498,
      loaded: tensors.length,
      ignored: [],
      unused: [],
    });
    const card = readFileSync(at("paper", "best.md"), "utf8");
    expect(card).toContain("| Configuration | of the preset `paper`, by the names of the tensors |");
    expect(card).toContain("| License | unknown |");
    expect(card).toContain("| Source | unknown |");
    expect(card).toContain("Every tensor of the file is used.");
  });
});

describe.each(comparisonMethods)("a file of %s", (method) => {
  it("becomes a checkpoint of that method; its card lists what no computation uses", async () => {
    const options = small(method);
    const tensors = await tensorsOf(options);
    const unused = unusedOf(method, 8, 16).map(([name, shape], i) => ({
      name,
      shape: [...shape],
      data: noise([...shape], i),
    }));
    const file = folderWith(method, publishedFile(method, [...tensors, ...unused]), {
      "config.json": options,
    });
    const output = at(method, "new", "own.safetensors");
    const { code, output: text, errors } = await soundspot("import", file, "--output", output, "--json");
    expect([code, errors]).toEqual([0, expect.not.stringContaining("skipped")]);
    const told = JSON.parse(text) as { method: string; unused: string[]; parameters: number };
    expect(told.method).toBe(method);
    expect(told.unused.sort()).toEqual(unused.map(({ name }) => name).sort());
    const all = [...tensors, ...unused];
    expect(
      await valuesOf(
        output,
        all.map(({ name }) => name),
      ),
    ).toEqual(Object.fromEntries(all.map(({ name, data }) => [name, [...data]])));
    const card = readFileSync(at(method, "new", "own.md"), "utf8");
    for (const { name } of unused) expect(card.split("\n")).toContain(`- \`${name}\``);
    expect(card).toContain(`| All | ${told.parameters.toLocaleString("en")} |`);
  });
});

describe("what cannot be imported", () => {
  it("is rejected with what is missing, and leaves no file", async () => {
    const tensors = await tensorsOf(tiny);
    const missing = "slot_attn.img_to_q.weight";
    const cut = folderWith("cut", slotsFile(tensors.filter(({ name }) => name !== missing)));
    const resnet = tensors
      .filter(({ name }) => /^imgnet\.(?!proj)/.test(name))
      .map((each) => ({ ...each, name: each.name.slice("imgnet.".length) }));
    const image = folderWith("image", torchFile(stateDict(written(resnet))));
    const nothing = folderWith("nothing", Buffer.from("no checkpoint"));
    writeFileSync(at("tiny.json"), JSON.stringify(tiny));
    for (const [file, args, expected] of [
      [cut, ["--config", at("tiny.json")], [missing, "--config", "ERR_CHECKPOINT_MISMATCH"]],
      [cut, [], ["ERR_CHECKPOINT_MISMATCH", "has shape", "Give its configuration by --config"]],
      [cut, ["--config", "lvs"], ["ERR_CHECKPOINT_MISMATCH", "--config lvs"]],
      [image, [], ["none of the model's tensors", "--image-weights", "ERR_CHECKPOINT_MISMATCH"]],
      [nothing, [], ["best.pth", "ERR_CHECKPOINT_CORRUPT"]],
      [at("cut", "none.pth"), [], ["none.pth", "ERR_FILE_NOT_FOUND"]],
    ] as const) {
      const output = at("rejected", "new.safetensors");
      const { code, errors } = await soundspot("import", file, "--output", output, ...args);
      expect(code, errors).toBe(1);
      for (const text of expected) expect(errors).toContain(text);
      expect(existsSync(at("rejected"))).toBe(false);
    }
    expect(readdirSync(at("cut"))).toEqual(["best.pth"]);
  });

  it("replaces no file but by --force, and never the one that is read", async () => {
    const tensors = await tensorsOf(tiny);
    const file = folderWith("there", slotsFile(tensors), { "configs.json": tiny });
    const [output, card] = [at("there", "best.safetensors"), at("there", "best.md")];
    for (const [existing, option] of [
      [output, "--output"],
      [card, "--card"],
    ] as const) {
      writeFileSync(existing, "mine");
      const { code, errors } = await soundspot("import", file);
      expect([code, errors]).toEqual([
        1,
        `soundspot: ${existing} exists. Give another path by ${option}, or --force to replace it. [ERR_FILE_WRITE]\n`,
      ]);
      expect(readFileSync(existing, "utf8")).toBe("mine");
      rmSync(existing);
    }
    for (const existing of [output, card]) writeFileSync(existing, "mine");
    expect((await soundspot("import", file, "--force")).code).toBe(0);
    expect(readFileSync(card, "utf8")).toContain("# Model card: best");
    const before = readFileSync(output);
    const again = await soundspot("import", output, "--force");
    expect([again.code, again.errors]).toEqual([2, expect.stringContaining("[ERR_OUTPUT_IS_INPUT]")]);
    expect(readFileSync(output).equals(before)).toBe(true);
    for (const args of [
      ["--output", at("there", "best.bin")],
      ["--card", at("there", "card.txt")],
    ]) {
      expect((await soundspot("import", file, ...args)).code).toBe(2);
    }
    expect(readdirSync(at("there")).sort()).toEqual([
      "best.md",
      "best.pth",
      "best.safetensors",
      "configs.json",
    ]);
  });
});

it("a card stays a table and a list, whatever names and texts it shows", async () => {
  using model = await Model.create(presets.scratch.model);
  const tensors = (await model.parameters()).map(({ name, shape }) => ({ name, shape }));
  const subject = { title: "a", config: model.config, tensors, unused: [] };
  const plain = (ignored: readonly string[], text: string) =>
    modelCard({
      ...subject,
      weights: { loaded: [], ignored, missing: [] },
      source: { file: "f.pth", bytes: 1, sha256: "0", from: text },
      license: text,
    }).split("\n");
  const nasty = fc.string({ unit: fc.constantFrom(..."a`|\\*_[]<>&#~\n\r\t\u2028 é") });
  const usual = plain(["a", "a"], "a").length;
  fc.assert(
    fc.property(nasty, nasty, nasty, (one, two, text) => {
      const lines = plain([one, two], text);
      expect(lines).toHaveLength(usual);
      // A cell ends at a bar that no backslash precedes.
      const cells = (line: string | undefined) => line?.match(/(?<!\\)(?:\\\\)*\|/g)?.length;
      for (const name of ["Source", "License"]) {
        expect(cells(lines.find((line) => line.startsWith(`| ${name} |`)))).toBe(3);
      }
      for (const line of lines.filter((each) => each.startsWith("- "))) {
        expect(line.match(/`/g)).toHaveLength(2);
      }
    }),
  );
});
