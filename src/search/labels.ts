/** Labels of the files in an index: the names of their folders, or a list. */
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { SoundspotError } from "../core/errors.js";
import { paced } from "../core/pacer.js";
import { csvRecords, wrong } from "../files/csv.js";
import { readText } from "../files/text.js";

/** "folder": the name of each file's folder. Or a CSV with two columns: file, relative to the indexed folder, and label. */
export type SearchLabels = "folder" | { readonly csv: string };

/** Gives the label of a file by its path relative to `folder`; undefined where the list has none. */
export async function labelsOf(
  labels: SearchLabels,
  folder: string,
  signal?: AbortSignal | undefined,
): Promise<(path: string) => string | undefined> {
  if (labels === "folder") return (path) => basename(dirname(resolve(folder, path))) || undefined;
  if (typeof labels !== "object" || labels === null || typeof labels.csv !== "string") {
    throw new SoundspotError("ERR_INPUT", 'labels must be "folder" or { csv: "labels.csv" }.');
  }
  const byFile = await readFileLabels(labels.csv, folder, signal);
  return (path) => byFile.get(path);
}

/**
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET for an invalid row, with its line.
 */
async function readFileLabels(
  csv: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<Map<string, string>> {
  const byFile = new Map<string, string>();
  let first = true;
  await paced(csvRecords(await readText(csv, signal), csv), signal, ({ line, cells }) => {
    const [file, label] = cells.map((cell) => cell.trim());
    if (cells.length !== 2) {
      throw wrong(
        csv,
        line,
        undefined,
        `has ${cells.length} cells, not 2: file and label. Quote cells that hold the separator.`,
      );
    }
    const isHeader = first && file === "file" && label === "label";
    first = false;
    if (isHeader) return;
    if (!file) throw wrong(csv, line, "file", "is empty. Give the file of every label.");
    if (label) byFile.set(pathIn(folder, file), label);
  });
  return byFile;
}

/** A path in the index's form: relative to the folder, with "/" between names. */
function pathIn(folder: string, file: string): string {
  const path = relative(folder, isAbsolute(file) ? file : join(folder, file));
  return path.split(sep).join("/");
}
