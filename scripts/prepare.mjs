#!/usr/bin/env node
/**
 * npm's prepare script: bundles the TypeScript with tsup and the page with Vite into dist/. Their output is printed when
 * they fail.
 *
 *   node scripts/prepare.mjs
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { follow, PACKAGE } from "./build.mjs";
import { Progress } from "./progress.mjs";

const require = createRequire(import.meta.url);
const progress = new Progress({ prefix: "soundspot: " });
const steps = [
  ["bundling the TypeScript", "tsup", []],
  ["bundling the page", "vite", ["build", "web"]],
];

/** The program of a package, which runs in this Node.js independent of the shell. */
function programOf(name) {
  const manifest = require.resolve(`${name}/package.json`);
  return join(dirname(manifest), JSON.parse(readFileSync(manifest, "utf8")).bin[name]);
}

try {
  for (const [title, name, args] of steps) {
    console.error(`soundspot: ${title} (${name}).`);
    progress.start(title);
    const { code, output } = await follow(process.execPath, [programOf(name), ...args], {
      quiet: true,
      progress,
      cwd: PACKAGE,
    });
    progress.clear();
    if (code !== 0) throw new Error(`${output}\n${name} failed with exit code ${code}.`);
  }
  console.error("soundspot: dist/ is ready.");
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  progress.end();
}
