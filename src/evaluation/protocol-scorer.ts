/** Scores the maps of one sample under each protocol, from one pass of the model. */

import type { MapName } from "../config/methods.js";
import type { GroundTruthMap, Mask } from "../core/types.js";
import { FrameScores } from "../metrics/segmentation.js";
import { cutting, leastOf, meaningHighest, type Threshold } from "../metrics/threshold.js";
import type { Spot } from "../model/spot.js";
import { native } from "../native.js";
import {
  type CutScore,
  type Protocol,
  type ProtocolSampleScore,
  type ProtocolSampleScores,
  protocols,
} from "./protocols.js";
import { inTurns, mapsOf, nextTurn, PIXELS_A_TURN, type ScoredMaps } from "./scorer.js";

type GroundTruth = GroundTruthMap | Mask;
type Maps = Partial<Record<MapName, Float32Array>>;
type Size = readonly [height: number, width: number];

/** Maps of a localization, or of another source: those have no tokens, and are not enlarged. */
export type ProtocolSource = ScoredMaps & Partial<Pick<Spot, "targets" | "width" | "height">>;

/** A ground truth on a square grid: unchanged where it is of that size, else by its nearest pixels. */
export function onGrid(groundTruth: GroundTruth, side: number): GroundTruth {
  const { data, width, height } = groundTruth;
  if (width === side && height === side) return groundTruth;
  const places = (size: number) =>
    Uint32Array.from({ length: side }, (_, i) => Math.min(size - 1, Math.floor(((i + 0.5) * size) / side)));
  const [rows, columns] = [places(height), places(width)];
  const grid = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    const start = (rows[y] as number) * width;
    for (let x = 0; x < side; x++) grid[y * side + x] = data[start + (columns[x] as number)] as number;
  }
  return { data: grid, width: side, height: side };
}

/** The protocols of an evaluator. */
export class ProtocolScorer {
  readonly #protocols: readonly Protocol[];
  readonly #names: readonly MapName[];
  /** How the model's maps were made: a protocol that makes them in the same way takes them. */
  readonly #made: string;

  constructor(chosen: readonly Protocol[], names: readonly MapName[], alpha: number) {
    this.#protocols = chosen;
    this.#names = names;
    this.#made = renderKey({ ...protocols.jsa, alpha });
  }

  /**
   * The scores of a sample, undefined without protocols.
   * @param groundTruth undefined where nothing sounds
   * @param image the size of its image
   */
  async scores(
    groundTruth: GroundTruth | undefined,
    image: { readonly width: number; readonly height: number },
    source: ProtocolSource,
  ): Promise<ProtocolSampleScores | undefined> {
    if (this.#protocols.length === 0) return undefined;
    const rendered = new Map<string, Maps>();
    const all: Record<string, Partial<Record<MapName, ProtocolSampleScore>>> = {};
    for (const protocol of this.#protocols) {
      const scores: Partial<Record<MapName, ProtocolSampleScore>> = {};
      all[protocol.name] = scores;
      if (!groundTruth && protocol.confidence === undefined) continue;
      // A map from another source has the annotation's size.
      const own = groundTruth && (source.targets ? gridOf(groundTruth, protocol) : groundTruth);
      const { height, width } = own ?? (protocol.grid === "benchmark" ? image : square(protocol.grid));
      const key = `${renderKey(protocol)} ${height} ${width}`;
      const maps = rendered.get(key) ?? (await this.#render(protocol, [height, width], source));
      rendered.set(key, maps);
      for (const name of this.#names) {
        const map = maps[name];
        if (map) scores[name] = await scoresOf(map, own?.data, protocol);
      }
    }
    return all;
  }

  async #render(protocol: Protocol, [height, width]: Size, source: ProtocolSource): Promise<Maps> {
    const { targets } = source;
    const sameSize = source.width === width && source.height === height;
    if (!targets || (renderKey(protocol) === this.#made && sameSize)) return mapsOf(source);
    const { ranges } = protocol;
    const fixed = ranges !== "minmax";
    const maps = await native().renderMaps({
      audio: targets.audio,
      ...(targets.image ? { image: targets.image } : {}),
      ...(targets.objectness ? { objectness: targets.objectness } : {}),
      ...(targets.places ? { places: targets.places } : {}),
      height,
      width,
      resize: protocol.resize,
      objectnessResize: protocol.objectnessResize,
      alpha: protocol.alpha,
      ...(fixed && targets.range ? { range: targets.range } : {}),
      ...(fixed ? { objectnessRange: ranges.objectness } : {}),
    });
    return Object.fromEntries(Object.entries(maps).map(([name, { data }]) => [name, data]));
  }
}

const square = (side: number) => ({ width: side, height: side });

const gridOf = (groundTruth: GroundTruth, { grid }: Protocol): GroundTruth =>
  grid === "benchmark" ? groundTruth : onGrid(groundTruth, grid);

/** What of a protocol the maps depend on, beside their size. */
function renderKey({ resize, objectnessResize, ranges, alpha }: Protocol): string {
  return JSON.stringify([resize, objectnessResize, ranges, alpha]);
}

async function scoresOf(
  map: Float32Array,
  groundTruth: ArrayLike<number> | undefined,
  protocol: Protocol,
): Promise<ProtocolSampleScore> {
  const { threshold, adaptive, confidence } = protocol;
  return {
    ...(groundTruth ? await cutScore(map, groundTruth, threshold, protocol) : {}),
    ...(groundTruth && adaptive
      ? { adaptive: await cutScore(map, groundTruth, { by: "adaptive" }, protocol) }
      : {}),
    ...(confidence === undefined
      ? {}
      : { confidence: await inTurns(meaningHighest(map, confidence, PIXELS_A_TURN)) }),
  };
}

async function cutScore(
  map: Float32Array,
  groundTruth: ArrayLike<number>,
  threshold: Threshold,
  { silentFrame }: Protocol,
): Promise<CutScore> {
  const cut = await inTurns(cutting(map, groundTruth, threshold, PIXELS_A_TURN));
  const frame = new FrameScores(leastOf(cut));
  for (let from = 0; from < map.length; from += PIXELS_A_TURN) {
    await nextTurn();
    frame.take(map, groundTruth, from, Math.min(map.length, from + PIXELS_A_TURN));
  }
  return { ciou: frame.ciou, iou: silentFrame === "background" ? frame.backgroundIou : frame.iou };
}
