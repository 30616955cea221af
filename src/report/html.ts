/** An experiment's report as one self-contained HTML file: no scripts, no requests. */
import { Pacer } from "../core/pacer.js";

/** A row of the table of key figures. */
export interface ReportFigure {
  readonly name: string;
  /** A string is shown unchanged; a number with four significant digits. */
  readonly value: number | string;
  /** 95 % confidence interval, in the value's unit. */
  readonly interval?: readonly [low: number, high: number] | undefined;
  readonly note?: string | undefined;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A named line of a chart; the line breaks where `y` is not finite. */
export interface ReportSeries {
  readonly name: string;
  /** In order of `x`. */
  readonly points: readonly Point[];
  /** Series with the same chart are drawn together. Default its own, named after it. */
  readonly chart?: string | undefined;
  /** Label of the x axis. Default "step". */
  readonly xLabel?: string | undefined;
}

/** Share of samples that reach each cIoU threshold, both in [0, 1]. */
export interface SuccessCurve {
  readonly name: string;
  readonly thresholds: readonly number[];
  readonly success: readonly number[];
}

export interface ReportSample {
  readonly id: string;
  /** An encoded PNG or JPEG, as `encodeImage` returns it. */
  readonly overlay: Uint8Array;
  readonly label?: string | undefined;
  /** In [0, 1]. */
  readonly ciou?: number | undefined;
  readonly note?: string | undefined;
}

/** Samples under a heading of their own. */
export interface ReportGallery {
  readonly title: string;
  readonly note?: string | undefined;
  readonly samples: readonly ReportSample[];
  /** Images over the whole width, one below the other. Default false. */
  readonly wide?: boolean | undefined;
}

/** A thumbnail in a grid. */
export interface ReportThumbnail {
  /** An encoded PNG or JPEG. */
  readonly image: Uint8Array;
  readonly caption: string;
  /** Framed as right or as wrong; undefined: no frame. */
  readonly right?: boolean | undefined;
}

/** Rows of thumbnails, each under a heading: a query and its results. */
export interface ReportGrid {
  readonly title: string;
  readonly note?: string | undefined;
  readonly rows: readonly { readonly heading: string; readonly cells: readonly ReportThumbnail[] }[];
}

/** A table of numbers; the first cell of each row names it. */
export interface ReportTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly note?: string | undefined;
}

export interface ReportData {
  readonly title: string;
  /** A sentence or two under the title. */
  readonly summary?: string | undefined;
  readonly figures: readonly ReportFigure[];
  readonly tables?: readonly ReportTable[] | undefined;
  readonly curves?: readonly ReportSeries[] | undefined;
  readonly success?: readonly SuccessCurve[] | undefined;
  /** Tables that break the figures down, below the charts. */
  readonly breakdowns?: readonly ReportTable[] | undefined;
  readonly gallery?: readonly ReportSample[] | undefined;
  readonly galleries?: readonly ReportGallery[] | undefined;
  readonly grids?: readonly ReportGrid[] | undefined;
  /** Anything JSON can hold. */
  readonly config?: unknown;
}

/**
 * Renders a report as one self-contained HTML document: styles, charts (SVG) and images (data URIs)
 * are inside, a content security policy forbids everything else, colours follow the reader's light
 * or dark setting, and all text is escaped.
 *
 * @throws {TypeError} when `config` is circular.
 */
