// From `node` to the first localization, stage by stage; and the memory after many localizations. With --against FOLDER
// another package of soundspot, built there, starts in turns with this one.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Model } from "../dist/index.js";
import { pythonStartup } from "./lib/baselines.mjs";
import { pair } from "./lib/inputs.mjs";
import { median, timed } from "./lib/turns.mjs";

const own = fileURLToPath(new URL("..", import.meta.url));
const worker = fileURLToPath(new URL("lib/startup-worker.mjs", import.meta.url));
const CALLS = 2000;
// Until garbage collection has run: before it unreferenced results add up to some 150 MiB.
const WARM_UP = 250;

const title = "start-up, warm disk cache";
const columns = ["what", "median"];

const resident = () => process.memoryUsage().rss / 2 ** 20;

/** Stages of one start, in milliseconds. */
async function start(weights, folder) {
  const { stdout } = await promisify(execFile)(process.execPath, [worker, weights, folder]);
  return JSON.parse(stdout);
}

/** A checkpoint by the package in `against`, which may be older and then does not know every field of this one's. */
async function saveBy(against, weights) {
  const code =
    "import(process.argv[1]).then(async ({ Model }) => (await Model.create()).save(process.argv[2]))";
  await promisify(execFile)(process.execPath, ["-e", code, join(resolve(against), "dist/index.js"), weights]);
}

export async function startup({ rounds = 10, against, report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  const model = await Model.create();
  const rows = [];
  const row = (cells) => {
    rows.push(cells);
    report.row(cells);
  };
  const input = pair(1);
  try {
    await (against ? saveBy(against, weights) : model.save(weights));
    const other = await pythonStartup(weights);
    const first = await start(weights, own);
    const before = against && (await start(weights, resolve(against)));
    const [, ms] = await timed(() => model.localize(input))(2);
    const starts = rounds * (first.total + (other ?? 0) + (before?.total ?? 0));
    report.expect((starts + (WARM_UP + CALLS) * ms) / 1000, (other ? 6 : 5) + (before ? 5 : 0) + 2);
    report.table(title, columns, [44, 16]);
    let progress = report.step("starts", rounds);
    const [ours, theirs, others] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      ours.push(await start(weights, own));
      if (against) others.push(await start(weights, resolve(against)));
      const other = await pythonStartup(weights);
      if (other) theirs.push(other);
      progress(round + 1, rounds);
    }
    for (const [name, starts] of [
      ["soundspot", ours],
      ["the other package", others],
    ]) {
      if (starts.length === 0) continue;
      for (const stage of ["node", "import", "load", "first", "total"]) {
        row([`${name}: ${stage}`, `${median(starts.map((each) => each[stage])).toFixed(0)} ms`]);
      }
    }
    if (theirs.length) row(["PyTorch eager: total", `${median(theirs).toFixed(0)} ms`]);

    progress = report.step("localizing", WARM_UP + CALLS);
    for (let i = 0; i < WARM_UP; i++) await model.localize(input);
    const grown = resident();
    for (let i = 0; i < CALLS; i++) {
      await model.localize(input);
      if (i % 20 === 19) progress(WARM_UP + i + 1);
    }
    const after = resident();
    row([`resident memory after ${WARM_UP} localizations`, `${grown.toFixed(0)} MiB`]);
    row([
      `after ${CALLS} more`,
      `${after.toFixed(0)} MiB (${after < grown ? "−" : "+"}${((100 * Math.abs(after - grown)) / grown).toFixed(1)} %)`,
    ]);
  } finally {
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
