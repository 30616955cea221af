import { describe, expect, it } from "vitest";
import type { RawImage } from "../../../src/core/types.js";
import { inferno, infernoColor } from "../../../src/drawing/colormap.js";
import { renderGrids } from "../../../src/drawing/grids.js";
import { renderOverlay } from "../../../src/drawing/overlay.js";
import { renderPanels } from "../../../src/drawing/panels.js";
import { renderSpectrogram } from "../../../src/drawing/spectrogram.js";
import { renderHtmlReport } from "../../../src/report/html.js";
import { turnsDuring } from "../../support/event-loop.js";

const greyImage = (width: number, height: number): RawImage => ({
  data: new Uint8Array(width * height * 3).fill(128),
  width,
  height,
});
const pixel = (image: RawImage, x: number, y: number) => {
  const at = (y * image.width + x) * 3;
  return [...image.data.subarray(at, at + 3)];
};

describe("colormap", () => {
  it("agrees with matplotlib's inferno and grows in lightness", () => {
    for (const [value, color] of [
      [0, [0, 0, 4]],
      [0.25, [87, 16, 110]],
      [0.5, [188, 55, 84]],
      [0.75, [249, 142, 9]],
      [1, [252, 255, 164]],
    ] as const) {
      for (const [i, got] of infernoColor(value).entries())
        expect(Math.abs(got - (color[i] ?? 0)), `${value}`).toBeLessThanOrEqual(8);
    }
    const lightness = Array.from({ length: 256 }, (_, i) => {
      const [r = 0, g = 0, b = 0] = inferno.subarray(i * 3, i * 3 + 3);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    });
    for (let i = 8; i < 256; i++) expect(lightness[i]).toBeGreaterThan(lightness[i - 8] ?? 0);
  });
});

describe("overlay", () => {
  it("keeps cold pixels and colours hot ones by the opacity", async () => {
    const image = greyImage(4, 1);
    const heat = { data: Float32Array.from([0, 0.3, 1, Number.NaN]), width: 4, height: 1 };
    const out = await renderOverlay(image, heat, { opacity: 0.5 });
    expect(pixel(out, 0, 0)).toEqual([128, 128, 128]);
    expect(pixel(out, 3, 0)).toEqual([128, 128, 128]);
    for (const [i, c] of infernoColor(1).entries())
      expect(pixel(out, 2, 0)[i]).toBeCloseTo((c + 128) / 2, -0.5);
    expect(image.data.every((value) => value === 128)).toBe(true);
    expect(pixel(await renderOverlay(image, heat, { opacity: 0 }), 2, 0)).toEqual([128, 128, 128]);
  });

  it("draws boxes, also beyond the border, and a mask's contour but not its inside", async () => {
    const heat = { data: new Float32Array(40 * 30), width: 40, height: 30 };
    const mask = { data: new Uint8Array(40 * 30), width: 40, height: 30 };
    for (let y = 5; y < 15; y++) mask.data.fill(1, y * 40 + 5, y * 40 + 15);
    const out = await renderOverlay(greyImage(40, 30), heat, {
      boxes: [{ x: 25, y: 10, width: 50, height: 12 }],
      mask,
    });
    expect(pixel(out, 25, 15)).toEqual([64, 255, 140]);
    expect(pixel(out, 30, 15)).toEqual([128, 128, 128]);
    expect(pixel(out, 5, 8)).toEqual([255, 255, 255]);
    expect(pixel(out, 10, 10)).toEqual([128, 128, 128]);
  });

  it("rejects another size and an opacity out of range", async () => {
    const heat = { data: new Float32Array(6), width: 3, height: 2 };
    await expect(renderOverlay(greyImage(2, 3), heat)).rejects.toMatchObject({ code: "ERR_SHAPE" });
    await expect(renderOverlay(greyImage(3, 2), heat, { opacity: 2 })).rejects.toMatchObject({
      code: "ERR_INPUT",
    });
    await expect(renderOverlay(greyImage(3, 2), heat, { signal: AbortSignal.abort() })).rejects.toMatchObject(
      {
        code: "ERR_ABORTED",
      },
    );
  });

  it("keeps the event loop free over 12 megapixels", async () => {
    const image = greyImage(4000, 3000);
    const heat = { data: new Float32Array(12e6).fill(0.5), width: 4000, height: 3000 };
    const mask = { data: new Uint8Array(12e6).fill(1), width: 4000, height: 3000 };
    const boxes = [{ x: 10, y: 10, width: 3900, height: 2900 }];
    const turns = await turnsDuring(() => renderOverlay(image, heat, { mask, boxes }));
    expect(turns).toBeGreaterThan(100);
  });
});

