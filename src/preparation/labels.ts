/** Classes of videos, from a CSV. */

import { SoundspotError } from "../core/errors.js";
import { paced } from "../core/pacer.js";
import { readVggSoundLabels } from "../datasets/benchmarks/vggsound.js";
import { type CsvRecord, csvRecords, wrong } from "../files/csv.js";
import { readText } from "../files/text.js";

/**
 * Reads classes by id: a CSV whose header names the columns `id` and `label`, one of two columns
 * without a header, or VGG-Sound's own `vggsound.csv`.
 * @throws {SoundspotError} ERR_FILE_NOT_FOUND, ERR_FILE_EMPTY, ERR_ABORTED; ERR_DATASET for a row that
 * is wrong, with its line.
 */
export async function readLabels(path: string, signal?: AbortSignal): Promise<Map<string, string>> {
  const records = csvRecords(await readText(path, signal), path);
  const first = records.next();
  const cells = first.done ? [] : first.value.cells.map((cell) => cell.trim());
  const [id, label] = [cells.indexOf("id"), cells.indexOf("label")];
  const labels = new Map<string, string>();
  const columnsAt = (idColumn: number, labelColumn: number) => (record: CsvRecord) => {
    const [key, value] = [record.cells[idColumn]?.trim(), record.cells[labelColumn]?.trim()];
    if (!key) throw wrong(path, record.line, "id", "is empty. Give the id of every label.");
    if (value) labels.set(key, value);
  };
  if (id >= 0 && label >= 0) {
    await paced(records, signal, columnsAt(id, label));
    return labels;
  }
  if (cells.length === 4 && /^\d+$/.test(cells[1] ?? "")) return readVggSoundLabels(path, signal);
  if (first.done || cells.length !== 2) {
    throw new SoundspotError(
      "ERR_DATASET",
      `${path} has no labels that can be read: give two columns, id and label, or name the two in the first line.`,
    );
  }
  columnsAt(0, 1)(first.value);
  await paced(records, signal, columnsAt(0, 1));
  return labels;
}
