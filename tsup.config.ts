import { readdirSync, readFileSync, rmSync } from "node:fs";
import { defineConfig, type Options } from "tsup";
import { BUNDLED } from "./src/core/bundle.js";

// Both configurations write to dist at the same time, so neither may clean it.
rmSync("dist", { recursive: true, force: true });

const commands = Object.fromEntries(
  readdirSync("src/cli/commands")
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length))
    .map((name) => [`cli/commands/${name}`, `src/cli/commands/${name}.ts`]),
);

const shared: Options = {
  target: "node20",
  platform: "node",
  outDir: "dist",
  dts: { entry: { index: "src/index.ts" } },
  sourcemap: true,
  clean: false,
};

// In place of tsup's shim, which takes a `document`, as of Jest's jsdom, for a browser, and a # in a path for its end.
const commonjs = {
  format: "cjs",
  define: { "import.meta.url": "importMetaUrl", COMMONJS: "true" },
  banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
} as const satisfies Options;

/** Leaves the form of the other format out. */
const folded = {
  esbuildOptions(options) {
    options.minifySyntax = true;
  },
} satisfies Options;

/** Packages that not every program needs, with the functions and constants that are imported by name from each. */
const DEFERRED: Readonly<Record<string, readonly string[]>> = {
  sharp: [],
  tinyglobby: ["glob"],
  "brace-expansion": ["EXPANSION_MAX", "expand"],
};

/**
 * Loads these packages when something of them is first used, and not with this one. The call stays one that tools
 * follow that collect files for a server. A default export is a function, with its properties.
 */
const deferred: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "deferred",
  setup(build) {
    build.onResolve(
      { filter: new RegExp(`^(${Object.keys(DEFERRED).join("|")})$`) },
      ({ path, namespace }) =>
        namespace === "deferred" ? { path, external: true } : { path, namespace: "deferred" },
    );
    build.onLoad({ filter: /.*/, namespace: "deferred" }, ({ path }) => {
      const load = `require(${JSON.stringify(path)})`;
      const getters = (DEFERRED[path] ?? []).map((name) => `get ${name}() { return ${load}.${name}; },`);
      return {
        contents: getters.length
          ? `module.exports = { ${getters.join(" ")} };`
          : `module.exports = new Proxy(function () {}, {
              apply: (_, self, values) => Reflect.apply(${load}, self, values),
              get: (_, name) => ${load}[name],
            });`,
      };
    });
  },
};

const bundled = `Object.assign(new (class SoundspotError extends Error {})(), ${JSON.stringify({
  name: "SoundspotError",
  code: "ERR_BUNDLED",
  message: BUNDLED,
  stack: `SoundspotError: ${BUNDLED}`,
})})`;

export default defineConfig([
  {
    ...shared,
    format: "esm",
    splitting: true,
    entry: {
      "cli/main": "src/cli/main.ts",
      ...commands,
      // A worker is loaded by its path: each stays a file of its own, beside the chunk that starts it.
      "scenes.worker": "src/datasets/drawn/scenes.worker.ts",
      "stamps.worker": "src/datasets/drawn/stamps.worker.ts",
    },
  },
  {
    ...shared,
    ...folded,
    dts: false,
    format: "esm",
    define: { COMMONJS: "false" },
    entry: { index: "src/entry.ts" },
  },
  {
    ...shared,
    ...commonjs,
    entry: { api: "src/index.ts" },
    dts: false,
    // Of zod's many files the schemas need a quarter, and one file loads faster than a hundred.
    noExternal: ["zod", ...Object.keys(DEFERRED)],
    esbuildPlugins: [deferred],
    footer: {
      js: `/*\nThis file contains a part of zod.\n\n${readFileSync("node_modules/zod/LICENSE", "utf8")}*/`,
    },
  },
  {
    ...shared,
    ...commonjs,
    ...folded,
    entry: { index: "src/entry.ts" },
    // A bundle of ES modules has neither __filename nor require.
    banner: { js: `if (typeof __filename === "undefined") throw ${bundled};\n${commonjs.banner.js}` },
  },
]);
