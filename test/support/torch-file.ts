/** Files as torch.save writes them, made without PyTorch, for tests of what is read of them. */
import { integer, latin1, zip } from "./archives.mjs";
import type { Written } from "./safetensors.js";

/** A float32 tensor. */
export interface SavedTensor extends Omit<Written, "name"> {
  readonly tensor: true;
}

/** A value of a pickle: a dictionary as a list of its entries, so that order and keys of any type are the caller's. */
export type Saved =
  | SavedTensor
  | null
  | number
  | string
  | { readonly dict: readonly (readonly [Saved, Saved])[] }
  | { readonly object: string };

export const tensor = (shape: readonly number[], data: Float32Array): SavedTensor => ({
  tensor: true,
  shape,
  data,
});

/** A dictionary with keys of text. */
export const dict = (entries: Readonly<Record<string, Saved>>): Saved => ({ dict: Object.entries(entries) });

/** The state dict of tensors by their names. */
export const stateDict = (tensors: readonly Written[]): Saved => ({
  dict: tensors.map(({ name, shape, data }) => [name, tensor(shape, data)] as const),
});

/** The bytes of torch.save(value). */
export function torchFile(value: Saved): Buffer {
  const storages: Float32Array[] = [];
  const text = (word: string) => {
    const bytes = Buffer.from(word, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return `X${length.toString("latin1")}${bytes.toString("latin1")}`;
  };
  const tuple = (numbers: readonly number[]) => `(${numbers.map(integer).join("")}t`;
  const pickled = (each: Saved): string => {
    if (each === null) return "N";
    if (typeof each === "string") return text(each);
    if (typeof each === "number") {
      if (Number.isInteger(each)) return integer(each);
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(each);
      return `G${bytes.toString("latin1")}`;
    }
    if ("object" in each) {
      const [, module, name] = /^(.*)\.(.*)$/.exec(each.object) as unknown as [string, string, string];
      return `c${module}\n${name}\n)\x81}b`;
    }
    if ("dict" in each) {
      return `ccollections\nOrderedDict\n)R(${each.dict.map(([key, own]) => pickled(key) + pickled(own)).join("")}u`;
    }
    const { shape, data } = each;
    const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));
    const storage = storages.push(data) - 1;
    return (
      `ctorch._utils\n_rebuild_tensor_v2\n((${text("storage")}ctorch\nFloatStorage\n` +
      `${text(String(storage))}${text("cpu")}${integer(data.length)}tQ${integer(0)}` +
      `${tuple(shape)}${tuple(strides)}\x89ccollections\nOrderedDict\n)RtR`
    );
  };
  const pickle = latin1(`\x80\x02${pickled(value)}.`);
  return zip([
    ["archive/data.pkl", pickle],
    ...storages.map((data, i): [string, Uint8Array] => [
      `archive/data/${i}`,
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    ]),
  ]);
}
