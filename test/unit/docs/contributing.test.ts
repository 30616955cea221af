/** CONTRIBUTING.md and CHANGELOG.md name scripts, files and tests that exist. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lossNames } from "../../../src/config/methods.js";
import { missingPaths, pathsIn } from "../../support/docs/paths.js";
import { brokenLinks, root } from "../../support/docs/samples.js";

const read = (file: string) => readFileSync(join(root, file), "utf8");
const contributing = read("CONTRIBUTING.md");
/** What stands between two marks. */
const quoted = (text: string, mark: string) =>
  [...text.matchAll(new RegExp(`${mark}(\\w+)${mark}`, "g"))].map(([, name = ""]) => name);
const { scripts, version } = JSON.parse(read("package.json")) as {
  readonly scripts: Readonly<Record<string, string>>;
  readonly version: string;
};

describe("CONTRIBUTING.md", () => {
  it("names files that exist", () => {
    expect(pathsIn(contributing).length).toBeGreaterThan(8);
    expect(missingPaths(contributing)).toEqual([]);
    expect(brokenLinks("CONTRIBUTING.md")).toEqual([]);
  });

  it("runs scripts that package.json has", () => {
    const named = [...contributing.matchAll(/npm run ([\w:]+)/g)].map(([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  it("runs tests and sources that exist, and tests by a name that one of them has", () => {
    const commands = [...contributing.matchAll(/^(?:npx|npm|gdb) [^#\n]*/gm)].map(([command]) => command);
    const files = commands.flatMap((command) => command.match(/(?<= )(?:test|native)\/[\w./-]+/g) ?? []);
    expect(files.length).toBeGreaterThan(4);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
    const [, folder = "", name = ""] = /vitest run (\S+) -t "([^"]+)"/.exec(contributing) ?? [];
    expect(read(join(folder, `${folder.split("/").at(-1)}.test.ts`))).toContain(name);
  });

  it("lists the features that each method offers to losses, and the losses of no method", () => {
    const rows = [...contributing.matchAll(/^\| (`\w+`, `\w+`) +\|[^|]*\| (yes|no) +\| (yes|no) +\|$/gm)];
    const listed = (column: number) =>
      rows.filter((row) => row[column] === "yes").flatMap(([, names = ""]) => quoted(names, "`"));
    const offered = (file: string, list: RegExp) =>
      quoted(list.exec(read(`native/methods/${file}.cc`))?.[1] ?? "", '"');
    expect(listed(2)).toHaveLength(14);
    expect(listed(2).sort()).toEqual(offered("joint_slot_attention", /kOffered\{([^}]*)\}/).sort());
    expect(listed(3).sort()).toEqual(offered("similarity", /needed\([^{]*\{([^}]*)\}/).sort());

    const registered = readdirSync(join(root, "native/losses")).flatMap((file) =>
      [...read(`native/losses/${file}`).matchAll(/^const Register \w+\{\s*"(\w+)"/gm)].map(
        ([, name = ""]) => name,
      ),
    );
    const [, none = ""] = /^The losses (.*) belong to no method yet/m.exec(contributing) ?? [];
    expect(quoted(none, "`").sort()).toEqual(registered.filter((name) => !lossNames().includes(name)).sort());
  });

  it("lists each group of tests with its folder and its command", () => {
    for (const group of ["unit", "integration", "browser", "slow"]) {
      expect(contributing).toMatch(
        new RegExp(`\\| ${group} +\\| \`test/${group}/\` +\\| \`npm run test:${group}\``),
      );
      expect(existsSync(join(root, "test", group))).toBe(true);
    }
  });
});

describe("package.json", () => {
  it("names files in its scripts that exist", () => {
    const files = Object.values(scripts).flatMap(
      (script) => script.match(/\b(?:scripts|bench)\/[\w./-]+\.mjs|vitest[\w.]*\.config\.ts/g) ?? [],
    );
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });
});

describe("CHANGELOG.md", () => {
  it("begins with what is not released, or with the package's version", () => {
    const headings = [...read("CHANGELOG.md").matchAll(/^## \[([^\]]+)\]/gm)].map(([, name]) => name);
    expect(["Unreleased", version]).toContain(headings[0]);
    expect(new Set(headings).size).toBe(headings.length);
    expect(brokenLinks("CHANGELOG.md")).toEqual([]);
  });
});
