/** Words about samples that are missing, unreadable or damaged. */

import type { SkippedSample } from "../datasets/damage.js";
import type { DamagedFile, MissingSample } from "../datasets/dataset.js";

const SHOWN = 5; // names before "and n more"

/** One line each about samples that were not there or could not be read, and damaged files; nothing when all is well. */
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

/** What the head of a table says of samples that were left out; nothing when all were read. */
export function skippedText({ length }: readonly SkippedSample[]): string {
  return length > 0 ? `, ${length} unreadable and skipped` : "";
}
