/** Tests that take many minutes: `npm run test:slow`. All other settings are those of the other tests. */
import { defineConfig } from "vitest/config";
import base from "./vitest.config.js";

export default defineConfig({
  ...base,
  test: { ...base.test, include: ["test/slow/**/*.test.ts"], exclude: ["**/node_modules/**"] },
});
