/** Comments cite sections of documents that exist: numbered ones where the document has numbers, else by heading. */
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "../../support/docs/samples.js";

/** Headings of a document of the repository, without their marks; undefined where there is none. */
function headingsOf(document: string): string[] | undefined {
  try {
    const text = readFileSync(join(root, document), "utf8").replace(/^(`{3,})[\s\S]*?^\1/gm, "");
    return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading.trim());
  } catch {
    return undefined;
  }
}

const sources = /\.(?:c|cc|h|ts|mjs|cjs|js|py|css|md|html|json|yml)$/;
const filesBelow = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && sources.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));

/** A text whose comments have no line ends and no marks at the beginnings of their lines. */
const joined = (text: string) => text.replace(/[ \t]*\n[ \t]*(?:\/{2,3}|\*(?!\/)|#)?[ \t]*/g, " ");

/** A document of the repository beside a section's number, or an article's authors. */
const document = String.raw`(?<document>\b[\w./-]+\.md\b)`;
const numbered = new RegExp(
  String.raw`(?:${document}[^.;]{0,20}?)?\bsections? (?<number>\d+(?:\.\d+)*)(?: of (?<of>[\w./-]+\.md))?`,
  "gi",
);
const article = /\bet al\.[^;]{0,120}$| and [A-Z]\w+, "[^"]+",[^;]{0,60}$/;

/** What is wrong with the citations of a text. */
function wrongCitations(text: string): string[] {
  const prose = joined(text);
  const wrong: string[] = [];
  for (const { 0: citation, index, groups } of prose.matchAll(numbered)) {
    if (article.test(prose.slice(Math.max(0, index - 160), index))) continue;
    const cited = groups?.of ?? groups?.document;
    const found = cited === undefined ? undefined : headingsOf(cited);
    if (!found?.some((heading) => heading.split(/[. ]+ /)[0] === groups?.number)) wrong.push(citation);
  }
  for (const [citation, cited = "", titles = ""] of prose.matchAll(
    /\b(docs\/[\w-]+\.md), ((?:"[^"]+"(?:,? and )?)+)/g,
  )) {
    const found = headingsOf(cited);
    const headings = [...titles.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title.replace(/[.,]$/, ""));
    if (!headings.every((heading) => found?.includes(heading))) wrong.push(citation);
  }
  return wrong;
}

const folders = ["native", "src", "test", "bench", "scripts", "web/src", "docs", "examples", "lint"];
const itself = join(root, "test", "unit", "docs", "citations.test.ts");

describe("citations of documents", () => {
  it("lead to sections that the documents have", () => {
    const files = folders.flatMap(filesBelow).filter((file) => file !== itself);
    expect(files.filter((file) => extname(file) === ".cc").length).toBeGreaterThan(50);
    const wrong = files.flatMap((file) =>
      wrongCitations(readFileSync(file, "utf8")).map((citation) => `${file}: ${citation}`),
    );
    expect(wrong).toEqual([]);
  });

  it.each([
    "// Nearest neighbours (section 1.10).",
    "/// Section 1.9 of the design; the defaults are the published ones.",
    "// own; see section 1 of docs/method.md.",
    "/** As docs/method.md, section 1.9, has it. */",
    "// Losses as in\n// section 1.6.",
    "// See section 2.1 of docs/none.md.",
    '// See docs/method.md, "No such heading".',
    '// See docs/method.md, "Losses" and "No such heading".',
    '/// See docs/none.md, "Losses".',
  ])("are found wrong: %s", (comment) => {
    expect(wrongCitations(comment)).toHaveLength(1);
  });

  it.each([
    '// Predicted false negatives (docs/method.md, "Losses").',
    '// See docs/method.md,\n//   "Joint slot attention" and "Losses".',
    '/** Salmon et al., "Parallel random numbers", SC 2011, section 3.3. */',
    "// An intersection 1.5 times as large.",
  ])("are right: %s", (comment) => {
    expect(wrongCitations(comment)).toEqual([]);
  });
});
