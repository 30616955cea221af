/** Files of the repository that documents name in backticks, such as `src/native.ts` or `native/losses/`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root } from "./samples.js";

const path = /`((?:native|src|test|scripts|bench|web|docs|examples|lint)\/[\w./-]*)`/g;

export const pathsIn = (text: string): string[] => [
  ...new Set([...text.matchAll(path)].map(([, name = ""]) => name)),
];

/** Those that are not there. */
export const missingPaths = (text: string): string[] =>
  pathsIn(text).filter((name) => !existsSync(join(root, name)));
