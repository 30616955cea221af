/** CONTRIBUTING.md and CHANGELOG.md name scripts, files and tests that exist. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lossNames, methodNamed, methodNames } from "../../../src/config/methods.js";
import { native } from "../../../src/native.js";
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

  it("lists the features of every loss under the methods that train with it", () => {
    const rows = [...contributing.matchAll(/^\| (`\w+`(?:, `\w+`)*) +\|[^|]*\| (all|`[\w-]+`) +\|$/gm)];
    const listed = rows.flatMap(([, features = "", methods = ""]) =>
      quoted(features, "`").map((feature) => [feature, methods.replaceAll("`", "")] as const),
    );
    const needs = native().losses();
    const expected = methodNames().flatMap((method) =>
      methodNamed(method).losses.flatMap((loss) =>
        (needs[loss] as string[]).map((feature) => `${feature} of ${method}`),
      ),
    );
    const given = listed.flatMap(([feature, methods]) =>
      (methods === "all" ? methodNames() : [methods]).map((method) => `${feature} of ${method}`),
    );
    expect(given).toEqual(expect.arrayContaining(expected));
    // Offered, and read by no loss of the package.
    const beyond = given.filter((each) => !expected.includes(each));
    expect(beyond.sort()).toEqual(
      ["audio_keys", "image_queries"].map((name) => `${name} of joint-slot-attention`),
    );
    expect(Object.keys(needs).sort()).toEqual(lossNames());
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
