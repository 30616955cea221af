export interface Section {
  /** Of its heading; a section without a title is not in the contents. */
  readonly title?: string;
  /** Below the heading; a section with nothing is left out. */
  readonly html: string;
}

export interface Page {
  readonly title: string;
  /** A sentence or two under the title. */
  readonly summary?: string | undefined;
  readonly sections: readonly Section[];
}

export interface Table {
  /** Names the table and its scrolling region for readers that do not see them: unique in the page. */
  readonly label: string;
  readonly columns: readonly string[];
  /** The first cell of each row names it. */
  readonly rows: readonly (readonly (string | number)[])[];
  readonly note?: string | undefined;
  /** Class of a cell; "" for none. */
  readonly classOf?: (cell: string, column: number) => string;
}

export function escapeHtml(text: unknown): string;
export function uniqueNames(): (name: string, separator?: string) => string;
export function pageHtml(page: Page): string;
export function isNumeric(cells: readonly string[]): boolean;
export function tableHtml(table: Table): string;
export function scrollingHtml(label: string, html: string, role?: "region" | "group"): string;
export function detailsHtml(summary: string, html: string, about?: string): string;
export const styleDigest: string;
