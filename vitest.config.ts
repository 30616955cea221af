import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Tests compare what commands print; lines of progress would depend on the pace of the machine.
    env: { SOUNDSPOT_PROGRESS: "0" },
    // The addon uses every processor by itself, and a process of its own per file keeps a crash in its file.
    pool: "forks",
    fileParallelism: false,
  },
});
