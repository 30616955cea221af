/** `soundspot quantize`: a checkpoint with int8 weights, calibrated on a dataset, for inference on a CPU. */
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import type { Command } from "commander";
import type { Dataset } from "../../datasets/dataset.js";
import { openDataset } from "../../datasets/registry.js";
import { evaluate } from "../../evaluation/evaluate.js";
import { CALIBRATION_PAIRS, quantize } from "../../evaluation/quantize.js";
import { checkReplaceable } from "../../files/atomic-writes.js";
import { checkOutputs } from "../../files/outputs.js";
import type { Precision } from "../../model/compute.js";
import { CALIBRATION_KEY } from "../../model/configuration.js";
import type { Model } from "../../model/model.js";
import { percentText } from "../../report/figures.js";
import { checkpointInputs, loadCheckpoint, withConfigOption } from "../checkpoints.js";
import { wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { filesOf } from "../scoring.js";
import { textTable } from "../table.js";

interface Flags {
  data: string;
  config?: string;
  output?: string;
  pairs: number;
  batchSize: number;
  evaluation?: string;
  skipUnreadable?: true;
  json?: true;
}

export function register(program: Command): void {
  const command = program
    .command("quantize")
    .description("write a checkpoint with int8 weights, for inference on a CPU")
    .argument("<checkpoint>", "checkpoint (.safetensors or .pth)")
    .requiredOption("--data <dataset>", "pairs to calibrate with: a manifest, or name:field=value,…");
  withConfigOption(command)
    .option("--output <file>", "default the checkpoint's name with .int8.safetensors")
    .option("--pairs <n>", "taken for calibration, evenly over the data", wholeFrom(1), CALIBRATION_PAIRS)
    .option("--batch-size <n>", "pairs at a time", wholeFrom(1), 16)
    .option("--evaluation <dataset>", "annotated data to score both on: cIoU before and after")
    .option("--skip-unreadable", "skip samples that cannot be read")
    .option("--json", "print the result as JSON")
    .action(run);
}

/** cIoU by map. */
async function scoresOf(
  model: Model,
  data: Dataset,
  precision: Precision,
  { batchSize, skipUnreadable }: Flags,
  onProgress: (done: number, total: number) => void,
): Promise<Record<string, number>> {
  const { audio, iqr } = await evaluate({
    model,
    data,
    precision,
    batchSize,
    bootstrap: false,
    falseNegatives: false,
    unreadable: skipUnreadable ? "skip" : "throw",
    onProgress,
  });
  return Object.fromEntries(
    Object.entries({ audio, iqr }).flatMap(([map, scores]) => (scores ? [[map, scores.ciou]] : [])),
  );
}

async function run(checkpoint: string, flags: Flags): Promise<void> {
  const output =
    flags.output ?? `${checkpoint.slice(0, checkpoint.length - extname(checkpoint).length)}.int8.safetensors`;
  const progress = new Progress({ enabled: !flags.json });
  const data = await openDataset(flags.data);
  const evaluation = flags.evaluation === undefined ? undefined : await openDataset(flags.evaluation);
  try {
    await checkOutputs({
      inputs: [
        ...checkpointInputs("the checkpoint", checkpoint, flags.config),
        ...filesOf(data),
        ...(evaluation ? filesOf(evaluation, "--evaluation") : []),
      ],
      outputs: [{ name: "--output", path: output }],
    });
    await checkReplaceable(output);
    using model = await loadCheckpoint(checkpoint, {
      config: flags.config,
      device: "cpu",
      precision: "float32",
    });
    progress.start("calibration");
    const count = (done: number, total: number) => progress.update(done, total);
    using quantized = await quantize({
      model,
      data,
      pairs: flags.pairs,
      batchSize: flags.batchSize,
      unreadable: flags.skipUnreadable ? "skip" : "throw",
      onProgress: count,
    });
    const pairs = Math.min(flags.pairs, data.length);
    await quantized.save(output, {
      metadata: { [CALIBRATION_KEY]: JSON.stringify({ data: flags.data, pairs }) },
    });
    const { size: bytes } = await stat(output);
    // The checkpoint's own size may include a state of training.
    const parameters = (await model.parameters()).reduce(
      (sum, { data: { byteLength } }) => sum + byteLength,
      0,
    );
    const scored = async (name: string, of: Model, precision: Precision) => {
      if (!evaluation) return undefined;
      progress.start(name);
      return scoresOf(of, evaluation, precision, flags, count);
    };
    const before = await scored("float32", model, "float32");
    const after = await scored("int8", quantized, "int8");
    progress.clear();
    if (flags.json) {
      process.stdout.write(
        `${JSON.stringify({ output, pairs, bytes, parameterBytes: parameters, ...(before ? { ciou: { before, after } } : {}) })}\n`,
      );
      return;
    }
    const mebibytes = (size: number) => `${(size / 2 ** 20).toFixed(1)} MiB`;
    process.stdout.write(
      `${output}: int8, calibrated with ${pairs} pairs of ${data.name}; ${mebibytes(bytes)}, in float32 ${mebibytes(parameters)}\n`,
    );
    if (!before || !after) return;
    process.stdout.write(
      `\n${textTable(
        ["cIoU", "float32", "int8"],
        Object.entries(before).map(([map, ciou]) => [
          map,
          ...[ciou, after[map] ?? 0].map((share) => percentText(100 * share)),
        ]),
      )}`,
    );
  } finally {
    progress.end();
    await data.close?.();
    await evaluation?.close?.();
  }
}
