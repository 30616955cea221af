/** The published figures are those of the paper's tables and of the methods' repositories. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { benchmarks } from "../../../src/report/published.js";
import { publishedAblations } from "../../../src/report/published-ablations.js";
import {
  type FigureName,
  type PublishedRow,
  publishedName,
  recalls,
} from "../../../src/report/published-rows.js";

/** Figures by row; null where the copy at hand is unreadable. */
type Rows = Readonly<Record<string, readonly (number | null)[]>>;
const paper = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../fixtures/published.json", import.meta.url)), "utf8"),
) as {
  readonly table1_vggss_flickr: { ours_iqr: Rows; ours_ogl: Rows; others_vggsound144k: Rows };
  readonly table2_heard_unheard: Rows;
  readonly table3_avsbench_s4: Rows;
  readonly table4_retrieval: Rows;
  readonly table5_losses: { rows_in_order_combinations_unreadable: readonly (readonly number[])[] };
  readonly table6_separate_initial_slots: Rows;
  readonly table8_ms3: Rows;
  readonly table9_iterations: Rows;
  readonly table10_k: Rows;
  readonly table11_mask_ratio: Rows;
  readonly table12_slots_target_offtarget: Rows;
};

const SETS = {
  flickr10k: "Flickr 10k",
  flickr144k: "Flickr 144k",
  vggsound10k: "VGG-Sound 10k",
  vggsound144k: "VGG-Sound 144k",
} as const;
const methodOf = (name: string) =>
  name.startsWith("ours") ? "joint slot attention" : name.replace("_selfsup", ", self-supervised neighbours");

/** The figures of the one row that `wanted` describes; undefined without such a row. */
function figuresOf(table: string, wanted: Partial<PublishedRow>): PublishedRow["figures"] | undefined {
  const rows = (benchmarks[table]?.rows ?? []).filter((row) =>
    Object.entries(wanted).every(([field, value]) => row[field as keyof PublishedRow] === value),
  );
  expect(rows.length, JSON.stringify(wanted)).toBeLessThan(2);
  return rows[0]?.figures;
}

/** Every figure of `names` is that of the paper, and none is there that the paper's copy lacks. */
function expectRow(
  table: string,
  wanted: Partial<PublishedRow>,
  names: readonly FigureName[],
  values: readonly (number | null | undefined)[],
): void {
  const figures = figuresOf(table, wanted) ?? {};
  expect(figures, `${table}: ${JSON.stringify(wanted)}`).toEqual(
    Object.fromEntries(names.flatMap((name, i) => (values[i] == null ? [] : [[name, values[i]]]))),
  );
}

const rowsIn = (table: Rows) => Object.entries(table).filter(([name]) => name !== "columns");

