/** The package as JavaScript in a folder of its own, for tests that start processes: no build is needed. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Translates `src`, file by file, and links what it needs beside it. Returns the folder `src` of the copy. */
export function transpilePackage(folder: string): string {
  for (const name of readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const { outputText } = ts.transpileModule(readFileSync(join(root, "src", name), "utf8"), {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
      },
    });
    const target = join(folder, "src", name.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, outputText);
  }
  for (const name of readdirSync(root)) {
    // What tells the package's folder and version is copied: not every system lets anybody link files.
    if (/^(package\.json|CMakeLists\.txt)$/.test(name)) copyFileSync(join(root, name), join(folder, name));
    if (/^(node_modules|build|prebuilds|scripts|vendor)$/.test(name)) {
      symlinkSync(join(root, name), join(folder, name), "junction");
    }
  }
  return join(folder, "src");
}
