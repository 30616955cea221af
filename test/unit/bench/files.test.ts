/** The files of the benches, which run by hand alone, parse and import files that are there. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const files = readdirSync(join(root, "bench"), { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".mjs"),
);

it.each(files)("%s", (name) => {
  const file = join(root, "bench", name);
  execFileSync(process.execPath, ["--check", file], { stdio: "pipe" });
  const imported = [...readFileSync(file, "utf8").matchAll(/(?:from|import) *\(?"(\.[^"]*)"/g)];
  const absent = imported
    .map(([, path = ""]) => resolve(dirname(file), path))
    // dist is built.
    .filter((path) => !path.startsWith(join(root, "dist")) && !existsSync(path));
  expect(absent).toEqual([]);
});
