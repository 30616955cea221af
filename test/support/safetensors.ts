/** Safetensors files written without the package, for tests of what it reads. */
import { writeFileSync } from "node:fs";
import { safetensors } from "./archives.mjs";

export interface Written {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Float32 tensors, one after the other, and text beside them. */
export function writeSafetensors(
  path: string,
  tensors: readonly Written[],
  metadata?: Readonly<Record<string, string>>,
): void {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  let at = 0;
  for (const { name, shape, data } of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const bodies = tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(path, Buffer.concat([length, text, ...bodies]));
}

export type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
export interface Parts {
  readonly metadata: Record<string, string>;
  readonly entries: Record<string, Entry>;
  readonly data: Buffer;
}

export function partsOf(bytes: Buffer): Parts {
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString("utf8", 8, end));
  return { metadata, entries, data: bytes.subarray(end) };
}

export function withParts({ metadata, entries, data }: Parts): Buffer {
  const head = safetensors({ __metadata__: metadata, ...entries }, 0);
  return Buffer.concat([head, data]);
}

/** A file with other values in one of its float32 tensors, and without a checksum. */
export function withValues(bytes: Buffer, name: string, change: (values: Float32Array) => void): Buffer {
  const { metadata, entries, data } = partsOf(bytes);
  const { "soundspot.checksum": _, ...others } = metadata;
  const [begin, end] = (entries[name] as Entry).data_offsets;
  const values = new Float32Array(Uint8Array.from(data.subarray(begin, end)).buffer);
  change(values);
  const own = Buffer.concat([data.subarray(0, begin), Buffer.from(values.buffer), data.subarray(end)]);
  return withParts({ metadata: others, entries, data: own });
}
