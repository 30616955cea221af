/** Small archives in the form of WebDataset. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { uniform } from "../../src/core/random.js";
import { encodeImage } from "../../src/drawing/encode.js";
import { tarEnd, tarEntry } from "../../src/media/tar.js";
import { encodeWav } from "../../src/media/wav.js";

export interface Encoded {
  readonly jpeg: Uint8Array;
  readonly wav: Uint8Array;
}

/** An image and audio that differ from seed to seed. */
export async function encodedPair(seed: number, size = 40, samples = 8000): Promise<Encoded> {
  const draw = uniform(seed + 1);
  const data = Uint8Array.from({ length: size * size * 3 }, () => 256 * draw());
  const jpeg = await encodeImage({ data, width: size, height: size }, { format: "jpeg" });
  const tone = Float32Array.from({ length: samples }, () => draw() - 0.5);
  return { jpeg, wav: encodeWav({ samples: tone, sampleRate: 16_000 }) };
}

/** The three files of a sample, as entries of an archive. */
export function sampleEntries(key: string, { jpeg, wav }: Encoded, json: unknown = { label: "a" }): Buffer {
  const text = Buffer.from(JSON.stringify(json));
  const modified = new Date(0);
  return Buffer.concat([
    tarEntry(`${key}.jpg`, jpeg, modified),
    tarEntry(`${key}.wav`, wav, modified),
    tarEntry(`${key}.json`, text, modified),
  ]);
}

/** Writes `count` archives of `each` samples, `NAME-000000.tar` and so on, keys counting through all of them. */
export async function writeShards(
  folder: string,
  count: number,
  each: number,
  pair: (index: number) => Promise<Encoded> = encodedPair,
): Promise<string[]> {
  const paths: string[] = [];
  for (let shard = 0; shard < count; shard++) {
    const parts: Uint8Array[] = [];
    for (let i = shard * each; i < (shard + 1) * each; i++) {
      parts.push(sampleEntries(String(i).padStart(6, "0"), await pair(i), { label: String(i % 3) }));
    }
    const path = join(folder, `train-${String(shard).padStart(6, "0")}.tar`);
    writeFileSync(path, Buffer.concat([...parts, tarEnd]));
    paths.push(path);
  }
  return paths;
}
