/** Line charts as SVG, each with its values in words and in a table. */
import { detailsHtml, escapeHtml, tableHtml } from "../../scripts/html-page.mjs";

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

export interface Scale {
  readonly yRange?: readonly [number, number];
}

/** The SVG's own units; the page scales it. */
const CHART = { width: 400, height: 240, left: 60, right: 16, top: 12, bottom: 42 } as const;
/** More points than this are thinned: a chart has not more columns. */
const MAX_POINTS = 600;
/** So few points are marked, each with its value as a tooltip. */
const MAX_MARKERS = 60;
/** Colours and dashes of the page's style. */
const SERIES_STYLES = 6;
/** Rows of a table of values. */
const MAX_ROWS = 11;

/** All charts of the series; empty without series. */
export function chartsHtml(series: readonly ReportSeries[], scale: Scale = {}): string {
  const charts = new Map<string, ReportSeries[]>();
  for (const one of series) {
    const chart = one.chart ?? one.name;
    charts.set(chart, [...(charts.get(chart) ?? []), one]);
  }
  if (charts.size === 0) return "";
  const figures = [...charts].map(([title, lines]) => chartFigure(title, lines, scale));
  return `<div class="charts">
${figures.join("\n")}
</div>`;
}

function chartFigure(title: string, lines: readonly ReportSeries[], { yRange }: Scale): string {
  const key = (i: number) =>
    `<svg class="c${i % SERIES_STYLES}" viewBox="0 0 28 10" aria-hidden="true"><path d="M0 5L28 5"/></svg>`;
  const legend =
    lines.length > 1
      ? `<p class="legend">${lines.map(({ name }, i) => `<span>${key(i)}${escapeHtml(name)}</span>`).join("")}</p>\n`
      : "";
  const finite = lines.flatMap(({ points }) => points.filter(isFinitePoint));
  const drawn =
    finite.length === 0
      ? `<p class="faint">No finite values.</p>`
      : `${chartSvg(title, lines, finite, yRange)}\n${valuesTable(title, lines)}`;
  return `<figure>
<figcaption>${escapeHtml(title)}</figcaption>
${legend}${drawn}
</figure>`;
}

const xLabelOf = (lines: readonly ReportSeries[]) => lines.find((line) => line.xLabel)?.xLabel ?? "step";

function chartSvg(
  title: string,
  lines: readonly ReportSeries[],
  finite: readonly Point[],
  yRange?: readonly [number, number],
): string {
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
        `<text x="${fixed(px(x))}" y="${height - bottom + 18}" text-anchor="middle">${formatNumber(x)}</text>`,
    );
  const paths = lines.map((line, i) => linePath(line, i % SERIES_STYLES, px, py));
  const xLabel = xLabelOf(lines);
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(inWords(title, lines, xLabel))}">
${grid.join("")}${marks.join("")}
<line class="axis" x1="${left}" x2="${width - right}" y1="${height - bottom}" y2="${height - bottom}"/>
<text x="${(left + width - right) / 2}" y="${height - 5}" text-anchor="middle">${escapeHtml(xLabel)}</text>
${paths.join("\n")}
</svg>`;
}

/** Where each line begins and ends, its least and its greatest value. */
function inWords(title: string, lines: readonly ReportSeries[], xLabel: string): string {
  const parts = lines.flatMap(({ name, points }) => {
    const shown = points.filter(isFinitePoint);
    const [first, last] = [shown[0], shown.at(-1)];
    if (!first || !last) return [`${name}: no finite values.`];
    const at = ({ x, y }: Point) => `${formatNumber(y)} at ${formatNumber(x)}`;
    if (first === last) return [`${name}: ${at(first)}.`];
    const [low, high] = extent(shown.map(({ y }) => y));
    return [
      `${name}: from ${at(first)} to ${at(last)}, between ${formatNumber(low)} and ${formatNumber(high)}.`,
    ];
  });
  return `${title}, line chart over ${xLabel}. ${parts.join(" ")}`;
}

/** The values at some places of x, evenly spread over those that have one. */
function valuesTable(title: string, lines: readonly ReportSeries[]): string {
  const values = lines.map(({ points }) => new Map(points.filter(isFinitePoint).map(({ x, y }) => [x, y])));
  const places = [...new Set(values.flatMap((own) => [...own.keys()]))].sort((a, b) => a - b);
  const count = Math.min(places.length, MAX_ROWS);
  const shown = Array.from(
    { length: count },
    (_, i) => places[count > 1 ? Math.round((i * (places.length - 1)) / (count - 1)) : 0] as number,
  );
  const table = tableHtml({
    label: `Values of ${title}`,
    columns: [xLabelOf(lines), ...lines.map(({ name }) => name)],
    rows: shown.map((x) => [
      formatNumber(x),
      ...values.map((own) => {
        const y = own.get(x);
        return y === undefined ? "–" : formatNumber(y);
      }),
    ]),
    note: places.length > count ? `${count} of ${places.length} points.` : undefined,
  });
  return detailsHtml("Values", table, `of ${title}`);
}

function linePath(
  line: ReportSeries,
  style: number,
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
  return `<g class="c${style}"><path d="${path}"/>${dots.join("")}</g>`;
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

/** Four significant digits. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(size >= 1000 ? value.toFixed(1) : value.toPrecision(4)));
}

function fixed(value: number): string {
  return String(Math.round(value * 100) / 100);
}
