/**
 * How long a test waits for what should happen. Such a limit is there for hangs alone: it grows with the time that this
 * machine, with all that runs beside, takes for a fixed piece of work.
 */

/** Steps of the work, and the milliseconds that they take on two idle cores of an AMD EPYC. */
const [STEPS, REFERENCE] = [2e7, 70];
/** The configuration measures once, and the processes of the test files take it from here. */
const VARIABLE = "SOUNDSPOT_TEST_PACE";

let pace: number | undefined;

function once(): number {
  let x = 0x9e3779b9;
  const begun = performance.now();
  for (let i = 0; i < STEPS; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  // x is used, so that no compiler leaves the loop out.
  return performance.now() - begun + (x === 0 ? 1 : 0);
}

/** The factor for times of `milliseconds`: at least 1, and at most 20, so that a hang ends some day. */
export function factorOf(milliseconds: number): number {
  return Math.min(20, Math.max(1, milliseconds / REFERENCE));
}

/** How many times as long as the reference this machine takes, at least 1. */
export function measuredPace(): number {
  const given = Number(process.env[VARIABLE]);
  // The first time is the compiler's; the slowest of some shows what else is running.
  pace ??= given >= 1 ? given : factorOf(Math.max(...[once(), once(), once(), once()].slice(1)));
  return pace;
}

/** The environment in which the processes of a test run know the pace. */
export const paceEnvironment = (): Record<string, string> => ({ [VARIABLE]: String(measuredPace()) });

/** @returns milliseconds: the seconds that are ample on the reference machine, and more on a slower one. */
export function patience(seconds: number): number {
  return Math.ceil(1000 * seconds * measuredPace());
}
