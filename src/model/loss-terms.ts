/** Losses by themselves, on features that a caller has: to check a method, or to compare it with another program. */
import { types } from "node:util";
import { aFlag, aList, anObject, check, checkFields, inRange, isFloats, kindOf } from "../core/arguments.js";
import { SoundspotError } from "../core/errors.js";
import { native } from "../native.js";

/** Features of a batch of B pairs. */
export interface LossFeature {
  /** float64 is computed in float64. All features of a call have one type. */
  readonly data: Float32Array | Float64Array;
  /** N tokens, slots or rows of attention [B, N, D]; [B, D] is one token, [B, D, H, W] are H·W tokens. */
  readonly shape: readonly number[];
}

/** Which loss, with its numbers. */
export interface LossChoice {
  /** Such as "contrastive", "maxSimilarity", "triMap". */
  readonly name: string;
  /** τ of contrastive losses. Default 0.03, the paper's. */
  readonly temperature?: number;
  /** Target slots, the first ones, of losses on slots. Default 1. */
  readonly targets?: number;
}

/** What lossTerms returns. */
export interface LossTerms {
  /** Unweighted, by name. */
  readonly terms: Readonly<Record<string, number>>;
  /** Gradient of each feature that was given, in its type and order. */
  readonly gradients?: Readonly<Record<string, Float32Array | Float64Array>>;
}

/** The name that a caller gives a feature of the addon: "image" and "audio" are the tokens of the encoders. */
const publicName = (name: string) =>
  name.replace("_tokens", "").replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Indices of [B, H·W, D] in [B, D, H, W]. */
function tokensLast([batch, features, ...sides]: readonly number[]): Uint32Array {
  const [count, width] = [sides.reduce((product, side) => product * side, 1), features as number];
  const order = new Uint32Array((batch as number) * count * width);
  for (let at = 0; at < order.length; at++) {
    const [feature, token] = [at % width, Math.floor(at / width) % count];
    order[at] = (Math.floor(at / (width * count)) * width + feature) * count + token;
  }
  return order;
}

interface Arranged {
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly number[];
  /** Where each value came from; undefined where it stays. */
  readonly order: Uint32Array | undefined;
}

/** @throws {SoundspotError} ERR_INPUT, ERR_SHAPE */
function arranged(name: string, { data, shape }: LossFeature): Arranged {
  if (!(isFloats(data) || types.isFloat64Array(data))) {
    throw new SoundspotError(
      "ERR_INPUT",
      `${name}.data must be a Float32Array or Float64Array, got ${kindOf(data)}.`,
    );
  }
  check(shape, aList, `${name}.shape`);
  const sizes = Array.from(shape);
  const whole = sizes.every((size) => Number.isInteger(size) && size > 0);
  if (!whole || sizes.reduce((product, size) => product * size, 1) !== data.length || data.length === 0) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${name} has ${data.length} values, which its shape [${sizes}] does not hold.`,
    );
  }
  const [batch, second, ...rest] = sizes as [number, number, ...number[]];
  if (sizes.length === 3) return { data: data.slice(), shape: sizes, order: undefined };
  if (sizes.length === 2) return { data: data.slice(), shape: [batch, 1, second], order: undefined };
  if (sizes.length !== 4) {
    throw new SoundspotError(
      "ERR_SHAPE",
      `${name} has the shape [${sizes}]. Give [B, N, D], [B, D] or [B, D, H, W].`,
    );
  }
  const order = tokensLast(sizes);
  const tokens = data.map((_, at) => data[order[at] as number] as number);
  return { data: tokens, shape: [batch, (rest[0] as number) * (rest[1] as number), second], order };
}

/**
 * A loss of features that you give, unweighted, and its gradients.
 * @throws {SoundspotError} ERR_CONFIG when there is no such loss; ERR_INPUT when a feature that it needs is not given,
 *   or types differ; ERR_SHAPE when shapes do not fit.
 * @example
 * const image = { data: Float64Array.from({ length: 48 }, (_, k) => Math.sin(1 + 0.37 * k)), shape: [3, 4, 2, 2] };
 * const audio = { data: Float64Array.from({ length: 12 }, (_, a) => Math.cos(0.5 + 0.91 * a)), shape: [3, 4] };
 * const { terms } = await lossTerms({ name: "triMap" }, { image, audio });
 * console.log(terms.triMap);
 */
export async function lossTerms(
  loss: LossChoice,
  features: Readonly<Record<string, LossFeature>>,
  options: { readonly gradients?: boolean } = {},
): Promise<LossTerms> {
  check(loss, anObject, "The loss");
  check(features, anObject, "The features");
  checkFields(options, { gradients: aFlag });
  const { name, temperature = 0.03, targets = 1 } = loss;
  inRange(temperature, 1e-6, 1e6, "temperature");
  const needs = native().losses();
  if (!Object.hasOwn(needs, name)) {
    throw new SoundspotError(
      "ERR_CONFIG",
      `There is no loss "${name}". Known losses: ${Object.keys(needs).join(", ")}.`,
    );
  }
  const nativeNames = new Map((needs[name] as string[]).map((own) => [publicName(own), own]));
  const wanted = [...nativeNames.keys()];
  const given = Object.entries(features).map(([own, feature]) => {
    check(feature, anObject, own);
    if (!wanted.includes(own)) {
      throw new SoundspotError(
        "ERR_INPUT",
        `The loss ${name} takes no ${own}. It takes ${wanted.join(", ")}.`,
      );
    }
    return [own, arranged(own, feature)] as const;
  });
  const missing = wanted.find((own) => !Object.hasOwn(features, own));
  if (missing !== undefined) throw new SoundspotError("ERR_INPUT", `The loss ${name} needs ${missing}.`);
  const [first] = given as [readonly [string, Arranged]];
  const odd = given.find(([, { data, shape }]) => {
    return isFloats(data) !== isFloats(first[1].data) || shape[0] !== first[1].shape[0];
  });
  if (odd) {
    throw new SoundspotError("ERR_INPUT", `${odd[0]} has another type or batch size than ${first[0]}.`);
  }
  const { value, gradients } = await native().lossTerm(
    { name, temperature, targets, gradients: options.gradients ?? false },
    Object.fromEntries(given.map(([own, { data, shape }]) => [nativeNames.get(own), { data, shape }])),
  );
  if (!options.gradients) return { terms: { [name]: value } };
  const own = given.map(([feature, { data, order }]) => {
    const found = gradients[nativeNames.get(feature) as string] as Float64Array;
    const gradient = data.map(() => 0);
    for (let at = 0; at < found.length; at++)
      gradient[order ? (order[at] as number) : at] = found[at] as number;
    return [feature, gradient] as const;
  });
  return { terms: { [name]: value }, gradients: Object.fromEntries(own) };
}
