// From `node` to the first localization, stage by stage; and what many localizations leave in memory.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Model } from "../dist/index.js";
import { pair } from "./lib/inputs.mjs";
import { pythonStartup } from "./lib/rivals.mjs";
import { median } from "./lib/turns.mjs";

const worker = fileURLToPath(new URL("lib/startup-worker.mjs", import.meta.url));
const CALLS = 2000;
// Until garbage collection has come round: before it results that nobody holds any more add up to some 150 MiB.
const WARM_UP = 250;

const resident = () => process.memoryUsage().rss / 2 ** 20;

export async function startup({ rounds = 10, progress }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  const model = await Model.create();
  const rows = [];
  try {
    await model.save(weights);
    const [ours, theirs] = [[], []];
    for (let round = 0; round < rounds; round++) {
      ours.push(JSON.parse(execFileSync(process.execPath, [worker, weights], { encoding: "utf8" })));
      const other = pythonStartup(weights);
      if (other) theirs.push(other);
      progress?.(round + 1, rounds);
    }
    for (const stage of ["node", "import", "load", "first", "total"]) {
      rows.push([`soundspot: ${stage}`, `${median(ours.map((each) => each[stage])).toFixed(0)} ms`]);
    }
    if (theirs.length) rows.push(["PyTorch eager: total", `${median(theirs).toFixed(0)} ms`]);

    const input = pair(1);
    for (let i = 0; i < WARM_UP; i++) await model.localize(input);
    const before = resident();
    for (let i = 0; i < CALLS; i++) {
      await model.localize(input);
      if (i % 20 === 19) progress?.(i + 1, CALLS);
    }
    const after = resident();
    rows.push([`resident memory after ${WARM_UP} localizations`, `${before.toFixed(0)} MiB`]);
    rows.push([
      `after ${CALLS} more`,
      `${after.toFixed(0)} MiB (${after < before ? "−" : "+"}${((100 * Math.abs(after - before)) / before).toFixed(1)} %)`,
    ]);
  } finally {
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title: "start-up, warm disk cache", table: { columns: ["what", "median"], rows } };
}
