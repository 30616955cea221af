/** `soundspot train`: a run on a manifest or on procedural scenes. */
import { join } from "node:path";
import { type Command, Option } from "commander";
import { type PresetName, presets } from "../../config/presets.js";
import type { TrainOptions } from "../../config/train.js";
import { openDataset } from "../../datasets/registry.js";
import type { SkippedInRun } from "../../datasets/skipped-list.js";
import type { ProcessGroup } from "../../distributed/process-group.js";
import { checkOutputs } from "../../files/outputs.js";
import type { Device } from "../../model/compute.js";
import type { WeightsReport } from "../../model/model.js";
import { leftOut } from "../../report/left-out.js";
import { isRunFile } from "../../training/run-folder.js";
import { train } from "../../training/train.js";
import { yieldCores } from "../cores.js";
import { heldOut } from "../held-out.js";
import { deviceOption, numberFrom, processCount, wholeFrom } from "../options.js";
import { inProcesses } from "../processes.js";
import { Progress } from "../progress.js";
import { readSettings } from "../settings.js";

interface Flags {
  data: string;
  evaluation?: string;
  preset?: PresetName;
  config?: string;
  output: string;
  epochs?: number;
  batchSize?: number;
  learningRate?: number;
  seed?: number;
  keepEvery?: number;
  device: Device;
  weights?: string;
  imageWeights?: string;
  neighbours?: string;
  store?: string;
  resume?: true;
  allowChangedData?: true;
  strict?: true;
  maxDamaged?: number;
  processes?: number | "auto";
  json?: true;
}

export function register(program: Command): void {
  program
    .command("train")
    .description("train a model on image–audio pairs")
    .requiredOption(
      "--data <file>",
      "manifest (.jsonl or .csv), shards (.tar), or a dataset as name:field=value,…",
    )
    .option("--evaluation <file>", "the same, with annotations; for scenes and stamps alone their test split")
    .addOption(new Option("--preset <name>", "recipe").choices(Object.keys(presets)))
    .option("--config <file>", "YAML with preset, model and train")
    .option("--output <folder>", "checkpoints and metrics", "runs/latest")
    .option("--epochs <n>", "epochs", wholeFrom(1))
    .option("--batch-size <n>", "pairs per step", wholeFrom(2))
    .option("--learning-rate <x>", "learning rate", numberFrom(0))
    .option("--seed <n>", "seed", wholeFrom(0))
    .addOption(deviceOption())
    .option("--weights <file>", "checkpoint to start from: the tensors that fit by name and shape")
    .option("--image-weights <file>", "torchvision's ResNet-18 .pth for the image encoder")
    .option(
      "--neighbours <file>",
      "nearest neighbours of the samples, of soundspot neighbours; for Alignment",
    )
    .option(
      "--store <folder>",
      "decoded samples: the first epoch fills it, later epochs and runs read it instead of the files",
    )
    .option("--keep-every <n>", "keep the parameters of every nth epoch in separate files", wholeFrom(1))
    .option("--resume", "resume from the output folder's last.safetensors")
    .option("--allow-changed-data", "with --resume: also when samples were added to the data or removed")
    .option("--strict", "end the run at the first sample that cannot be read; default: skip it")
    .option(
      "--max-damaged <share>",
      "of the samples, 0 to 1, that may be skipped; default 0.01",
      numberFrom(0, 1),
    )
    .option(
      "--processes <n>",
      "processes on this machine that share every batch; auto: one for each GPU",
      processCount,
    )
    .option("--json", "print one line of JSON an epoch, and the result")
    .addHelpText(
      "after",
      "\nLaunched by torchrun, srun or a Kubernetes operator (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), it trains with the others.",
    )
    .action((flags: Flags) => {
      yieldCores();
      return inProcesses(flags.processes, (group) => run(flags, group));
    });
}

function taken({ loaded, ignored, missing }: WeightsReport): string {
  const named = (names: readonly string[]) => names.join(", ") || "none";
  return `${loaded.length} taken, not taken: ${named(ignored)}, not filled: ${named(missing)}`;
}

function exchangedText(group: ProcessGroup): string {
  const { bytes, seconds } = group.traffic();
  return `${group.size} processes; each exchanged ${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s`;
}

