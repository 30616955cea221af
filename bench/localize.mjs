// localize(): from a prepared image and spectrogram to the map, against PyTorch and ONNX Runtime with the same weights,
// in int8 too.
// The baselines end at the attention; ours also makes the heatmap, its regions and a Spot in JavaScript.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Model } from "../dist/index.js";
import { onnxruntime, python } from "./lib/baselines.mjs";
import { pair, shapes } from "./lib/inputs.mjs";
import { nearness, quantized } from "./lib/int8.mjs";
import { matrixPeak, PAIR_GFLOP, peakNote } from "./lib/peak.mjs";
import { typesOf } from "./lib/processor.mjs";
import { inTurns, timed, turnsSeconds } from "./lib/turns.mjs";

const MODES = [
  ["eager", "float32"],
  ["channels-last", "float32"],
  ["compiled", "float32"],
  ["channels-last", "bfloat16"],
  ["compiled", "bfloat16"],
];
const title = "localize, ms a pair";

export async function localize({ device = "cpu", batches, rounds = 5, threads = 2, report }) {
  const onCpu = device === "cpu";
  batches ??= onCpu ? [1, 16] : [1, 16, 256];
  const folder = mkdtempSync(join(tmpdir(), "soundspot-bench-"));
  const weights = join(folder, "model.safetensors");
  const model = await Model.create({}, { device });
  await model.save(weights);
  const torch = await python(threads, device);
  const ort = onCpu ? onnxruntime() : undefined;
  const exported = torch && ort ? torch.exports : [];
  const results = [];
  const types = typesOf(model.compute.device);
  const notes = [`a pair is ${PAIR_GFLOP.toFixed(1)} GFLOP by direct convolutions`];
  const missing = torch && ort ? ["float32", "int8"].filter((type) => !exported.includes(type)) : [];
  for (const type of missing) {
    notes.push(`no ONNX Runtime in ${type}: README.md names the packages that BENCH_PYTHON lacks`);
  }
  const modes = MODES.filter(([, type]) => types.includes(type));
  const ours = [...types, ...(onCpu ? ["int8"] : [])];
  const columns = { ours: ours.map((type) => `soundspot ${type}`), rates: true };
  const timesOf = (batch) => (onCpu && batch > 1 ? 2 : 8);
  const { int8, calibration } = onCpu ? await quantized(model, folder) : {};
  try {
    const one = pair(1);
    const [, ms] = await timed(() => model.localize(one, { precision: "float32" }))(2);
    const count = ours.length + (torch ? modes.length + exported.length : 0);
    const seconds = batches.map((batch) =>
      turnsSeconds(ms * batch, { rounds, times: timesOf(batch), competitors: count }),
    );
    report.expect(
      seconds.reduce((a, b) => a + b, 0),
      count * batches.length,
    );
    report.compare(title, columns);
    for (const batch of batches) {
      const inputs = Array.from({ length: batch }, (_, i) => pair(i + 1));
      const one = batch === 1 ? inputs[0] : inputs;
      const competitors = ours.map((precision) => ({
        name: `soundspot ${precision}`,
        run: timed(() => (precision === "int8" ? int8 : model).localize(one, { precision })),
      }));
      if (torch) {
        for (const [mode, type] of modes) {
          competitors.push(
            await torch.competitor(`PyTorch ${mode} ${type}`, {
              kind: "localize",
              mode,
              type,
              batch,
              weights,
            }),
          );
        }
      }
      const sessions = [];
      if (exported.length > 0) {
        const [image, audio] = ["image", "audio"].map((name) => {
          const data = new Float32Array(batch * shapes[name].reduce((a, b) => a * b, 1));
          inputs.forEach((each, i) => {
            const values = name === "image" ? each.image.tensor : each.audio.spectrogram;
            data.set(values, i * values.length);
          });
          return new ort.Tensor("float32", data, [batch, ...shapes[name]]);
        });
        const maps = {};
        for (const type of exported) {
          const path = join(folder, `model-${batch}-${type}.onnx`);
          await torch.ask({
            export: true,
            batch,
            weights,
            path,
            ...(type === "int8" ? { calibration } : {}),
          });
          const session = await ort.InferenceSession.create(path, { intraOpNumThreads: threads });
          sessions.push(session);
          const [first, second] = session.inputNames;
          const run = () => session.run({ [first]: image, [second]: audio });
          competitors.push({ name: `onnxruntime-node ${type}`, run: timed(run) });
          const { data } = (await run())[session.outputNames[0]];
          const size = data.length / batch;
          maps[type] = inputs.map((_, i) => data.slice(i * size, i * size + size / 2));
        }
        if (maps.float32 && maps.int8) {
          const spots = await int8.localize(inputs);
          const own = spots.map(({ attention }) => attention.audioOnImage.data.slice(0, maps.int8[0].length));
          notes.push(`batch ${batch}: ${nearness({ float32: maps.float32, ours: own, theirs: maps.int8 })}`);
        }
      }
      const work = `batch ${batch}`;
      await inTurns(competitors, {
        rounds,
        times: timesOf(batch),
        onRound: report.step(work),
        onMeasured: (name, { median }) => {
          const ms = median / batch;
          results.push({ work, name, ms, rate: (1000 * PAIR_GFLOP) / ms });
          report.result(results.at(-1));
        },
      });
      for (const { name } of competitors) {
        if (torch && name.startsWith("PyTorch")) await torch.ask({ drop: name });
      }
      for (const session of sessions) await session.release();
    }
    // The peak is the CPU's.
    for (const type of onCpu ? types : []) notes.push(peakNote(type, await matrixPeak(type)));
  } finally {
    torch?.close();
    int8?.dispose();
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title, results, columns, notes };
}
