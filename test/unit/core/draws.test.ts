/** The draws of a training step: Philox4x32-10, by its authors' known answers and by an implementation of its own here. */
import { describe, expect, it } from "vitest";
import { native } from "../../../src/native.js";

type Four = readonly [number, number, number, number];

/** Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3. */
function philox(counter: Four, key: readonly [number, number]): Four {
  let [a, b, c, d] = counter;
  let [left, right] = key;
  const high = (x: number, y: bigint) => Number((BigInt(x) * y) >> 32n);
  const low = (x: number, y: bigint) => Number((BigInt(x) * y) & 0xffffffffn);
  for (let round = 0; round < 10; round++) {
    [a, b, c, d] = [
      (high(c, 0xcd9e8d57n) ^ b ^ left) >>> 0,
      low(c, 0xcd9e8d57n),
      (high(a, 0xd2511f53n) ^ d ^ right) >>> 0,
      low(a, 0xd2511f53n),
    ];
    left = (left + 0x9e3779b9) >>> 0;
    right = (right + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

const ones = 0xffffffff;
/** Counter, key and answer, from the authors' file of known answers (kat_vectors of Random123). */
const known: readonly (readonly [Four, readonly [number, number], Four])[] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [ones, ones, ones, ones],
    [ones, ones],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

const uniform = (bits: number) => (bits >>> 8) / 2 ** 24;

describe("draws", () => {
  it("have the known answers", async () => {
    for (const [counter, key, answer] of known) expect(philox(counter, key)).toEqual(answer);
    const zero = { seed: 0, step: 0, place: 0, first: 0, count: 1, each: 4 };
    expect([...(await native().draws(zero)).data]).toEqual(known[0]?.[2].map(uniform));
  });

  it("are a function of seed, step, place, sample and element, however a batch is cut", async () => {
    let state = 7;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % below;
    };
    for (let round = 0; round < 50; round++) {
      const seed = random(2 ** 31) + 2 ** 32 * random(1000);
      const options = { seed, step: random(2 ** 31), place: 1 + random(4), first: random(5000) };
      const [count, each] = [1 + random(5), 1 + random(70)];
      const drawn = await native().draws({ ...options, count, each });
      expect(drawn.shape).toEqual([count, each]);
      const own: number[] = [];
      for (let sample = 0; sample < count; sample++) {
        for (let i = 0; i < each; i++) {
          const four = philox(
            [Math.floor(i / 4), options.first + sample, options.step, options.place],
            [seed % 2 ** 32, Math.floor(seed / 2 ** 32)],
          );
          own.push(uniform(four[i % 4] as number));
        }
      }
      expect([...drawn.data]).toEqual(own);
      const part = await native().draws({ ...options, first: options.first + count - 1, count: 1, each });
      expect([...part.data]).toEqual(own.slice(-each));
    }
  });
});
