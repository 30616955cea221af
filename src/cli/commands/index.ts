/** `soundspot index`: the pictures and sounds of a folder, to be searched. */
import type { Command } from "commander";
import { SoundspotError } from "../../errors.js";
import { Model } from "../../model.js";
import { type IndexUpdate, SearchIndex } from "../../search/search-index.js";
import { wholeFrom } from "../options.js";
import { Progress } from "../progress.js";

interface Flags {
  model: string;
  output: string;
  labels?: string;
  approximateFrom?: number;
  json?: true;
}

/** Skipped files printed; --json has all. */
const SHOWN = 10;

export function register(program: Command): void {
  program
    .command("index")
    .description("index the pictures, sounds and videos of a folder, for soundspot search")
    .argument("<folder>", "searched to any depth")
    .requiredOption("--model <file>", "checkpoint (.safetensors or .pth)")
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
  const progress = new Progress(!json);
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals) => stop.abort(name);
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, onSignal);
  let already: number | undefined;
  try {
    using model = await Model.load(flags.model);
    using index = (await SearchIndex.exists(output))
      ? await SearchIndex.open(output)
      : await SearchIndex.create(output, { model });
    const result = await index.update({
      model,
      folder,
      ...(labels === undefined ? {} : { labels: { csv: labels } }),
      ...(approximateFrom === undefined ? {} : { approximateFrom }),
      signal: stop.signal,
      onProgress: (done, total, skipped) => {
        already ??= done;
        progress.update(done - already, total - already, skipped > 0 ? `${skipped} unreadable` : "");
      },
    });
    progress.clear();
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : summary(result, output));
    if (result.images + result.sounds === 0) process.exitCode = 1;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new SoundspotError(
      "ERR_ABORTED",
      `Stopped by ${String(stop.signal.reason)}; ${output} has what is done. The same command goes on.`,
      { cause: error },
    );
  } finally {
    progress.clear();
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
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