describe("panels", () => {
  it("shows the hot token of a slot where it is, on one scale for all slots", async () => {
    const data = new Float32Array(2 * 7 * 7);
    data[0] = 1;
    const out = await renderPanels(greyImage(60, 40), [{ title: "audio on image", data, shape: [2, 7, 7] }], {
      panelSize: 140,
    });
    expect(out.width).toBe(12 + 3 * (140 + 12));
    const top = 12 + 28;
    const slot = (n: number) => 12 + (n + 1) * 152;
    expect(pixel(out, slot(0) + 8, top + 6)).not.toEqual([128, 128, 128]);
    expect(pixel(out, slot(0) + 120, top + 60)).toEqual([128, 128, 128]);
    expect(pixel(out, slot(1) + 8, top + 6)).toEqual([128, 128, 128]);
    await expect(renderPanels(greyImage(6, 4), [{ title: "x", data, shape: [2, 49] }])).rejects.toMatchObject(
      { code: "ERR_SHAPE" },
    );
  });

  it("outlines each slot in its colour, and a flat one not at all", async () => {
    const data = new Float32Array(3 * 4 * 4).fill(0.5);
    data.fill(0, 0, 16).fill(1, 0, 8); // the first slot: the upper half
    data.fill(0.2, 16, 32).fill(0.8, 16, 24).fill(0.2, 16, 20); // the second: the second row
    const out = await renderPanels(greyImage(160, 160), [{ title: "x", data, shape: [3, 4, 4] }], {
      panelSize: 160,
      contours: true,
    });
    expect(out.width).toBe(12 + 5 * (160 + 12));
    const [left, top] = [12 + 4 * 172, 12 + 28];
    const column = (x: number) =>
      Array.from({ length: 160 }, (_, y) => pixel(out, left + x, top + y).join()).filter(
        (color) => color !== "128,128,128",
      );
    expect(column(80).sort()).toEqual(["255,120,60", "255,120,60", "64,255,140"]);
    expect(column(1).sort()).toEqual(column(80).sort()); // nothing along the edge
  });

  it("puts low frequencies at the bottom and attention under its time", async () => {
    const spectrogram = { data: new Float32Array(257 * 501).fill(-1), shape: [1, 257, 501] };
    for (let t = 0; t < 501; t++) spectrogram.data[t] = 1;
    const attention = new Float32Array(16);
    attention[15] = 0.4;
    const out = await renderSpectrogram(spectrogram, attention, { seconds: 5, maxHertz: 8000 });
    expect(pixel(out, 100, 40 + 256)[0]).toBeGreaterThan(200);
    expect(pixel(out, 100, 40)[0]).toBeLessThan(10);
    const band = 40 + 257 + 28 + 4 + 9;
    expect(pixel(out, 12 + 495, band)[0]).toBeGreaterThan(200);
    expect(pixel(out, 12 + 5, band)[0]).toBeLessThan(10);
    await expect(renderSpectrogram({ ...spectrogram, shape: [257, 501] }, attention)).rejects.toMatchObject({
      code: "ERR_SHAPE",
    });
  });
});

describe("attention over time", () => {
  it("has a band for each slot, one below the other, on one scale", async () => {
    const spectrogram = { data: new Float32Array(257 * 501), shape: [1, 257, 501] };
    const slots = [0.4, 0.1].map((value, slot) => {
      const data = new Float32Array(16);
      data[slot === 0 ? 15 : 0] = value;
      return { title: `slot ${slot}`, data };
    });
    const out = await renderSpectrogram(spectrogram, slots, { seconds: 5 });
    const one = await renderSpectrogram(spectrogram, slots[0]?.data as Float32Array, { seconds: 5 });
    const [band, step] = [40 + 257 + 28 + 4 + 9, 28 + 4 + 18 + 6 + 64];
    expect(out.height).toBe(one.height + step);
    // The first slot is hot at the end, the second a quarter as hot at the begin.
    expect(pixel(out, 12 + 495, band)).toEqual(infernoColor(1));
    expect(pixel(out, 12 + 5, band)).toEqual(infernoColor(0));
    expect(pixel(out, 12 + 5, band + step)).toEqual(infernoColor(0.25));
    expect(pixel(out, 12 + 495, band + step)).toEqual(infernoColor(0));
    // The first slot's curve is at its top there, the second's three quarters down.
    const curve = [252, 165, 60];
    const curveTop = band + 9 + 6;
    expect(pixel(out, 12 + 495, curveTop)).toEqual(curve);
    expect(pixel(out, 12 + 5, curveTop + step + Math.round(0.75 * 62))).toEqual(curve);
    for (const wrong of [[], [{ title: "none", data: new Float32Array(0) }]]) {
      await expect(renderSpectrogram(spectrogram, wrong)).rejects.toMatchObject({ code: "ERR_SHAPE" });
    }
  });
});

