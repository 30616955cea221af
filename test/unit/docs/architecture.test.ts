/** docs/architecture.md names files that exist, and draws exactly the arrows that `npm run lint` allows. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { missingPaths, pathsIn } from "../../support/docs/paths.js";
import { root } from "../../support/docs/samples.js";

const text = readFileSync(join(root, "docs", "architecture.md"), "utf8");
const load = (file: string): Promise<unknown> => import(pathToFileURL(join(root, file)).href);

type Arrows = ReadonlyMap<string, ReadonlySet<string>>;

/** The diagrams of a text: `a & b --> c & d` are arrows from each to each. */
function diagramsIn(content: string): Map<string, Set<string>>[] {
  return [...content.matchAll(/```mermaid\nflowchart TB\n([^`]*)```/g)].map(([, lines = ""]) => {
    const arrows = new Map<string, Set<string>>();
    for (const line of lines.trim().split("\n")) {
      const sides = line.split("-->").map((side) => side.split("&").map((name) => name.trim()));
      if (sides.length !== 2) throw new Error(`No arrow: ${line}`);
      const [from = [], to = []] = sides;
      for (const name of [...from, ...to]) if (!arrows.has(name)) arrows.set(name, new Set());
      for (const name of from) for (const other of to) arrows.get(name)?.add(other);
    }
    return arrows;
  });
}

/** Whom each may import from: all that it reaches. */
function reached(arrows: Arrows): Map<string, string[]> {
  return new Map(
    [...arrows.keys()].map((name) => {
      const found = new Set<string>();
      const waiting = [...(arrows.get(name) ?? [])];
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (found.has(next)) continue;
        found.add(next);
        waiting.push(...(arrows.get(next) ?? []));
      }
      return [name, [...found].sort()];
    }),
  );
}

const sorted = (map: ReadonlyMap<string, readonly string[]>) =>
  Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));

const foldersOf = (place: string) =>
  readdirSync(join(root, place), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();

const [cpp, typescript] = diagramsIn(text);

interface Condition {
  readonly path?: string | readonly string[];
  readonly pathNot?: string | readonly string[];
}
interface Rule {
  readonly from: Condition;
  readonly to: Condition;
}

/** Whether a rule of dependency-cruiser that speaks of paths alone forbids an import. */
function forbids({ from, to }: Rule, importing: string, imported: string): boolean {
  const known = ["path", "pathNot"];
  if (![...Object.keys(from), ...Object.keys(to)].every((key) => known.includes(key))) return false;
  const meets = ({ path, pathNot }: Condition, file: string) => {
    const any = (patterns: string | readonly string[]) =>
      [patterns].flat().some((pattern) => new RegExp(pattern as string).test(file));
    return (path === undefined || any(path)) && !(pathNot !== undefined && any(pathNot));
  };
  return meets(from, importing) && meets(to, imported);
}

describe("docs/architecture.md", () => {
  it("names files and folders that exist", () => {
    expect(pathsIn(text).length).toBeGreaterThan(60);
    expect(missingPaths(text)).toEqual([]);
  });

  it("describes each module in a table", () => {
    const rows = [...text.matchAll(/^\| `((?:native|src)\/[^`]*)` /gm)].map(([, module = ""]) => module);
    const folders = ["native", "src"].flatMap((place) => foldersOf(place).map((name) => `${place}/${name}/`));
    expect(rows.sort()).toEqual([...folders, "src/native.ts"].sort());
  });

  it("draws the arrows that scripts/check-includes.mjs allows, and no others", async () => {
    const { ORDER } = (await load("scripts/check-includes.mjs")) as { ORDER: readonly string[][] };
    const allowed = new Map(
      ORDER.flatMap((modules, place) =>
        modules.map((name) => [name, ORDER.slice(0, place).flat().sort()] as const),
      ),
    );
    expect(sorted(reached(cpp as Arrows))).toEqual(sorted(allowed));
    expect([...allowed.keys()].sort()).toEqual(foldersOf("native"));
  });

  it("draws the arrows that dependency-cruiser allows, and no others", async () => {
    const { default: rules } = (await load(".dependency-cruiser.mjs")) as {
      default: { readonly forbidden: readonly Rule[] };
    };
    const modules = [...foldersOf("src"), "native.ts"];
    const fileOf = (name: string) => (name === "native.ts" ? "src/native.ts" : `src/${name}/file.ts`);
    const allowed = new Map(
      modules.map((name) => [
        name,
        modules
          .filter((other) => other !== name)
          .filter((other) => !rules.forbidden.some((rule) => forbids(rule, fileOf(name), fileOf(other))))
          .sort(),
      ]),
    );
    expect(sorted(reached(typescript as Arrows))).toEqual(sorted(allowed));
  });
});
