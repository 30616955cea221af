/** Samples in groups: by class, and by the area of the sounding object. */

/** Samples by their label, in the order of the labels' code units; those without one are left out. */
export function byLabel<T extends { readonly label?: string | undefined }>(
  samples: readonly T[],
): { readonly label: string; readonly samples: readonly T[] }[] {
  const classes = new Map<string, T[]>();
  for (const sample of samples) {
    if (sample.label === undefined) continue;
    const members = classes.get(sample.label);
    if (members) members.push(sample);
    else classes.set(sample.label, [sample]);
  }
  return [...classes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([label, members]) => ({ label, samples: members }));
}

/**
 * Samples by area, the smallest first, in `parts` groups whose sizes differ by one at most; those without an area are
 * left out. Fewer samples than parts give a group each.
 * @param parts 4 for quartiles
 */
export function byArea<T extends { readonly area?: number | undefined }>(
  samples: readonly T[],
  parts = 4,
): { readonly from: number; readonly to: number; readonly samples: readonly T[] }[] {
  const ascending = samples
    .filter((sample): sample is T & { readonly area: number } => sample.area !== undefined)
    .sort((a, b) => a.area - b.area);
  const bounds = Array.from({ length: parts + 1 }, (_, i) => Math.round((i * ascending.length) / parts));
  return bounds.slice(1).flatMap((end, i) => {
    const members = ascending.slice(bounds[i], end);
    const [first, last] = [members[0], members.at(-1)];
    return first && last ? [{ from: first.area, to: last.area, samples: members }] : [];
  });
}
