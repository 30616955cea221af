/** `soundspot neighbours`: the nearest neighbours of every sample of a dataset, for methods that train with them. */
import { type Command, Option } from "commander";
import { SoundspotError } from "../../core/errors.js";
import { openDataset } from "../../datasets/registry.js";
import { checkOutputs } from "../../files/outputs.js";
import type { Device, Precision } from "../../model/compute.js";
import { loadImageEncoder } from "../../model/image-encoder.js";
import { findNeighbours, NEIGHBOURS, writeNeighbours } from "../../training/neighbours.js";
import { loadCheckpoint } from "../checkpoints.js";
import { deviceOption, precisions, wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { filesOf } from "../scoring.js";

interface Flags {
  encoder: string;
  data: string;
  k: number;
  modality: "image" | "audio";
  output?: string;
  device: Device;
  precision: Precision;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("neighbours")
    .description("list the nearest neighbours of every sample, for training with views of them (Alignment)")
    .requiredOption(
      "--encoder <file>",
      "whose embeddings are compared: a checkpoint, or torchvision's ResNet-18 for images",
    )
    .requiredOption("--data <dataset>", "manifest, or name:field=value,…")
    .option("--k <n>", "neighbours of each sample", wholeFrom(1), NEIGHBOURS)
    .addOption(
      new Option("--modality <name>", "what is compared").choices(["image", "audio"]).default("image"),
    )
    .option("--output <file>", "default beside the manifest: its name with .neighbours.json")
    .addOption(deviceOption())
    .addOption(new Option("--precision <type>", "of the encoders").choices(precisions).default("float32"))
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nThe lists are exact: every sample is compared with every other one. No database is needed.",
    )
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const data = await openDataset(flags.data);
  const [manifest] = data.files ?? [];
  const output = flags.output ?? (manifest === undefined ? undefined : `${manifest}.neighbours.json`);
  if (output === undefined) {
    throw new SoundspotError("ERR_CONFIG", `${data.name} has no manifest to write beside. Give --output.`);
  }
  await checkOutputs({
    inputs: [{ name: "--encoder", path: flags.encoder }, ...filesOf(data)],
    outputs: [{ name: "--output", path: output }],
  });
  const progress = new Progress({ enabled: !flags.json });
  progress.start(data.name);
  try {
    using model =
      (await loadImageEncoder(flags.encoder, flags.modality, flags)) ??
      (await loadCheckpoint(flags.encoder, { device: flags.device, precision: flags.precision }));
    const neighbours = await findNeighbours({
      model,
      data,
      k: flags.k,
      modality: flags.modality,
      onProgress: (done, total) => progress.update(done, total),
    });
    await writeNeighbours(output, neighbours, data, flags.encoder);
    progress.clear();
    const none = neighbours.filter((own) => own.length === 0).length;
    const result = { output, samples: neighbours.length, k: flags.k, unreadable: none };
    process.stdout.write(
      flags.json
        ? `${JSON.stringify(result)}\n`
        : `${result.samples} samples, ${flags.k} neighbours each${none > 0 ? `, ${none} could not be read` : ""}: ${output}\n`,
    );
  } finally {
    progress.clear();
    await data.close?.();
  }
}
