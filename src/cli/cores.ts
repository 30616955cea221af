/**
 * Lets waiting threads of the model sleep sooner. While they spin, decoding and other programs would compete for the
 * cores of the working threads. LibTorch's OpenMP reads this when it is loaded.
 */
export function yieldCores(): void {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= "3000";
}
