/** `soundspot index-shards`: counts the samples of archives: training then need not scan them. */
import { stat } from "node:fs/promises";
import { dirname, relative } from "node:path";
import type { Command } from "commander";
import type { DamagedFile } from "../../datasets/dataset.js";
import { countShards } from "../../datasets/shards/count.js";
import { isRemote, locateShards } from "../../datasets/shards/locate.js";
import { INDEX_NAME, writeShardIndex } from "../../datasets/shards/shard-index.js";
import { makeFolderOf } from "../../files/atomic-writes.js";
import { checkOutputs } from "../../files/outputs.js";
import { leftOut } from "../../report/left-out.js";
import { Progress } from "../progress.js";

interface Flags {
  output: string;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("index-shards")
    .description("count the samples of tar shards, for --data shards:index=…")
    .argument("<shards...>", "paths or http(s) addresses, such as 'data/train-{000..123}.tar'")
    .option("--output <file>", "index to write", INDEX_NAME)
    .option("--json", "print the result as JSON")
    .action(run);
}

async function run(patterns: readonly string[], { output, json }: Flags): Promise<void> {
  const progress = new Progress({ enabled: !json });
  const damaged: DamagedFile[] = [];
  progress.start("counting shards");
  try {
    const places = await locateShards(patterns);
    await checkOutputs({
      inputs: places.filter((place) => !isRemote(place)).map((path) => ({ name: "a shard", path })),
      outputs: [{ name: "--output", path: output }],
    });
    const found = await countShards(places, {
      report: (file, reason) => damaged.push({ file, reason }),
      onProgress: (done, total) => progress.update(done, total),
    });
    const usable = found.filter(({ samples }) => samples > 0);
    const shards = await Promise.all(
      usable.map(async ({ shard: { place }, samples }) => {
        if (isRemote(place)) return { place, samples };
        return { place: relative(dirname(output), place), samples, bytes: (await stat(place)).size };
      }),
    );
    if (shards.length > 0) {
      await makeFolderOf(output);
      await writeShardIndex(output, shards);
    } else process.exitCode = 1;
    const samples = shards.reduce((sum, each) => sum + each.samples, 0);
    progress.clear();
    if (json) {
      process.stdout.write(`${JSON.stringify({ shards: shards.length, samples, damaged })}\n`);
      return;
    }
    for (const text of leftOut([], [], damaged)) process.stderr.write(`${text}\n`);
    process.stdout.write(
      shards.length > 0
        ? `${samples} samples in ${shards.length} shards; ${output}\n`
        : "no samples; nothing was written\n",
    );
  } finally {
    progress.end();
  }
}
