/** The frame and the tables of reports, over generated titles, cells and series. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeHtml, isNumeric, pageHtml, tableHtml, uniqueNames } from "../../../scripts/html-page.mjs";
import { renderHtmlReport } from "../../../src/report/html.js";

const text = fc.string({ unit: "grapheme", maxLength: 30 });

/** Text as a browser reads it. */
function read(html: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', "#39": "'", amp: "&" };
  return html.replace(/&(lt|gt|quot|#39|amp);/g, (_, name: string) => entities[name] as string);
}

const all = (html: string, pattern: RegExp) =>
  [...html.matchAll(pattern)].map(([, found]) => found as string);

describe("pages", () => {
  it("list each section once, by a link to its heading, whatever the titles are", () => {
    fc.assert(
      fc.property(text, fc.array(text, { minLength: 3, maxLength: 8 }), (title, titles) => {
        const html = pageHtml({ title, sections: titles.map((name) => ({ title: name, html: "<p>x</p>" })) });
        const links = all(html, /<a href="#([^"]*)">/g);
        expect(links).toEqual(all(html, /<section id="([^"]*)">/g));
        expect(new Set(links).size).toBe(titles.length);
        for (const link of links) expect(read(link)).toMatch(/^[^\s"<>&]+$/);
        expect(all(html, /<h2>([^<]*)<\/h2>/g).map(read)).toEqual(titles);
        expect(all(html, /<h1>([^<]*)<\/h1>/g).map(read)).toEqual([title]);
        expect(html).not.toMatch(/<script|https?:|url\(|@import/);
      }),
    );
  });

  it("leave out sections without content, and a list of less than three", () => {
    const sections = ["a", "b", "c"].map((title) => ({ title, html: title === "b" ? "" : "<p>x</p>" }));
    const html = pageHtml({ title: "t", sections });
    expect(all(html, /<h2>([^<]*)<\/h2>/g)).toEqual(["a", "c"]);
    expect(html).not.toContain("<nav");
  });

  it("make names unique, also of those that look like made ones", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "a 2", "a 3", "b", ""), { maxLength: 20 }), (names) => {
        const unique = uniqueNames();
        const made = names.map((name) => unique(name));
        expect(new Set(made).size).toBe(names.length);
        for (const [i, name] of names.entries()) expect(made[i]?.startsWith(name)).toBe(true);
      }),
    );
  });
});

describe("tables", () => {
  it("have a caption, a scope for every heading, and each cell as it is", () => {
    const table = fc.integer({ min: 1, max: 5 }).chain((width) =>
      fc.record({
        label: text,
        columns: fc.array(text, { minLength: width, maxLength: width }),
        rows: fc.array(fc.array(text, { minLength: width, maxLength: width }), { maxLength: 6 }),
      }),
    );
    fc.assert(
      fc.property(table, ({ label, columns, rows }) => {
        const html = tableHtml({ label, columns, rows });
        expect(all(html, /<caption class="unseen">([^<]*)</g).map(read)).toEqual([label]);
        expect(all(html, /aria-label="([^"]*)" tabindex="0"/g).map(read)).toEqual([label]);
        // Headings without text are plain cells.
        const named = columns.filter((column) => column !== "");
        expect(all(html, /<th scope="col"[^>]*>([^<]*)</g).map(read)).toEqual(named);
        expect(all(html, /<th scope="row"[^>]*>([^<]*)</g).map(read)).toEqual(rows.map(([name]) => name));
        const cells = all(html.split("<tbody>")[1] ?? "", /<td[^>]*>([^<]*)</g).map(read);
        expect(cells).toEqual(rows.flatMap(([, ...others]) => others));
      }),
    );
  });

  it("know columns of numbers, with intervals, spreads and units, from columns of words", () => {
    const number = fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => value.toFixed(2));
    const count = fc.nat(1e6).map(String);
    const forms = fc.oneof(
      number,
      count,
      number.map((value) => `${value} %`),
      fc.tuple(number, number).map(([a, b]) => `${a} ± ${b}`),
      fc.tuple(number, number, number).map(([a, b, c]) => `${a} [${b}, ${c}]`),
      fc.tuple(number, number).map(([a, b]) => `${a} – ${b}`),
      fc.tuple(count, count).map(([a, b]) => `${a} of ${b}`),
      number.map((value) => `≥ ${value}`),
      number.map((value) => `${value} M`),
      fc.double({ min: 1e-9, max: 1e-4, noNaN: true }).map((value) => value.toExponential(2)),
      fc.constant("not finite"),
    );
    const word = fc.constantFrom("frog, 50.0", "VGG-Sound 144k", "table 1", "12 pairs of scenes", "passed");
    const cells = fc.array(fc.oneof({ weight: 4, arbitrary: forms }, fc.constantFrom("–", "")), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(cells, forms, word, fc.nat(), (column, one, other, place) => {
        const numbers = [...column, one];
        expect(isNumeric(numbers)).toBe(true);
        expect(isNumeric(numbers.toSpliced(place % numbers.length, 0, other))).toBe(false);
      }),
    );
    expect(isNumeric([])).toBe(false);
    expect(isNumeric(["–", ""])).toBe(false);
  });

  it("leave columns of key figures out that have nothing, and no number as NaN", async () => {
    const html = await renderHtmlReport({
      title: "t",
      figures: [
        { name: "a", value: 12.345, decimals: 1, interval: [10.04, 14] },
        { name: "b", value: Number.NaN, decimals: 1 },
      ],
    });
    expect(all(html, /<th scope="col"[^>]*>([^<]*)</g)).toEqual(["Metric", "Value", "95 % interval"]);
    expect(all(html, /<td class="number">([^<]*)</g)).toEqual(["12.3", "10.0 – 14.0", "–", ""]);
    expect(html).not.toContain("NaN");
  });
});

describe("escapeHtml", () => {
  it("gives text back to a browser, and nothing that is markup", () => {
    fc.assert(
      fc.property(text, (value) => {
        const escaped = escapeHtml(value);
        expect(read(escaped)).toBe(value);
        expect(escaped).not.toMatch(/[<>"']|&(?!(?:lt|gt|quot|#39|amp);)/);
      }),
    );
  });
});
