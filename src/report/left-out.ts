/** Messages about missing, unreadable or damaged samples. */

import type { SkippedSample } from "../datasets/damage.js";
import type { DamagedFile, MissingSample } from "../datasets/dataset.js";

const SHOWN = 5; // names before "and n more"

/** One line each for missing samples, unreadable samples and damaged files; empty when all were read. */
export function leftOut(
  missing: readonly MissingSample[],
  skipped: readonly SkippedSample[],
  damaged: readonly DamagedFile[] = [],
): string[] {
  const listed = (names: readonly string[]) =>
    names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "");
  return [
    ...(missing.length ? [`missing ${missing.length}: ${listed(missing.map(({ id }) => id))}`] : []),
    ...(skipped.length
      ? [`unreadable ${skipped.length}: ${listed(skipped.map(({ reason }) => reason))}`]
      : []),
    ...(damaged.length ? [`damaged ${damaged.length}: ${listed(damaged.map(({ reason }) => reason))}`] : []),
  ];
}

/** The part of a table's heading about skipped samples; empty when all were read. */
export function skippedText({ length }: readonly SkippedSample[]): string {
  return length > 0 ? `, ${length} unreadable and skipped` : "";
}
