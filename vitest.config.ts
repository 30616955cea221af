import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/slow/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The addon uses every processor by itself, and a process of its own per file keeps a crash in its file.
    pool: "forks",
    fileParallelism: false,
  },
});
