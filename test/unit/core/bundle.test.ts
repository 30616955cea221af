/** Code that was moved out of the package's folder is recognized, and the entry point rejects it in one sentence. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { assertNotBundled, BUNDLED, isInPackage, runningFile } from "../../../src/core/bundle.js";
import { isSoundspotError } from "../../../src/core/errors.js";
import * as source from "../../../src/index.js";
import { root } from "../../support/docs/samples.js";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "soundspot-bundle-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
/** A file in `place` of a folder whose package.json has the text. */
function fileIn(manifest: string | undefined, place: string): string {
  const parent = join(folder, `${count++}`);
  const file = join(parent, place);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, "");
  if (manifest !== undefined) writeFileSync(join(parent, "package.json"), manifest);
  return file;
}
const own = '{ "name": "soundspot" }';
const inside = fileIn(own, "dist/index.js");
const outside = fileIn('{ "name": "app" }', "dist/index.js");

function rejection(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("a file of the package", () => {
  it("is one in its dist/, by path and by URL, with a query and in any folder", () => {
    const letters = "abc #%?&é 日"
      .split("")
      .filter((letter) => process.platform !== "win32" || letter !== "?");
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength: 6 }), (name) => {
        const parent = join(folder, `x${name.join("")}x`);
        mkdirSync(join(parent, "dist"), { recursive: true });
        writeFileSync(join(parent, "package.json"), own);
        const file = join(parent, "dist/index.js");
        expect(isInPackage(file)).toBe(true);
        expect(isInPackage(pathToFileURL(file).href)).toBe(true);
        expect(isInPackage(`${pathToFileURL(file).href}?v=1`)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    ["of another package", outside],
    ["in another folder", fileIn(own, "out/index.js")],
    ["deeper", fileIn(own, "dist/cli/index.js")],
    ["without a package.json", fileIn(undefined, "dist/index.js")],
    ["with one that is damaged", fileIn("{", "dist/index.js")],
    ["with one that is null", fileIn("null", "dist/index.js")],
    ["of no file system", "webpack-internal:///./node_modules/soundspot/dist/index.js"],
    ["that is no URL", "file://%"],
    ["without a name", ""],
  ])("is none %s", (_, file) => {
    expect(isInPackage(file)).toBe(false);
  });
});

describe("the entry point", () => {
  it("runs where both places are the package's, or the only one that is known", () => {
    assertNotBundled({ url: pathToFileURL(inside).href, webpack: false, running: inside });
    assertNotBundled({ url: inside, webpack: false, running: pathToFileURL(inside).href });
  });

  it.each([
    ["the code runs elsewhere", { url: inside, webpack: false, running: outside }],
    ["its URL is another", { url: outside, webpack: false, running: inside }],
    ["it has no URL", { url: undefined, webpack: false, running: inside }],
    ["webpack's loader runs it", { url: inside, webpack: true, running: inside }],
  ])("is rejected where %s", (_, place) => {
    const error = rejection(() => assertNotBundled(place));
    expect(isSoundspotError(error) && [error.code, error.message, error.stack]).toEqual([
      "ERR_BUNDLED",
      BUNDLED,
      `SoundspotError: ${BUNDLED}`,
    ]);
  });

  it("knows its file, and leaves Error as it was", () => {
    const before = [Error.prepareStackTrace, Error.stackTraceLimit];
    expect(runningFile()).toMatch(/src\/core\/bundle\.ts$/);
    expect([Error.prepareStackTrace, Error.stackTraceLimit]).toEqual(before);
  });
});

const entry = join(root, "dist/index.cjs");
describe.skipIf(!existsSync(entry))("the built entry points (skipped without dist/)", () => {
  const node = (args: readonly string[]) =>
    spawnSync(process.execPath, args, { encoding: "utf8", cwd: folder });

  it("export what the sources do, one class for both", () => {
    const script = `import * as modules from ${JSON.stringify(pathToFileURL(join(root, "dist/index.js")).href)};
      import { createRequire } from "node:module";
      const commonjs = createRequire(import.meta.url)(${JSON.stringify(entry)});
      console.log(JSON.stringify([Object.keys(modules), Object.keys(commonjs), modules.Model === commonjs.Model]));`;
    const told = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
      encoding: "utf8",
    });
    const [modules, commonjs, same] = JSON.parse(told) as [string[], string[], boolean];
    const names = Object.keys(source).sort();
    expect(names.length).toBeGreaterThan(30);
    expect([modules.sort(), commonjs.sort(), same]).toEqual([names, names, true]);
  });

  it.each(["index.js", "index.cjs"])("load no other package at import: %s", (name) => {
    const script = `import { createRequire } from "node:module";
      await import(${JSON.stringify(pathToFileURL(join(root, "dist", name)).href)});
      const { cache } = createRequire(import.meta.url);
      console.log(JSON.stringify([Object.keys(cache), process.moduleLoadList]));`;
    const told = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
      encoding: "utf8",
    });
    const [files, builtins] = JSON.parse(told) as [string[], string[]];
    expect(files).toContain(join(root, "dist", "api.cjs"));
    expect(files.filter((file) => /node_modules|[.]node$/.test(file))).toEqual([]);
    expect(builtins.length).toBeGreaterThan(0);
    expect(builtins.filter((each) => /^NativeModule (http2?|https|tls)$/.test(each))).toEqual([]);
  });

  it("load sharp when it is first used, whose failure is no fault of an image", () => {
    const place = join(folder, "broken-sharp");
    mkdirSync(join(place, "dist"), { recursive: true });
    mkdirSync(join(place, "node_modules/sharp"), { recursive: true });
    for (const name of ["package.json", "dist/index.cjs", "dist/api.cjs"])
      copyFileSync(join(root, name), join(place, name));
    writeFileSync(join(place, "node_modules/sharp/index.js"), 'throw new Error("no sharp here");');
    const script = `const { readMask } = require(${JSON.stringify(join(place, "dist/index.cjs"))});
      readMask(Buffer.from("89504e470d0a1a0a", "hex")).catch(({ message }) => console.log(message));`;
    const { stdout, stderr } = node(["--eval", script]);
    expect(stdout, stderr).toBe("no sharp here\n");
  });

  it.each([
    ["esm", "import"],
    ["esm", "require"],
    ["cjs", "import"],
    ["cjs", "require"],
  ] as const)("say the sentence in a bundle of esbuild: %s, by %s", async (format, by) => {
    const output = join(folder, `${by}.${format === "esm" ? "mjs" : "cjs"}`);
    const [load, file] =
      by === "import" ? ["import { Model } from", "index.js"] : ["const { Model } = require(", "index.cjs"];
    const path = JSON.stringify(join(root, "dist", file));
    await build({
      stdin: {
        contents: `${load} ${path}${by === "import" ? "" : ")"}; console.log(Model);`,
        resolveDir: folder,
      },
      bundle: true,
      platform: "node",
      format,
      outfile: output,
      logLevel: "silent",
    });
    expect(readFileSync(output, "utf8").length, "without the library").toBeLessThan(20_000);
    const { status, stderr, stdout } = node([output]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`SoundspotError: ${BUNDLED}`);
    expect(stderr, "no frames").not.toMatch(/^ +at /m);
  });

  it("load in a folder with a # in its name, and where a document is defined", () => {
    const place = join(folder, "a#b");
    mkdirSync(join(place, "dist"), { recursive: true });
    for (const name of ["package.json", "dist/index.cjs", "dist/api.cjs"])
      copyFileSync(join(root, name), join(place, name));
    symlinkSync(join(root, "node_modules"), join(place, "node_modules"), "junction");
    const script = `globalThis.document = { baseURI: "http://localhost/" };
      console.log(typeof require(${JSON.stringify(join(place, "dist/index.cjs"))}).Model);`;
    const { stdout, stderr } = node(["--eval", script]);
    expect(stdout, stderr).toBe("function\n");
  });
});
