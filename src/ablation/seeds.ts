/** Figures over the seeds of a variant: their mean, and an interval for it. */

/** Mean of the figures of several trainings. */
export interface OverSeeds {
  readonly mean: number;
  /** t interval; absent with one value. */
  readonly interval?: readonly [low: number, high: number];
}

/**
 * The probability that |t| with `degrees` of freedom is at most √degrees · tan θ: the finite sums for whole degrees
 * (Abramowitz and Stegun, 26.7.3 and 26.7.4).
 */
function centralShare(theta: number, degrees: number): number {
  const [sine, cosine] = [Math.sin(theta), Math.cos(theta)];
  const odd = degrees % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = degrees === 1 ? 0 : term;
  for (let n = odd ? 3 : 2; n < degrees; n += 2) {
    term *= ((n - 1) / n) * cosine * cosine;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (theta + sine * sum) : sine * sum;
}

/** The t that |t| does not exceed with probability `level`, by bisection to the last bits. */
export function tQuantile(degrees: number, level = 0.95): number {
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (centralShare(middle, degrees) < level) low = middle;
    else high = middle;
  }
  return Math.sqrt(degrees) * Math.tan((low + high) / 2);
}

/**
 * Mean over seeds with its t interval, mean ± t · s / √n with n − 1 degrees of freedom. It takes the figures of the
 * seeds as independent and normal, and says how far the mean would move with other seeds, not with other samples.
 * @param values of each seed, at least one; NaN where one of them is
 */
export function overSeeds(values: readonly number[], level = 0.95): OverSeeds {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = tQuantile(count - 1, level) * Math.sqrt(squares / (count - 1) / count);
  return { mean, interval: [mean - half, mean + half] };
}
