/** The rule of `audio.rate: "file"`: nothing is resampled, so audio of another rate than the model's is rejected. */
import type { ModelConfig } from "../config/model.js";
import { SoundspotError } from "../core/errors.js";

/**
 * Checks the rate of audio against the configuration.
 * @param name of the file or the sample, as the message begins.
 * @param code ERR_INPUT for what a caller gives, ERR_CONFIG for a sample of a dataset: it concerns the whole dataset,
 *   so no other sample takes its place.
 * @throws {SoundspotError} with that code when the configuration rejects the rate.
 */
export function checkFileRate(
  sampleRate: number,
  { audio }: Pick<ModelConfig, "audio">,
  name: string,
  code: "ERR_INPUT" | "ERR_CONFIG",
): void {
  if (audio.rate === "resample" || sampleRate === audio.sampleRate) return;
  throw new SoundspotError(
    code,
    `${name} has ${sampleRate} Hz; with audio.rate "file" the model takes ${audio.sampleRate} Hz alone. ` +
      `Set audio.sampleRate to ${sampleRate} if all audio has that rate, or audio.rate to "resample".`,
  );
}
