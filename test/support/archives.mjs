/** Checkpoint files byte by byte, right or wrong, without the package: for tests and the seeds of fuzzing. */

/** Bytes of their own. */
export const latin1 = (text) => Buffer.from(text, "latin1");
/** A string of up to 127 bytes in a pickle. */
export const word = (text) => `X${String.fromCharCode(text.length)}\0\0\0${text}`;

/** An integer in a pickle. */
export function integer(n) {
  if (n >= 0 && n < 256) return `K${String.fromCharCode(n)}`;
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(n));
  return `\x8a\x08${bytes.toString("latin1")}`;
}

/** The pickle of a state dict with a tensor for each [type, storage, elements, offset, sizes, strides]. */
export function pickle(tensors, key) {
  const tuple = (numbers) => `(${numbers.map(integer).join("")}t`;
  const entries = tensors.map(
    ([type, storage, elements, offset, sizes, strides], i) =>
      `${word(`t${i}`)}ctorch._utils\n_rebuild_tensor_v2\n((${word("storage")}ctorch\n${type}Storage\n` +
      `${word(storage)}${word("cpu")}${integer(elements)}tQ${integer(offset)}` +
      `${tuple(sizes)}${tuple(strides)}\x89ccollections\nOrderedDict\n)RtR`,
  );
  const dict = `}q\0(${entries.join("")}u`;
  return latin1(`\x80\x02${key ? `}(${word(key)}${dict}${word("epoch")}K\x07u` : dict}.`);
}

/** A zip archive of stored entries without checksums, so that a mutated entry is still read. */
export function zip(entries) {
  return Buffer.concat([...zipParts(entries)]);
}

/** The same part by part: of each entry [name, data], of which data may be a function that reads it. */
export function* zipParts(entries) {
  const central = [];
  let [at, count] = [0, 0];
  for (const [name, given] of entries) {
    const data = typeof given === "function" ? given() : given;
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt32LE(data.length, 14);
    fields.writeUInt32LE(data.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(at, 10);
    central.push(latin1("PK\x01\x02\x14\0"), fields, place, latin1(name));
    const head = Buffer.concat([latin1("PK\x03\x04"), fields, latin1(name)]);
    yield head;
    yield data;
    at += head.length + data.length;
    count++;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  yield directory;
  yield end;
}

/** A safetensors file with `bytes` bytes of 1 behind its header. */
export function safetensors(header, bytes) {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(bytes, 1)]);
}