export async function renderHtmlReport(data: ReportData): Promise<string> {
  const sections = [
    figureTable(data.figures),
    ...(data.tables ?? []).map(plainTable),
    chartSection("Training", data.curves ?? []),
    chartSection("Success over thresholds", (data.success ?? []).map(successSeries), { yRange: [0, 1] }),
    ...(data.breakdowns ?? []).map(plainTable),
    await gallerySection({ title: "Samples", samples: data.gallery ?? [] }),
    ...(await inTurn(data.galleries ?? [], gallerySection)),
    ...(await inTurn(data.grids ?? [], gridSection)),
    configSection(data.config),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="generator" content="soundspot">
<title>${escapeHtml(data.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(data.title)}</h1>
${data.summary ? `<p>${escapeHtml(data.summary)}</p>` : ""}
</header>
<main>
${sections.filter(Boolean).join("\n")}
</main>
</body>
</html>
`;
}

function plainTable({ title, columns, rows, note }: ReportTable): string {
  const head = columns.map(
    (column, i) => `<th scope="col"${i > 0 ? ' class="number"' : ""}>${escapeHtml(column)}</th>`,
  );
  const body = rows.map(([name = "", ...cells]) => {
    const numbers = cells.map((cell) => `<td class="number">${escapeHtml(cell)}</td>`).join("");
    return `<tr><th scope="row">${escapeHtml(name)}</th>${numbers}</tr>`;
  });
  return `<section>
<h2>${escapeHtml(title)}</h2>
<div class="scroll"><table>
<thead><tr>${head.join("")}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table></div>
${aside(note)}</section>`;
}

/** Text made safe for element content and quoted attributes. */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

function figureTable(figures: readonly ReportFigure[]): string {
  if (figures.length === 0) return "";
  const rows = figures.map(({ name, value, interval, note }) => {
    const range = interval ? `${formatNumber(interval[0])} – ${formatNumber(interval[1])}` : "";
    const shown = typeof value === "number" ? formatNumber(value) : value;
    return `<tr><th scope="row">${escapeHtml(name)}</th><td class="number">${escapeHtml(shown)}</td><td class="number faint">${escapeHtml(range)}</td><td class="faint">${escapeHtml(note ?? "")}</td></tr>`;
  });
  return `<section>
<h2>Key figures</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">Metric</th><th scope="col" class="number">Value</th><th scope="col" class="number">95 % interval</th><th scope="col">Note</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table></div>
</section>`;
}

function successSeries({ name, thresholds, success }: SuccessCurve): ReportSeries {
  const points = thresholds.map((x, i) => ({ x, y: success[i] ?? Number.NaN }));
  return { name, points, chart: "Share of samples that reach a cIoU", xLabel: "cIoU threshold" };
}

function chartSection(heading: string, series: readonly ReportSeries[], scale: Scale = {}): string {
  const charts = new Map<string, ReportSeries[]>();
  for (const one of series) {
    const chart = one.chart ?? one.name;
    charts.set(chart, [...(charts.get(chart) ?? []), one]);
  }
  if (charts.size === 0) return "";
  const figures = [...charts].map(([title, lines]) => chartFigure(title, lines, scale));
  return `<section>
<h2>${escapeHtml(heading)}</h2>
<div class="charts">
${figures.join("\n")}
</div>
</section>`;
}

interface Scale {
  readonly yRange?: readonly [number, number];
}

/** The SVG's own units; the page scales it. */
const CHART = { width: 400, height: 240, left: 52, right: 14, top: 12, bottom: 38 } as const;
/** More points than this are thinned: a chart has not more columns. */
const MAX_POINTS = 600;
/** So few points are marked, each with its value as a tooltip. */
const MAX_MARKERS = 60;
const SERIES_COLORS = 6;

function chartFigure(title: string, lines: readonly ReportSeries[], { yRange }: Scale): string {
  const legend =
    lines.length > 1
      ? `<p class="legend">${lines.map(({ name }, i) => `<span><i class="c${i % SERIES_COLORS}"></i>${escapeHtml(name)}</span>`).join("")}</p>`
      : "";
  return `<figure>
<figcaption>${escapeHtml(title)}</figcaption>
${legend}
${chartSvg(title, lines, yRange)}
</figure>`;
}

function chartSvg(title: string, lines: readonly ReportSeries[], yRange?: readonly [number, number]): string {
  const finite = lines.flatMap(({ points }) => points.filter(isFinitePoint));
  if (finite.length === 0) return `<p class="faint">No finite values.</p>`;
  const xTicks = niceTicks(...extent(finite.map(({ x }) => x)), 5);
  const [yLow, yHigh] = yRange ?? extent(finite.map(({ y }) => y));
  const yTicks = niceTicks(yLow, yHigh, 4);
  const { width, height, left, right, top, bottom } = CHART;
  const [xMin, xMax] = extent(finite.map(({ x }) => x));
  const [yMin, yMax] = [Math.min(yLow, yTicks[0] ?? yLow), Math.max(yHigh, yTicks.at(-1) ?? yHigh)];
  const px = (x: number) => left + ((x - xMin) / (xMax - xMin || 1)) * (width - left - right);
  const py = (y: number) => height - bottom - ((y - yMin) / (yMax - yMin || 1)) * (height - top - bottom);
  const grid = yTicks.map(
    (y) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${fixed(py(y))}" y2="${fixed(py(y))}"/>` +
      `<text x="${left - 6}" y="${fixed(py(y) + 4)}" text-anchor="end">${formatNumber(y)}</text>`,
  );
  const marks = xTicks
    .filter((x) => x >= xMin && x <= xMax)
    .map(
      (x) =>
        `<text x="${fixed(px(x))}" y="${height - bottom + 16}" text-anchor="middle">${formatNumber(x)}</text>`,
    );
  const paths = lines.map((line, i) => linePath(line, i % SERIES_COLORS, px, py));
  const xLabel = lines.find((line) => line.xLabel)?.xLabel ?? "step";
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">
${grid.join("")}${marks.join("")}
<line class="axis" x1="${left}" x2="${width - right}" y1="${height - bottom}" y2="${height - bottom}"/>
<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">${escapeHtml(xLabel)}</text>
${paths.join("\n")}
</svg>`;
}

function linePath(
  line: ReportSeries,
  color: number,
  px: (x: number) => number,
  py: (y: number) => number,
): string {
  let pen = "M";
  let path = "";
  for (const point of thin(line.points)) {
    if (isFinitePoint(point)) {
      path += `${pen}${fixed(px(point.x))} ${fixed(py(point.y))}`;
      pen = "L";
    } else {
      pen = "M";
    }
  }
  const shown = line.points.filter(isFinitePoint);
  const markers = shown.length > MAX_MARKERS ? [] : shown;
  const dots = markers.map(
    ({ x, y }) =>
      `<circle cx="${fixed(px(x))}" cy="${fixed(py(y))}" r="2.5"><title>${escapeHtml(line.name)}: ${formatNumber(y)} at ${formatNumber(x)}</title></circle>`,
  );
  return `<g class="c${color}"><path d="${path}"/>${dots.join("")}</g>`;
}

/** Keeps the smallest and the greatest point of each stretch: spikes stay visible. */
function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= MAX_POINTS) return points;
  const size = Math.ceil(points.length / (MAX_POINTS / 2));
  const kept: Point[] = [];
  for (let from = 0; from < points.length; from += size) {
    const stretch = points.slice(from, from + size);
    const byHeight = stretch.filter(isFinitePoint).sort((a, b) => a.y - b.y);
    const [low, high] = [byHeight[0], byHeight.at(-1)];
    if (byHeight.length < stretch.length) kept.push({ x: stretch[0]?.x ?? 0, y: Number.NaN });
    if (!low || !high) continue;
    kept.push(...(low === high ? [low] : low.x < high.x ? [low, high] : [high, low]));
  }
  return kept;
}

async function inTurn<T>(
  items: readonly T[],
  render: (item: T) => Promise<string>,
): Promise<readonly string[]> {
  const rendered: string[] = [];
  for (const item of items) rendered.push(await render(item));
  return rendered;
}

/** Encoded images inside the page, written in pieces: a long gallery does not block the event loop. */
class InlineImages {
  readonly #pacer = new Pacer();

  async tag(image: Uint8Array, description: string): Promise<string> {
    if (this.#pacer.due) await this.#pacer.rest();
    const type = image[0] === 0xff && image[1] === 0xd8 ? "jpeg" : "png";
    const source = Buffer.from(image.buffer, image.byteOffset, image.byteLength).toString("base64");
    return `<img src="data:image/${type};base64,${source}" alt="${escapeHtml(description)}" loading="lazy">`;
  }
}

const aside = (note: string | undefined) => (note ? `<p class="faint">${escapeHtml(note)}</p>\n` : "");

async function gallerySection({ title, note, samples, wide = false }: ReportGallery): Promise<string> {
  if (samples.length === 0) return "";
  const images = new InlineImages();
  const figures: string[] = [];
  for (const { id, overlay, label, ciou, note: own } of samples) {
    const facts = [label, ciou === undefined ? undefined : `cIoU ${ciou.toFixed(3)}`, own]
      .filter(Boolean)
      .join(" · ");
    figures.push(`<figure>
${await images.tag(overlay, `Heatmap of the sound source in ${id}`)}
<figcaption><b>${escapeHtml(id)}</b>${facts ? `<br>${escapeHtml(facts)}` : ""}</figcaption>
</figure>`);
  }
  return `<section>
<h2>${escapeHtml(title)}</h2>
${aside(note)}<div class="${wide ? "wide" : "gallery"}">
${figures.join("\n")}
</div>
</section>`;
}

async function gridSection({ title, note, rows }: ReportGrid): Promise<string> {
  if (rows.length === 0) return "";
  const images = new InlineImages();
  const parts: string[] = [];
  for (const { heading, cells } of rows) {
    parts.push(`<h3>${escapeHtml(heading)}</h3>`, `<div class="grid">`);
    for (const { image, caption, right } of cells) {
      const verdict = right === undefined ? "" : right ? "right" : "wrong";
      const mark = verdict ? `<b class="${verdict}">${right ? "✓" : "✗"}</b> ` : "";
      parts.push(
        `<figure class="${verdict}">${await images.tag(image, caption)}<figcaption>${mark}${escapeHtml(caption)}</figcaption></figure>`,
      );
    }
    parts.push("</div>");
  }
  return `<section>
<h2>${escapeHtml(title)}</h2>
${aside(note)}${parts.join("\n")}
</section>`;
}

function configSection(config: unknown): string {
  if (config === undefined) return "";
  return `<section>
<details><summary>Configuration</summary>
<pre>${escapeHtml(JSON.stringify(config, null, 2) ?? "")}</pre>
</details>
</section>`;
}

function isFinitePoint({ x, y }: Point): boolean {
  return Number.isFinite(x) && Number.isFinite(y);
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Round numbers, 1, 2 or 5 times a power of ten apart, that span low … high. */
function niceTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((factor) => factor * power >= rough * 0.999) ?? 10) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(size >= 1000 ? value.toFixed(1) : value.toPrecision(4)));
}

function fixed(value: number): string {
  return String(Math.round(value * 100) / 100);
}

const STYLE = `
:root{color-scheme:light dark;--page:#fcfcfb;--ink:#0b0b0b;--faint:#52514e;--grid:#e1e0d9;--axis:#898781;--c0:#2a78d6;--c1:#eb6834;--c2:#1baf7a;--c3:#4a3aa7;--c4:#e34948;--c5:#b98000;--good:#1a7f37;--bad:#c4362b}
@media(prefers-color-scheme:dark){:root{--page:#1a1a19;--ink:#fff;--faint:#c3c2b7;--grid:#2c2c2a;--axis:#898781;--c0:#3987e5;--c1:#d95926;--c2:#199e70;--c3:#9085e9;--c4:#e66767;--c5:#c98500;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;line-height:1.2;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:.95rem;font-weight:600;margin:1rem 0 .3rem}
header p,.faint{color:var(--faint)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.4rem .75rem .4rem 0;text-align:left;border-bottom:1px solid var(--grid);vertical-align:top}
tbody th{font-weight:500}.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.charts{display:grid;gap:1rem 2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr))}
.gallery{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr))}
.wide{display:grid;gap:1rem}.wide figure{max-width:none}
div.grid{display:grid;gap:.6rem;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr))}div.grid figcaption{font-size:.8rem}
.right{color:var(--good)}.wrong{color:var(--bad)}figure.right,figure.wrong{color:inherit}figure.right img{outline:3px solid var(--good)}figure.wrong img{outline:3px solid var(--bad)}
figure{margin:0;max-width:34rem}figcaption{font-size:.9rem;overflow-wrap:anywhere}
img{display:block;width:100%;height:auto}
svg{display:block;width:100%;height:auto}svg text{font-size:11px;fill:var(--faint)}
line.grid{stroke:var(--grid)}.axis{stroke:var(--axis)}
svg g path{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}svg g circle{fill:var(--c)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;font-size:.85rem}
.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;border-radius:2px;background:var(--c);vertical-align:-.05rem}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}
summary{cursor:pointer;font-weight:600}pre{overflow-x:auto;padding:.75rem;border:1px solid var(--grid);font-size:.85rem}
`;
