/** Small annotated datasets in memory, for tests that score models. */
import type { Dataset, Sample } from "../../src/index.js";

const rate = 16_000;
const side = 40;

/** A bright bar whose place depends on the pitch; `of` may change or add fields. */
export function bar(index: number, of: Partial<Sample> = {}): Sample {
  const kind = index % 4;
  const data = new Uint8Array(side * side * 3).map((_, i) => (i * 31 + index * 17) % 64);
  for (let y = 0; y < side; y++) data.fill(250, (y * side + kind * 10) * 3, (y * side + kind * 10 + 8) * 3);
  const samples = Float32Array.from(
    { length: rate / 2 },
    (_, i) => 0.4 * Math.sin(i * 0.1 * (kind + 1)) + 0.05 * Math.sin(i * (0.01 + index * 0.003)),
  );
  return {
    id: String(index),
    label: String(kind),
    image: { data, width: side, height: side },
    audio: { samples, sampleRate: rate },
    boxes: [{ x: kind * 10, y: 0, width: 8, height: side }],
    ...of,
  };
}

/** A dataset of such samples. */
export function bars(length: number, of: (index: number) => Partial<Sample> = () => ({})): Dataset {
  return { name: "bars", length, load: async (index) => bar(index, of(index)) };
}