describe("grids", () => {
  const image = greyImage(70, 35);
  const tokens = { data: Float32Array.from({ length: 49 }, (_, i) => i - 20), shape: [7, 7] };
  const map = Float32Array.from({ length: 70 * 35 }, (_, i) => (i % 70 < 35 ? 0 : 1));

  it("shows the raw map in cells of one colour, and the enlarged map over the image, row by row", async () => {
    const flat = { data: new Float32Array(49).fill(3), shape: [7, 7] };
    const rows = [
      { title: "without", tokens: flat, map: new Float32Array(70 * 35) },
      { title: "with", tokens, map },
    ];
    const out = await renderGrids(image, rows, { panelSize: 140 });
    expect([out.width, out.height]).toEqual([12 + 3 * 152, 12 + 2 * (28 + 70 + 12)]);
    const at = (row: number, column: number, x: number, y: number) =>
      pixel(out, 12 + column * 152 + x, 12 + row * 110 + 28 + y);
    for (let token = 0; token < 49; token++) {
      const [x, y] = [20 * (token % 7), 10 * Math.floor(token / 7)];
      for (const [dx, dy] of [
        [0, 0],
        [19, 9],
        [10, 5],
      ] as const) {
        expect(at(1, 1, x + dx, y + dy), `token ${token}`).toEqual(infernoColor(token / 48));
        expect(at(0, 1, x + dx, y + dy)).toEqual(infernoColor(0));
      }
    }
    expect(at(1, 0, 100, 30)).toEqual([128, 128, 128]);
    expect(at(1, 2, 30, 30)).toEqual([128, 128, 128]);
    expect(at(1, 2, 100, 30)).not.toEqual([128, 128, 128]);
    expect(at(0, 2, 100, 30)).toEqual([128, 128, 128]);
  });

  it("rejects maps of other shapes", async () => {
    const row = { title: "x", tokens, map };
    const rejected = (rows: Parameters<typeof renderGrids>[1], code: string, options = {}) =>
      expect(renderGrids(image, rows, options)).rejects.toMatchObject({ code });
    await rejected([], "ERR_INPUT");
    await rejected([row], "ERR_INPUT", { panelSize: 10 });
    await rejected([{ ...row, map: map.slice(1) }], "ERR_SHAPE");
    await rejected([{ ...row, tokens: { data: tokens.data, shape: [1, 7, 7] } }], "ERR_SHAPE");
    await rejected([{ ...row, tokens: { data: tokens.data, shape: [7, 6] } }], "ERR_SHAPE");
    await rejected([row], "ERR_ABORTED", { signal: AbortSignal.abort() });
  });
});

describe("HTML report", () => {
  const evil = `<script>alert("x")</script>&'`;
  const data = {
    title: evil,
    summary: evil,
    figures: [
      { name: evil, value: 0.81234, interval: [0.79, 0.83] as const, note: evil },
      { name: "n", value: evil },
    ],
    curves: [
      {
        name: evil,
        points: Array.from({ length: 5000 }, (_, x) => ({ x, y: x === 1000 ? Number.NaN : 5 / (1 + x) })),
        chart: evil,
      },
      { name: "validation", points: [{ x: 0, y: 1 }], chart: evil },
      { name: "empty", points: [] },
      {
        name: "flat",
        points: [
          { x: 1, y: 2 },
          { x: 2, y: 2 },
        ],
      },
    ],
    success: [{ name: "test", thresholds: [0, 0.5, 1], success: [1, 0.6, 0] }],
    gallery: [{ id: evil, label: evil, ciou: 0.5, overlay: Uint8Array.from([1, 2, 3]), note: evil }],
    config: { evil },
  };

  it("escapes all text and requests nothing", async () => {
    const html = await renderHtmlReport(data);
    expect(html).not.toContain("<script");
    expect(html).not.toMatch(/https?:|url\(|@import/);
    expect(html).toContain("data:image/png;base64,AQID");
    expect(html).toContain("0.8123");
    expect(html).toContain("0.79 – 0.83");
    expect(html).toContain("cIoU 0.500");
    expect(html).toContain("prefers-color-scheme:dark");
  });

  it("never writes NaN into a chart, thins long series and omits empty sections", async () => {
    const html = await renderHtmlReport(data);
    expect(html).not.toMatch(/NaN|Infinity|undefined/);
    expect(html.length).toBeLessThan(60_000);
    const short = await renderHtmlReport({ title: "t", figures: [] });
    expect(short).not.toMatch(/<section|<nav/);
  });
});
