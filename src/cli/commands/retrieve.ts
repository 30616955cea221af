/** `soundspot retrieve`: cross-modal retrieval from audio to images and back, scored by class. */
import type { Command } from "commander";
import { openDataset } from "../../datasets/registry.js";
import type { ProcessGroup } from "../../distributed/process-group.js";
import { recallRanks, retrieve } from "../../evaluation/retrieve.js";
import { writeFiles } from "../../files/atomic-writes.js";
import { checkOutputs, oneOfNames } from "../../files/outputs.js";
import { percentText } from "../../report/figures.js";
import { leftOut, skippedText } from "../../report/left-out.js";
import { benchmarks } from "../../report/published.js";
import { publishedName } from "../../report/published-rows.js";
import { checkpointInputs, loadCheckpoint } from "../checkpoints.js";
import { inProcesses } from "../processes.js";
import { Progress } from "../progress.js";
import { damagedFiles, filesOf, type ScoringFlags, scoringOptions, withScoringOptions } from "../scoring.js";
import { textTable } from "../table.js";

/** The file of the output folder. */
const SCORES = "retrieval.json";

export function register(program: Command): void {
  withScoringOptions(
    program
      .command("retrieve")
      .description("score cross-modal retrieval on a labelled dataset")
      .argument("<checkpoint>", "checkpoint (.safetensors or .pth)"),
  ).action((checkpoint: string, flags: ScoringFlags) =>
    inProcesses(flags.processes, (group) => run(checkpoint, flags, group)),
  );
}

async function run(checkpoint: string, flags: ScoringFlags, group: ProcessGroup | undefined): Promise<void> {
  // Only one of several processes prints and writes.
  const main = group?.main ?? true;
  const progress = new Progress({ enabled: main && !flags.json });
  const data = await openDataset(flags.data);
  progress.start(data.name);
  try {
    await checkOutputs({
      inputs: [...checkpointInputs("the checkpoint", checkpoint, flags.config), ...filesOf(data)],
      folders: [{ name: "--output", path: flags.output, writes: oneOfNames([SCORES]) }],
    });
    progress.clear();
    using model = await loadCheckpoint(checkpoint, {
      config: flags.config,
      device: flags.device,
      silent: !main,
    });
    const scores = await retrieve({
      model,
      data,
      ...scoringOptions(flags),
      ...(group ? { group } : {}),
      onProgress: (done, total) => progress.update(done, total),
    });
    progress.clear();
    const damaged = await damagedFiles(data, group);
    if (!main) return;
    if (flags.output !== undefined) {
      await writeFiles(flags.output, { [SCORES]: `${JSON.stringify(scores, null, 2)}\n` });
    }
    if (flags.json) {
      process.stdout.write(`${JSON.stringify(scores)}\n`);
      return;
    }
    const cells = (direction: "audioToImage" | "imageToAudio") =>
      scores[direction].map((share, i) => {
        const ends = scores.intervals?.[direction][i];
        const interval = ends ? ` [${ends.map((end) => percentText(100 * end)).join(", ")}]` : "";
        return percentText(100 * share) + interval;
      });
    const whole = data.name === "vgg-ss" && flags.limit === undefined;
    const published = whole ? (benchmarks["vggss-retrieval"]?.rows ?? []) : [];
    const columns = ["audio → image", "image → audio"].flatMap((way) =>
      recallRanks.map((k) => `R@${k} ${way}`),
    );
    const names = ["a2i", "i2a"].flatMap((way) => recallRanks.map((k) => `${way}-r${k}`));
    process.stdout.write(
      `${data.name}: ${scores.samples} samples${skippedText(scores.skipped)}, percent with 95 % intervals\n\n`,
    );
    process.stdout.write(
      textTable(
        ["", ...columns],
        [
          ["this checkpoint", ...cells("audioToImage"), ...cells("imageToAudio")],
          ...published.map((row) => [
            publishedName(row),
            ...names.map((name) => percentText(row.figures[name as keyof typeof row.figures])),
          ]),
        ],
      ),
    );
    for (const text of leftOut(scores.missing, scores.skipped, damaged)) process.stderr.write(`${text}\n`);
  } finally {
    progress.end();
    await data.close?.();
  }
}
