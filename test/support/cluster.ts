/** A small training for tests of clusters, as files and arguments of the command line. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Model } from "../../src/index.js";

export const cli = join(process.cwd(), "dist", "cli", "main.js");

/** Arguments of `soundspot train` over 96 drawn scenes, 12 steps an epoch; its configuration is written into `folder`. */
export function smallTraining(folder: string, epochs: number): string[] {
  const config = join(folder, "small.yaml");
  const model = {
    imageSize: 32,
    imageWidth: 8,
    audioWidth: 8,
    imageStride: 8,
    dim: 16,
    audio: { seconds: 1 },
  };
  const train = { epochs, batchSize: 8, precision: "float32" };
  writeFileSync(config, JSON.stringify({ preset: "scratch", model, train }));
  return ["--data", "scenes:length=96,size=32,seconds=1", "--config", config];
}

/** Steps that a run has logged. */
export function stepsOf(output: string): number {
  const file = join(output, "metrics.jsonl");
  if (!existsSync(file)) return 0;
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.startsWith('{"step"')).length;
}

/** The parameters after the same training by processes of this machine alone. */
export async function trainedHere(folder: string, processes: number, epochs: number): Promise<unknown> {
  const output = join(folder, "here");
  const args = [...smallTraining(folder, epochs), "--output", output, "--processes", String(processes)];
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  const { status, stderr } = spawnSync(process.execPath, [cli, "train", ...args], { env, encoding: "utf8" });
  if (status !== 0) throw new Error(`The training ended with ${status}: ${stderr}`);
  return parametersOf(output);
}

export async function parametersOf(output: string): Promise<unknown> {
  using model = await Model.load(join(output, "last.safetensors"));
  return model.parameters();
}
