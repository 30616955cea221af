/** Evaluation protocols: how maps are made comparable with their ground truth and scored, as plain descriptions. */

import * as z from "zod";
import { AUDIO_WEIGHT, MASK_THRESHOLD } from "../config/defaults.js";
import type { MapName } from "../config/methods.js";
import { isObject, shown } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import type { SilentFrame } from "../metrics/segmentation.js";
import type { Comparison, Threshold } from "../metrics/threshold.js";
import type { MapResize } from "../native.js";

/** How maps are scored. All of it is data: protocols can be written to JSON and sent to other processes. */
export interface Protocol {
  /** Letters, digits, - and _; the name of its scores. */
  readonly name: string;
  /** How maps of tokens are enlarged. */
  readonly resize: MapResize;
  /** The same of objectness. */
  readonly objectnessResize: MapResize;
  /**
   * Where maps are compared: on the benchmark's grid, or else at the size of the image, or on a square grid of this side.
   * Ground truth of another size is put on a square grid by its nearest pixels.
   */
  readonly grid: "benchmark" | number;
  /**
   * "minmax" scales each map, and each refinement, to its own minimum and maximum. Fixed ranges are the same for all
   * samples: the audio map's is the range that its method declares, objectness has this one, and refinements are not
   * scaled. The audio map of a method without a range, and image maps, are scaled to their own minimum and maximum.
   */
  readonly ranges: "minmax" | { readonly objectness: readonly [low: number, high: number] };
  /** α, the audio map's share of a refinement, in [0, 1]. */
  readonly alpha: number;
  readonly threshold: Threshold;
  /** Scores by the adaptive threshold too, under `adaptive`. */
  readonly adaptive: boolean;
  /** A sample is a success when its cIoU compares with 0.5. AUC takes ≥ always. */
  readonly success: Comparison;
  /** IoU where the ground truth is empty. */
  readonly silentFrame: SilentFrame;
  /**
   * Confidence of a map: the mean of this share of its pixels, the highest ones. With it, pairs without a sounding source
   * are scored too: `ap`, `maxF1`, `precision` and `sizes`.
   */
  readonly confidence?: number;
}

/** One map against the ground truth at a threshold, each in [0, 1]. */
export interface CutScore {
  readonly ciou: number;
  /** By the protocol's rule for silent frames. */
  readonly iou: number;
}

/** One map of a sample under a protocol. */
export interface ProtocolSampleScore extends Partial<CutScore> {
  /** By the adaptive threshold, where the protocol has it too. */
  readonly adaptive?: CutScore;
  /** Of a protocol with confidences; the only score of a sample in which nothing sounds. */
  readonly confidence?: number;
}

/** The maps of a sample by protocol. */
export type ProtocolSampleScores = Readonly<
  Record<string, Readonly<Partial<Record<MapName, ProtocolSampleScore>>>>
>;

const published = {
  resize: "bilinear-corners",
  objectnessResize: "bilinear-corners",
  grid: 224,
  ranges: "minmax",
  alpha: 0.4,
  threshold: { by: "area", share: 0.5, comparison: "≥" },
  adaptive: false,
  success: "≥",
  silentFrame: "plain",
} as const satisfies Omit<Protocol, "name">;

const extended = {
  ...published,
  resize: "bicubic-corners",
  objectnessResize: "bicubic-corners",
  ranges: { objectness: [0, 2.5] },
  alpha: 0.9,
  success: ">",
  confidence: 0.25,
} as const satisfies Omit<Protocol, "name">;

/**
 * The protocols by name; docs/evaluation.md says where each comes from. "jsa" is the one of the scores at the top of an
 * evaluation, and follows the options `threshold` and `alpha`; the others are fixed.
 * @example
 * const half = { ...protocols.area, name: "area-alpha-half", alpha: 0.5 };
 * await evaluate({ model, data, protocol: ["area", half] });
 */
export const protocols = {
  jsa: {
    name: "jsa",
    resize: "bicubic",
    objectnessResize: "bicubic",
    grid: "benchmark",
    ranges: "minmax",
    alpha: AUDIO_WEIGHT,
    threshold: { by: "value", at: MASK_THRESHOLD },
    adaptive: false,
    success: "≥",
    silentFrame: "plain",
  },
  area: { name: "area", ...published },
  adaptive: { name: "adaptive", ...published, threshold: { by: "adaptive" } },
  kaist: {
    name: "kaist",
    ...published,
    threshold: { by: "area", share: 0.5, comparison: ">" },
    adaptive: true,
    silentFrame: "background",
  },
  "slavc-extended": { name: "slavc-extended", ...extended, threshold: { by: "value", at: 0.5 } },
  "slavc-extended-relative": { name: "slavc-extended-relative", ...extended },
} as const satisfies Readonly<Record<string, Protocol>>;

