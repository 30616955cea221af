/**
 * Percentile bootstrap (Efron, 1979): how much a score varies between samples of the same kind. Each resample
 * draws as many samples as there are, with replacement, and has a score of its own. The interval spans the middle 95 %
 * of those scores.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { aFunction, aSignal, type Check, check, checkFields, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { hash, uniform } from "../core/random.js";

/** How samples are resampled. */
export interface BootstrapOptions {
  /** Default 1000. */
  readonly resamples?: number;
  /** Share of the resampled scores that lies inside the interval, in (0, 1). Default 0.95. */
  readonly level?: number;
  /** An integer; equal seeds give equal intervals. Default 0. */
  readonly seed?: number;
  /**
   * Group of each sample. Samples of one group are not independent (the frames of a clip, the sources of an image) and
   * are drawn together: each resample draws as many groups as there are. Default: each sample is a group of its own.
   */
  readonly groups?: ArrayLike<string | number>;
  readonly signal?: AbortSignal | undefined;
}

/** A score with the ends of its confidence interval. */
export interface Interval {
  /** The score of the original samples. */
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

const MOST_RESAMPLES = 10_000_000;
const listLike: Check = [(value) => Array.isArray(value) || ArrayBuffer.isView(value), "a list"];
const numbers: Check = [
  (value) => listLike[0](value) && Array.prototype.every.call(value, (each) => typeof each === "number"),
  "a list of numbers",
];
const TURN = 2; // milliseconds between two turns of the event loop

/** Groups by number: their count, and the group of each sample. */
function numbered(samples: number, groups: ArrayLike<string | number> | undefined) {
  if (!groups) return { count: samples, groupOf: Uint32Array.from({ length: samples }, (_, i) => i) };
  if (groups.length !== samples) {
    throw new SoundspotError(
      "ERR_INPUT",
      `groups has ${groups.length} entries for ${samples} samples. Give one for each sample.`,
    );
  }
  const numbers = new Map<string | number, number>();
  const groupOf = Uint32Array.from({ length: samples }, (_, i) => {
    const group = groups[i] as string | number;
    const number = numbers.get(group) ?? numbers.size;
    numbers.set(group, number);
    return number;
  });
  return { count: numbers.size, groupOf };
}

/** Value at a share of the way through ascending numbers, linear between neighbours (numpy's default). */
function quantile(ascending: Float64Array, share: number): number {
  const place = share * (ascending.length - 1);
  const below = ascending[Math.floor(place)] as number;
  const above = ascending[Math.ceil(place)] as number;
  return below + (place - Math.floor(place)) * (above - below);
}

/** Runs the resamples and reads the interval off their scores. `once` gets a function that draws a group number. */
async function interval(
  estimate: number,
  groups: number,
  once: (drawGroup: () => number) => number,
  { resamples = 1000, level = 0.95, seed = 0, signal }: BootstrapOptions,
): Promise<Interval> {
  if (!(Number.isInteger(resamples) && resamples >= 1 && resamples <= MOST_RESAMPLES)) {
    throw new SoundspotError(
      "ERR_INPUT",
      `resamples must be an integer from 1 to ${MOST_RESAMPLES}, not ${shown(resamples)}.`,
    );
  }
  if (!(typeof level === "number" && level > 0 && level < 1)) {
    throw new SoundspotError("ERR_INPUT", `level must lie between 0 and 1, not be ${shown(level)}.`);
  }
  if (!Number.isInteger(seed)) {
    throw new SoundspotError("ERR_INPUT", `seed must be an integer, not ${shown(seed)}.`);
  }
  throwIfAborted(signal);
  if (Number.isNaN(estimate)) return { estimate, low: Number.NaN, high: Number.NaN };
  const draw = uniform(Number(hash(seed) & 0xffffffffn));
  const drawGroup = () => Math.floor(draw() * groups);
  const scores = new Float64Array(resamples);
  let turned = performance.now();
  for (let i = 0; i < resamples; i++) {
    scores[i] = once(drawGroup);
    if (performance.now() - turned < TURN) continue;
    await nextTurn();
    throwIfAborted(signal);
    turned = performance.now();
  }
  const ascending = scores.filter((score) => !Number.isNaN(score)).sort();
  if (ascending.length === 0) return { estimate, low: Number.NaN, high: Number.NaN };
  return {
    estimate,
    low: quantile(ascending, (1 - level) / 2),
    high: quantile(ascending, (1 + level) / 2),
  };
}

/**
 * Interval of the mean of one value per sample. A success rate is the mean of zeros and ones, AUC the mean of
 * `auc([score])`. With groups, a resample's mean is over all the samples that its groups hold. Yields to the event loop
 * as it goes; 10,000 samples take one or two tenths of a second.
 * @returns NaN without samples, or when a value is NaN
 * @throws {SoundspotError} ERR_INPUT when an option is out of range or `groups` has another length, ERR_ABORTED.
 */
export async function bootstrapInterval(
  values: ArrayLike<number>,
  options: BootstrapOptions = {},
): Promise<Interval> {
  check(values, numbers, "values");
  checkFields(options, { signal: aSignal, groups: listLike });
  const { count, groupOf } = numbered(values.length, options.groups);
  const sums = new Float64Array(count);
  const sizes = new Float64Array(count);
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    const group = groupOf[i] as number;
    total += values[i] as number;
    sums[group] = (sums[group] as number) + (values[i] as number);
    sizes[group] = (sizes[group] as number) + 1;
  }
  const resampledMean = (drawGroup: () => number) => {
    let sum = 0;
    let size = 0;
    for (let i = 0; i < count; i++) {
      const group = drawGroup();
      sum += sums[group] as number;
      size += sizes[group] as number;
    }
    return sum / size;
  };
  return interval(total / values.length, count, resampledMean, options);
}

