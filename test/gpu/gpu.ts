/**
 * The GPU that the tests of this folder need, and what they share. SOUNDSPOT_GPU_TESTS names another device, such as
 * cuda:1, or testdevice:0 of the tests' addon, which tries the tests themselves on a machine without a GPU.
 */
import { Model, type ModelOptions, type TrainOptions } from "../../src/index.js";
import { native } from "../../src/native.js";
import { comparisonMethods, small } from "../support/comparison.js";
import { everyLoss, slots, tiny } from "../support/tiny.js";

export const device = process.env.SOUNDSPOT_GPU_TESTS ?? "cuda:0";

/** Why the device cannot be used; undefined where it can. */
function obstacle(): string | undefined {
  try {
    const { devices, cuda } = native().info();
    if (devices.includes(device)) return undefined;
    return cuda?.problem ?? `there are ${devices.join(", ")}`;
  } catch (error) {
    return (error as Error).message;
  }
}

const reason = obstacle();
/** Whether the tests can run. Says why where they cannot. */
export const usable = reason === undefined;
if (!usable) console.warn(`The tests of test/gpu are skipped: no ${device}. ${reason}`);

/** How many GPUs answer. */
export const gpus = usable
  ? native()
      .info()
      .devices.filter((name) => name.startsWith("cuda:")).length
  : 0;

/** Bytes of the device; 0 where it is no GPU. */
export const memory = usable ? (native().info().cuda?.gpus[0]?.memory ?? 0) : 0;

/** Every method with a small model, and the losses to train it with. */
export const methods: Readonly<Record<string, { model: ModelOptions; train: TrainOptions }>> = {
  "joint-slot-attention": {
    model: { ...tiny, ...slots({ targetSlots: 2, maskProbability: 0.3 }) },
    train: { losses: everyLoss, falseNegatives: { k: 2 } },
  },
  similarity: { model: { ...tiny, method: { name: "similarity" } }, train: {} },
  ...Object.fromEntries(
    comparisonMethods.map((name) => [name, { model: small(name, { imageDropout: 0.2 }), train: {} }]),
  ),
};

/** A model in float32, the same on every device. */
export const created = (where: string, model: ModelOptions = tiny) =>
  Model.create(model, { seed: 3, device: where as "cpu", precision: "float32" });

/** The greatest difference of two lists, as a share of the greatest value of the second; Infinity for other lengths. */
export function difference(ours: ArrayLike<number>, others: ArrayLike<number>): number {
  if (ours.length !== others.length) return Number.POSITIVE_INFINITY;
  let [most, scale] = [0, 1e-12];
  for (let i = 0; i < ours.length; i++) {
    const apart = Math.abs((ours[i] as number) - (others[i] as number));
    if (Number.isNaN(apart)) return Number.POSITIVE_INFINITY;
    most = Math.max(most, apart);
    scale = Math.max(scale, Math.abs(others[i] as number));
  }
  return most / scale;
}

/** Values by name, as bytes: equal where every bit is. */
export async function bits(model: Model): Promise<ReadonlyMap<string, string>> {
  const parameters = await model.parameters();
  return new Map(
    parameters.map(({ name, data }) => [
      name,
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
    ]),
  );
}

/** The names of tensors of which a bit differs. */
export const differing = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] =>
  [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
