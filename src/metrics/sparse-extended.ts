/**
 * The same metrics as in extended.ts, on few thresholds, as SLAVC's own script computes them: average precision over
 * every ⌊N/200⌋th confidence, F1 at every ⌊N/10⌋th. They compare with its published figures.
 */
import type { ExtendedScore } from "./extended.js";

/** Precision and recall of the pairs whose confidence reaches a threshold. */
interface Point {
  /** 1 where no pair is confident. */
  readonly precision: number;
  /** 1 where every sounding pair is confident and wrong. */
  readonly recall: number;
}

/** Points at the ranks of a descending list, and the number of pairs. */
class Ranked {
  readonly count: number;
  /** Without one, recall is undefined. */
  readonly sounding: number;
  readonly #scores: readonly ExtendedScore[];
  /** Among the first i pairs. */
  readonly #right: Uint32Array;
  readonly #soundingBefore: Uint32Array;

  constructor(scores: readonly ExtendedScore[], success: number) {
    const descending = isDescending(scores) ? scores : scores.toSorted((a, b) => b.confidence - a.confidence);
    this.#scores = descending;
    this.count = descending.length;
    this.#right = new Uint32Array(this.count + 1);
    this.#soundingBefore = new Uint32Array(this.count + 1);
    for (const [i, { sounding, ciou }] of descending.entries()) {
      this.#soundingBefore[i + 1] = (this.#soundingBefore[i] as number) + (sounding ? 1 : 0);
      this.#right[i + 1] = (this.#right[i] as number) + (sounding && ciou >= success ? 1 : 0);
    }
    this.sounding = this.#soundingBefore[this.count] as number;
  }

  /** At the confidence of the pair of a rank, from 0; pairs of the same confidence pass together. */
  at(rank: number): Point {
    const { confidence } = this.#scores[rank] as ExtendedScore;
    let confident = rank + 1;
    while (this.#scores[confident]?.confidence === confidence) confident++;
    const right = this.#right[confident] as number;
    const missed = this.sounding - (this.#soundingBefore[confident] as number);
    return { precision: right / confident, recall: right + missed > 0 ? right / (right + missed) : 1 };
  }
}

function isDescending(scores: readonly ExtendedScore[]): boolean {
  return scores.every(({ confidence }, i) => i === 0 || (scores[i - 1]?.confidence ?? 0) >= confidence);
}

/**
 * Average precision on the thresholds of SLAVC's script: of N pairs the second highest confidence and every
 * max(1, ⌊N/200⌋)th below it. AP = Σᵢ (Rᵢ₊₁ − Rᵢ) · max over j ≥ i of Pⱼ. The recall of the first threshold counts
 * nothing, so that AP is below 1 even for perfect pairs.
 * @returns in [0, 1]; NaN without sounding pairs
 */
export function sparseAveragePrecision(scores: readonly ExtendedScore[], success = 0.5): number {
  const ranked = new Ranked(scores, success);
  if (ranked.sounding === 0) return Number.NaN;
  const step = Math.max(1, Math.floor(ranked.count / 200));
  const points: Point[] = [];
  for (let rank = 1; rank < ranked.count; rank += step) points.push(ranked.at(rank));
  let area = 0;
  let best = points.at(-1)?.precision ?? 0;
  for (let i = points.length - 2; i >= 0; i--) {
    const { precision, recall } = points[i] as Point;
    best = Math.max(best, precision);
    area += ((points[i + 1] as Point).recall - recall) * best;
  }
  return area;
}

/**
 * The highest F1 on the thresholds of SLAVC's script: of N pairs the lowest confidence and every max(1, ⌊N/10⌋)th above
 * it, 10 or 11 in most lists.
 * @returns in [0, 1]; NaN without sounding pairs
 */
export function sparseBestF1(scores: readonly ExtendedScore[], success = 0.5): number {
  const ranked = new Ranked(scores, success);
  if (ranked.sounding === 0) return Number.NaN;
  const step = Math.max(1, Math.floor(ranked.count / 10));
  let best = 0;
  for (let rank = ranked.count - 1; rank >= 0; rank -= step) {
    const { precision, recall } = ranked.at(rank);
    if (precision + recall > 0) best = Math.max(best, (2 * precision * recall) / (precision + recall));
  }
  return best;
}

/**
 * Share of all pairs, silent ones too, that sound and reach the cIoU: SLAVC's precision when every pair is confident.
 * @returns in [0, 1]; NaN without pairs
 */
export function precisionOfAll(scores: readonly ExtendedScore[], success = 0.5): number {
  return scores.filter(({ sounding, ciou }) => sounding && ciou >= success).length / scores.length;
}
