/** Tests that need an NVIDIA GPU: a stage of `npm run verify:gpu`. All other settings are those of the other tests. */
import { defineConfig } from "vitest/config";
import base from "./vitest.config.js";

export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ["test/gpu/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    env: { ...base.test?.env, SOUNDSPOT_VARIANT: process.env.SOUNDSPOT_VARIANT ?? "cuda" },
  },
});
