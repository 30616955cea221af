// The same run in one process on all cores and in two processes on half of them each, in turns; and what the processes
// exchanged.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median } from "./lib/turns.mjs";

const command = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const PAIRS = 1024;
const BATCH = 64;

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

/** The command that both this bench and that of a network run. */
export const training = (pairs, file, output) => [
  "train",
  "--json",
  ...["--data", `scenes:length=${pairs}`, "--config", file, "--output", output],
];

export async function processes({ rounds = 3, threads = 2, progress }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const file = join(folder, "run.yaml");
  writeFileSync(file, config(BATCH));
  const one = (count, output) => {
    const args = training(PAIRS, file, output);
    const env = { ...process.env, OMP_NUM_THREADS: String(Math.max(1, Math.floor(threads / count))) };
    const text = execFileSync(process.execPath, [command, ...args, "--processes", String(count)], {
      env,
      encoding: "utf8",
    });
    const [epoch, result] = text.trim().split("\n").map(JSON.parse);
    return { seconds: epoch.seconds, traffic: result.traffic };
  };
  const measured = new Map([1, 2].map((count) => [count, []]));
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [count, all] of measured) all.push(one(count, join(folder, `${round}-${count}`)));
      progress?.(round + 1, rounds);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const steps = PAIRS / BATCH;
  const rate = (count) => PAIRS / median(measured.get(count).map(({ seconds }) => seconds));
  const rows = [...measured].map(([count, all]) => {
    const traffic = all.at(-1).traffic;
    return [
      `${count} × ${Math.max(1, Math.floor(threads / count))} threads`,
      rate(count).toFixed(1),
      (rate(count) / rate(1)).toFixed(2),
      traffic ? (traffic.bytes / steps / 1e6).toFixed(2) : "–",
      traffic ? ((1000 * traffic.seconds) / steps).toFixed(1) : "–",
    ];
  });
  return {
    title: `training, preset scratch with every loss, batch ${BATCH}`,
    table: { columns: ["processes", "pairs/s", "of one", "MB a step", "ms a step in exchange"], rows },
  };
}
