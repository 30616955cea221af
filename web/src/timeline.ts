/** Results by time: those around a moment, and the next moment to request. */

export interface Entry<T> {
  /** In seconds. */
  readonly time: number;
  readonly value: T;
}

/** The neighbours of a moment, and how far it lies between them. */
export interface Neighbours<T> {
  readonly before: Entry<T>;
  readonly after: Entry<T>;
  /** 0 at `before`, 1 at `after`. */
  readonly share: number;
}

/** Between results further apart than this nothing is interpolated, in seconds. */
const WIDEST_GAP = 2;

export class Timeline<T> {
  readonly #entries: Entry<T>[] = [];

  get entries(): readonly Entry<T>[] {
    return this.#entries;
  }

  /** Replaces a result of the same time. */
  add(time: number, value: T): void {
    const at = this.#indexOf(time);
    const same = this.#entries[at]?.time === time;
    this.#entries.splice(at, same ? 1 : 0, { time, value });
  }

  /** Whether a result lies within half a `step` of a moment. */
  covers(time: number, step: number): boolean {
    const at = this.#indexOf(time);
    return [this.#entries[at - 1], this.#entries[at]].some(
      (entry) => entry !== undefined && Math.abs(entry.time - time) < step / 2,
    );
  }

  /** Undefined without a result nearby. */
  around(time: number): Neighbours<T> | undefined {
    const at = this.#indexOf(time);
    const before = this.#entries[at - 1];
    const after = this.#entries[at];
    if (before && after && after.time - before.time <= WIDEST_GAP) {
      return { before, after, share: (time - before.time) / (after.time - before.time) };
    }
    const near = [before, after]
      .filter((entry) => entry !== undefined)
      .sort((a, b) => Math.abs(a.time - time) - Math.abs(b.time - time))[0];
    if (!near || Math.abs(near.time - time) > WIDEST_GAP / 2) return undefined;
    return { before: near, after: near, share: 0 };
  }

  /** Of the first result that is not before `time`. */
  #indexOf(time: number): number {
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#entries[middle] as Entry<T>).time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** From coarse to fine, in seconds: a first result comes soon, then the gaps are filled. */
const STEPS = [1, 0.5, 0.25];
/** Length ahead of the playhead that is requested, in seconds. */
const AHEAD = 6;
/** A clip up to this length is requested completely, in seconds. */
const WHOLE = 60;

/**
 * The next moment to request, in seconds: the nearest unknown one ahead of the playhead at the coarsest step; then, of a
 * short clip, one behind it. Undefined when all are known.
 *
 * @param taken whether a moment is known or requested, within half a step
 */
export function nextMoment(
  playhead: number,
  duration: number,
  taken: (time: number, step: number) => boolean,
): number | undefined {
  // The very end of a clip has no frame.
  const last = Math.max(0, duration - 0.05);
  const ranges: [number, number][] = [[playhead, Math.min(last, playhead + AHEAD)]];
  if (duration <= WHOLE) ranges.push([0, last]);
  for (const [from, to] of ranges) {
    for (const step of STEPS) {
      for (let time = Math.floor(from / step) * step; time <= to; time += step) {
        if (!taken(time, step)) return time;
      }
    }
  }
  return undefined;
}
