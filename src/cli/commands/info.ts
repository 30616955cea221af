/** `soundspot info`: what a checkpoint holds, or the paper's model without a file. */
import type { Command } from "commander";
import { Model, storedConfig } from "../../model.js";
import { native } from "../../native.js";
import { storedTraining } from "../../trainer.js";

interface Listed {
  readonly name: string;
  readonly shape: readonly number[];
}

const isState = (name: string) => /^(optimizer|random)\./.test(name);
const isBuffer = (name: string) => /running_mean|running_var|num_batches_tracked/.test(name);
const size = ({ shape }: Listed) => shape.reduce((product, each) => product * each, 1);

/** Parameters of each part; buffers and training state are not counted. */
function countParts(tensors: readonly Listed[]) {
  const parameters = tensors.filter(({ name }) => !isState(name) && !isBuffer(name));
  const of = (...prefixes: string[]) =>
    parameters
      .filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)))
      .reduce((sum, each) => sum + size(each), 0);
  const parts = {
    imageEncoder: of("imgnet."),
    audioEncoder: of("audnet."),
    jointSlotAttention: of("slot_attn."),
    imageDecoder: of("img_decoder."),
    audioDecoder: of("aud_decoder."),
  };
  const encoders = parts.imageEncoder + parts.audioEncoder;
  const inference = encoders + parts.jointSlotAttention;
  return { ...parts, encoders, inference, total: inference + parts.imageDecoder + parts.audioDecoder };
}

export function register(program: Command): void {
  program
    .command("info")
    .description("list parameters, parts and configuration of a checkpoint, or of the paper's model")
    .argument("[file]", "checkpoint (.safetensors or .pth)")
    .option("--tensors", "list every tensor")
    .option("--json", "print as JSON")
    .action(run);
}

async function run(file: string | undefined, flags: { tensors?: true; json?: true }): Promise<void> {
  let tensors: readonly Listed[];
  let config: unknown;
  let metadata: Record<string, string> = {};
  if (file === undefined) {
    using model = await Model.create();
    tensors = (await model.parameters()).map(({ name, shape }) => ({ name, shape }));
    config = model.config;
  } else {
    const checkpoint = await native().readCheckpoint(file);
    tensors = checkpoint.tensors;
    metadata = checkpoint.metadata;
    config = storedConfig(metadata, file);
  }
  const parts = countParts(tensors);
  if (flags.json) {
    const training = file === undefined ? undefined : storedTraining(metadata, file);
    const state = training === undefined ? {} : { training };
    const list = flags.tensors ? { tensors } : {};
    process.stdout.write(
      `${JSON.stringify({ file, parameters: parts, config, ...state, ...list }, null, 2)}\n`,
    );
    return;
  }
  const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
  const lines = [
    file ?? "the paper's model",
    `parameters            ${parts.total.toLocaleString("en")} (${millions(parts.total)})`,
    `  at inference        ${millions(parts.inference)}`,
    `  encoders            ${millions(parts.encoders)}`,
    `  joint slot attention ${millions(parts.jointSlotAttention)}`,
    `  image decoder       ${millions(parts.imageDecoder)}`,
    `  audio decoder       ${millions(parts.audioDecoder)}`,
    `tensors               ${tensors.length}`,
    `training state        ${"soundspot.training" in metadata ? "yes" : "none"}`,
    `configuration         ${JSON.stringify(config)}`,
  ];
  if (flags.tensors) lines.push(...tensors.map(({ name, shape }) => `${name} [${shape.join(", ")}]`));
  process.stdout.write(`${lines.join("\n")}\n`);
}
