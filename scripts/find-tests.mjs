import { existsSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE } from "./build.mjs";

/** Tests whose numbers depend on the processor's paths, as `findTests` takes them. */
export const NUMERIC_TESTS = [
  "integration/core/processor",
  "integration/training/run-safety",
  "integration/training/training",
  "unit/inference/engine",
  "unit/kernels/kernels",
  "unit/kernels/products",
  "unit/methods/parity",
  "unit/training/accumulation",
];

/** Tests that reach the addon's memory and threads, as `findTests` takes them. */
export const MEMORY_TESTS = [
  "integration/binding/teardown",
  "integration/distributed/distributed",
  "integration/training/run-safety",
  "integration/training/training",
  "unit/binding/workers",
  "unit/checkpoint/checkpoints",
  "unit/checkpoint/interchange",
  "unit/core/batcher",
  "unit/core/errors",
  "unit/core/properties",
  "unit/inference/engine",
  "unit/kernels/kernels",
  "unit/methods/parity",
  "unit/training/accumulation",
];

/**
 * Files of tests. Vitest leaves out a file that is not there without a word; this rejects it.
 *
 * @param {string[]} names Paths below test/ without their ending, such as `unit/methods/parity`.
 * @returns {string[]} Paths from the package's folder, in the order of `names`.
 * @throws {Error} when a name has no file.
 */
export function findTests(names) {
  return names.map((name) => {
    const file = join("test", `${name}.test.ts`);
    if (!existsSync(join(PACKAGE, file))) throw new Error(`There is no test ${file}.`);
    return file;
  });
}
