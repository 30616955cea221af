/** CSV as RFC 4180 has it, also with semicolons or tabs, and the errors that name a row of a list. */
import { SoundspotError } from "../core/errors.js";

export interface CsvRecord {
  /** Where it begins in the file, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

export interface CsvRow {
  readonly line: number;
  /** By the names in the header; a field with an empty cell is absent. */
  readonly fields: Readonly<Record<string, string>>;
}

/** An ERR_DATASET that names file, line and field. */
export function wrong(
  path: string,
  line: number,
  field: string | undefined,
  what: string,
  cause?: unknown,
): SoundspotError {
  return new SoundspotError(
    "ERR_DATASET",
    `${placeOf(path, line, field)}: ${what}`,
    cause === undefined ? {} : { cause },
  );
}

export function placeOf(path: string, line: number, field?: string): string {
  return field === undefined ? `${path}, line ${line}` : `${path}, line ${line}, field "${field}"`;
}

/** @throws {SoundspotError} ERR_DATASET when the row has no such field. */
export function required(
  fields: Readonly<Record<string, string>>,
  field: string,
  path: string,
  line: number,
): string {
  const value = fields[field]?.trim();
  if (value) return value;
  throw wrong(path, line, field, "is missing. Name the columns in the first line and fill them.");
}

/**
 * Rows of a CSV whose first line names the fields.
 * @throws {SoundspotError} ERR_DATASET for a row of another length than the header, and a stray quote.
 */
export function* csvRows(text: string, path: string): Generator<CsvRow> {
  let header: readonly string[] | undefined;
  for (const { line, cells } of csvRecords(text, path)) {
    if (!header) {
      header = cells.map((cell) => cell.trim());
      const twice = header.find((name, i) => name !== "" && header?.indexOf(name) !== i);
      if (twice !== undefined)
        throw wrong(path, line, twice, "names two columns. Give each a name of its own.");
      continue;
    }
    if (cells.length !== header.length) {
      throw wrong(
        path,
        line,
        undefined,
        `has ${cells.length} cells, the header ${header.length}. Quote cells that hold the separator.`,
      );
    }
    const present = header
      .map((name, i) => [name, cells[i] ?? ""] as const)
      .filter(([, cell]) => cell !== "");
    yield { line, fields: Object.fromEntries(present) };
  }
}

/** Before the first record, where spreadsheets name the separator. */
const SEPARATOR_LINE = /^sep=(.)(\r\n|\n|\r|$)/;
const SEPARATORS = [",", ";", "\t"];
/** Of a text, to find out its separator. */
const SAMPLE_LETTERS = 65_536;
const SAMPLE_RECORDS = 20;

/**
 * The separator of a CSV: what parts its first records into equally many cells, a comma before a semicolon before a
 * tab; where nothing does, what its first record has most of.
 */
export function separatorOf(text: string): string {
  const sample = text.slice(0, SAMPLE_LETTERS);
  const counts = SEPARATORS.map((separator) => {
    const cells: number[] = [];
    let isWhole = sample.length === text.length;
    try {
      for (const record of records(sample, "", separator, 0, 1)) {
        cells.push(record.cells.length);
        if (cells.length < SAMPLE_RECORDS) continue;
        isWhole = true;
        break;
      }
    } catch {
      if (isWhole) return { separator, first: cells[0] ?? 0, isEven: false };
    }
    const [first = 0, ...others] = isWhole || cells.length < 2 ? cells : cells.slice(0, -1);
    return { separator, first, isEven: first > 1 && others.every((count) => count === first) };
  });
  const most = [...counts].sort((a, b) => b.first - a.first)[0];
  return (counts.find(({ isEven }) => isEven) ?? most)?.separator ?? ",";
}

/**
 * Records of a CSV: quoted cells hold separators, line breaks, and quotes written twice. Blank lines are skipped. The
 * separator is a comma, a semicolon or a tab, see {@link separatorOf}.
 * @throws {SoundspotError} ERR_DATASET for a stray or unclosed quote.
 */
export function* csvRecords(text: string, path: string): Generator<CsvRecord> {
  const [named, separator = separatorOf(text)] = SEPARATOR_LINE.exec(text) ?? [];
  yield* records(text, path, separator, named?.length ?? 0, named === undefined ? 1 : 2);
}

function* records(
  text: string,
  path: string,
  separator: string,
  at: number,
  line: number,
): Generator<CsvRecord> {
  const stop = new RegExp(
    `["${separator === "\t" ? "\\t" : separator.replace(/[\\\]^-]/, "\\$&")}\\r\\n]`,
    "g",
  );
  let first = line;
  let cells: string[] = [];
  while (at < text.length || cells.length > 0) {
    const quoted = text[at] === '"';
    stop.lastIndex = at;
    const end = quoted ? endOfQuoted(text, at) : (stop.exec(text)?.index ?? text.length);
    const ending = text.startsWith("\r\n", end) ? "\r\n" : text.charAt(end);
    if (end < 0 || !["", separator, "\r\n", "\n", "\r"].includes(ending)) {
      throw wrong(
        path,
        line,
        undefined,
        'has a stray or unclosed quote. Quote the whole cell and write " as "".',
      );
    }
    cells.push(quoted ? text.slice(at + 1, end - 1).replaceAll('""', '"') : text.slice(at, end));
    line += text.slice(at, end + ending.length).match(/\r\n|\n|\r/g)?.length ?? 0;
    at = end + ending.length;
    if (ending === separator) continue;
    if (cells.length > 1 || cells[0] !== "") yield { line: first, cells };
    cells = [];
    first = line;
  }
}

/** Where the quoted cell that begins at `start` is over; −1 when its quote is not closed. */
function endOfQuoted(text: string, start: number): number {
  let close = text.indexOf('"', start + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  return close < 0 ? -1 : close + 1;
}
