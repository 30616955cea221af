/** Every report that soundspot writes, made by its commands and opened as a file: for everybody, on any screen, on paper. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Command } from "commander";
import Fastify from "fastify";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { register as registerAblate } from "../../src/cli/commands/ablate.js";
import { register as registerCompare } from "../../src/cli/commands/compare.js";
import { register as registerDemo } from "../../src/cli/commands/demo.js";
import { register as registerEvaluate } from "../../src/cli/commands/evaluate.js";
import { register as registerTrain } from "../../src/cli/commands/train.js";
import { page as servePage } from "../../src/server/page.js";
import { patience } from "../support/patience.js";
import { tiny } from "../support/tiny.js";
import {
  axeFaults,
  CHROMIUM,
  installed,
  keyboardFaults,
  motionFaults,
  structureFaults,
  tabStops,
  targetFaults,
  widthFaults,
} from "./accessible.js";

const verify = (await import(fileURLToPath(new URL("../../scripts/verify-report.mjs", import.meta.url)))) as {
  programTables(figures: object): object[];
  suiteTables(figures: object): object[];
  writeReport(folder: string, report: object): Promise<void>;
};

if (!installed) console.warn(`Reports are not tested: no Chromium at ${CHROMIUM}. Set CHROMIUM_PATH.`);

const folder = mkdtempSync(join(tmpdir(), "soundspot-reports-"));
const at = (...names: string[]) => join(folder, ...names);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command in this process, without a build. */
async function soundspot(...args: string[]): Promise<void> {
  const program = new Command().exitOverride();
  for (const register of [registerAblate, registerCompare, registerDemo, registerEvaluate, registerTrain]) {
    register(program);
  }
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation(() => true),
  );
  try {
    await program.parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const scenes = (fields: string) => `scenes:size=40,seconds=1,${fields}`;

/** By the folder of their report. */
const makers: Readonly<Record<string, () => Promise<void>>> = {
  async evaluation() {
    const test = ["--data", scenes("split=test,length=12"), "--neighbours", "3"];
    await soundspot(
      ...["evaluate", at("run/last.safetensors"), ...test, "--protocol", "jsa,adaptive"],
      ...["--output", at("evaluation"), "--gallery", "6"],
    );
  },
  async checkpoints() {
    await soundspot(
      ...["evaluate", at("run/last.safetensors"), "--data", scenes("split=test,length=6"), "--gallery", "3"],
      ...["--compare", at("run/best.safetensors"), "--published", "vggss", "--output", at("checkpoints")],
    );
  },
  async comparison() {
    await soundspot(
      ...["compare", "--data", scenes("length=8"), "--evaluation", scenes("split=test,length=4")],
      ...["--two-sources", scenes("split=test,length=2,sources=2"), "--seeds", "2", "--batch-size", "4"],
      ...["--epochs", "1", "--methods", "joint-slot-attention,lvs", "--images", "2"],
      ...["--published", "vggss", "--output", at("comparison")],
    );
  },
  async ablation() {
    await soundspot(
      ...["ablate", "initial-slots", "--config", at("tiny.yaml"), "--output", at("ablation")],
      ...["--data", scenes("length=8"), "--evaluation", scenes("split=test,length=4")],
    );
  },
  async demo() {
    await soundspot("demo", "--quick", "--output", at("demo"));
  },
  async verification() {
    const near = { name: "near", error: 4e-5, tolerance: 5e-5, reason: "rounding", passed: true };
    const beyond = { name: "beyond", error: null, tolerance: 4e-3, reason: "storage", passed: false };
    const message = `CUDA error in ${"/a/long/path".repeat(12)}`;
    const program = verify.programTables({
      stages: [
        {
          name: "kernels",
          checks: [
            { name: "good", passed: true, figures: [near] },
            { name: "bad", passed: false, figures: [near, beyond] },
            { name: "ended", passed: false, message, figures: [] },
          ],
          timings: [],
        },
        {
          name: "timings",
          checks: [],
          timings: [{ name: "matching", ms: 0.0123, against: "LibTorch", againstMs: 0.1, ratio: 8.1 }],
        },
      ],
    });
    const suite = verify.suiteTables({
      testResults: [
        {
          assertionResults: [
            { fullName: "the engine localizes", status: "passed", duration: 120 },
            {
              fullName: "training steps agree",
              status: "failed",
              duration: 2,
              failureMessages: ["1 is not 2"],
            },
            { fullName: "a test of several GPUs", status: "pending" },
          ],
        },
      ],
    });
    const stage = (name: string, status: string, more: object = {}) => ({
      name,
      status,
      seconds: 3,
      ...more,
    });
    await verify.writeReport(at("verification"), {
      started: "2026-01-02T03:04:05.000Z",
      machine: { gpu: "A <GPU>", driver: "580.1" },
      stages: [
        stage("program", "failed", { message, tables: program, output: `${"long".repeat(100)}\nlast line` }),
        stage("suite", "failed", { tables: suite }),
        stage("again", "failed", { tables: suite }),
        stage("bench", "skipped", { message: "no Python" }),
        stage("soak", "passed"),
      ],
    });
  },
};
const reports = Object.keys(makers);
const textOf = (...names: string[]) => readFileSync(at(...names), "utf8");

describe.skipIf(!installed)("reports", () => {
  let browser: Browser;
  const opened: { page: Page; wrong: string[] }[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    const train = { epochs: 3, batchSize: 4, falseNegatives: { k: 2 } };
    writeFileSync(at("tiny.yaml"), JSON.stringify({ model: tiny, train }));
    await soundspot(
      ...["train", "--data", scenes("length=16"), "--evaluation", scenes("split=test,length=6")],
      ...["--config", at("tiny.yaml"), "--output", at("run")],
    );
    for (const make of Object.values(makers)) await make();
  });

  afterEach(async () => {
    for (const { page, wrong } of opened.splice(0)) {
      await page.context().close();
      expect(wrong).toEqual([]);
    }
  });

  afterAll(() => browser?.close());

  /** Opens an address; everything that is requested beside it is an error, as is all in the console. */
  async function openAt(address: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const wrong: string[] = [];
    await context.route("**/*", async (route) => {
      const url = route.request().url();
      if (url === address) return route.continue();
      wrong.push(`requested ${url}`);
      return route.abort();
    });
    const page = await context.newPage();
    page.setDefaultTimeout(patience(60));
    page.on("console", (message) => wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("request", (request) => {
      const url = request.url();
      if (url !== address && !url.startsWith("data:")) wrong.push(`requested ${url}`);
    });
    opened.push({ page, wrong });
    await page.goto(address);
    return page;
  }
  const open = (report: string, options?: BrowserContextOptions) =>
    openAt(pathToFileURL(at(report, "report.html")).href, options);

  const openDetails = (page: Page) =>
    page.evaluate(() => {
      for (const details of document.querySelectorAll("details")) details.open = true;
    });

  describe.each(reports)("of %s", (report) => {
    it.each(["light", "dark"] as const)(
      "passes axe in %s, on a wide and a narrow screen",
      async (colorScheme) => {
        const page = await open(report, { colorScheme, reducedMotion: "reduce" });
        for (const width of [1280, 390]) {
          await page.setViewportSize({ width, height: 900 });
          for (const state of ["closed", "open"]) {
            if (state === "open") await openDetails(page);
            expect(await axeFaults(page), `${width} px, details ${state}`).toEqual([]);
          }
        }
        const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        expect(background).toBe(colorScheme === "dark" ? "rgb(26, 26, 25)" : "rgb(252, 252, 251)");
        expect(await motionFaults(page)).toEqual([]);
      },
    );

    it("fits a narrow screen, with controls large enough", async () => {
      const page = await open(report, { viewport: { width: 390, height: 844 } });
      for (const state of ["closed", "open"]) {
        if (state === "open") await openDetails(page);
        expect(await widthFaults(page), `details ${state}`).toEqual([]);
        expect(await targetFaults(page), `details ${state}`).toEqual([]);
      }
      expect(await structureFaults(page)).toEqual([]);
    });

    it("is used by the keyboard alone", async () => {
      const page = await open(report, { viewport: { width: 390, height: 844 } });
      expect(await keyboardFaults(page)).toEqual([]);
      const count = await page.locator("summary").count();
      for (let i = 0; i < count; i++) {
        const summary = page.locator("summary").nth(i);
        await summary.focus();
        await page.keyboard.press("Enter");
        expect(await summary.evaluate((each) => (each.parentElement as HTMLDetailsElement).open)).toBe(true);
      }
      expect(await keyboardFaults(page)).toEqual([]);
      const wide = page.locator(".scroll");
      for (const region of await wide.all()) {
        const most = await region.evaluate((each) => each.scrollWidth - each.clientWidth);
        if (most <= 0) continue;
        await region.focus();
        await page.keyboard.press("ArrowRight");
        await expect.poll(() => region.evaluate((each) => each.scrollLeft)).toBeGreaterThan(0);
      }
      for (const link of await page.locator("nav a").all()) {
        const target = (await link.getAttribute("href")) as string;
        expect(await page.locator(`[id="${target.slice(1)}"] > h2`).textContent()).toBe(
          await link.textContent(),
        );
      }
    });

    it("is readable on paper, in dark on white", async () => {
      // A4 without its margins.
      const page = await open(report, { colorScheme: "dark", viewport: { width: 688, height: 1000 } });
      await page.emulateMedia({ media: "print", colorScheme: "dark" });
      const { background, color, cut } = await page.evaluate(() => {
        const style = getComputedStyle(document.body);
        const wide = [...document.querySelectorAll(".scroll")].filter(
          (each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1,
        );
        return {
          background: style.backgroundColor,
          color: style.color,
          cut: wide.map((each) => `${each.getAttribute("aria-label")}: ${each.scrollWidth}`),
        };
      });
      expect([background, color]).toEqual(["rgb(255, 255, 255)", "rgb(11, 11, 11)"]);
      expect(cut).toEqual([]);
      expect(await axeFaults(page)).toEqual([]);
      const paper = await page.pdf({ format: "A4" });
      expect(paper.subarray(0, 5).toString()).toBe("%PDF-");
    });

    it("draws lines and frames that stand out from the page", async () => {
      for (const colorScheme of ["light", "dark"] as const) {
        const page = await open(report, { colorScheme });
        const weak = await page.evaluate(() => {
          const light = (color: string) => {
            const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).map((part) => {
              const share = Number(part) / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
          };
          const background = light(getComputedStyle(document.body).backgroundColor);
          const lines = [...document.querySelectorAll("svg path, svg .axis")].map(
            (each) => getComputedStyle(each).stroke,
          );
          const frames = [...document.querySelectorAll("figure[class] img")].map(
            (each) => getComputedStyle(each).outlineColor,
          );
          return [...new Set([...lines, ...frames])].filter((color) => {
            const [a, b] = [light(color), background];
            return Math.max(a, b) / Math.min(a, b) < 3;
          });
        });
        expect(weak, colorScheme).toEqual([]);
      }
    });
  });

  interface Scored {
    settings: object;
    defaultMap: "iqr" | "audio";
    perSample: { id: string; label: string; iqr: { ciou: number } }[];
  }

  it("describes every heatmap by its sample, class and cIoU", async () => {
    const page = await open("evaluation");
    const { perSample } = JSON.parse(textOf("evaluation", "scores.json")) as Scored;
    const known = new Set(
      perSample.map(
        ({ id, label, iqr }) => `Heatmap, map iqr, of ${id}, ${label}, cIoU ${iqr.ciou.toFixed(3)}`,
      ),
    );
    const texts = await page
      .locator(".gallery img")
      .evaluateAll((images) => images.map((image) => (image as HTMLImageElement).alt));
    expect(texts).toHaveLength(6);
    expect(texts.filter((text) => !known.has(text))).toEqual([]);
    const drawn = await page
      .locator("img")
      .evaluateAll((images) => images.map((image) => (image as HTMLImageElement).naturalWidth));
    expect(drawn.filter((width) => width === 0)).toEqual([]);
  });

  it("describes the maps of every method with their cIoU", async () => {
    const page = await open("comparison");
    const { runs } = JSON.parse(textOf("comparison", "comparison.json")) as {
      runs: { method: string; seed: number; shownCious: Record<string, number> }[];
    };
    const cious = runs.filter(({ seed }) => seed === 0).map(({ shownCious }) => shownCious);
    expect(cious.map((each) => Object.keys(each))).toEqual([
      ["0", "1"],
      ["0", "1"],
    ]);
    const texts = await page
      .locator("div.grid img")
      .evaluateAll((images) => images.map((image) => (image as HTMLImageElement).alt));
    const expected = [0, 1].flatMap((i) => cious.map((each) => `cIoU ${each[i]?.toFixed(3)}`));
    expect(texts.map((text) => text.split(", ").at(-1))).toEqual(expected);
    for (const text of texts) expect(text).toMatch(/^Heatmap of test-\S+: \w+, audio map of /);
  });

  it("has the values of its charts in words and in a table", async () => {
    const page = await open("evaluation");
    const losses = textOf("run", "metrics.jsonl")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { step: number; losses?: { total: number } })
      .flatMap(({ step, losses: own }) => (own ? [{ step, total: own.total }] : []));
    const [first, last] = [losses[0], losses.at(-1)];
    expect(losses.length).toBeGreaterThan(11);
    const chart = page.locator("figure", { has: page.getByText("total", { exact: true }) }).first();
    const words = (await chart.locator("svg[role=img]").getAttribute("aria-label")) as string;
    const [, begin, end, low, high] = words.match(
      /^total, line chart over step\. total: from (\S+) at 1 to (\S+) at \d+, between (\S+) and (\S+)\.$/,
    ) as string[];
    const totals = losses.map(({ total }) => total);
    const shown = (value = Number.NaN) => String(Number(value.toPrecision(4)));
    expect([begin, end]).toEqual([shown(first?.total), shown(last?.total)]);
    expect([low, high]).toEqual([shown(Math.min(...totals)), shown(Math.max(...totals))]);
    await chart.locator("summary").click();
    const cells = await chart.locator("tbody tr").allTextContents();
    expect(cells).toHaveLength(11);
    const all = new Set(losses.map(({ step, total }) => `${step}${shown(total)}`));
    expect(cells.filter((cell) => !all.has(cell.trim()))).toEqual([]);
    expect([cells[0], cells.at(-1)]).toEqual(
      [first, last].map((each) => `${each?.step}${shown(each?.total)}`),
    );
  });

  it("aligns columns of numbers to the right, heading and cells alike, and no others", async () => {
    const page = await open("comparison");
    const columns = await page.evaluate(() =>
      [...document.querySelectorAll("table")].flatMap((table) =>
        [...(table.tHead?.rows[0]?.cells ?? [])].map((heading, i) => {
          const cells = [heading, ...[...(table.tBodies[0]?.rows ?? [])].map(({ cells: own }) => own[i])];
          return {
            name: heading.textContent,
            aligned: [...new Set(cells.map((cell) => cell && getComputedStyle(cell).textAlign))],
          };
        }),
      ),
    );
    const right = columns.filter(({ aligned }) => aligned.join() === "right").map(({ name }) => name);
    const left = columns.filter(({ aligned }) => aligned.join() === "left").map(({ name }) => name);
    expect(right.length + left.length).toBe(columns.length);
    expect(right).toEqual(expect.arrayContaining(["cIoU@0.5", "AUC, jsa", "trained", "stored"]));
    expect(left).toEqual(
      expect.arrayContaining(["method", "method and map", "protocol", "trained on", "source"]),
    );
  });

  it("answers for a page that was not built in the same way", async () => {
    const app = Fastify();
    mkdirSync(at("unbuilt"));
    await servePage(app, at("unbuilt"), "/base");
    try {
      const address = `${await app.listen({ port: 0, host: "127.0.0.1" })}/`;
      for (const colorScheme of ["light", "dark"] as const) {
        const page = await openAt(address, { colorScheme, viewport: { width: 390, height: 844 } });
        const faults = [axeFaults, widthFaults, structureFaults, keyboardFaults, motionFaults];
        for (const find of faults) expect(await find(page), find.name).toEqual([]);
        expect((await tabStops(page)).map(({ name }) => name)).toEqual(["/base/openapi.json"]);
      }
    } finally {
      await app.close();
    }
  });

  it("share their checks with the form of the example for Electron", async () => {
    const form = readFileSync("examples/electron/index.html", "utf8").replace(/<script.*<\/script>/, "");
    mkdirSync(at("electron"));
    writeFileSync(at("electron", "report.html"), form);
    const page = await open("electron", { viewport: { width: 390, height: 844 } });
    for (const find of [axeFaults, widthFaults, structureFaults])
      expect(await find(page), find.name).toEqual([]);
  });

  it("are judged by checks that find faults", async () => {
    const page = await open("ablation");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.evaluate(() => {
      document.documentElement.lang = "";
      document.title = "";
      document.body.innerHTML = `<h1>a</h1><h3>b</h3><img src="data:,"><table><tr><th>c</th></tr></table>
        <p style="color:#ccc">pale</p><div style="width:500px">wide</div><a href="#x" style="outline:none">x</a>
        <div style="overflow:auto;width:100px"><pre style="width:300px;white-space:pre">${"d".repeat(99)}</pre></div>
        <button tabindex="2">late</button><img src="https://example.com/image.png" alt="from outside">`;
      document.body.animate([{ opacity: 0.9 }, { opacity: 1 }], { duration: 1e6 });
    });
    expect(await axeFaults(page)).toEqual(
      expect.arrayContaining(
        ["color-contrast", "html-has-lang", "image-alt", "document-title"].map(
          (rule) => expect.stringContaining(rule) as string,
        ),
      ),
    );
    const structure = (await structureFaults(page)).join("\n");
    for (const fault of [
      "no language",
      "no title",
      "0 of main",
      "h3 after h1",
      "without text",
      "no caption",
      "no scope",
    ])
      expect(structure).toContain(fault);
    const widths = (await widthFaults(page)).join("\n");
    for (const fault of ["px wide in 390", "scrolls without keyboard or name"])
      expect(widths).toContain(fault);
    expect(await targetFaults(page)).toEqual(
      expect.arrayContaining([expect.stringContaining("<a href") as string]),
    );
    expect(await keyboardFaults(page)).toEqual(
      expect.arrayContaining([
        "no focus ring: x",
        expect.stringContaining('not reached: <button tabindex="2">') as string,
      ]),
    );
    expect(await motionFaults(page)).toHaveLength(1);
    expect(opened.at(-1)?.wrong.splice(0).join()).toContain("https://example.com/image.png");
  });
});