/**
 * Interval of any score that is computed from samples. Yields to the event loop between resamples; one call of
 * `statistic` is never interrupted.
 * @param samples number of samples
 * @param statistic score of the samples with these indices, in ascending order, repeated as often as they were
 *   drawn; the next resample overwrites the array. A statistic that sorts its samples is fast when they are sorted
 *   already. Resamples for which it is NaN are left out.
 * @returns NaN when the statistic of all samples is
 * @throws {SoundspotError} ERR_INPUT when an option is out of range or `groups` has another length, ERR_ABORTED.
 * @example
 * const scores = perSample.toSorted((a, b) => b.confidence - a.confidence);
 * const ap = (indices: Uint32Array) => averagePrecision(Array.from(indices, (i) => scores[i]));
 * const { low, high } = await bootstrapStatistic(scores.length, ap);
 */
export async function bootstrapStatistic(
  samples: number,
  statistic: (indices: Uint32Array) => number,
  options: BootstrapOptions = {},
): Promise<Interval> {
  check(
    samples,
    [(value) => Number.isSafeInteger(value) && (value as number) >= 0, "an integer of at least 0"],
    "samples",
  );
  check(statistic, aFunction, "statistic");
  checkFields(options, { signal: aSignal, groups: listLike });
  const { count, groupOf } = numbered(samples, options.groups);
  const sizes = new Uint32Array(count);
  for (const group of groupOf) sizes[group] = (sizes[group] as number) + 1;
  const longest = count * sizes.reduce((a, b) => Math.max(a, b), 0);
  const indices = new Uint32Array(longest);
  const times = new Uint32Array(count);
  const resampled = (drawGroup: () => number) => {
    times.fill(0);
    for (let i = 0; i < count; i++) {
      const group = drawGroup();
      times[group] = (times[group] as number) + 1;
    }
    let length = 0;
    for (let i = 0; i < samples; i++) {
      const repeats = times[groupOf[i] as number] as number;
      indices.fill(i, length, length + repeats);
      length += repeats;
    }
    return statistic(indices.subarray(0, length));
  };
  const all = Uint32Array.from({ length: samples }, (_, i) => i);
  return interval(statistic(all), count, resampled, options);
}