/** Name of a protocol that comes with the package. */
export type ProtocolName = keyof typeof protocols;

/** Names of the protocols that come with the package. */
export const protocolNames = Object.keys(protocols) as readonly ProtocolName[];

/** One protocol or several, by name or described. */
export type ProtocolChoice = ProtocolName | Protocol | readonly (ProtocolName | Protocol)[];

const share = z.number().min(0).max(1);
const resize = z.enum(["bicubic", "bicubic-corners", "bilinear", "bilinear-corners"]);
const comparison = z.enum([">", "≥"]);
const schema = z.strictObject({
  name: z.string().regex(/^[\w-]{1,64}$/, "must be 1 to 64 letters, digits, - and _"),
  resize,
  objectnessResize: resize,
  grid: z.union([z.literal("benchmark"), z.int().min(1).max(4096)], {
    error: 'must be "benchmark" or a side from 1 to 4096',
  }),
  ranges: z.union(
    [
      z.literal("minmax"),
      z.strictObject({
        objectness: z
          .tuple([z.number(), z.number()])
          .refine(([low, high]) => low < high, "must be [low, high], low below high"),
      }),
    ],
    { error: 'must be "minmax" or { objectness: [low, high] }, low below high' },
  ),
  alpha: share,
  threshold: z.discriminatedUnion("by", [
    z.strictObject({ by: z.literal("value"), at: z.number() }),
    z.strictObject({ by: z.literal("area"), share, comparison }),
    z.strictObject({ by: z.literal("adaptive") }),
  ]),
  adaptive: z.boolean(),
  success: comparison,
  silentFrame: z.enum(["plain", "background"]),
  confidence: z.number().gt(0).max(1).optional(),
});

/**
 * The chosen protocols, complete and checked, in their order; none without a choice.
 * @throws {SoundspotError} ERR_INPUT for an unknown name, with the known ones; for a description that is not one, with
 *   its field; for a name that is taken.
 */
export function chosenProtocols(
  choice: ProtocolChoice | undefined,
  { threshold, alpha }: { readonly threshold: number; readonly alpha: number },
): readonly Protocol[] {
  if (choice === undefined) return [];
  const chosen = [choice].flat().map((each: unknown) => protocolOf(each));
  const names = new Set<string>();
  for (const { name } of chosen) {
    if (names.has(name)) throw wrong(`protocol names "${name}" twice. Give each protocol a name of its own.`);
    names.add(name);
  }
  return chosen.map((each) =>
    each.name === "jsa" ? { ...protocols.jsa, alpha, threshold: { by: "value", at: threshold } } : each,
  );
}

function protocolOf(value: unknown): Protocol {
  if (typeof value === "string" && Object.hasOwn(protocols, value)) return protocols[value as ProtocolName];
  if (!isObject(value)) {
    throw wrong(
      `There is no protocol "${shown(value)}". Use ${protocolNames.join(", ")}, or describe one: { name, resize, … }.`,
    );
  }
  const { success, data, error } = schema.safeParse(value);
  if (!success) {
    const [issue] = error.issues;
    throw wrong(`protocol${issue?.path.map((key) => `.${String(key)}`).join("")}: ${issue?.message}.`);
  }
  const { confidence, ...required } = data;
  const own: Protocol = { ...required, ...(confidence === undefined ? {} : { confidence }) };
  if (Object.hasOwn(protocols, own.name) && !isSame(own, protocols[own.name as ProtocolName])) {
    throw wrong(`The protocol "${own.name}" is a fixed one. Give yours another name.`);
  }
  return own;
}

/** Whether two descriptions are equal, in whatever order their fields stand. */
function isSame(own: Protocol, other: Protocol): boolean {
  const sorted = (_: string, value: unknown) =>
    isObject(value) && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;
  return JSON.stringify(own, sorted) === JSON.stringify(other, sorted);
}

function wrong(message: string): SoundspotError {
  return new SoundspotError("ERR_INPUT", message);
}
