/** The training step reads from its device once; the check rejects every other line that makes the host wait. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";

interface Result {
  readonly problems: readonly string[];
  readonly files: number;
  readonly exempt: number;
}

const root = fileURLToPath(new URL("../../..", import.meta.url));
const { check, READER } = (await import(pathToFileURL(join(root, "scripts", "check-step.mjs")).href)) as {
  check(root: string, options?: { readonly sources?: readonly string[]; readonly reader?: string }): Result;
  READER: string;
};

const folder = mkdtempSync(join(tmpdir(), "soundspot-step-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

const READ = "  values = all.to(at::kCPU);  // the one read\n";

/** Checks a package whose step is these files, and `step.cc` with the marked read. */
function checked(files: Readonly<Record<string, string>>, step = READ): Result {
  const place = join(folder, String(made++));
  for (const [file, text] of Object.entries({ ...files, "step.cc": step })) {
    mkdirSync(dirname(join(place, file)), { recursive: true });
    writeFileSync(join(place, file), text);
  }
  return check(place, { sources: [...Object.keys(files), "step.cc"], reader: "step.cc" });
}

const rejected = [
  "const double loss = total.item<double>();",
  "const auto loss = total.item().toDouble();",
  "if (flags->item<bool>()) return;",
  "x = x.cpu();",
  "x = x.to(at::kCPU);",
  "x = x.to(at::kCPU, at::kFloat);",
  "x = x.to(at::Device(at::kCPU));",
  "x = core::to_host({x})[0];",
  "const float* values = x.const_data_ptr<float>();",
  "auto* values = x.mutable_data_ptr<float>();",
  "run(x.data_ptr());",
  "const auto a = x.accessor<float, 2>();",
  "const Tensor scale = at::tensor({1.0, 2.0});",
  "const Tensor x = at::from_blob(values, {3});",
  "const Tensor where = mask.nonzero();",
  "const Tensor where = at::nonzero(mask);",
  "const Tensor some = x.masked_select(mask);",
  "const Tensor some = x.index({mask});",
  "x.index_put_({mask}, 0);",
  "const Tensor some = at::index(x, {mask});",
  "if (x.equal(y)) return;",
  "if (at::equal(x, y)) return;",
  "if (x.is_nonzero()) return;",
  "if (at::allclose(x, y)) return;",
  "const auto found = at::_unique2(x);",
  "const Tensor rows = at::repeat_interleave(x, counts);",
  "const Tensor counts = x.bincount();",
];

const accepted = [
  "for (const auto& item : features.items()) use(item);",
  "const Tensor row = x.index_select(0, places);",
  "const Tensor chosen = at::where(mask, x, y);",
  "const Tensor kept = x.masked_fill(mask, 0);",
  "x = x.to(at::kFloat);",
  "x = x.to(device);",
  "// x.item<double>() reads",
  '/* x.cpu() */ throw Error("ERR_INTERNAL", "x.item<double>() is no value");',
  "const Tensor zero = at::zeros({}, x.options());",
  "std::unique_ptr<Method> method;",
];

describe("the check of the training step", () => {
  it.each(rejected)("rejects: %s", (line) => {
    const { problems } = checked({ "losses/one.cc": `// A loss.\n\n  ${line}\n` });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^losses\/one\.cc:3 /);
    expect(problems[0]).toContain(line);
  });

  it.each(accepted)("accepts: %s", (line) => {
    expect(checked({ "losses/one.cc": `${line}\n` }).problems).toEqual([]);
  });

  it("names every line that is rejected, and no other, wherever it lies", () => {
    const lines = fc.array(fc.constantFrom(...rejected, ...accepted), { maxLength: 12 });
    fc.assert(
      fc.property(fc.array(lines, { minLength: 1, maxLength: 4 }), (files) => {
        const texts = files.map((each, i) => [`part${i}/file.cc`, `${each.join("\n")}\n`] as const);
        const wanted = files.flatMap((each, i) =>
          each.flatMap((line, at) => (rejected.includes(line) ? [`part${i}/file.cc:${at + 1}`] : [])),
        );
        const { problems } = checked(Object.fromEntries(texts));
        expect(problems.map((problem) => problem.split(" ")[0])).toEqual(wanted);
      }),
      { numRuns: 100 },
    );
  });

  it("lets a line pass by its mark, at its end or before it, and counts it", () => {
    const after = "seed = (*draws)[0].item<int64_t>();  // not in a step\n";
    const before = "// not in a step: restored\nseed = (*draws)[0].item<int64_t>();\n";
    expect(checked({ "state.cc": after + before })).toEqual({ problems: [], files: 2, exempt: 3 });
  });

  it("wants one read, in the step", () => {
    expect(checked({}, "int none;\n").problems).toEqual(['0 lines are marked "the one read", not one.']);
    expect(checked({}, READ + READ).problems).toEqual(['2 lines are marked "the one read", not one.']);
    expect(checked({ "loss.cc": READ }, "int none;\n").problems).toEqual([
      "loss.cc:1: the one read is in step.cc.",
    ]);
  });

  it("reports a mark that nothing needs, and a source that is gone", () => {
    expect(checked({ "loss.cc": "x = y;  // not in a step\n" }).problems).toEqual([
      "loss.cc:1: nothing here needs its mark.",
    ]);
    const { problems } = check(folder, { sources: ["gone.cc"], reader: "gone.cc" });
    expect(problems[0]).toBe("gone.cc is not there: correct SOURCES in scripts/check-step.mjs.");
  });

  it("finds nothing in this package, whose read it sees", () => {
    const { problems, files, exempt } = check(root);
    expect(problems).toEqual([]);
    expect(files).toBeGreaterThan(40);
    expect(exempt).toBeGreaterThanOrEqual(1);
    expect(readFileSync(join(root, READER), "utf8").split("// the one read")).toHaveLength(2);
  });
});
