/** `soundspot index`: the pictures and sounds of a folder, to be searched. */
import type { Command } from "commander";
import { checkOutputs } from "../../files/outputs.js";
import { type IndexUpdate, isIndexFile, SearchIndex } from "../../search/search-index.js";
import { checkpointInputs, loadCheckpoint, withConfigOption } from "../checkpoints.js";
import { wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { stoppable } from "../signals.js";

interface Flags {
  model: string;
  config?: string;
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
    .description("index the pictures, sounds and videos of a folder, for soundspot search")
    .argument("<folder>", "searched to any depth")
    .requiredOption("--model <file>", "checkpoint (.safetensors or .pth)");
  withConfigOption(command)
    .requiredOption("--output <folder>", "the index; one that is there is brought up to date")
    .option("--labels <csv>", "columns file and label; default the name of each file's folder")
    .option(
      "--approximate-from <n>",
      "pictures, or sounds, from which on a search does not compare all of them; default 100000",
      wholeFrom(1),
    )
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
        using model = await loadCheckpoint(flags.model, { config: flags.config });
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
      (name) => `Stopped by ${name}; ${output} has what is done. The same command goes on.`,
    );
    progress.clear();
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : summary(result, output));
    if (result.images + result.sounds === 0) process.exitCode = 1;
  } finally {
    progress.end();
  }
}

function summary(
  { added, changed, removed, unchanged, skipped, images, sounds }: IndexUpdate,
  output: string,
): string {
  const lines = [
    `${added} files added, ${changed} changed, ${removed} removed, ${unchanged} unchanged, ${skipped.length} unreadable`,
    ...skipped.slice(0, SHOWN).map(({ code, reason }) => `  ${reason} [${code}]`),
  ];
  if (skipped.length > SHOWN) lines.push(`  … and ${skipped.length - SHOWN} more`);
  return `${[...lines, `${images} pictures and ${sounds} sounds in ${output}`].join("\n")}\n`;
}
