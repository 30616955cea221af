/** The report of `npm run verify:gpu`: whole files, all figures, nothing of a name that is read as HTML. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

interface Table {
  title: string;
  columns: string[];
  rows: (string | number)[][];
}
interface Stage {
  name: string;
  status: "passed" | "failed" | "skipped";
  seconds: number;
  message?: string;
  tables?: Table[];
  output?: string;
  figures?: unknown;
}
interface VerifyReport {
  started: string;
  machine: Record<string, string>;
  stages: Stage[];
}

const { passed, programTables, renderHtml, suiteTables, writeReport } = (await import(
  fileURLToPath(new URL("../../../scripts/verify-report.mjs", import.meta.url))
)) as {
  passed(report: VerifyReport): boolean;
  programTables(figures: object): Table[];
  renderHtml(report: VerifyReport): string;
  suiteTables(figures: object): Table[];
  writeReport(folder: string, report: VerifyReport): Promise<void>;
};

const folder = mkdtempSync(join(tmpdir(), "soundspot-report-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const stage = (name: string, status: Stage["status"], more: Partial<Stage> = {}): Stage => ({
  name,
  status,
  seconds: 2.4,
  ...more,
});
const report = (...stages: Stage[]): VerifyReport => ({
  started: "2026-01-02T03:04:05.000Z",
  machine: { gpu: "A <GPU> & more", driver: "580.1" },
  stages,
});

const figures = {
  stages: [
    {
      name: "kernels",
      checks: [
        {
          name: "good",
          passed: true,
          figures: [
            { name: "near", error: 4e-5, tolerance: 5e-5, reason: "rounding", passed: true },
            { name: "exact", error: 0, tolerance: 0, reason: "counts", passed: true },
          ],
        },
        {
          name: "bad",
          passed: false,
          figures: [
            { name: "within", error: 4.9e-5, tolerance: 5e-5, reason: "rounding", passed: true },
            { name: "beyond", error: null, tolerance: 4e-3, reason: "storage", passed: false },
          ],
        },
        { name: "ended", passed: false, message: "CUDA error", figures: [] },
      ],
      timings: [],
    },
    {
      name: "timings",
      checks: [],
      timings: [{ name: "matching", ms: 0.01234, against: "LibTorch", againstMs: 0.1, ratio: 8.1037 }],
    },
  ],
};

describe("the report of a GPU's verification", () => {
  it("passes where no stage failed and one passed", () => {
    expect(passed(report(stage("a", "passed"), stage("b", "skipped")))).toBe(true);
    expect(passed(report(stage("a", "passed"), stage("b", "failed")))).toBe(false);
    expect(passed(report(stage("b", "skipped")))).toBe(false);
    expect(passed(report())).toBe(false);
  });

  it("writes both files in the place of older ones, and no other", async () => {
    const to = join(folder, "new", "folder");
    await writeReport(to, report(stage("program", "passed")));
    writeFileSync(join(to, "report.html"), "an older one that is longer".repeat(10_000));
    const last = report(stage("program", "failed", { message: "ended with 1", figures: { all: [1] } }));
    await writeReport(to, last);
    expect(readdirSync(to).sort()).toEqual(["report.html", "report.json"]);
    expect(JSON.parse(readFileSync(join(to, "report.json"), "utf8"))).toEqual({ passed: false, ...last });
    expect(readFileSync(join(to, "report.html"), "utf8")).toBe(renderHtml(last));
  });

  it("keeps an older report, and no temporary file, where it cannot be written", async () => {
    const to = join(folder, "kept");
    await writeReport(to, report(stage("program", "passed")));
    const before = readFileSync(join(to, "report.html"), "utf8");
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    await expect(writeReport(to, report(stage("program", "failed", { figures: cyclic })))).rejects.toThrow();
    expect(readFileSync(join(to, "report.html"), "utf8")).toBe(before);
    expect(readdirSync(to).sort()).toEqual(["report.html", "report.json"]);
  });

  it("shows stages, messages, tables and output as text, and refers to nothing outside", () => {
    const table = {
      title: "T <1>",
      columns: ["what", "ms"],
      rows: [['<img src="x">', 3.5] as (string | number)[]],
    };
    const html = renderHtml(
      report(
        stage("suite", "failed", { message: "<b>bad</b>", tables: [table], output: "a < b && c" }),
        stage("bench", "skipped", { message: "no Python" }),
      ),
    );
    for (const text of [
      "soundspot on a GPU: failed",
      "A &lt;GPU&gt; &amp; more",
      "&lt;b&gt;bad&lt;/b&gt;",
      "T &lt;1&gt;",
      '<th scope="row">&lt;img src=&quot;x&quot;&gt;</th><td class="number">3.5</td>',
      "a &lt; b &amp;&amp; c",
      "no Python",
    ])
      expect(html).toContain(text);
    expect(html).not.toMatch(/<img|<b>|<script|https?:\/\/|<link|url\(/);
  });

  it("has of each check the figure that is nearest to its tolerance, or furthest beyond", () => {
    const [checks, times] = programTables(figures);
    expect(checks?.title).toBe("kernels: 3 checks");
    expect(checks?.rows).toEqual([
      ["good", "ok", "near", 4e-5, 5e-5, "rounding"],
      ["bad", "failed", "beyond", "not finite", 4e-3, "storage"],
      ["ended", "failed", "CUDA error", "", "", ""],
    ]);
    expect(times?.rows).toEqual([["matching", 0.0123, "LibTorch", 0.1, 8.1]]);
  });

  it("has of each test its outcome and the first line of its failure", () => {
    const [table] = suiteTables({
      testResults: [
        {
          assertionResults: [
            { fullName: "a model repeats", status: "passed", duration: 12.4, failureMessages: [] },
            {
              fullName: "a run resumes",
              status: "failed",
              duration: 3,
              failureMessages: ["Error: far\n  at x"],
            },
            { fullName: "two GPUs", status: "pending" },
          ],
        },
      ],
    });
    expect(table?.rows).toEqual([
      ["a model repeats", "passed", 12, ""],
      ["a run resumes", "failed", 3, "Error: far"],
      ["two GPUs", "skipped", 0, ""],
    ]);
  });
});
