/** Building blocks of the audio of all classes. */
import type { Random } from "../drawing.js";

/** Adds a sound of amplitude about 1 to `out`, at `rate` samples per second. */
export type Voice = (out: Float32Array, rate: number, random: Random) => void;

const SINE_STEPS = 8192;

const sineTable = Float32Array.from({ length: SINE_STEPS }, (_, i) =>
  Math.sin((2 * Math.PI * i) / SINE_STEPS),
);

/** Sine of a phase counted in turns, at least 0. */
export const sine = (turns: number): number => sineTable[((turns % 1) * SINE_STEPS) | 0] as number;

/** Calls `event` with the first sample of each event: `perSecond` of them, not quite regularly. */
export function repeat(
  length: number,
  rate: number,
  perSecond: number,
  unevenness: number,
  random: Random,
  event: (start: number) => void,
): void {
  const gap = rate / perSecond;
  for (let at = random() * 0.7 * gap; at < length; at += gap * (1 + unevenness * (random() - 0.5))) {
    event(Math.floor(at));
  }
}
