/** Files in the format of torch.save before PyTorch 1.6, made without PyTorch. */
import { integer, latin1 } from "./archives.mjs";

export type StorageType = "Float" | "Double" | "Half" | "BFloat16" | "Long";

/** How different versions of PyTorch pickle a tensor: 0.4 and later, 0.2, 0.1 (three ways), and parameters. */
export const FORMS = [
  "rebuild-v2",
  "rebuild",
  "class",
  "class-state",
  "parameter",
  "parameter-v1",
  "variable-state",
] as const;
export type Form = (typeof FORMS)[number];

export interface LegacyStorage {
  readonly key: string;
  readonly type: StorageType;
  readonly values: ArrayLike<number>;
}

export interface LegacyTensor {
  readonly name: string;
  /** Among the storages. */
  readonly storage: number;
  /** In elements, from the begin of the part. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly form?: Form;
  /** Elements of the storage: the tensor is of these alone. */
  readonly part?: { readonly key: string; readonly offset: number; readonly count: number };
}

export interface LegacyFile {
  readonly storages: readonly LegacyStorage[];
  readonly tensors: readonly LegacyTensor[];
  /** Where the state dict lies; "" is the top. */
  readonly key?: string;
  /** As Python 2 pickles strings and an OrderedDict. */
  readonly python2?: boolean;
  readonly littleEndian?: boolean;
  readonly version?: number;
  /** In place of the sorted keys of all storages. */
  readonly keys?: readonly string[];
}

const MAGIC = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
const WRITERS = {
  Float: [4, (to: Buffer, value: number, at: number) => to.writeFloatLE(value, at)],
  Double: [8, (to: Buffer, value: number, at: number) => to.writeDoubleLE(value, at)],
  Long: [8, (to: Buffer, value: number, at: number) => to.writeBigInt64LE(BigInt(Math.trunc(value)), at)],
  BFloat16: [2, (to: Buffer, value: number, at: number) => to.writeUInt16LE(floatBits(value) >>> 16, at)],
  Half: [2, (to: Buffer, value: number, at: number) => to.writeUInt16LE(halfBits(value), at)],
} as const;

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] as number;
}

/** Of values that a float16 holds exactly and whose magnitude is 0 or at least 2^−14. */
function halfBits(value: number): number {
  const bits = floatBits(value);
  const sign = (bits >>> 16) & 0x8000;
  return value === 0 ? sign : sign | (((bits >>> 13) - (112 << 10)) & 0x7fff);
}

function bytesOf({ type, values }: LegacyStorage): Buffer {
  const [size, write] = WRITERS[type];
  const data = Buffer.alloc(size * values.length);
  for (let i = 0; i < values.length; i++) write(data, values[i] as number, i * size);
  return data;
}

/** What is pickled for a file, opcode by opcode. */
class Pickler {
  constructor(private readonly python2: boolean) {}

  text(value: string): string {
    if (this.python2) return `U${String.fromCharCode(value.length)}${value}`;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return `X${length.toString("latin1")}${value}`;
  }

  tuple = (items: readonly string[]) => `(${items.join("")}t`;
  numbers = (values: readonly number[]) => this.tuple(values.map(integer));
  empty = "ccollections\nOrderedDict\n)R";

  storage({ key, type, values }: LegacyStorage, part: LegacyTensor["part"]): string {
    const view =
      part === undefined ? "N" : this.tuple([this.text(part.key), integer(part.offset), integer(part.count)]);
    const words = [this.text("storage"), `ctorch\n${type}Storage\n`, this.text(key), this.text("cpu")];
    return `${this.tuple([...words, integer(values.length), view])}Q`;
  }

  tensor(own: LegacyTensor, storage: LegacyStorage): string {
    const arguments_ = [
      this.storage(storage, own.part),
      integer(own.offset),
      this.numbers(own.shape),
      this.numbers(own.strides),
    ];
    const rebuild = (version: string, ...more: readonly string[]) =>
      `ctorch._utils\n_rebuild_tensor${version}\n${this.tuple([...arguments_, ...more])}R`;
    const [v1, v2] = [rebuild(""), rebuild("_v2", "\x89", this.empty)];
    const parameter = "ctorch.nn.parameter\nParameter\n";
    switch (own.form ?? "rebuild-v2") {
      case "rebuild-v2":
        return v2;
      case "rebuild":
        return v1;
      case "class":
        return `ctorch\n${storage.type}Tensor\n${this.tuple(arguments_)}R`;
      case "class-state":
        return `ctorch\n${storage.type}Tensor\n)\x81${this.tuple(arguments_)}b`;
      case "parameter":
        return `ctorch._utils\n_rebuild_parameter\n${this.tuple([v2, "\x88", this.empty])}R`;
      case "parameter-v1":
        return `${parameter}${this.tuple([v1])}R${this.tuple(["\x88", "\x89", this.empty])}b`;
      case "variable-state":
        return `ctorch.autograd.variable\nVariable\n)\x81${this.tuple([v1, "N", this.empty, "\x88", "\x89"])}b`;
    }
  }

  dict(entries: readonly (readonly [string, string])[], ordered: boolean): string {
    if (ordered && this.python2) {
      const pairs = entries.map(([key, value]) => `](${this.text(key)}${value}e`);
      return `ccollections\nOrderedDict\n](${pairs.join("")}e\x85R`;
    }
    return `${ordered ? this.empty : "}"}(${entries.map(([key, value]) => this.text(key) + value).join("")}u`;
  }
}

/** The bytes of such a file. */
export function legacyFile(file: LegacyFile): Buffer {
  const { storages, tensors, key = "", python2 = false, littleEndian = true, version = 1001 } = file;
  const pickler = new Pickler(python2);
  const whole = (code: string) => latin1(`\x80\x02${code}.`);
  const machine = pickler.dict(
    [
      ["protocol_version", integer(1001)],
      ["little_endian", littleEndian ? "\x88" : "\x89"],
      ["type_sizes", pickler.dict([["long", integer(4)]], false)],
    ],
    false,
  );
  const state = pickler.dict(
    tensors.map((own) => [own.name, pickler.tensor(own, storages[own.storage] as LegacyStorage)] as const),
    true,
  );
  const object =
    key === ""
      ? state
      : pickler.dict(
          [
            ["epoch", integer(7)],
            [key, state],
          ],
          false,
        );
  const sorted = file.keys ?? storages.map((storage) => storage.key).sort();
  const list = `](${sorted.map((each) => pickler.text(each)).join("")}e`;
  const data = sorted.flatMap((each) => {
    const storage = storages.find((own) => own.key === each);
    const count = Buffer.alloc(8);
    count.writeBigInt64LE(BigInt(storage?.values.length ?? 0));
    return storage === undefined ? [count] : [count, bytesOf(storage)];
  });
  const pickles = [MAGIC, integer(version), machine, object, list].map(whole);
  return Buffer.concat([...pickles, ...data]);
}
