/** Files of the repository that documents name in backticks, such as `src/native.ts` or `native/losses/`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { coming } from "./coming.js";
import { root } from "./samples.js";

const path = /`((?:native|src|test|scripts|bench|web|docs|examples|lint)\/[\w./-]*)`/g;

export const pathsIn = (text: string): string[] => [
  ...new Set([...text.matchAll(path)].map(([, name = ""]) => name)),
];

/** Those that are neither there nor still to come. */
export const missingPaths = (text: string): string[] =>
  pathsIn(text).filter((name) => !existsSync(join(root, name)) && !coming.includes(name));

export const isComing = (name: string): boolean => coming.includes(name);

/** Files that are there, though they are listed as still to come. */
export const arrived = (): string[] => coming.filter((name) => existsSync(join(root, name)));
