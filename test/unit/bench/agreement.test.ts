/** Before a bench times a baseline, both sides must compute the same. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

type Numbers = Record<string, number>;
interface Tensor {
  data: Float32Array;
  shape: number[];
}

const load = (name: string): Promise<unknown> => import(`../../../bench/lib/${name}.mjs`);
const { differences, agreementOf } = (await load("agreement")) as {
  differences(ours: Numbers, theirs: Numbers): Numbers;
  agreementOf(compared: Record<string, Numbers>, tolerance: Numbers): string;
};
const { batchOf } = (await load("inputs")) as {
  batchOf(
    count: number,
    of: { image: number[]; audio: number[] },
    views?: string[],
  ): Record<string, { image: { tensor: Float32Array }; audio: { spectrogram: Float32Array } }[]>;
};
const { writeTensors } = (await load("tensors")) as {
  writeTensors(path: string, tensors: Record<string, Tensor>): void;
};

describe("differences", () => {
  it("are relative to the larger number, whichever side has it", () => {
    const found = differences({ a: 2, b: -4, c: 0, d: 0 }, { a: 1, b: -8, c: 0, d: 5 });
    expect(found).toEqual({ a: 0.5, b: 0.5, c: 0, d: 1 });
    expect(differences({ a: 1 }, { a: 2 })).toEqual(differences({ a: 2 }, { a: 1 }));
  });

  it("are not taken of a number that one side lacks or that is not finite", () => {
    expect(() => differences({ triMap: 1 }, {})).toThrow(
      "triMap is 1 in soundspot and undefined in the baseline.",
    );
    expect(() => differences({}, { triMap: 2 })).toThrow(
      "triMap is undefined in soundspot and 2 in the baseline.",
    );
    expect(() => differences({ a: Number.NaN }, { a: Number.NaN })).toThrow("a is NaN in soundspot");
    expect(() => differences({ a: 1 }, { a: Number.POSITIVE_INFINITY })).toThrow("Infinity in the baseline");
  });
});

describe("agreementOf", () => {
  const tolerance = { losses: 1e-3, gradients: 0.1 };

  it("says the greatest of each", () => {
    const compared = { losses: { a: 1e-4, total: 1e-3 }, gradients: { w: 0.02, b: 0.1 } };
    expect(agreementOf(compared, tolerance)).toBe("losses 1.0e-3, gradients 1.0e-1");
  });

  it("throws with every number beyond its tolerance, and no other", () => {
    const compared = { losses: { a: 0.5, total: 1e-4 }, gradients: { w: 0.05, b: 0.2 } };
    expect(() => agreementOf(compared, tolerance)).toThrow(
      "do not compute the same. They differ in losses: a by 5.0e-1; gradients: b by 2.0e-1.",
    );
  });

  it("takes a difference that is not a number for a disagreement", () => {
    expect(() => agreementOf({ losses: { a: Number.NaN } }, tolerance)).toThrow("losses: a by NaN");
  });
});

describe("the batch of a training step", () => {
  const shapes = { image: [3, 4, 4], audio: [1, 5, 2] };

  it("is the same each time, of the shapes given, and different in every view and sample", () => {
    const batch = batchOf(3, shapes, ["neighbour", "augmented"]);
    expect(batch).toEqual(batchOf(3, shapes, ["neighbour", "augmented"]));
    expect(Object.keys(batch)).toEqual(["pairs", "neighbour", "augmented"]);
    const pairs = Object.values(batch).flat();
    expect(pairs.map(({ image, audio }) => [image.tensor.length, audio.spectrogram.length])).toEqual(
      Array(9).fill([48, 10]),
    );
    expect(new Set(pairs.map(({ image }) => image.tensor.join())).size).toBe(9);
    expect(new Set(pairs.map(({ audio }) => audio.spectrogram.join())).size).toBe(9);
  });

  it("goes to a baseline in a safetensors file, bit for bit", () => {
    const folder = mkdtempSync(join(tmpdir(), "soundspot-"));
    try {
      const path = join(folder, "batch.safetensors");
      const whole = Float32Array.of(0.1, -2, 3, 1e-30, 5, 6, 7);
      // One of them is a part of a larger buffer.
      const tensors = {
        images: { data: whole.subarray(1, 5), shape: [2, 2] },
        spectrograms: { data: whole.subarray(5), shape: [1, 2] },
      };
      writeTensors(path, tensors);
      const bytes = readFileSync(path);
      const start = 8 + Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.toString("utf8", 8, start)) as Record<
        string,
        { dtype: string; shape: number[]; data_offsets: [number, number] }
      >;
      for (const [name, { data, shape }] of Object.entries(tensors)) {
        const [first, end] = header[name]?.data_offsets ?? [0, 0];
        expect(header[name]).toMatchObject({ dtype: "F32", shape });
        const read = new Float32Array(new Uint8Array(bytes.subarray(start + first, start + end)).buffer);
        expect(read).toEqual(data.slice());
      }
      expect(bytes).toHaveLength(start + 24);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
