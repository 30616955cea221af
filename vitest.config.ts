import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { paceEnvironment, patience } from "./test/support/patience.js";

const support = (name: string) => fileURLToPath(new URL(`test/support/${name}`, import.meta.url));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/slow/**", "test/gpu/**"],
    globalSetup: support("test-addon.ts"),
    // For hangs alone: no test or hook names a limit of its own unless a hang is what it looks for.
    testTimeout: patience(600),
    hookTimeout: patience(600),
    // Tests compare what commands print; lines of progress would depend on the pace of the machine.
    env: { SOUNDSPOT_PROGRESS: "0", ...paceEnvironment() },
    // The addon uses every processor by itself, and a process of its own per file keeps a crash in its file.
    pool: "forks",
    fileParallelism: false,
    setupFiles: [support("ends-with-tests.ts")],
    reporters: ["default", support("reporter.ts")],
  },
});
