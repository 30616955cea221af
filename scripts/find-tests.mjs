import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { PACKAGE } from "./build.mjs";

/**
 * Files of tests by their names alone, wherever below test/ they lie.
 *
 * @param {string[]} names Such as `parity`, for test/unit/methods/parity.test.ts.
 * @returns {string[]} Paths from the package's folder, in the order of `names`.
 * @throws {Error} when a name has no file, or several.
 */
export function findTests(names) {
  const all = readdirSync(join(PACKAGE, "test"), { recursive: true, encoding: "utf8" });
  return names.map((name) => {
    const files = all.filter((file) => basename(file) === `${name}.test.ts`);
    if (files.length !== 1) throw new Error(`${files.length} files below test/ are named ${name}.test.ts.`);
    return join("test", files[0]);
  });
}
