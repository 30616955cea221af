/** Predicted false negatives alone, for analysis and tests (docs/method.md, "Losses"). */
import { anObject, check, checkFields, shown } from "../core/arguments.js";
import { SoundspotError, throwIfAborted } from "../core/errors.js";
import { matrixOf } from "../core/matrix.js";
import { permutation } from "../core/random.js";
import { ownTensor } from "../core/tensors.js";
import type { TensorData } from "../core/types.js";
import { native } from "../native.js";
import type { Embedding } from "./embeddings.js";

/**
 * Pairs that are among each other's k nearest neighbours, self counted, in both modalities.
 * @param vectors of images and audio, [B, D] each, of any length; they are normalized here
 * @returns ordered pairs [i, j], i ≠ j, sorted
 */
export async function falseNegatives(
  vectors: { readonly image: TensorData; readonly audio: TensorData },
  k: number,
): Promise<[number, number][]> {
  checkFields(vectors, { image: anObject, audio: anObject }, "The vectors");
  for (const name of ["image", "audio"] as const) check(vectors[name], anObject, `vectors.${name}`);
  const [image, audio] = [ownTensor(vectors.image), ownTensor(vectors.audio)];
  const [[rows] = [], [others] = []] = [image.shape, audio.shape];
  if (image.shape.length !== 2 || audio.shape.length !== 2 || rows !== others) {
    throw new SoundspotError("ERR_SHAPE", "The vectors of images and audio must be [B, D] with one B.");
  }
  check(
    k,
    [(value) => Number.isSafeInteger(value) && (value as number) >= 0, "an integer of at least 0"],
    "k",
  );
  const { data } = await native().falseNegatives(image, audio, k);
  return Array.from({ length: data.length / 2 }, (_, i) => [
    data[2 * i] as number,
    data[2 * i + 1] as number,
  ]);
}

/** How false negatives are predicted. */
export interface FalseNegativeOptions {
  /** Neighbours; default the paper's 20. */
  readonly k?: number;
  /** Samples that are compared with each other, as in a training batch; default the paper's 256. */
  readonly batchSize?: number;
}

/** Pairs that the contrastive loss would exclude if these samples were its batches. */
export interface FalseNegativeReport {
  readonly k: number;
  readonly batchSize: number;
  /** Unordered pairs that are predicted false negatives. */
  readonly pairs: number;
  /** Share of them whose samples have one class, where the prediction is right. NaN without pairs. */
  readonly sameClass: number;
  /** The same share among all pairs of the batches: chance level. */
  readonly sameClassOfAll: number;
  /** Ids of samples that were all excluded pairwise; the 50 largest groups. */
  readonly groups: readonly { readonly ids: readonly string[]; readonly sameClass: number }[];
}

const GROUPS = 50;

/**
 * @internal Predicted false negatives among samples in random batches of nearly one size (seed 0); undefined for
 * 2k samples or fewer: most of them would be neighbours of all others.
 */
export async function exclusionsAmong(
  embeddings: readonly Embedding[],
  { k = 20, batchSize = 256 }: FalseNegativeOptions,
  signal: AbortSignal | undefined,
): Promise<FalseNegativeReport | undefined> {
  for (const [name, value] of Object.entries({ k, batchSize })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new SoundspotError(
      "ERR_INPUT",
      `falseNegatives.${name} must be an integer of at least 1; it was ${shown(value)}.`,
    );
  }
  if (embeddings.length <= 2 * k) return undefined;
  const order = Array.from(permutation(embeddings.length, 0, 0), (place) => embeddings[place] as Embedding);
  const batches = Math.ceil(order.length / batchSize);
  let [pairs, same, all, sameOfAll] = [0, 0, 0, 0];
  const groups: FalseNegativeReport["groups"][number][] = [];
  for (let b = 0; b < batches; b++) {
    throwIfAborted(signal);
    const batch = order.slice(
      Math.round((b * order.length) / batches),
      Math.round(((b + 1) * order.length) / batches),
    );
    const vectorsOf = (modality: "image" | "audio") =>
      matrixOf(
        batch.map(({ [modality]: vectors }) => vectors),
        batch[0]?.[modality].length ?? 0,
      );
    const found = await falseNegatives({ image: vectorsOf("image"), audio: vectorsOf("audio") }, k);
    const once = found.filter(([i, j]) => i < j);
    pairs += once.length;
    same += once.filter(([i, j]) => batch[i]?.label === batch[j]?.label).length;
    all += (batch.length * (batch.length - 1)) / 2;
    sameOfAll += pairsOfOneClass(batch);
    for (const members of groupsOf(batch.length, found)) {
      const some = members.map((i) => batch[i] as Embedding);
      groups.push({
        ids: some.map(({ id }) => id),
        sameClass: pairsOfOneClass(some) / ((some.length * (some.length - 1)) / 2),
      });
    }
  }
  return {
    k,
    batchSize,
    pairs,
    sameClass: same / pairs,
    sameClassOfAll: sameOfAll / all,
    groups: groups.sort((a, b) => b.ids.length - a.ids.length).slice(0, GROUPS),
  };
}

function pairsOfOneClass(samples: readonly { readonly label: string }[]): number {
  const counts = new Map<string, number>();
  for (const { label } of samples) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.values()].reduce((sum, count) => sum + (count * (count - 1)) / 2, 0);
}

/** Disjoint groups of two or more whose members are all pairs, grown greedily from the members with the most pairs. */
function groupsOf(count: number, pairs: readonly (readonly [number, number])[]): number[][] {
  const partners = Array.from({ length: count }, () => new Set<number>());
  for (const [i, j] of pairs) partners[i]?.add(j);
  const size = (i: number) => partners[i]?.size ?? 0;
  const byPairs = Array.from({ length: count }, (_, i) => i).sort((a, b) => size(b) - size(a) || a - b);
  const free = new Set(byPairs);
  const groups: number[][] = [];
  for (const first of byPairs) {
    if (!free.has(first)) continue;
    const members = [first];
    for (const other of byPairs) {
      if (other === first || !free.has(other)) continue;
      if (members.every((member) => partners[member]?.has(other))) members.push(other);
    }
    if (members.length < 2) continue;
    for (const member of members) free.delete(member);
    groups.push(members);
  }
  return groups;
}
