/** Where the audio window begins in longer audio. */
import type { ModelConfig } from "../config/model.js";

/** @param spare Samples that the audio has more than the window, less than 0 where it is shorter. */
export function firstOf(placement: ModelConfig["audio"]["placement"], spare: number, rate: number): number {
  if (placement === "middle") return Math.max(0, Math.floor(spare / 2));
  return placement === "start" ? 0 : Math.round(placement * rate);
}
