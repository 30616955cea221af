/** `soundspot demo`: trains on procedural scenes from scratch, localizes held-out ones and writes a report. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { scoreDisc } from "../../comparison/centred-disc.js";
import { presets } from "../../config/presets.js";
import { scenes } from "../../datasets/drawn/scenes.js";
import { type Evaluation, evaluate } from "../../evaluation/evaluate.js";
import { replaceFile, writing } from "../../files/atomic-writes.js";
import { successThresholds } from "../../metrics/localization.js";
import type { Device } from "../../model/compute.js";
import { Model } from "../../model/model.js";
import { type ReportSample, renderHtmlReport } from "../../report/html.js";
import { runCurves } from "../../report/run-curves.js";
import { train } from "../../training/train.js";
import { yieldCores } from "../cores.js";
import { deviceOption } from "../options.js";
import { Progress } from "../progress.js";

interface Flags {
  output: string;
  quick?: true;
  seed: string;
  device: Device;
  json?: true;
}

const GALLERY = 24; // held-out scenes shown in the report

export function register(program: Command): void {
  program
    .command("demo")
    .description("train on procedural scenes from scratch, score held-out scenes, write a report")
    .option("--output <folder>", "checkpoints, metrics and report.html", "runs/demo")
    .option("--quick", "a few steps on few scenes, to see that everything works; the scores mean nothing")
    .option("--seed <n>", "seed", "0")
    .addOption(deviceOption())
    .option("--json", "print the figures as JSON")
    .action(run);
}

const percent = (share: number | undefined) => (share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);

async function run(flags: Flags): Promise<void> {
  yieldCores();
  const started = performance.now();
  const counts = flags.quick
    ? { train: 128, test: 48, two: 16, epochs: 2 }
    : { train: 4000, test: 1000, two: 200 };
  const recipe = presets.scratch;
  const scene = { size: recipe.model.imageSize, seconds: recipe.model.audio.seconds };
  const progress = new Progress({ enabled: !flags.json });
  const say = (text: string) => {
    progress.clear();
    if (!flags.json) process.stdout.write(`${text}\n`);
  };
  const task = (name: string) => {
    progress.start(name);
    return (done: number, total: number) => progress.update(done, total);
  };

  const data = scenes({ ...scene, length: counts.train, seed: Number(flags.seed) });
  const held = scenes({ ...scene, split: "test", length: counts.test });
  const pairs = scenes({ ...scene, split: "test", sources: 2, length: counts.two });
  try {
    say(`training on procedural scenes, preset "scratch"`);
    progress.start("training");
    await writing(flags.output, () => mkdir(flags.output, { recursive: true }));
    const result = await train({
      preset: "scratch",
      device: flags.device,
      ...(counts.epochs ? { epochs: counts.epochs } : {}),
      data,
      seed: Number(flags.seed),
      output: flags.output,
      handleSignals: true,
      onStep: ({ epoch, step, totalSteps, result: { losses }, samplesPerSecond, warnings }) => {
        const total = losses.total ?? Number.NaN;
        progress.update(
          step,
          totalSteps,
          `epoch ${epoch + 1}  loss ${total.toFixed(3)}  ${samplesPerSecond.toFixed(0)} pairs/s`,
        );
        for (const { kind, message } of warnings) {
          progress.clear();
          process.stderr.write(`warning: ${kind}: ${message}\n`);
        }
      },
      onEpoch: ({ epoch, meanLoss }) => say(`epoch ${epoch + 1}: loss ${meanLoss.toFixed(4)}`),
    });
    if (result.stoppedBy) {
      say(`stopped by ${result.stoppedBy}`);
      process.exitCode = 1;
      return;
    }
    const trained = (performance.now() - started) / 1000;
    const { model } = result;
    const common = { limit: counts.test, batchSize: 32 };
    const gallery: ReportSample[] = [];
    const scores = await evaluate({
      model,
      data: held,
      ...common,
      onProgress: task("held-out scenes"),
      onSample: async (sample, spot, score) => {
        if (gallery.length >= GALLERY) return;
        const overlay = await spot.overlay();
        gallery.push({ id: sample.id, overlay, label: sample.label ?? "", ciou: score.audio?.ciou });
      },
    });
    const exchanged = await evaluate({
      model,
      data: held,
      ...common,
      audioShift: 1,
      onProgress: task("exchanged audio"),
    });
    const two = await evaluate({
      model,
      data: pairs,
      limit: counts.two,
      batchSize: 32,
      onProgress: task("two sources"),
    });
    const fresh = await Model.create(model.config, { seed: Number(flags.seed), device: flags.device });
    const untrained = await evaluate({
      model: fresh,
      data: held,
      ...common,
      onProgress: task("untrained model"),
    });
    fresh.dispose();
    progress.start("centred disc");
    const { ciou, auc } = (await scoreDisc(held, { bootstrap: false })).audio;
    const disc = { ciou, auc };
    progress.start("writing the report");

    const line = (name: string, each: Evaluation) => ({
      name,
      audio: each.audio.ciou,
      iqr: each.iqr?.ciou,
      auc: each.iqr?.auc,
      r1: each.retrieval?.audioToImage[0],
      r1Back: each.retrieval?.imageToAudio[0],
    });
    const rows = [line("trained", scores), line("audio exchanged", exchanged), line("untrained", untrained)];
    const report = join(flags.output, "report.html");
    const figures = [
      {
        name: "cIoU@0.5, audio map",
        value: percent(scores.audio.ciou),
        note: "held-out single-source scenes",
      },
      { name: "cIoU@0.5, image map", value: percent(scores.image?.ciou) },
      { name: "cIoU@0.5, IQR", value: percent(scores.iqr?.ciou) },
      { name: "AUC, IQR", value: percent(scores.iqr?.auc) },
      { name: "R@1 audio → image", value: percent(scores.retrieval?.audioToImage[0]) },
      { name: "R@1 image → audio", value: percent(scores.retrieval?.imageToAudio[0]) },
      {
        name: "sounding over silent",
        value: percent(two.soundingOverSilent),
        note: `${counts.two} scenes with two sources, chance 50 %`,
      },
      { name: "cIoU@0.5 with audio exchanged, IQR", value: percent(exchanged.iqr?.ciou) },
      { name: "cIoU@0.5 untrained, IQR", value: percent(untrained.iqr?.ciou) },
      { name: "cIoU@0.5 centred disc", value: percent(disc.ciou) },
    ];
    await replaceFile(
      report,
      await renderHtmlReport({
        title: "soundspot demo",
        summary: `${counts.test} held-out scenes after ${model.config.imageSize} px training from random weights in ${(trained / 60).toFixed(1)} minutes${flags.quick ? " (quick run: the scores mean nothing)" : ""}.`,
        figures,
        curves: await runCurves(flags.output),
        success: [
          { name: "audio map", thresholds: successThresholds, success: scores.audio.curve },
          { name: "IQR", thresholds: successThresholds, success: scores.iqr?.curve ?? [] },
          { name: "untrained", thresholds: successThresholds, success: untrained.iqr?.curve ?? [] },
        ],
        gallery,
        config: { model: model.config, train: recipe.train },
      }),
    );
    if (flags.json) {
      const summary = {
        rows,
        soundingOverSilent: two.soundingOverSilent,
        disc,
        trainingSeconds: trained,
        report,
      };
      process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`);
    } else {
      say(`\n${"".padEnd(18)} cIoU@0.5 audio   cIoU@0.5 IQR   AUC IQR   R@1 a→i   R@1 i→a`);
      for (const row of rows) {
        const cells = [
          percent(row.audio).padStart(14),
          percent(row.iqr).padStart(14),
          percent(row.auc).padStart(9),
        ];
        say(
          `${row.name.padEnd(18)} ${cells.join(" ")} ${percent(row.r1).padStart(9)} ${percent(row.r1Back).padStart(9)}`,
        );
      }
      say(`${"centred disc".padEnd(18)} ${percent(disc.ciou).padStart(14)}`);
      say(
        `two sources: the sounding object is hotter in ${percent(two.soundingOverSilent)} of ${counts.two} scenes (chance 50 %)`,
      );
      say(
        `trained in ${(trained / 60).toFixed(1)} min; all in ${((performance.now() - started) / 60_000).toFixed(1)} min`,
      );
      say(`report: ${report}`);
    }
    model.dispose();
  } finally {
    progress.end();
    for (const each of [data, held, pairs]) await each.close?.();
  }
}
