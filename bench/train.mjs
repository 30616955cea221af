// A training step of the paper's model on prepared batches: forward, all losses, backward, AdamW. Every competitor runs
// in its own process, whose peak memory is printed too.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addon } from "./lib/addon.mjs";
import { python } from "./lib/baselines.mjs";
import { trainProcess } from "./lib/train-process.mjs";
import { inTurns, turnsSeconds } from "./lib/turns.mjs";

const BATCH = 24;

async function baseline(name, mode, type, weights, threads) {
  const torch = await python(threads);
  if (!torch) return undefined;
  const entry = await torch.competitor(name, { kind: "train", mode, type, batch: BATCH, weights });
  return Object.assign(entry, { close: () => torch.close() });
}

export async function train({ rounds = 3, threads = 2, report }) {
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  const { Model } = await import("../dist/index.js");
  const model = await Model.create();
  await model.save(weights);
  model.dispose();
  const competitors = [];
  const types = addon.info().cpu.bfloat16 ? ["float32", "bfloat16"] : ["float32"];
  try {
    for (const precision of types) {
      competitors.push(
        await trainProcess(`soundspot ${precision}`, { weights, train: { precision }, batch: BATCH }),
      );
    }
    for (const [mode, type] of [
      ["eager", "float32"],
      ["channels-last", "float32"],
      ["channels-last", "bfloat16"],
      ["compiled", "bfloat16"],
    ].filter(([, type]) => types.includes(type))) {
      const name = `PyTorch ${mode}${mode === "eager" ? "" : ", fused AdamW,"} ${type}`;
      const entry = await baseline(name, mode, type, weights, threads);
      if (entry) competitors.push(entry);
    }
    const [times, results] = [2, []];
    const columns = { ours: types.map((type) => `soundspot ${type}`), memory: true };
    const title = `training step, batch ${BATCH}, ms a pair`;
    const [, ms] = await competitors[0].run(2);
    report.expect(turnsSeconds(ms, { rounds, times, competitors: competitors.length }), competitors.length);
    report.compare(title, columns, [4, 48]);
    await inTurns(competitors, {
      rounds,
      times,
      onRound: report.step("training steps"),
      onMeasured: (name, { median }) => {
        const { peak } = competitors.find((each) => each.name === name);
        results.push({ work: "step", name, ms: median / BATCH, peak });
        report.result(results.at(-1));
      },
    });
    return { title, results, columns };
  } finally {
    for (const { close } of competitors) close();
    rmSync(folder, { recursive: true, force: true });
  }
}
