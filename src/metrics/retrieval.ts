/** Retrieval measures: recall at K by cosine of target slots, a hit when one of the top K has the query's class. */

const WORK_A_TURN = 2e6; // multiplications between two turns of the event loop, about 2 ms

/** Length of a vector; 1 for a zero vector, whose cosines are 0. */
function lengthOf(vector: Float32Array): number {
  let squares = 0;
  for (let d = 0; d < vector.length; d++) squares += (vector[d] as number) ** 2;
  return Math.sqrt(squares) || 1;
}

/**
 * R@K for each K, the query's own pair in the gallery. Yields to the event loop as it goes.
 * @param queries one vector a sample
 * @param gallery the other modality's vectors, same order
 * @param labels class of each sample
 * @returns shares in [0, 1], in the order of `ks`
 */
export async function recallAt(
  queries: readonly Float32Array[],
  gallery: readonly Float32Array[],
  labels: readonly string[],
  ks: readonly number[],
): Promise<number[]> {
  // The query's own length scales all its cosines alike, and ranks none of them.
  const lengths = gallery.map(lengthOf);
  const hits = ks.map(() => 0);
  const deepest = Math.max(...ks);
  let work = 0;
  for (const [i, row] of queries.entries()) {
    const best: { score: number; label: string }[] = [];
    for (const [j, column] of gallery.entries()) {
      let score = 0;
      for (let d = 0; d < row.length; d++) score += (row[d] as number) * (column[d] as number);
      score /= lengths[j] as number;
      const last = best[deepest - 1];
      if (last && score <= last.score) continue;
      let place = best.length;
      while (place > 0 && score > (best[place - 1] as { score: number }).score) place--;
      best.splice(place, 0, { score, label: labels[j] as string });
      if (best.length > deepest) best.pop();
    }
    for (const [n, k] of ks.entries()) {
      if (best.slice(0, k).some((found) => found.label === labels[i])) hits[n] = (hits[n] as number) + 1;
    }
    work += gallery.length * row.length;
    if (work < WORK_A_TURN) continue;
    work = 0;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return hits.map((hit) => hit / queries.length);
}
