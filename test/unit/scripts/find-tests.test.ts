import { describe, expect, it } from "vitest";
import { findTests, MEMORY_TESTS, NUMERIC_TESTS } from "../../../scripts/find-tests.mjs";

describe("lists of tests", () => {
  it.each([
    ["numeric", NUMERIC_TESTS],
    ["memory", MEMORY_TESTS],
  ])("finds each %s test, once", (_, names: readonly string[]) => {
    const files = findTests(names);
    expect(files).toHaveLength(names.length);
    expect(new Set(files).size).toBe(names.length);
    expect(files).toContain("test/integration/training/training.test.ts");
  });

  it("rejects a name without a file", () => {
    expect(() => findTests(["unit/methods/parity", "unit/methods/missing"])).toThrow(
      "There is no test test/unit/methods/missing.test.ts.",
    );
  });
});
