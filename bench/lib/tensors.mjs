// Tensors of float32 in a safetensors file, for the baselines to read.
import { writeFileSync } from "node:fs";

/** @param tensors name → `{ data: Float32Array, shape }` */
export function writeTensors(path, tensors) {
  const header = {};
  let end = 0;
  for (const [name, { data, shape }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const parts = Object.values(tensors).map(({ data }) =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength),
  );
  writeFileSync(path, Buffer.concat([length, text, ...parts]));
}
