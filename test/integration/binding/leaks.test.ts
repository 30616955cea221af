/** Memory, handles and descriptors stay as they are, however often something is done: scripts/soak.mjs in small. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const built = existsSync(path("dist/index.js"));
if (!built)
  console.warn(
    "test/integration/binding/leaks.test.ts is skipped: there is no dist. Run `npm run build:ts` first.",
  );

/** Bytes a call that the fitted slope may have: noise of the system's allocator, far below what a call works on. */
const bounds = {
  localize: ["0.03", 40_000],
  load: ["0.1", 2_000_000],
  workers: ["0.12", 4_000_000],
} as const;

describe.skipIf(!built)("leaks (skipped without dist)", () => {
  it.each(Object.entries(bounds))("%s does not grow", (part, [share, most]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [path("scripts/soak.mjs"), "--share", share, part],
      { encoding: "utf8" },
    );
    expect(status, stderr).toBe(0);
    const [, slope] = /slope of the second half: (-?\d+) bytes/.exec(stdout) ?? [];
    expect(Number(slope), stdout).toBeLessThan(most);
    const [, before, after] = /open before: (\d+|\?) .*; after: (\d+|\?) /.exec(stdout) ?? [];
    expect(before, stdout).toBeDefined();
    if (before !== "?") expect(Number(after), stdout).toBeLessThanOrEqual(Number(before) + 5);
  });
});
