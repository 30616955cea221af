/** `soundspot check`: reads a whole dataset and lists damaged samples. */
import type { Command } from "commander";
import { openDataset } from "../../datasets/registry.js";
import { checkDataset } from "../../preparation/check-dataset.js";
import { leftOut } from "../../report/left-out.js";
import { wholeFrom } from "../options.js";
import { Progress } from "../progress.js";
import { stoppable } from "../signals.js";

interface Flags {
  output: string;
  concurrency?: number;
  json?: true;
}

export function register(program: Command): void {
  program
    .command("check")
    .description("decode every sample of a dataset and list those that are damaged or missing")
    .argument("<data>", "manifest (.jsonl or .csv), shards (.tar), or a dataset as name:field=value,…")
    .option("--output <file>", "list to write, one JSON object per line", "damaged.jsonl")
    .option("--concurrency <n>", "samples decoded at a time; default twice the processors", wholeFrom(1))
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      "\nThe exit code is 0 without damage and 1 when something is damaged or missing. After Ctrl-C, the same command resumes.",
    )
    .action((spec: string, flags: Flags) =>
      stoppable((signal) => run(spec, flags, signal), stoppedText(flags)),
    );
}

const stoppedText =
  ({ output }: Flags) =>
  (name: string) =>
    `Stopped by ${name}. The results so far are in ${output}.partial; run the same command again to resume.`;

async function run(spec: string, { output, concurrency, json }: Flags, signal: AbortSignal): Promise<void> {
  const progress = new Progress({ enabled: !json });
  progress.start("opening");
  const data = await openDataset(spec, signal);
  let found = 0;
  progress.start(`checking ${data.name}`);
  try {
    const result = await checkDataset(data, {
      output,
      ...(concurrency === undefined ? {} : { concurrency }),
      signal,
      onDamaged: () => found++,
      onProgress: (done, total) => progress.update(done, total, found > 0 ? `${found} damaged` : ""),
    });
    progress.clear();
    const { damaged, missing, files, samples, before } = result;
    const bad = damaged.length + missing.length + files.length;
    if (bad > 0) process.exitCode = 1;
    if (json) {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return;
    }
    for (const text of leftOut(missing, damaged, files)) process.stderr.write(`${text}\n`);
    const earlier = before > 0 ? `, ${before} of them earlier` : "";
    process.stdout.write(
      `${samples} samples read${earlier}: ${bad > 0 ? `${bad} damaged or missing` : "no damage"}; ${output}\n`,
    );
  } finally {
    progress.end();
    await data.close?.();
  }
}
