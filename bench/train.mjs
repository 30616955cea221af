// A training step of the paper's model on prepared batches: forward, all losses, backward, AdamW. Every competitor runs
// in its own process, whose peak memory is printed too.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { python } from "./lib/baselines.mjs";
import { typesOf } from "./lib/processor.mjs";
import { trainProcess } from "./lib/train-process.mjs";
import { inTurns, turnsSeconds } from "./lib/turns.mjs";

/** Samples of a batch; on a GPU as many as the paper's recipe has on one of four. */
const BATCHES = { cpu: 24, gpu: 64 };

async function baseline(name, { threads, device, ...work }) {
  const torch = await python(threads, device);
  if (!torch) return undefined;
  const entry = await torch.competitor(name, { kind: "train", ...work });
  return Object.assign(entry, { close: () => torch.close() });
}

export async function train({ device = "cpu", rounds = 3, threads = 2, report }) {
  const batch = device === "cpu" ? BATCHES.cpu : BATCHES.gpu;
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  const { Model } = await import("../dist/index.js");
  const model = await Model.create({}, { device });
  await model.save(weights);
  const types = typesOf(model.compute.device);
  model.dispose();
  const competitors = [];
  try {
    for (const precision of types) {
      competitors.push(
        await trainProcess(`soundspot ${precision}`, { weights, device, train: { precision }, batch }),
      );
    }
    for (const [mode, type] of [
      ["eager", "float32"],
      ["channels-last", "float32"],
      ["channels-last", "bfloat16"],
      ["compiled", "bfloat16"],
    ].filter(([, type]) => types.includes(type))) {
      const name = `PyTorch ${mode}${mode === "eager" ? "" : ", fused AdamW,"} ${type}`;
      const entry = await baseline(name, { threads, device, mode, type, batch, weights });
      if (entry) competitors.push(entry);
    }
    const [times, results] = [2, []];
    const columns = { ours: types.map((type) => `soundspot ${type}`), memory: device === "cpu" };
    const title = `training step, batch ${batch}, ms a pair`;
    const [, ms] = await competitors[0].run(2);
    report.expect(turnsSeconds(ms, { rounds, times, competitors: competitors.length }), competitors.length);
    report.compare(title, columns, [4, 48]);
    await inTurns(competitors, {
      rounds,
      times,
      onRound: report.step("training steps"),
      onMeasured: (name, { median }) => {
        const { peak } = competitors.find((each) => each.name === name);
        results.push({ work: "step", name, ms: median / batch, peak });
        report.result(results.at(-1));
      },
    });
    return { title, results, columns };
  } finally {
    for (const { close } of competitors) close();
    rmSync(folder, { recursive: true, force: true });
  }
}
