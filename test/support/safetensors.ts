/** A safetensors file written without the package, for tests of what it reads. */
import { writeFileSync } from "node:fs";

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
