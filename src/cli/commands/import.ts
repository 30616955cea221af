/** `soundspot import`: a checkpoint of another program as safetensors with its configuration, and a model card. */

import { stat } from "node:fs/promises";
import { basename, extname, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { methodNamed } from "../../config/methods.js";
import { isSoundspotError, SoundspotError } from "../../core/errors.js";
import { checkReplaceable, writeOutput } from "../../files/atomic-writes.js";
import { hashOf } from "../../files/hash.js";
import { checkOutputs } from "../../files/outputs.js";
import { Model } from "../../model/model.js";
import { native } from "../../native.js";
import { modelCard } from "../../report/model-card.js";
import { countParts, type Listed } from "../../report/parts.js";
import { checkpointInputs, loadCheckpoint, withConfigOption } from "../checkpoints.js";

interface Flags {
  config?: string;
  output?: string;
  card?: string;
  source?: string;
  license?: string;
  force?: true;
  json?: true;
}

/** Key of the file that a checkpoint was made of, in its metadata. */
const SOURCE_KEY = "soundspot.source";

export function register(program: Command): void {
  const command = program
    .command("import")
    .description("convert a checkpoint of another program to safetensors, with a model card")
    .argument("<file>", "published checkpoint of joint slot attention or of a compared method");
  withConfigOption(command)
    .option("--output <file>", "default the same name with .safetensors", ending(".safetensors"))
    .option("--card <file>", "model card; default the output's name with .md", ending(".md"))
    .option("--source <text>", "where the file is from, such as its address, for the card")
    .option("--license <text>", "of the weights, for the card; default unknown")
    .option("--force", "replace files that exist")
    .option("--json", "print what was taken as JSON")
    .action(run);
}

function ending(end: string): (text: string) => string {
  return (text) => {
    if (extname(text).toLowerCase() === end && basename(text) !== end) return text;
    throw new InvalidArgumentError(`a path that ends in ${end} is expected`);
  };
}

const withEnding = (path: string, end: string) =>
  `${path.slice(0, path.length - extname(path).length)}${end}`;

/** @throws {SoundspotError} ERR_FILE_WRITE when something is there that may not be replaced. */
async function checkFree(path: string, option: string, force: boolean): Promise<void> {
  await checkReplaceable(path);
  if (force) return;
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (exists) {
    throw new SoundspotError(
      "ERR_FILE_WRITE",
      `${path} exists. Give another path by ${option}, or --force to replace it.`,
    );
  }
}

/** Whether the names are those of torchvision's ResNet, which is a part of a model alone. */
const isResNet = (names: readonly string[]) =>
  names.includes("conv1.weight") && names.includes("layer1.0.conv1.weight");

/** Adds to an error about names and shapes what the user can do about it. */
async function explained(error: unknown, file: string, config: string | undefined): Promise<unknown> {
  if (!isSoundspotError(error) || error.code !== "ERR_CHECKPOINT_MISMATCH") return error;
  const { tensors } = await native().readCheckpoint(resolve(file));
  const names = tensors.map(({ name }) => name);
  const advice = isResNet(names)
    ? "It has the names of torchvision's ResNet-18, which is an image encoder alone: give it to `soundspot train --image-weights`."
    : config === undefined
      ? "Give its configuration by --config: a JSON file, or the preset of its method."
      : `The configuration was that of --config ${config}.`;
  return new SoundspotError(error.code, `${error.message} ${advice}`, { cause: error });
}

async function load(file: string, { config }: Flags): Promise<Model> {
  try {
    return await loadCheckpoint(file, { ...(config === undefined ? {} : { config }), device: "cpu" });
  } catch (error) {
    throw await explained(error, file, config);
  }
}

async function listed(model: Model): Promise<Listed[]> {
  return (await model.parameters()).map(({ name, shape }) => ({ name, shape }));
}

async function run(file: string, flags: Flags): Promise<void> {
  const output = flags.output ?? withEnding(file, ".safetensors");
  const card = flags.card ?? withEnding(output, ".md");
  await checkOutputs({
    inputs: checkpointInputs("the checkpoint", file, flags.config),
    outputs: [
      { name: "--output", path: output },
      { name: "--card", path: card },
    ],
  });
  await checkFree(output, "--output", flags.force === true);
  await checkFree(card, "--card", flags.force === true);

  using model = await load(file, flags);
  const { config, loaded: weights } = model;
  if (!weights) throw new SoundspotError("ERR_INTERNAL", `${file} was loaded without a report.`);
  // Published files may hold tensors that new models do not have.
  using fresh = await Model.create(config, { device: "cpu" });
  const tensors = await listed(fresh);
  const own = new Set(tensors.map(({ name }) => name));
  const unused = (await listed(model)).filter(({ name }) => !own.has(name));
  const source = {
    file: basename(file),
    bytes: (await stat(file)).size,
    sha256: await hashOf(file),
    ...(flags.source === undefined ? {} : { from: flags.source }),
  };
  const { license } = flags;
  await model.save(output, {
    metadata: { [SOURCE_KEY]: JSON.stringify(source), ...(license === undefined ? {} : { license }) },
  });
  const title = basename(output, extname(output));
  const preset = weights.config === undefined ? flags.config : undefined;
  await writeOutput(card, modelCard({ title, config, tensors, unused, weights, source, license, preset }));

  const { total } = countParts(tensors);
  const method = config.method.name;
  if (flags.json) {
    const { loaded, ignored, missing } = weights;
    const taken = { output, card, method, parameters: total, loaded: loaded.length, ignored, missing };
    const kept = unused.map(({ name }) => name);
    process.stdout.write(`${JSON.stringify({ ...taken, unused: kept, config }, null, 2)}\n`);
    return;
  }
  process.stdout.write(
    `${methodNamed(method).title}, ${total.toLocaleString("en")} parameters\n${output}\n${card}\n`,
  );
}
