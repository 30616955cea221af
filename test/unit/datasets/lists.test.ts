/** Lists as spreadsheets and programs write them: separators, encodings, nulls. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { readIds } from "../../../src/datasets/benchmarks/lists.js";
import { manifest } from "../../../src/datasets/manifest.js";
import { encodeImage } from "../../../src/drawing/encode.js";
import { csvRecords } from "../../../src/files/csv.js";
import { encodeWav } from "../../../src/media/wav.js";
import { readLabels } from "../../../src/preparation/labels.js";
import { labelsOf } from "../../../src/search/labels.js";

const folder = mkdtempSync(join(tmpdir(), "soundspot-lists-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);

type Encoding = "utf8" | "utf8 bom" | "utf16le" | "utf16le bom" | "utf16be" | "utf16be bom";
const encodings: readonly Encoding[] = [
  "utf8",
  "utf8 bom",
  "utf16le",
  "utf16le bom",
  "utf16be",
  "utf16be bom",
];

function encode(text: string, encoding: Encoding): Buffer {
  const marked = encoding.endsWith("bom") ? `\ufeff${text}` : text;
  if (encoding.startsWith("utf8")) return Buffer.from(marked, "utf8");
  const little = Buffer.from(marked, "utf16le");
  return encoding.startsWith("utf16le") ? little : little.swap16();
}

describe("lists", () => {
  it("gives back any table, whatever separates its cells", () => {
    const cell = fc.stringMatching(/^[a-z0-9 .,;\t"\n]{0,8}$/);
    const tables = fc
      .tuple(fc.integer({ min: 2, max: 4 }), fc.integer({ min: 1, max: 25 }))
      .chain(([columns, rows]) =>
        fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), {
          minLength: rows,
          maxLength: rows,
        }),
      );
    fc.assert(
      fc.property(
        tables,
        fc.constantFrom(",", ";", "\t"),
        fc.constantFrom("\n", "\r\n"),
        (table, separator, end) => {
          const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
          const text = table.map((row) => row.map(quoted).join(separator)).join(end);
          expect([...csvRecords(text, "a.csv")].map(({ cells }) => [...cells])).toEqual(table);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("is not misled by cells that hold other separators unquoted", () => {
    const rows = (text: string) => [...csvRecords(text, "a.csv")].map(({ cells }) => cells);
    expect(rows("image;boxes\na.jpg;[[1,2,3,4]]\nb.jpg;[[5,6,7,8]]")).toEqual([
      ["image", "boxes"],
      ["a.jpg", "[[1,2,3,4]]"],
      ["b.jpg", "[[5,6,7,8]]"],
    ]);
    expect(rows("id\tlabel\na\tdog; loud\nb\tcat, quiet")[2]).toEqual(["b", "cat, quiet"]);
    expect(rows("sep=;\nid;label\na;b,c")).toEqual([
      ["id", "label"],
      ["a", "b,c"],
    ]);
    expect(rows("a\nb\n")).toEqual([["a"], ["b"]]);
    expect(() => rows('a,b\n"c,d')).toThrow(/unclosed quote/);
  });

  it("reads a manifest in every encoding, with every separator and with null for what is absent", async () => {
    const pixels = { data: new Uint8Array(64 * 48 * 3), width: 64, height: 48 };
    writeFileSync(file("hünd 音.png"), await encodeImage(pixels, { format: "png" }));
    writeFileSync(file("a.wav"), encodeWav({ samples: new Float32Array(80_000), sampleRate: 8000 }));
    const json = {
      image: "hünd 音.png",
      audio: "a.wav",
      start: null,
      label: "dög",
      boxes: [[1, 2, 3, 4]],
      mask: null,
      id: null,
    };
    const texts: Record<string, string> = { "list.jsonl": `${JSON.stringify(json)}\n` };
    for (const [name, separator] of [
      ["comma.csv", ","],
      ["semicolon.csv", ";"],
      ["tab.tsv", "\t"],
    ] as const) {
      const boxes = separator === "," ? '"[[1,2,3,4]]"' : "[[1,2,3,4]]";
      const rows = [
        ["image", "audio", "start", "label", "boxes"],
        ["hünd 音.png", "a.wav", "", "dög", boxes],
      ];
      texts[name] = rows.map((row) => row.join(separator)).join("\r\n");
    }
    for (const [name, text] of Object.entries(texts)) {
      for (const encoding of encodings) {
        writeFileSync(file(name), encode(text, encoding));
        const data = await manifest({ path: file(name) });
        const sample = await data.load(0);
        expect([data.length, sample.id, sample.label, sample.image.width], `${name} ${encoding}`).toEqual([
          1,
          "hünd 音.png",
          "dög",
          64,
        ]);
        expect(sample.boxes).toEqual([{ x: 1, y: 2, width: 3, height: 4 }]);
        expect(sample.mask).toBeUndefined();
      }
    }
  });

  it("reads lists of ids and labels alike", async () => {
    for (const encoding of encodings) {
      for (const separator of [",", ";", "\t"]) {
        writeFileSync(file("ids.csv"), encode(`abc${separator}1\ndéf${separator}2\n`, encoding));
        expect((await readIds(file("ids.csv"))).map(({ id }) => id)).toEqual(["abc", "déf"]);
        writeFileSync(file("labels.csv"), encode(`id${separator}label\nabc${separator}dog\n`, encoding));
        expect([...(await readLabels(file("labels.csv")))]).toEqual([["abc", "dog"]]);
        writeFileSync(file("files.csv"), encode(`file${separator}label\na.wav${separator}dog\n`, encoding));
        expect((await labelsOf({ csv: file("files.csv") }, folder))("a.wav")).toBe("dog");
      }
    }
  });

  it("rejects bytes that are no text, and a header that names a column twice", async () => {
    writeFileSync(file("latin1.csv"), Buffer.from("image,audio\nh\xfcnd.png,a.wav\n", "latin1"));
    await expect(manifest({ path: file("latin1.csv") })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/latin1\.csv is not text in UTF-8 or UTF-16/),
    });
    writeFileSync(file("twice.csv"), "image,audio,image\na,b,c\n");
    await expect(manifest({ path: file("twice.csv") })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/line 1, field "image": names two columns/),
    });
  });
});
