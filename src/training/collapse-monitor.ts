/** Watches a run for collapse: attention that stays uniform, or losses that show no learning. */
import type { StepResult } from "../native.js";

/** Kinds of collapse, by name. */
export type Collapse = "uniform-image-attention" | "uniform-audio-attention" | "contrastive-at-chance";

/** A kind of collapse that has lasted, and what to do about it. */
export interface CollapseWarning {
  readonly kind: Collapse;
  readonly message: string;
}

const PATIENCE = 50; // steps that a sign must last before it is reported
const UNIFORM_SPREAD = 0.02; // standard deviation of the attention in units of 1/N

/** Feed it every step; it answers with each kind of collapse once, when it has lasted for 50 steps. */
export class CollapseMonitor {
  readonly #lasting = new Map<Collapse, number>();
  readonly #reported = new Set<Collapse>();
  readonly #batchSize: number;

  /** `batchSize`, pairs per step of all processes, sets the level of chance of the contrastive loss. */
  constructor(batchSize: number) {
    this.#batchSize = batchSize;
  }

  /** @returns the kinds that have now lasted for 50 steps, each once in a run */
  observe(step: StepResult): CollapseWarning[] {
    const { diagnostics, losses } = step;
    const uniform = (spread: number | undefined) => spread !== undefined && spread < UNIFORM_SPREAD;
    const chance = 2 * Math.log(this.#batchSize); // of both directions together
    const signs: Record<Collapse, boolean> = {
      "uniform-image-attention": uniform(diagnostics.imageAttentionSpread),
      "uniform-audio-attention": uniform(diagnostics.audioAttentionSpread),
      "contrastive-at-chance": losses.contrastive !== undefined && losses.contrastive > 0.98 * chance,
    };
    const advice: Record<Collapse, string> = {
      "uniform-image-attention":
        'The image target attention is uniform over all tokens. Start from ImageNet weights or the preset "scratch", and bring matching in later with less weight.',
      "uniform-audio-attention":
        "The audio target attention is uniform over all tokens. Bring matching in later with less weight, or warm up for longer.",
      "contrastive-at-chance":
        "The contrastive loss stays at chance. Warm up for longer, lower the learning rate, or check that images and audio belong together.",
    };
    const warnings: CollapseWarning[] = [];
    for (const kind of Object.keys(signs) as Collapse[]) {
      const lasting = signs[kind] ? (this.#lasting.get(kind) ?? 0) + 1 : 0;
      this.#lasting.set(kind, lasting);
      if (lasting >= PATIENCE && !this.#reported.has(kind)) {
        this.#reported.add(kind);
        warnings.push({ kind, message: advice[kind] });
      }
    }
    return warnings;
  }
}