async function run(flags: Flags, group: ProcessGroup | undefined): Promise<void> {
  await checkOutputs({
    inputs: [{ name: "--config", path: flags.config }],
    folders: [{ name: "--output", path: flags.output, writes: isRunFile }],
  });
  const settings = await readSettings(flags.config);
  const preset = flags.preset ?? settings.preset ?? "paper";
  const given: TrainOptions = Object.fromEntries(
    (["epochs", "batchSize", "learningRate", "seed", "keepEvery"] as const)
      .filter((name) => flags[name] !== undefined)
      .map((name) => [name, flags[name]]),
  );
  const data = await openDataset(flags.data);
  const evaluation =
    flags.evaluation === undefined
      ? undefined
      : await openDataset(heldOut[flags.evaluation]?.evaluation ?? flags.evaluation);

  const missing = { data: data.missing ?? [], evaluation: evaluation?.missing ?? [] };
  // Only one of several processes prints.
  const main = group?.main ?? true;
  const progress = new Progress({ enabled: main && !flags.json });
  const say = (text: string) => {
    progress.clear();
    if (main) process.stdout.write(`${text}\n`);
  };
  const note = (text: string) => {
    progress.clear();
    if (main) process.stderr.write(`${text}\n`);
  };
  for (const text of leftOut(missing.data, [], data.damaged)) note(`training data: ${text}`);
  for (const text of leftOut(missing.evaluation, [], evaluation?.damaged)) note(`evaluation data: ${text}`);
  /** Damaged samples found since the end of the last epoch. */
  const fresh: SkippedInRun[] = [];
  const skippedNotes = () => {
    const all = fresh.splice(0);
    for (const text of leftOut(
      [],
      all.filter((each) => !each.evaluation),
    ))
      note(`training data: ${text}`);
    for (const text of leftOut(
      [],
      all.filter((each) => each.evaluation),
    ))
      note(`evaluation data: ${text}`);
  };
  progress.start("training");
  try {
    const result = await train({
      ...settings.train,
      ...given,
      preset,
      model: settings.model ?? {},
      device: flags.device,
      data,
      ...(evaluation ? { evaluation } : {}),
      output: flags.output,
      resume: flags.resume ?? false,
      allowChangedData: flags.allowChangedData ?? false,
      strict: flags.strict ?? false,
      ...(flags.maxDamaged === undefined ? {} : { maxDamaged: flags.maxDamaged }),
      handleSignals: true,
      ...(group ? { group } : {}),
      onResume: ({ file, step, epoch, ...now }) => {
        const changed = (what: "processes" | "samples") =>
          now[what] === now[`${what}Before`]
            ? ""
            : `, on ${now[what]} ${what} where there were ${now[`${what}Before`]}`;
        note(
          `resumes from ${file}: step ${step}, epoch ${epoch + 1}${changed("processes")}${changed("samples")}`,
        );
      },
      onSkip: (sample) => fresh.push(sample),
      ...(flags.store === undefined ? {} : { store: flags.store }),
      onStore: ({ folder, samples, total, bytes }) =>
        note(
          `store ${folder}: ${samples} of ${total} samples are there; ${(bytes / 1e9).toFixed(2)} GB with all`,
        ),
      ...(flags.weights === undefined ? {} : { weights: flags.weights }),
      ...(flags.imageWeights === undefined ? {} : { imageWeights: flags.imageWeights }),
      ...(flags.neighbours === undefined ? {} : { neighbours: flags.neighbours }),
      onStep: ({ epoch, step, totalSteps, result: { losses }, samplesPerSecond, warnings }) => {
        const total = losses.total ?? Number.NaN;
        progress.update(
          step,
          totalSteps,
          `epoch ${epoch + 1}  loss ${total.toFixed(3)}  ${samplesPerSecond.toFixed(0)} pairs/s`,
        );
        for (const { kind, message } of warnings) note(`warning: ${kind}: ${message}`);
      },
      onEpoch: ({ epoch, meanLoss, seconds, waited, evaluation: scores }) => {
        const { perSample, ...summary } = scores ?? {};
        skippedNotes();
        if (flags.json)
          say(
            JSON.stringify({
              epoch: epoch + 1,
              meanLoss,
              seconds,
              waited,
              ...(scores ? { evaluation: summary } : {}),
            }),
          );
        else {
          const best = scores?.[scores.defaultMap];
          const figures = best
            ? `  cIoU@0.5 ${(100 * best.ciou).toFixed(1)} %  AUC ${(100 * best.auc).toFixed(1)} %`
            : "";
          const idle =
            waited > 0.03 * seconds ? `  ${((100 * waited) / seconds).toFixed(0)} % of it for data` : "";
          say(`epoch ${epoch + 1}: loss ${meanLoss.toFixed(4)}  ${seconds.toFixed(0)} s${idle}${figures}`);
        }
      },
    });
    if (flags.json) {
      const { steps, stoppedBy, last, best, weights, imageWeights, skipped } = result;
      const exchanged = group ? { processes: group.size, traffic: group.traffic() } : {};
      const { damaged } = data;
      say(
        JSON.stringify({
          steps,
          stoppedBy,
          last,
          best,
          weights,
          imageWeights,
          missing,
          damaged,
          skipped,
          ...exchanged,
        }),
      );
    } else {
      if (result.weights) say(`weights: ${taken(result.weights)}`);
      if (result.imageWeights) say(`image weights: ${taken(result.imageWeights)}`);
      if (result.stoppedBy) say(`stopped by ${result.stoppedBy}; continue with --resume`);
      if (group) say(exchangedText(group));
      skippedNotes();
      if (result.skipped.length > 0)
        say(
          `${result.skipped.length} damaged ${result.skipped.length === 1 ? "sample" : "samples"} skipped; ${join(flags.output, "skipped.jsonl")}`,
        );
      say(`${result.steps} steps; ${result.last ?? "nothing to save"}`);
    }
    if (result.stoppedBy) process.exitCode = 1;
  } finally {
    progress.end();
    await data.close?.();
    await evaluation?.close?.();
  }
}
