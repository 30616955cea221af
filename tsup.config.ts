import { readdirSync, rmSync } from "node:fs";
import { defineConfig, type Options } from "tsup";

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
  shims: true,
  sourcemap: true,
  clean: false,
};

export default defineConfig([
  {
    ...shared,
    format: "esm",
    splitting: true,
    entry: {
      index: "src/index.ts",
      "cli/main": "src/cli/main.ts",
      ...commands,
      // A worker is loaded by its path: each stays a file of its own, beside the chunk that starts it.
      "scenes.worker": "src/datasets/drawn/scenes.worker.ts",
      "stamps.worker": "src/datasets/drawn/stamps.worker.ts",
    },
  },
  { ...shared, format: "cjs", entry: { index: "src/index.ts" } },
]);
