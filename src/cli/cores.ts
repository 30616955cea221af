import { setFlagsFromString } from "node:v8";

/**
 * Lets waiting threads of the model sleep sooner. While they spin, decoding and other programs would compete for the
 * cores of the working threads. LibTorch's OpenMP reads this when it is loaded.
 */
export function yieldCores(): void {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= "3000";
}

/**
 * By how many percent V8's heap grows before the next garbage collection. A request allocates little in the heap and
 * megabytes beside it: forms, pixels, samples, maps. V8 counts those as growth. By itself it would collect the small heap
 * several times a second, on threads that compete with the model's.
 */
const GROWTH = 400;

/** Makes garbage collections rarer, unless Node was started with a growth of its own. */
export function collectLess(): void {
  const given = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].join(" ");
  if (!/heap[-_]growing[-_]percent/.test(given)) setFlagsFromString(`--heap-growing-percent=${GROWTH}`);
}
