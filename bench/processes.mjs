// The same run in one process on all cores and in two processes on half of them each, in turns; and the traffic between
// the processes.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { median } from "./lib/turns.mjs";

const program = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const PAIRS = 1024;
const BATCH = 64;
const steps = PAIRS / BATCH;
const title = `training, preset scratch with every loss, batch ${BATCH}`;
const columns = ["processes", "pairs/s", "of one", "MB a step", "ms a step in exchange"];

export const config = (batch) => `
preset: scratch
train:
  epochs: 1
  batchSize: ${batch}
  losses:
    pooled: { weight: 0 }
    contrastive: { weight: 1, temperature: 0.07 }
    crossAttention: { weight: 1, temperature: 1 }
    matching: { weight: 4 }
    divergence: { weight: 0.1 }
    reconstruction: { weight: 0.1 }
`;

/** The command of this bench and of bench/network.mjs. */
export const training = (pairs, file, output) => [
  "train",
  "--json",
  ...["--data", `scenes:length=${pairs}`, "--config", file, "--output", output],
];

/** Seconds of a run of `pairs` by a short one of `few`, whose start takes the same time. */
export async function secondsOf(pairs, few, short) {
  const started = performance.now();
  const { seconds } = await short();
  return (performance.now() - started) / 1000 - seconds + (pairs / few) * seconds;
}

export async function processes({ rounds = 3, threads = 2, report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const file = join(folder, "run.yaml");
  writeFileSync(file, config(BATCH));
  const one = async (count, output, pairs = PAIRS) => {
    const args = training(pairs, file, join(folder, output));
    const env = { ...process.env, OMP_NUM_THREADS: String(Math.max(1, Math.floor(threads / count))) };
    const command = [program, ...args, "--processes", String(count)];
    const { stdout } = await promisify(execFile)(process.execPath, command, { env });
    const [epoch, result] = stdout.trim().split("\n").map(JSON.parse);
    return { seconds: epoch.seconds, traffic: result.traffic };
  };
  const measured = new Map([1, 2].map((count) => [count, []]));
  const rate = (count) => PAIRS / median(measured.get(count).map(({ seconds }) => seconds));
  const row = (count, all) => {
    const traffic = all.at(-1).traffic;
    return [
      `${count} × ${Math.max(1, Math.floor(threads / count))} threads`,
      rate(count).toFixed(1),
      (rate(count) / rate(1)).toFixed(2),
      traffic ? (traffic.bytes / steps / 1e6).toFixed(2) : "–",
      traffic ? ((1000 * traffic.seconds) / steps).toFixed(1) : "–",
    ];
  };
  const rows = [];
  try {
    const few = 2 * BATCH;
    const seconds = await secondsOf(PAIRS, few, () => one(1, "short", few));
    report.expect(2 * rounds * seconds, measured.size);
    report.table(title, columns, [16]);
    const progress = report.step("runs", 2 * rounds);
    for (let round = 0; round < rounds; round++) {
      for (const [count, all] of measured) {
        all.push(await one(count, `${round}-${count}`));
        progress(2 * round + count);
        if (round < rounds - 1) continue;
        rows.push(row(count, all));
        report.row(rows.at(-1));
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, table: { columns, rows } };
}
