/** The folder that a run writes to: checked, made, locked, and free of what a killed run left. */
import { access, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { removeTemporary, writing } from "../files/atomic-writes.js";
import { lockFolder } from "../files/folder-lock.js";
import { checkOutputs } from "../files/outputs.js";
import type { TrainRunOptions } from "./run-options.js";

/**
 * Makes the folder ready for a run.
 * @returns what unlocks it
 * @throws {SoundspotError} ERR_OUTPUT_IS_INPUT, ERR_BUSY, ERR_FILE_WRITE
 */
export async function openRunFolder(
  folder: string,
  { data, evaluation, weights, imageWeights }: TrainRunOptions,
): Promise<() => Promise<void>> {
  await checkOutputs({
    inputs: [
      { name: "weights", path: weights },
      { name: "imageWeights", path: imageWeights },
      ...(data.files ?? []).map((path) => ({ name: "data", path })),
      ...(evaluation?.files ?? []).map((path) => ({ name: "evaluation", path })),
    ],
    folders: [{ name: "output", path: folder, writes: isRunFile }],
  });
  await writing(folder, () => mkdir(folder, { recursive: true }));
  const unlock = await lockFolder(folder, "train.lock");
  try {
    await removeTorn(folder);
  } catch (error) {
    await unlock();
    throw error;
  }
  return unlock;
}

export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** @internal Whether a run writes or removes a file of this name in its output. */
export function isRunFile(name: string): boolean {
  return /^((last|best|epoch-\d+)\.safetensors(\.\d+\.tmp)?|(metrics|skipped)\.jsonl|train\.lock.*|\.soundspot-.*)$/.test(
    name,
  );
}

/** Removes the half-written files that a killed run left in the folder. */
async function removeTorn(folder: string): Promise<void> {
  await writing(folder, async () => {
    await removeTemporary(folder);
    for (const name of await readdir(folder)) {
      if (/^(last|best|epoch-\d+)\.safetensors\.\d+\.tmp$/.test(name))
        await rm(join(folder, name), { force: true });
    }
  });
}
