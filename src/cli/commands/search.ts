/** `soundspot search`: finds images by audio, or audio by an image, in an index. */
import type { Command } from "commander";
import { SoundspotError } from "../../core/errors.js";
import type { Device } from "../../model/compute.js";
import { SearchIndex, type SearchResult } from "../../search/search-index.js";
import { loadCheckpoint, withConfigOption } from "../checkpoints.js";
import { deviceOption, wholeFrom } from "../options.js";
import { textTable } from "../table.js";

interface Flags {
  index: string;
  model: string;
  config?: string;
  device: Device;
  image?: string;
  audio?: string;
  k: number;
  label?: string[];
  exact?: true;
  boxes: boolean;
  json?: true;
}

export function register(program: Command): void {
  const command = program
    .command("search")
    .description("find images by audio, or audio by an image, in an index")
    .requiredOption("--index <folder>", "made by soundspot index")
    .requiredOption("--model <file>", "the checkpoint that the index was made with");
  withConfigOption(command)
    .option("--image <file>", "image to find audio for")
    .option("--audio <file>", "audio file to find images for")
    .option("-k <n>", "results", wholeFrom(1), 10)
    .option("--label <label...>", "only results with this label, or one of these")
    .option("--exact", "compare with all items, in a large index too")
    .option("--no-boxes", "do not localize the sound source in the images found")
    .addOption(deviceOption())
    .option("--json", "print the results as JSON")
    .action(run);
}

async function run({ image, audio, ...flags }: Flags): Promise<void> {
  if ((image === undefined) === (audio === undefined)) {
    throw new SoundspotError("ERR_CONFIG", "Give either --image or --audio.");
  }
  using model = await loadCheckpoint(flags.model, flags);
  using index = await SearchIndex.open(flags.index);
  const query = image === undefined ? { audio: audio as string } : { image };
  const results = await index.search({
    ...query,
    model,
    k: flags.k,
    ...(flags.label ? { label: flags.label } : {}),
    exact: flags.exact ?? false,
    localize: flags.boxes,
  });
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ query: image === undefined ? "audio" : "image", results })}\n`);
    return;
  }
  process.stdout.write(results.length === 0 ? "nothing found\n" : tableOf(results));
}

function tableOf(results: readonly SearchResult[]): string {
  const boxed = results.some(({ box }) => box);
  return textTable(
    ["", "cosine", "label", ...(boxed ? ["box"] : [])],
    results.map(({ path, at, score, label = "", box }) => [
      at === undefined ? path : `${path} at ${at.toFixed(2)} s`,
      score.toFixed(3),
      label,
      box ? `${box.width} × ${box.height} at ${box.x}, ${box.y}` : "",
    ]),
  );
}