describe("the published figures", () => {
  it.each(["ours_iqr", "ours_ogl"] as const)("of table 1, %s, are the paper's", (part) => {
    for (const [set, [vggss, vggssAuc, flickr, flickrAuc]] of Object.entries(
      paper.table1_vggss_flickr[part],
    )) {
      const row = {
        method: "joint slot attention",
        source: "table 1",
        protocol: part === "ours_iqr" ? "jsa" : "jsa-ogl",
        training: SETS[set as keyof typeof SETS],
      } as const;
      expectRow("vggss", row, ["ciou", "auc"], [vggss, vggssAuc]);
      expectRow("flickr", row, ["ciou", "auc"], [flickr, flickrAuc]);
    }
  });

  it("of the other methods in table 1 are the paper's", () => {
    for (const [method, values] of rowsIn(paper.table1_vggss_flickr.others_vggsound144k)) {
      const [vggss, vggssAuc, flickr, flickrAuc] = values;
      const known = ["LVS", "EZ-VSL", "SLAVC", "FNAC", "Alignment"].includes(method);
      const row = {
        method,
        source: "table 1",
        protocol: known ? "area" : "not-stated",
        training: "VGG-Sound 144k",
      } as const;
      expectRow("vggss", row, ["ciou", "auc"], [vggss, vggssAuc]);
      expectRow("flickr", row, ["ciou", "auc"], [flickr, flickrAuc]);
    }
  });

  it("of table 2 are the paper's", () => {
    for (const [name, [heard, heardAuc, unheard, unheardAuc]] of rowsIn(paper.table2_heard_unheard)) {
      const protocol = name === "ours_iqr" ? "jsa" : "area";
      const row = { method: methodOf(name), source: "table 2", protocol } as const;
      expectRow("vggss-heard", row, ["ciou", "auc"], [heard, heardAuc]);
      expectRow("vggss-unheard", row, ["ciou", "auc"], [unheard, unheardAuc]);
    }
  });

  it("of tables 3, 4 and 8 are the paper's", () => {
    for (const [name, values] of rowsIn(paper.table3_avsbench_s4)) {
      expectRow("avsbench-s4", { method: methodOf(name), source: "table 3" }, ["miou", "maxf"], values);
    }
    for (const [name, values] of rowsIn(paper.table8_ms3)) {
      expectRow("avsbench-ms3", { method: methodOf(name), source: "table 8" }, ["miou", "maxf"], values);
    }
    for (const [name, values] of rowsIn(paper.table4_retrieval)) {
      expectRow("vggss-retrieval", { method: methodOf(name), source: "table 4" }, recalls, values);
    }
  });

  it("of the ablations are the paper's, row by row", () => {
    const figures = (name: string, names: readonly FigureName[]) =>
      publishedAblations[name]?.rows.map((row) => names.map((each) => row.figures[each]));
    const localized = ["ciou", "auc"] as const;
    const values = (table: Rows, keys: readonly string[]) => keys.map((key) => table[key]);
    expect(figures("losses", localized)).toEqual(paper.table5_losses.rows_in_order_combinations_unreadable);
    expect(figures("iterations", [...localized, ...recalls])).toEqual(
      values(paper.table9_iterations, ["1", "3", "5", "7", "10"]),
    );
    expect(figures("neighbours", localized)).toEqual(values(paper.table10_k, ["10", "20", "30", "50"]));
    expect(figures("masking", [...localized, "a2i-r1", "i2a-r1"])).toEqual(
      values(paper.table11_mask_ratio, ["0", "0.05", "0.1", "0.2", "0.3", "0.5"]),
    );
    expect(figures("slots", localized)).toEqual(
      values(paper.table12_slots_target_offtarget, ["1-1", "1-2", "1-3", "2-1", "3-1"]),
    );
    const separate = publishedAblations["initial-slots"]?.rows.filter(({ source }) => source === "table 6");
    const cells = separate?.flatMap((row) => localized.map((name) => row.figures[name]));
    expect(cells).toEqual([
      ...(paper.table6_separate_initial_slots.flickr144k ?? []),
      ...(paper.table6_separate_initial_slots.vggsound144k ?? []),
    ]);
  });

  it.each([
    ["vggss", "EZ-VSL", "VGG-Sound 10k", "table 1", "area-ogl", { ciou: 38.71, auc: 39.8 }],
    ["vggss", "EZ-VSL", "VGG-Sound 10k", "README of EZ-VSL", "area-ogl", { ciou: 37.18, auc: 38.75 }],
    ["vggss", "EZ-VSL", "Flickr 10k", "table 1", "area", { ciou: 19.86, auc: 30.96 }],
    ["vggss", "SLAVC", "VGG-Sound 144k", "table 1", "area-ogl", { ciou: 39.67 }],
    ["vggss", "FNAC", "Flickr 144k", "README of FNAC", "area", { ciou: 33.93, auc: 37.29 }],
    ["flickr", "LVS", "VGG-Sound 10k", "table 1", "area", { ciou: 61.8, auc: 53.6 }],
    ["flickr", "EZ-VSL", "VGG-Sound 144k", "README of EZ-VSL", "area-ogl", { ciou: 83.94, auc: 63.6 }],
    ["flickr", "SLAVC", "VGG-Sound 144k", "table 1", "area-ogl", { ciou: 86.4 }],
    ["vggss-unheard", "FNAC", "VGG-Sound, heard classes", "table 2", "area-ogl", { ciou: 42.91, auc: 41.17 }],
    [
      "vggss-heard",
      "EZ-VSL",
      "VGG-Sound, heard classes",
      "README of EZ-VSL",
      "area-ogl",
      { ciou: 37.25, auc: 38.97 },
    ],
    [
      "flickr-extended",
      "SLAVC",
      "training set not stated",
      "README of SLAVC",
      "extended",
      { ap: 51.63, bestf1: 59.1, locacc: 83.6 },
    ],
  ] as const)("on %s of %s after %s (%s, %s) are those of their source", (...expected) => {
    const [table, method, training, source, protocol, figures] = expected;
    expect(figuresOf(table, { method, training, source, protocol })).toEqual(figures);
  });

  it("have no two rows of one source, protocol, method and training set", () => {
    for (const [name, { rows }] of [...Object.entries(benchmarks), ...Object.entries(publishedAblations)]) {
      expect(new Set(rows.map(publishedName)).size, name).toBe(rows.length);
      for (const { figures } of rows) {
        expect(Object.keys(figures).length).toBeGreaterThan(0);
        for (const value of Object.values(figures)) expect(value).toBeGreaterThan(0);
        for (const value of Object.values(figures)) expect(value).toBeLessThan(100);
      }
    }
  });

  it("are named with protocol, training set and source", () => {
    const names = benchmarks.vggss?.rows.map(publishedName);
    expect(names).toContain("EZ-VSL, half the area, with OGL, VGG-Sound 10k (table 1)");
    expect(names).toContain("joint slot attention, IQR, Flickr 144k (table 1)");
    expect(benchmarks["vggss-retrieval"]?.rows.map(publishedName)).toContain(
      "LVS, training set not stated (table 4)",
    );
  });
});
