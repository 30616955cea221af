/** `soundspot index`: indexes the images and audio of a folder for search. */
import type { Command } from "commander";
import { checkOutputs } from "../../files/outputs.js";
import type { Device } from "../../model/compute.js";
import { type IndexUpdate, isIndexFile, SearchIndex } from "../../search/search-index.js";
import { checkpointInputs, loadCheckpoint, withConfigOption } from "../checkpoints.js";
import { deviceOption, wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { stoppable } from "../signals.js";

interface Flags {
  model: string;
  config?: string;
  device: Device;
  output: string;
  labels?: string;
  approximateFrom?: number;
  json?: true;
}

/** Skipped files printed; --json has all. */
const SHOWN = 10;

export function register(program: Command): void {
  const command = program
    .command("index")
    .description("index the images, audio files and videos of a folder, for soundspot search")
    .argument("<folder>", "searched to any depth")
    .requiredOption("--model <file>", "checkpoint (.safetensors or .pth)");
  withConfigOption(command)
    .requiredOption("--output <folder>", "folder of the index; an existing index is updated")
    .option("--labels <csv>", "columns file and label; default the name of each file's folder")
    .option(
      "--approximate-from <n>",
      "number of images, or of audio clips, from which search is approximate; default 100000",
      wholeFrom(1),
    )
    .addOption(deviceOption())
    .option("--json", "print the result as JSON")
    .action(run);
}

async function run(folder: string, flags: Flags): Promise<void> {
  const { labels, approximateFrom, output, json } = flags;
  await checkOutputs({
    inputs: [...checkpointInputs("--model", flags.model, flags.config), { name: "--labels", path: labels }],
    folders: [{ name: "--output", path: output, writes: isIndexFile }],
  });
  const progress = new Progress({ enabled: !json });
  let already: number | undefined;
  progress.start("indexing");
  try {
    const result = await stoppable(
      async (signal) => {
        progress.clear();
        using model = await loadCheckpoint(flags.model, flags);
        using index = (await SearchIndex.exists(output))
          ? await SearchIndex.open(output)
          : await SearchIndex.create(output, { model });
        return await index.update({
          model,
          folder,
          ...(labels === undefined ? {} : { labels: { csv: labels } }),
          ...(approximateFrom === undefined ? {} : { approximateFrom }),
          signal,
          onProgress: (done, total, skipped) => {
            already ??= done;
            progress.update(done - already, total - already, skipped > 0 ? `${skipped} unreadable` : "");
          },
        });
      },
      (name) =>
        `Stopped by ${name}; ${output} has the files done so far. Run the same command again to resume.`,
    );
    progress.clear();
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : summary(result, output));
    if (result.images + result.audios === 0) process.exitCode = 1;
  } finally {
    progress.end();
  }
}

function summary(
  { added, changed, removed, unchanged, skipped, images, audios }: IndexUpdate,
  output: string,
): string {
  const lines = [
    `${added} files added, ${changed} changed, ${removed} removed, ${unchanged} unchanged, ${skipped.length} unreadable`,
    ...skipped.slice(0, SHOWN).map(({ code, reason }) => `  ${reason} [${code}]`),
  ];
  if (skipped.length > SHOWN) lines.push(`  … and ${skipped.length - SHOWN} more`);
  return `${[...lines, `${images} images and ${audios} audio clips in ${output}`].join("\n")}\n`;
}
