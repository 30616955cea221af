/** An experiment's report as one self-contained HTML file: no scripts, no requests. */
import {
  detailsHtml,
  escapeHtml,
  pageHtml,
  type Section,
  scrollingHtml,
  tableHtml,
  uniqueNames,
} from "../../scripts/html-page.mjs";
import { Pacer } from "../core/pacer.js";
import { chartsHtml, formatNumber, type ReportSeries } from "./charts.js";

export type { Point, ReportSeries } from "./charts.js";

/** A row of the table of key figures. */
export interface ReportFigure {
  readonly name: string;
  /** A string is shown unchanged. */
  readonly value: number | string;
  /** 95 % confidence interval, in the value's unit. */
  readonly interval?: readonly [low: number, high: number] | undefined;
  /** Decimal places of numbers. Default: four significant digits. */
  readonly decimals?: number | undefined;
  readonly note?: string | undefined;
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
  /** What its images show, in words for readers that do not see them. Default "Heatmap". */
  readonly shows?: string | undefined;
  /** Images over the whole width, one below the other. Default false. */
  readonly wide?: boolean | undefined;
}

/** A thumbnail in a grid. */
export interface ReportThumbnail {
  /** An encoded PNG or JPEG. */
  readonly image: Uint8Array;
  readonly caption: string;
  /** What it shows, in words for readers that do not see it. Default the caption, under the row's heading. */
  readonly shows?: string | undefined;
  /** Framed as right or as wrong; undefined: no frame. */
  readonly right?: boolean | undefined;
}

/** Rows of thumbnails, each under a heading: a query and its results. */
export interface ReportGrid {
  readonly title: string;
  readonly note?: string | undefined;
  readonly rows: readonly { readonly heading: string; readonly cells: readonly ReportThumbnail[] }[];
}

/** A table; the first cell of each row names it, and columns of numbers are aligned to the right. */
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
 * or dark setting, and all text is escaped. Charts have their values in words and as tables, images a description.
 *
 * @throws {TypeError} when `config` is circular.
 */
export async function renderHtmlReport(data: ReportData): Promise<string> {
  const unique = uniqueNames();
  const tableSection = ({ title, columns, rows, note }: ReportTable): Section => ({
    title,
    html: tableHtml({ label: unique(title), columns, rows, note }),
  });
  const galleries = [{ title: "Samples", samples: data.gallery ?? [] }, ...(data.galleries ?? [])];
  return pageHtml({
    title: data.title,
    summary: data.summary,
    sections: [
      ...(data.figures.length > 0 ? [tableSection(figureTable(data.figures))] : []),
      ...(data.tables ?? []).map(tableSection),
      { title: "Training", html: chartsHtml(data.curves ?? []) },
      {
        title: "Success over thresholds",
        html: chartsHtml((data.success ?? []).map(successSeries), { yRange: [0, 1] }),
      },
      ...(data.breakdowns ?? []).map(tableSection),
      ...(await inTurn(galleries, gallerySection)),
      ...(await inTurn(data.grids ?? [], gridSection)),
      { html: configHtml(data.config) },
    ],
  });
}

/** Columns without any content are left out. */
function figureTable(figures: readonly ReportFigure[]): ReportTable {
  const columns = ["Metric", "Value", "95 % interval", "Note"];
  const rows = figures.map(({ name, value, interval, decimals, note }) => {
    const shown = (number: number) => {
      if (Number.isNaN(number)) return "–";
      return decimals === undefined ? formatNumber(number) : number.toFixed(decimals);
    };
    return [
      name,
      typeof value === "number" ? shown(value) : value,
      interval ? interval.map(shown).join(" – ") : "",
      note ?? "",
    ];
  });
  const kept = columns.map((_, i) => rows.some((row) => row[i] !== ""));
  const keep = (cells: readonly string[]) => cells.filter((_, i) => kept[i]);
  return { title: "Key figures", columns: keep(columns), rows: rows.map(keep) };
}

function successSeries({ name, thresholds, success }: SuccessCurve): ReportSeries {
  const points = thresholds.map((x, i) => ({ x, y: success[i] ?? Number.NaN }));
  return { name, points, chart: "Share of samples that reach a cIoU", xLabel: "cIoU threshold" };
}

async function inTurn<T>(
  items: readonly T[],
  render: (item: T) => Promise<Section>,
): Promise<readonly Section[]> {
  const rendered: Section[] = [];
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
    return `<img src="data:image/${type};base64,${source}" alt="${escapeHtml(description)}">`;
  }
}

const aside = (note: string | undefined) => (note ? `<p class="faint">${escapeHtml(note)}</p>\n` : "");

async function gallerySection({
  title,
  note,
  samples,
  shows = "Heatmap",
  wide = false,
}: ReportGallery): Promise<Section> {
  if (samples.length === 0) return { html: "" };
  const images = new InlineImages();
  const figures: string[] = [];
  for (const { id, overlay, label, ciou, note: own } of samples) {
    const facts = [label, ciou === undefined ? undefined : `cIoU ${ciou.toFixed(3)}`, own].filter(Boolean);
    const description = [`${shows} of ${id}`, ...facts].join(", ");
    const image = await images.tag(overlay, description);
    figures.push(`<figure>
${wide ? scrollingHtml(description, image, "group") : image}
<figcaption><b>${escapeHtml(id)}</b>${facts.length > 0 ? `<br>${escapeHtml(facts.join(" · "))}` : ""}</figcaption>
</figure>`);
  }
  return {
    title,
    html: `${aside(note)}<div class="${wide ? "wide" : "gallery"}">
${figures.join("\n")}
</div>`,
  };
}

async function gridSection({ title, note, rows }: ReportGrid): Promise<Section> {
  if (rows.length === 0) return { html: "" };
  const images = new InlineImages();
  const parts: string[] = [];
  for (const { heading, cells } of rows) {
    parts.push(`<h3>${escapeHtml(heading)}</h3>`, `<div class="grid">`);
    for (const { image, caption, shows, right } of cells) {
      const verdict = right === undefined ? "" : right ? "right" : "wrong";
      const mark = verdict
        ? `<b class="${verdict}"><span aria-hidden="true">${right ? "✓" : "✗"}</span><span class="unseen">${verdict}:</span></b> `
        : "";
      const tag = await images.tag(image, shows ?? `${caption}, of ${heading}`);
      parts.push(
        `<figure${verdict ? ` class="${verdict}"` : ""}>${tag}<figcaption>${mark}${escapeHtml(caption)}</figcaption></figure>`,
      );
    }
    parts.push("</div>");
  }
  return { title, html: `${aside(note)}${parts.join("\n")}` };
}

function configHtml(config: unknown): string {
  if (config === undefined) return "";
  return detailsHtml("Configuration", `<pre>${escapeHtml(JSON.stringify(config, null, 2) ?? "")}</pre>`);
}
