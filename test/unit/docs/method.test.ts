/** docs/method.md: each equation names the file that has it, and what is named in a file is there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { missingPaths, pathsIn } from "../../support/docs/paths.js";
import { root } from "../../support/docs/samples.js";

const text = readFileSync(join(root, "docs", "method.md"), "utf8");

/** Files and what is said to be in them: `file` `Name`, and `Name` in `file`. */
function claims(): [file: string, name: string][] {
  const after = [...text.matchAll(/`((?:native|src)\/[\w./-]+\.\w+)` `([\w:]+)`/g)];
  const before = [...text.matchAll(/`([\w:]+)`,? in `((?:native|src)\/[\w./-]+\.\w+)`/g)];
  return [
    ...after.map(([, file = "", name = ""]): [string, string] => [file, name]),
    ...before.map(([, name = "", file = ""]): [string, string] => [file, name]),
  ];
}

describe("docs/method.md", () => {
  it("names files that exist", () => {
    expect(pathsIn(text).length).toBeGreaterThan(25);
    expect(missingPaths(text)).toEqual([]);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 11])("says in which file equation %i is", (number) => {
    const lines = text.split("\n").filter((line) => new RegExp(`Eq\\. ${number}(?!\\d|–)`).test(line));
    expect(lines.flatMap(pathsIn)).not.toEqual([]);
  });

  it("names what is in the files that it names", () => {
    const all = claims();
    expect(all.length).toBeGreaterThan(30);
    const wrong = all.filter(([file, name]) => {
      const identifier = name.split("::").at(-1) as string;
      return !new RegExp(`\\b${identifier}\\b`).test(readFileSync(join(root, file), "utf8"));
    });
    expect(wrong).toEqual([]);
  });
});
